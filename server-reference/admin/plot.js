// Drawing of time series on a canvas.

const FONT = 11;
const ROOM = { left: 52, right: 10, top: 10, bottom: 20 };

// The smallest of 1, 2, 5, 10, ... (or of powers of two for bytes) of which `lines` reach `most`.
function step(most, lines, bytes) {
  const least = most / lines;
  if (bytes) return 2 ** Math.ceil(Math.log2(Math.max(least, 1)));
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least * 0.999);
}

// Where the axis ends, and where it has lines.
export function scale(most, { bytes = false, least = 1, lines = 4 } = {}) {
  const by = step(Math.max(most, least), lines, bytes);
  const count = Math.max(Math.ceil(Math.max(most, least) / by - 0.001), 1);
  return { most: by * count, ticks: Array.from({ length: count + 1 }, (_, at) => at * by) };
}

// Stacked series as the values of their upper edges.
export function stack(series) {
  const edges = [];
  for (const values of series) {
    const below = edges.at(-1);
    edges.push(values.map((value, at) => (value === null ? null : value + (below?.[at] ?? 0))));
  }
  return edges;
}

// Colors of the style sheet as a canvas takes them: a property by itself is not computed.
const colors = { known: new Map(), probe: document.createElement("i") };

function color(name) {
  if (!colors.known.has(name)) {
    if (!colors.probe.isConnected) document.body.append(colors.probe);
    colors.probe.hidden = true;
    colors.probe.style.color = `var(${name})`;
    colors.known.set(name, getComputedStyle(colors.probe).color);
  }
  return colors.known.get(name);
}

// They are others with the system's theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => colors.known.clear());

