// What both pages have: signing in, the head of the page, and the statistics of the cluster, once a second.
import { ApiError, call, forgetToken, setToken, token } from "./api.js";
import { byId, complain, make, write } from "./element.js";
import { askForMark } from "./marks.js";
import { KEPT, Timeline } from "./timeline.js";

const EVERY = 1000;

// How many seconds are asked for beyond those that must have come since the last answer.
const OVERLAP = 5;

const RANGES = [
  [60, "1 min"],
  [300, "5 min"],
  [600, "10 min"],
];

export const timeline = new Timeline();

const view = { instance: "", range: 300, show: () => {}, started: false };

// What is looked at: for `Timeline.series`.
export const frame = () => ({
  from: timeline.last - view.range + 1,
  to: timeline.last,
  instance: view.instance || undefined,
});

export const chosenInstance = () => view.instance || undefined;

// Fills a chart: one column of the timeline for each series.
export function showIn(chart, columns, by = "sum") {
  const window = frame();
  const values = columns.map((column) => timeline.series(column, { ...window, by }));
  chart.show({ values, to: window.to, marks: timeline.marks });
}

// Begins: `start` is called once somebody is signed in, `show` whenever there are new numbers.
export function open({ start, show }) {
  view.show = show;
  view.start = start;
  byId("signin").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn();
  });
  document.addEventListener("visibilitychange", () => document.hidden || poll());
  poll();
}

// Somebody must sign in, perhaps again.
export function signOut(reason = "") {
  forgetToken();
  sessionStorage.setItem("tidings.admin.reason", reason);
  location.reload();
}

async function signIn() {
  const field = byId("token");
  const value = field.value.trim();
  if (value === "") return complain(field, "Paste a token.");
  // What cannot be in a header cannot be a token.
  if (!/^[\w.~+/=-]+$/.test(value)) return complain(field, "This is no token: it has other characters.");
  // What was asked without a token is answered first.
  await asking?.catch(() => undefined);
  setToken(value);
  byId("enter").disabled = true;
  try {
    await refresh();
    field.value = "";
  } catch (error) {
    forgetToken();
    complain(field, reasonOf(error));
    field.select();
  } finally {
    byId("enter").disabled = false;
  }
}

function reasonOf(error) {
  if (error.status === 403) return "This token is good, but not for this: it needs the claim “admin”: true.";
  if (error.status === 401) return `This token is not accepted: ${error.message}.`;
  return error.message;
}

function showSignIn() {
  const reason = sessionStorage.getItem("tidings.admin.reason");
  sessionStorage.removeItem("tidings.admin.reason");
  document.body.dataset.state = "signed-out";
  if (reason) complain(byId("token"), reason);
  byId("token").focus();
}

let timer;

async function poll() {
  clearTimeout(timer);
  try {
    await refresh();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (!error.isDenied) tellHealth(error.message);
    else if (view.started) return signOut(`You were signed out: ${error.message}`);
    else return showSignIn();
  }
  // A page that nobody sees asks for nothing.
  if (!document.hidden) timer = setTimeout(poll, EVERY);
}

let asking;
let answered;

function refresh() {
  asking ??= ask().finally(() => (asking = undefined));
  return asking;
}

async function ask() {
  // By this machine's clock alone: the server's may be another.
  const missed = answered ? Math.ceil((Date.now() - answered) / 1000) + OVERLAP : KEPT;
  const history = Math.min(Math.max(missed, OVERLAP), KEPT);
  const answer = await call("websocket/stats", { query: { scope: "cluster", history } });
  timeline.take(answer);
  answered = Date.now();
  if (!view.started) {
    view.started = true;
    document.body.dataset.state = "signed-in";
    head();
    view.start();
    clearTimeout(timer);
    timer = setTimeout(poll, EVERY);
  }
  tellHealth();
  choose();
  view.show();
}

function head() {
  const ranges = RANGES.map(([seconds, label]) => {
    const checked = seconds === view.range;
    const input = make("input", { type: "radio", name: "range", value: seconds, checked, onchange: () => {
      view.range = seconds;
      view.show();
    } });
    return make("label", {}, input, make("span", {}, label));
  });
  const instance = make("select", { id: "instance", "aria-label": "Instance", onchange: () => {
    view.instance = instance.value;
    view.show();
  } }, make("option", { value: "" }, "All instances"));
  byId("controls").append(
    instance,
    make("fieldset", { class: "segments" }, make("legend", { class: "hidden" }, "How far back"), ...ranges),
    make("button", { type: "button", id: "mark", onclick: () => askForMark(poll) }, "Mark a deploy"),
    make("button", { type: "button", id: "sign-out", class: "plain", hidden: !token(), onclick: () => signOut() }, "Sign out"),
  );
}

// The instances that can be chosen.
function choose() {
  const select = byId("instance");
  const names = timeline.names();
  const known = [...select.options].slice(1).map((option) => option.value);
  if (names.join("\n") === known.join("\n")) return;
  select.replaceChildren(select.options[0], ...names.map((name) => make("option", { value: name }, name)));
  if (!names.includes(view.instance)) view.instance = "";
  select.value = view.instance;
}

function tellHealth(failed) {
  const { missing } = timeline;
  const now = [...timeline.instances.values()].map(({ now }) => now).filter(Boolean);
  const troubled = now.filter(({ backplane }) => backplane.trouble);
  const count = now.length === 1 ? "1 instance" : `${now.length} instances`;
  const [state, text] = failed
    ? ["bad", failed]
    : missing.length > 0
      ? ["bad", `No answer from ${missing.join(", ")}`]
      : troubled.length > 0
        ? ["bad", `${troubled[0].instance}: ${troubled[0].backplane.trouble.reason}`]
        : ["good", `${count}, all well`];
  const health = byId("health");
  health.dataset.state = state;
  write(health.lastElementChild, text);
  health.title = text;
}
