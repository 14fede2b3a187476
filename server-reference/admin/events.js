// The page of events.
import { Chart } from "./chart.js";
import { byId, make, write } from "./element.js";
import { bytes, count, latency, maybe } from "./format.js";
import { Publish } from "./publish.js";
import { Schemas } from "./schemas.js";
import { chosenInstance, open, showIn, timeline } from "./shell.js";
import { Tail } from "./tail.js";

const PRIORITIES = ["critical", "high", "normal", "low", "volatile"];
const of = (what) => PRIORITIES.map((priority) => `${what}.${priority}`);
const LATENCIES = ["latency.p50", "latency.p90", "latency.p99"];

const published = new Chart(byId("published"), {
  title: "Published, by priority",
  note: "Events per second that clients, services and REST publish.",
  series: PRIORITIES.map((key) => ({ key, label: key, color: `--${key}` })),
  stacked: true,
  format: count,
});
const latencies = new Chart(byId("latency"), {
  title: "Latency, from publish to write",
  note: "From the log to the sockets. Of several instances, the slowest one.",
  series: [
    { key: "p50", label: "p50", color: "--calm" },
    { key: "p90", label: "p90", color: "--warm" },
    { key: "p99", label: "p99", color: "--hot" },
  ],
  format: latency,
  least: 1000,
});

// What is told in one number, as the mean of the last seconds.
const FIGURES = [
  ["Published", count, "/s", of("published")],
  ["Delivered", count, "/s", of("delivered")],
  ["Latency p99", latency, "", ["latency.p99"], "max"],
  ["Written", bytes, "/s", ["written_bytes"]],
  ["Subscriptions", count, "", ["subscriptions"]],
  ["Refused or invalid", count, "/s", ["refused", "invalid"]],
];

const OVER = 3;

function showFigures() {
  const instance = chosenInstance();
  const figures = byId("figures");
  if (figures.children.length === 0) {
    for (const [label] of FIGURES) figures.append(make("div", {}, make("dt", {}, label), make("dd", {}, "–")));
  }
  FIGURES.forEach(([, format, unit, columns, by], at) => {
    const values = columns.map((column) => timeline.latest(column, { instance, by, over: OVER }));
    const value = values.some((value) => value !== null) ? values.reduce((a, b) => a + b, 0) : null;
    write(figures.children[at].lastElementChild, maybe(format, value) + (value === null ? "" : unit));
  });
}

// Rows are used again: a name that is focused stays focused.
function showNames(tail) {
  const names = timeline.busiest(chosenInstance()).slice(0, 8);
  const list = byId("names").querySelector("ol");
  while (list.children.length < names.length) {
    const button = make("button", { type: "button", onclick: () => tail.filter(button.dataset.name) },
      make("i", { "aria-hidden": "true" }), make("span"), make("b"));
    list.append(make("li", {}, button));
  }
  while (list.children.length > names.length) list.lastElementChild.remove();
  names.forEach(({ name, rate, error }, at) => {
    const button = list.children[at].firstElementChild;
    const [bar, label, value] = button.children;
    button.dataset.name = name;
    bar.style.width = `${(100 * rate) / names[0].rate}%`;
    write(label, name);
    write(value, error > rate / 10 ? `≤ ${count(rate)}` : count(rate));
    button.title = error > 0 ? `${name}: between ${count(rate - error)} and ${count(rate)} per second` : name;
  });
  byId("names").classList.toggle("empty", names.length === 0);
}

let tail;

open({
  start() {
    const schemas = new Schemas();
    tail = new Tail(schemas);
    new Publish(() => schemas.refresh());
  },
  show() {
    showFigures();
    showIn(published, of("published"));
    showIn(latencies, LATENCIES, "max");
    showNames(tail);
  },
});