export class Plot {
  #canvas;
  #context;
  #width = 0;
  #height = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
  }

  // Takes the size that the page gives it. Returns whether there is room to draw.
  #fit() {
    const { clientWidth, clientHeight } = this.#canvas;
    const ratio = Math.min(devicePixelRatio || 1, 3);
    const [width, height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width;
      this.#canvas.height = height;
    }
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#width = clientWidth;
    this.#height = clientHeight;
    return clientWidth > ROOM.left + ROOM.right && clientHeight > ROOM.top + ROOM.bottom;
  }

  // The index that is drawn at this distance from the canvas' left edge.
  indexAt(x, length) {
    const share = (x - ROOM.left) / Math.max(this.#width - ROOM.left - ROOM.right, 1);
    return Math.min(Math.max(Math.round(share * (length - 1)), 0), length - 1);
  }

  // `lines`: `{ color, values, filled }`, the first one lowest; `to`: the second of the last value; `ticks`,
  // `most`: of the axis; `format`: its labels; `marks`; `cursor`: an index, or -1.
  draw({ lines, to, ticks, most, format, marks, cursor }) {
    if (!this.#fit()) return;
    const context = this.#context;
    const [width, height] = [this.#width, this.#height];
    const length = lines[0]?.values.length ?? 0;
    const from = to - length + 1;
    const x = (at) => ROOM.left + (at / Math.max(length - 1, 1)) * (width - ROOM.left - ROOM.right);
    const y = (value) => height - ROOM.bottom - (value / most) * (height - ROOM.bottom - ROOM.top);
    context.clearRect(0, 0, width, height);
    context.font = `${FONT}px ${getComputedStyle(this.#canvas).fontFamily}`;
    context.lineWidth = 1;
    this.#axes({ ticks, format, y, x, from, to });
    context.save();
    context.beginPath();
    context.rect(ROOM.left, 0, width - ROOM.left - ROOM.right + 1, height);
    context.clip();
    let below;
    for (const { color: name, values, filled } of lines) {
      this.#line(values, filled ? (below ?? null) : undefined, { stroke: color(name), x, y });
      if (filled) below = values;
    }
    this.#marks(marks, { x: (second) => x(second - from), from, to });
    context.restore();
    if (cursor >= 0 && cursor < length) this.#cursor(cursor, lines, { x, y });
  }

  #axes({ ticks, format, y, x, from, to }) {
    const context = this.#context;
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const tick of ticks) {
      const at = Math.round(y(tick)) + 0.5;
      context.strokeStyle = color(tick === 0 ? "--edge-soft" : "--grid");
      context.beginPath();
      context.moveTo(ROOM.left, at);
      context.lineTo(this.#width - ROOM.right, at);
      context.stroke();
      context.fillStyle = color("--soft");
      context.fillText(format(tick), ROOM.left - 7, at);
    }
    const seconds = to - from;
    const room = (this.#width - ROOM.left - ROOM.right) / 64;
    const every = [10, 15, 30, 60, 120, 300].find((n) => seconds / n <= room) ?? 600;
    const offset = new Date(to * 1000).getTimezoneOffset() * 60;
    const first = Math.ceil((from - offset) / every) * every + offset;
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    for (let second = first; second <= to; second += every) {
      const at = new Date(second * 1000);
      const two = (number) => String(number).padStart(2, "0");
      const label = `${two(at.getHours())}:${two(at.getMinutes())}`;
      const half = 18;
      const place = Math.min(x(second - from), this.#width - half);
      if (place < ROOM.left + half / 2) continue;
      context.fillText(every < 60 ? `${label}:${two(at.getSeconds())}` : label, place, this.#height - 5);
    }
  }

  // `below`: what is under the filled area, `null` for the ground, `undefined` for no area.
  #line(values, below, { stroke, x, y }) {
    const context = this.#context;
    let start = 0;
    while (start < values.length) {
      if (values[start] === null) {
        start += 1;
        continue;
      }
      let end = start;
      while (end + 1 < values.length && values[end + 1] !== null) end += 1;
      const trace = () => {
        context.beginPath();
        for (let at = start; at <= end; at += 1) context.lineTo(x(at), y(values[at]));
      };
      if (below !== undefined) {
        trace();
        for (let at = end; at >= start; at -= 1) context.lineTo(x(at), y(below?.[at] ?? 0));
        context.closePath();
        context.globalAlpha = 0.28;
        context.fillStyle = stroke;
        context.fill();
        context.globalAlpha = 1;
      }
      trace();
      context.strokeStyle = stroke;
      context.lineWidth = 1.5;
      context.lineJoin = "round";
      context.stroke();
      context.lineWidth = 1;
      start = end + 1;
    }
  }

  #marks(marks, { x, from, to }) {
    const context = this.#context;
    context.textAlign = "left";
    context.textBaseline = "top";
    // What is already written, from where to where: the latest mark comes first, and what would be written over
    // another has its line alone.
    const taken = [];
    const isFree = ([from, to]) =>
      from >= ROOM.left && to <= this.#width - ROOM.right && taken.every(([left, right]) => to < left || from > right);
    for (const { at_ms, text, quiet } of marks.toReversed()) {
      const second = at_ms / 1000;
      if (second < from || second > to) continue;
      const at = Math.round(x(second)) + 0.5;
      context.strokeStyle = color(quiet ? "--edge-soft" : "--mark");
      context.setLineDash(quiet ? [1, 3] : [4, 3]);
      context.beginPath();
      context.moveTo(at, ROOM.top);
      context.lineTo(at, this.#height - ROOM.bottom);
      context.stroke();
      context.setLineDash([]);
      if (quiet) continue;
      context.fillStyle = color("--mark");
      const wide = context.measureText(text).width;
      const places = [[at + 4, at + wide + 4], [at - wide - 4, at - 4]];
      const place = places.find(isFree);
      if (!place) continue;
      taken.push(place);
      context.fillText(text, place[0], 0);
    }
  }

  #cursor(at, lines, { x, y }) {
    const context = this.#context;
    context.strokeStyle = color("--ink");
    context.globalAlpha = 0.55;
    context.beginPath();
    context.moveTo(Math.round(x(at)) + 0.5, ROOM.top);
    context.lineTo(Math.round(x(at)) + 0.5, this.#height - ROOM.bottom);
    context.stroke();
    context.globalAlpha = 1;
    for (const { color: name, values } of lines) {
      if (values[at] === null) continue;
      context.fillStyle = color(name);
      context.beginPath();
      context.arc(x(at), y(values[at]), 3, 0, 2 * Math.PI);
      context.fill();
    }
  }
}
