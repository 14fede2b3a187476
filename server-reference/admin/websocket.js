// The page of connections.
import { Chart } from "./chart.js";
import { byId, make, write } from "./element.js";
import { bytes, count, duration, full, latency, maybe, recently } from "./format.js";
import { Sessions } from "./sessions.js";
import { chosenInstance, frame, open, showIn, timeline } from "./shell.js";

const PRIORITIES = ["critical", "high", "normal", "low", "volatile"];
const QUEUES = [...PRIORITIES, "control"];

const TRANSPORTS = [
  { key: "connections.ws", label: "ws", color: "--normal" },
  { key: "connections.socketio", label: "Socket.IO", color: "--calm" },
  { key: "connections.sse", label: "SSE", color: "--high" },
  { key: "connections.http", label: "HTTP", color: "--low" },
];
const LOSSES = [
  { key: "dropped.low", label: "dropped, low", color: "--low" },
  { key: "dropped.volatile", label: "dropped, volatile", color: "--volatile" },
  { key: "gaps", label: "gaps told", color: "--critical" },
];
const RECOVERY = [
  { key: "resumed", label: "sessions resumed", color: "--calm" },
  { key: "recovered", label: "events recovered", color: "--normal" },
  { key: "fell_behind", label: "fell behind", color: "--high" },
];
// As many instances as have a color of their own; of more, those with the most connections are shown.
const COLORS = ["--one", "--two", "--three", "--four", "--five", "--six"];

const columns = (series) => series.map(({ key }) => key);

const connections = new Chart(byId("connections"), {
  title: "Connections, by transport",
  note: "HTTP: requests, polling, handshakes.",
  series: TRANSPORTS,
  stacked: true,
  format: count,
});
const byInstance = new Chart(byId("by-instance"), {
  title: "Connections, by instance",
  note: "Even, unless clients are sent to some more than to others.",
  format: count,
});
const queued = new Chart(byId("queued"), {
  title: "Queued, by priority",
  note: "Bytes that wait for clients who read too slowly.",
  series: QUEUES.map((key) => ({ key: `queued.${key}`, label: key, color: `--${key}` })),
  stacked: true,
  bytes: true,
  least: 1024,
  format: bytes,
});
const losses = new Chart(byId("losses"), {
  title: "Drops and gaps",
  note: "Per second. Full queues drop events of low priority and volatile ones, nothing else.",
  series: LOSSES,
  format: count,
});
const recovery = new Chart(byId("recovery"), {
  title: "Recovery",
  note: "Per second: who came back, and what they got from the log.",
  series: RECOVERY,
  format: count,
});
const backplane = new Chart(byId("backplane"), {
  title: "Backplane round trip",
  note: "A message through Redis and back. Of several instances, the slowest one.",
  series: [{ key: "backplane.echo", label: "round trip", color: "--normal" }],
  least: 1000,
  format: latency,
});

const FIGURES = [
  ["Connections", count, columns(TRANSPORTS)],
  ["Sessions", count, ["sessions"]],
  ["Subscriptions", count, ["subscriptions"]],
  ["Queued", bytes, QUEUES.map((key) => `queued.${key}`)],
  ["Dropped", (value) => `${count(value)}/s`, ["dropped.low", "dropped.volatile"]],
  ["Not let in", (value) => `${count(value)}/s`, ["denied"]],
];

function showFigures() {
  const figures = byId("figures");
  if (figures.children.length === 0) {
    for (const [label] of FIGURES) figures.append(make("div", {}, make("dt", {}, label), make("dd", {}, "–")));
  }
  FIGURES.forEach(([, format, columns], at) => {
    const values = columns.map((column) => timeline.latest(column, { instance: chosenInstance() }));
    const value = values.some((value) => value !== null) ? values.reduce((a, b) => a + b, 0) : null;
    write(figures.children[at].lastElementChild, maybe(format, value));
  });
}

function connectionsOf(instance, window) {
  const all = TRANSPORTS.map(({ key }) => timeline.series(key, { ...window, instance }));
  return all[0].map((value, at) => (value === null ? null : all.reduce((sum, one) => sum + one[at], 0)));
}

function showByInstance() {
  const window = frame();
  const names = window.instance ? [window.instance] : timeline.names().slice(0, COLORS.length);
  const places = timeline.names();
  byInstance.name(names.map((name) => ({ key: name, label: name, color: COLORS[places.indexOf(name) % COLORS.length] })));
  const values = names.map((name) => connectionsOf(name, window));
  byInstance.show({ values, to: window.to, marks: timeline.marks });
}

// What the table tells of an instance.
function cells(name) {
  const { now } = timeline.instances.get(name);
  const latest = (column, by) => timeline.latest(column, { instance: name, by, over: 3 });
  const sum = (what) => PRIORITIES.map((key) => latest(`${what}.${key}`) ?? 0).reduce((a, b) => a + b);
  const trouble = now.backplane.trouble;
  const waiting = QUEUES.reduce((all, key) => all + now.queued_bytes[key], 0);
  return [
    name,
    trouble ? `degraded: ${trouble.reason}` : "well",
    duration(now.uptime_s),
    `${full(now.connections.open)} of ${full(now.connections.max)}`,
    full(now.sessions),
    count(sum("published")),
    count(sum("delivered")),
    maybe(latency, latest("latency.p99", "max")),
    bytes(waiting),
    full(now.dropped.low + now.dropped.volatile),
    full(now.recovery.gaps),
  ];
}

function showInstances() {
  const body = byId("instances").tBodies[0];
  const names = [...timeline.names(), ...timeline.missing.filter((name) => !timeline.instances.get(name)?.now)];
  while (body.rows.length > names.length) body.lastElementChild.remove();
  names.forEach((name, at) => {
    if (!body.rows[at]) {
      body.append(make("tr", {}, make("th", { scope: "row" }), ...Array.from({ length: 10 }, () => make("td"))));
    }
    const row = body.rows[at];
    const known = timeline.instances.get(name)?.now;
    const missing = timeline.missing.includes(name);
    const texts = known ? cells(name) : [name, ...Array(10).fill("–")];
    if (missing) texts[1] = "does not answer";
    texts.forEach((text, cell) => write(row.cells[cell], text));
    row.dataset.state = missing || known?.backplane.trouble ? "bad" : "good";
  });
}

// How many marks are listed.
const MARKS = 20;

function showMarks() {
  const body = byId("marks").tBodies[0];
  const marks = timeline.marks.slice(-MARKS).reverse();
  while (body.rows.length > marks.length) body.lastElementChild.remove();
  marks.forEach(({ at_ms, text, quiet }, at) => {
    if (!body.rows[at]) body.append(make("tr", {}, make("td"), make("th", { scope: "row" })));
    const [when, what] = body.rows[at].cells;
    write(when, recently(at_ms));
    write(what, text);
    body.rows[at].dataset.state = quiet ? "quiet" : "";
  });
}

open({
  start() {
    new Sessions();
  },
  show() {
    const shared = [...timeline.instances.values()].some(({ now }) => now?.backplane.kind === "redis");
    byId("backplane").hidden = !shared;
    showFigures();
    showIn(connections, columns(TRANSPORTS));
    showByInstance();
    showIn(queued, QUEUES.map((key) => `queued.${key}`));
    showIn(losses, columns(LOSSES));
    showIn(recovery, columns(RECOVERY));
    showIn(backplane, ["backplane.echo"], "max");
    showInstances();
    showMarks();
  },
});
