// The live list: events as they come, filtered, sampled when there are more than a page can show.
import { call } from "./api.js";
import { byId, complain, write } from "./element.js";
import { count } from "./format.js";
import { Inspect } from "./inspect.js";
import { Rows, sample } from "./rows.js";
import { signOut } from "./shell.js";
import { follow } from "./stream.js";

const PRIORITIES = ["low", "normal", "high", "critical"];

// How many events the list has; the oldest go.
const KEPT = 200;

// How often the list changes at most, in milliseconds.
const EVERY = 100;

// How many events are added per second at most, and at once.
const RATE = 200;
const BURST = 50;

// How many earlier events are asked for at once.
const PAGE = 50;

// Over how many seconds the rates on screen are.
const OVER = 2;

function read(data) {
  const event = JSON.parse(data);
  event.volatile = event.offset === undefined;
  return event;
}

export class Tail {
  #list = byId("tail");
  #rows;
  #events = [];
  #pattern = "**";
  #priorities = new Set(PRIORITIES);
  // What has come since the list was changed last, as texts: most of it may never be shown.
  #waiting = [];
  #allowance = BURST;
  #lastChange = 0;
  // What came and what was shown in the running second, and in those before.
  #counts = [{ came: 0, shown: 0 }];
  #paused = false;
  #state = "connecting";
  #abort = new AbortController();
  // Where the page of earlier events begins that comes next.
  #next;
  // Answers for what was looked at before come too late.
  #round = 0;

  constructor(schemas) {
    const inspect = new Inspect(schemas);
    this.#rows = new Rows(this.#list, (event) => inspect.show(event));
    byId("filter").addEventListener("submit", (event) => {
      event.preventDefault();
      this.filter(byId("pattern").value.trim());
    });
    byId("priorities").addEventListener("change", ({ target }) => {
      if (target.checked) this.#priorities.add(target.value);
      else this.#priorities.delete(target.value);
      this.#clear();
      void this.#earlier();
    });
    byId("pause").addEventListener("click", () => this.#pause(!this.#paused));
    byId("earlier").addEventListener("click", () => {
      // What comes would push them out.
      this.#pause(true);
      void this.#earlier();
    });
    this.#list.addEventListener("keydown", ({ key }) => key === "Escape" && this.#list.blur());
    setInterval(() => this.#second(), 1000);
    requestAnimationFrame((now) => this.#frame(now));
    this.filter(this.#pattern);
  }

  // Shows the events that a pattern matches from now on.
  filter(pattern) {
    const field = byId("pattern");
    field.value = pattern;
    complain(field, undefined);
    if (pattern === "") return complain(field, "A pattern must have something in it: ** matches all.");
    this.#pattern = pattern;
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#clear();
    this.#state = "connecting";
    void this.#earlier();
    const { signal } = this.#abort;
    const take = (kind, data) => signal.aborted || this.#take(kind, data);
    const status = (what, final) => this.#status(what, final);
    void follow("events/stream", { pattern }, { take, status, signal });
  }

  #status(what, final) {
    this.#state = what === "open" ? "open" : what.message;
    if (final && what.status === 401) return signOut(`You were signed out: ${what.message}`);
    if (final) complain(byId("pattern"), what.message);
    this.#tell();
  }

  #take(kind, data) {
    if (kind !== "message") return;
    if (this.#priorities.size < PRIORITIES.length && !this.#priorities.has(JSON.parse(data).priority)) return;
    this.#counts.at(-1).came += 1;
    this.#waiting.push(data);
    // Of what nobody has seen yet, only what would be left in the list is kept.
    if (this.#waiting.length > 2 * KEPT) this.#waiting.splice(0, this.#waiting.length - KEPT);
  }

  // Whether new events wait.
  #stands() {
    return this.#paused || document.activeElement === this.#list || this.#list.matches(":hover");
  }

  #frame(now) {
    requestAnimationFrame((now) => this.#frame(now));
    if (now - this.#lastChange < EVERY) return;
    const seconds = Math.min((now - this.#lastChange) / 1000, 1);
    this.#lastChange = now;
    this.#allowance = Math.min(this.#allowance + seconds * RATE, BURST);
    if (this.#waiting.length === 0 || this.#stands()) return;
    const shown = sample(this.#waiting, Math.floor(this.#allowance));
    if (shown.length === 0) return;
    this.#allowance -= shown.length;
    this.#waiting = [];
    this.#counts.at(-1).shown += shown.length;
    this.#events = [...shown.map(read).reverse(), ...this.#events].slice(0, KEPT);
    this.#rows.show(this.#events);
  }

  #second() {
    this.#counts.push({ came: 0, shown: 0 });
    if (this.#counts.length > OVER + 1) this.#counts.shift();
    this.#tell();
  }

  // Says what is not shown, and why.
  #tell() {
    const seconds = this.#counts.slice(0, -1);
    const per = (what) => seconds.reduce((sum, second) => sum + second[what], 0) / Math.max(seconds.length, 1);
    write(byId("showing"), this.#text(per("came"), per("shown")));
  }

  #text(came, shown) {
    const waiting = this.#waiting.length;
    const newer = waiting >= KEPT ? `more than ${KEPT} newer events` : `${count(waiting)} newer events`;
    if (this.#state === "connecting") return "Connecting";
    if (this.#state !== "open") return `Not connected: ${this.#state}`;
    if (this.#paused) return `Paused: ${newer}, ${count(came)} events/s`;
    if (this.#stands()) return `Standing still while you are at the list: ${newer}`;
    if (came === 0) return "Waiting for events";
    if (shown < came * 0.95) return `Showing ${count(shown)} of ${count(came)} events/s`;
    return `Showing all events, ${count(came)}/s`;
  }

  #pause(paused) {
    this.#paused = paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    write(byId("pause"), paused ? "Resume" : "Pause");
    this.#tell();
  }

  #clear() {
    this.#round += 1;
    this.#next = undefined;
    this.#waiting = [];
    this.#events = [];
    this.#rows.show(this.#events);
  }

  // Puts what is kept of earlier events below the rows.
  async #earlier() {
    const { signal } = this.#abort;
    const round = this.#round;
    const query = { pattern: this.#pattern, priority: [...this.#priorities], limit: PAGE, after: this.#next };
    const button = byId("earlier");
    button.hidden = this.#priorities.size === 0;
    if (button.hidden) return;
    try {
      const { events, next } = await call("events", { query, signal });
      if (round !== this.#round) return;
      this.#next = next;
      const known = new Set([...this.#waiting.map(read), ...this.#events].map(({ id }) => id));
      this.#events = [...this.#events, ...events.filter(({ id }) => !known.has(id))];
      this.#rows.show(this.#events);
      button.disabled = next === undefined;
      write(button, next === undefined ? "No earlier events are kept" : "Earlier events");
    } catch (error) {
      if (round === this.#round && !signal.aborted) this.#status(error, error.status >= 400 && error.status < 500);
    }
  }
}
