// A chart: its heading, a legend that tells the values of a moment, the drawing, and the same as a table.
import { make, write } from "./element.js";
import { maybe, time } from "./format.js";
import { Plot, scale, stack } from "./plot.js";

// The moment that is pointed at, in one chart or another, as seconds before the last one; -1: none.
const pointed = { before: -1, watchers: new Set() };

function point(before) {
  if (pointed.before === before) return;
  pointed.before = before;
  for (const watch of pointed.watchers) watch();
}

// Of how many moments the table tells.
const ROWS = 10;

let charts = 0;

export class Chart {
  #options;
  #series = [];
  #data = { to: 0, values: [], marks: [] };
  #plot;
  #slider;
  #time;
  #table;

  // `title`; `note`: what it means; `format` of values; `series`: `{ key, label, color }`, or none if they
  // are only known later; `stacked`; `bytes`: whether the axis counts in powers of two; `least`: how far it
  // reaches at least.
  constructor(place, options) {
    this.#options = options;
    charts += 1;
    const heading = make("h2", { id: `chart-${charts}` }, options.title);
    this.#time = make("span", { class: "at" });
    this.legend = make("ul", { class: "legend" });
    const canvas = make("canvas", { "aria-hidden": "true" });
    this.#slider = make(
      "div",
      {
        class: "plot",
        tabindex: "0",
        role: "slider",
        "aria-labelledby": heading.id,
        "aria-valuemin": "0",
        "aria-valuenow": "0",
        onpointermove: (event) => this.#pointAt(event),
        onpointerdown: (event) => this.#pointAt(event),
        onpointerleave: () => point(-1),
        onblur: () => point(-1),
        onkeydown: (event) => this.#key(event),
      },
      canvas,
    );
    this.#plot = new Plot(canvas);
    this.#table = make("table", { class: "values" });
    const details = make(
      "details",
      { ontoggle: () => this.#fillTable() },
      make("summary", {}, "As a table"),
      make("div", { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": heading.id }, this.#table),
    );
    this.details = details;
    const head = make("header", {}, heading, this.#time);
    place.classList.add("panel", "chart");
    place.append(head, make("p", { class: "note" }, options.note ?? ""), this.legend, this.#slider, details);
    pointed.watchers.add(() => this.draw());
    new ResizeObserver(() => this.draw()).observe(this.#slider);
    if (options.series) this.name(options.series);
  }

  // The series from now on.
  name(series) {
    const same = series.length === this.#series.length &&
      series.every(({ key, color }, at) => key === this.#series[at].key && color === this.#series[at].color);
    if (same) return;
    this.#series = series.map(({ key, label, color }) => {
      const value = make("b", {}, "–");
      const swatch = make("i", { "aria-hidden": "true" });
      swatch.style.background = `var(${color})`;
      return { key, label, color, value, entry: make("li", {}, swatch, `${label} `, value) };
    });
    this.legend.replaceChildren(...this.#series.map(({ entry }) => entry));
  }

  // `values`: a list for each series, one value for each second, the last one at the second `to`.
  show(data) {
    this.#data = data;
    this.draw();
    if (this.details.open && this.#cursor() < 0) this.#fillTable();
  }

  #length() {
    return this.#data.values[0]?.length ?? 0;
  }

  #cursor() {
    const length = this.#length();
    return pointed.before < 0 || pointed.before >= length ? -1 : length - 1 - pointed.before;
  }

  draw() {
    const { values, to, marks } = this.#data;
    if (values.length === 0) return;
    const { stacked, format, bytes, least } = this.#options;
    const cursor = this.#cursor();
    const edges = stacked ? stack(values) : values;
    const most = edges.reduce((most, edge) => Math.max(most, ...edge), 0);
    const axis = scale(most, { bytes, least });
    const lines = edges.map((values, at) => ({ values, color: this.#series[at].color, filled: stacked }));
    this.#plot.draw({ ...axis, lines, to, marks, format, cursor });
    this.#tell(cursor);
  }

  // What the legend and screen readers are told of a moment; the last one if none is pointed at.
  #tell(cursor) {
    const { values, to } = this.#data;
    const { format } = this.#options;
    const length = this.#length();
    const at = cursor < 0 ? length - 1 : cursor;
    const when = time((to - (length - 1 - at)) * 1000);
    write(this.#time, cursor < 0 ? "now" : when);
    this.#time.classList.toggle("pointed", cursor >= 0);
    const told = this.#series.map(({ label, value }, series) => {
      const text = maybe(format, values[series][at]);
      write(value, text);
      return `${label} ${text}`;
    });
    this.#slider.setAttribute("aria-valuemax", String(length - 1));
    this.#slider.setAttribute("aria-valuenow", String(at));
    if (cursor >= 0 || document.activeElement !== this.#slider) {
      this.#slider.setAttribute("aria-valuetext", `${when}: ${told.join(", ")}`);
    }
  }

  #pointAt(event) {
    const x = event.clientX - this.#slider.getBoundingClientRect().left;
    point(this.#length() - 1 - this.#plot.indexAt(x, this.#length()));
  }

  #key(event) {
    const length = this.#length();
    const now = Math.max(pointed.before, 0);
    const by = { ArrowLeft: now + 1, ArrowRight: now - 1, PageUp: now + 30, PageDown: now - 30 };
    const to = { Home: length - 1, End: 0, Escape: -1 };
    const next = { ...by, ...to }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    point(event.key === "Escape" ? -1 : Math.min(Math.max(next, 0), length - 1));
  }

  #fillTable() {
    if (!this.details.open) return;
    const { values, to } = this.#data;
    const length = this.#length();
    const every = Math.max(Math.floor(length / ROWS), 1);
    const head = make("tr", {}, make("th", { scope: "col" }, "Time"));
    for (const { label } of this.#series) head.append(make("th", { scope: "col" }, label));
    const rows = [];
    for (let at = length - 1; at >= 0 && rows.length < ROWS; at -= every) {
      const when = time((to - (length - 1 - at)) * 1000);
      const row = make("tr", {}, make("th", { scope: "row" }, when));
      for (const series of values) row.append(make("td", {}, maybe(this.#options.format, series[at])));
      rows.push(row);
    }
    this.#table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }
}

// Colors change with the system's theme.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const watch of pointed.watchers) watch();
});
