// The sessions of all instances: searched, looked at, ended.
import { call } from "./api.js";
import { byId, facts, make, write } from "./element.js";
import { bytes, duration, full, moment, recently } from "./format.js";
import { signOut } from "./shell.js";

const PAGE = 50;

// How often the list is asked for while somebody looks at it.
const EVERY = 3000;

// How long somebody writes before it is searched for.
const PATIENCE = 250;

const WORDS = { socketio: "Socket.IO", sse: "SSE" };

const transportOf = ({ transport, carrier, encoding }) =>
  [WORDS[transport] ?? transport, carrier === "polling" && "polling", encoding === "msgpack" && "msgpack"]
    .filter(Boolean)
    .join(", ");

// A table, and what its cells tell of a session.
const CONNECTED = {
  table: "sessions",
  none: "Nobody is connected.",
  texts: (session) => [
    session.subject ?? "–",
    session.instance,
    transportOf(session),
    session.address,
    since(session.since_ms),
    full(session.subscriptions),
    full(session.delivered),
    bytes(session.queued_bytes),
    full(session.dropped),
  ],
};
const ENDED = {
  table: "ended",
  none: "None that has ended is kept.",
  texts: (session) => [
    session.subject ?? "–",
    session.instance,
    transportOf(session),
    session.address,
    recently(session.ended_ms),
    duration(Math.max((session.ended_ms - session.since_ms) / 1000, 0)),
    [session.reason ?? "unknown", session.code && `(${session.code})`].filter(Boolean).join(" "),
  ],
};

const since = (ms) => duration(Math.max((Date.now() - ms) / 1000, 0));

export class Sessions {
  #kind = CONNECTED;
  #search = byId("search-text");
  #after;
  #next;
  #round = 0;
  #timer;
  #chosen;

  constructor() {
    byId("search").addEventListener("submit", (event) => event.preventDefault());
    byId("kinds").addEventListener("change", ({ target }) => this.#choose(target.value === "ended" ? ENDED : CONNECTED));
    let typing;
    this.#search.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#go(undefined), PATIENCE);
    });
    byId("first-page").addEventListener("click", () => this.#go(undefined));
    byId("next-page").addEventListener("click", () => this.#go(this.#next));
    byId("session-close").addEventListener("click", () => byId("session").close());
    byId("disconnect").addEventListener("click", () => this.#ask(true));
    byId("keep").addEventListener("click", () => this.#ask(false));
    byId("confirm-disconnect").addEventListener("click", () => void this.#disconnect());
    void this.#load();
  }

  #choose(kind) {
    this.#kind = kind;
    for (const { table } of [CONNECTED, ENDED]) byId(table).parentElement.hidden = table !== kind.table;
    byId("search").hidden = kind === ENDED;
    write(byId("session-count"), "");
    write(byId("sessions-error"), "");
    this.#go(undefined);
  }

  #go(after) {
    this.#after = after;
    void this.#load();
  }

  async #load() {
    clearTimeout(this.#timer);
    this.#round += 1;
    const round = this.#round;
    const which = this.#kind === ENDED ? { ended: true } : { search: this.#search.value.trim() };
    const query = { limit: PAGE, after: this.#after, ...which };
    try {
      const page = await call("websocket/sessions", { query });
      if (round === this.#round) this.#show(page, query);
    } catch (error) {
      if (error.status === 401) return signOut(`You were signed out: ${error.message}`);
      if (round === this.#round && this.#kind === ENDED && error.status === 404) {
        this.#show({ sessions: [] }, {}, "They are kept in a database, and there is none: see --database.");
      } else if (round === this.#round) write(byId("sessions-error"), error.message);
    }
    if (round !== this.#round) return;
    this.#timer = setTimeout(() => (document.hidden ? this.#later() : this.#load()), EVERY);
  }

  #later() {
    document.addEventListener("visibilitychange", () => void this.#load(), { once: true });
  }

  #show({ total, sessions, next, missing = [] }, { search }, none = this.#kind.none) {
    this.#next = next;
    const what = total === 1 ? "1 session" : `${full(total ?? 0)} sessions`;
    write(byId("session-count"), total === undefined ? "The latest first" : search ? `${what} found` : what);
    write(byId("sessions-error"), missing.length > 0 ? `Not in the list: those of ${missing.join(", ")}` : "");
    byId("next-page").hidden = next === undefined;
    byId("first-page").hidden = this.#after === undefined;
    const body = byId(this.#kind.table).tBodies[0];
    while (body.rows.length > sessions.length) body.lastElementChild.remove();
    sessions.forEach((session, at) => this.#row(body, session, at));
    if (sessions.length > 0) return;
    const cell = make("td", { colspan: 10, class: "none" }, search ? "Nobody like this is connected." : none);
    body.replaceChildren(make("tr", {}, cell));
  }

  // Rows are used again: what is focused or selected stays so.
  #row(body, session, at) {
    const texts = this.#kind.texts(session);
    let row = body.rows[at];
    if (!row || row.cells.length <= texts.length) {
      // Of one that has ended there is no more to tell.
      const id = this.#kind === ENDED
        ? make("span")
        : make("button", { type: "button", class: "link", onclick: () => this.#open(id.dataset.id) });
      const fresh = make("tr", {}, make("th", { scope: "row" }, id), ...texts.map(() => make("td")));
      if (row) row.replaceWith(fresh);
      else body.append(fresh);
      row = fresh;
    }
    const id = row.cells[0].firstElementChild;
    id.dataset.id = session.id;
    write(id, session.id.slice(0, 10));
    id.title = session.id;
    texts.forEach((text, cell) => write(row.cells[cell + 1], text));
  }

  async #open(id) {
    this.#chosen = undefined;
    try {
      const session = await call(`websocket/sessions/${encodeURIComponent(id)}`);
      this.#chosen = session;
      this.#detail(session);
    } catch (error) {
      const gone = error.status === 404;
      write(byId("sessions-error"), gone ? "This session is not connected any more." : error.message);
      if (gone) void this.#load();
    }
  }

  #detail(session) {
    const entries = facts([
      ["Session", session.id],
      ["Subject", session.subject ?? "unknown: no token"],
      ["Instance", session.instance],
      ["Transport", transportOf(session)],
      ["Address", session.address],
      ["Connected since", `${moment(session.since_ms)} (${since(session.since_ms)})`],
      ["Delivered", `${full(session.delivered)} events, ${bytes(session.written_bytes)}`],
      ["Recovered", `${full(session.recovered)} events`],
      ["Fell behind", session.fell_behind === 1 ? "once" : `${full(session.fell_behind)} times`],
      ["Queued", bytes(session.queued_bytes)],
      ["Dropped", `${full(session.dropped)} events, ${full(session.gaps)} gaps told`],
    ]);
    byId("session-facts").replaceChildren(...entries);
    const patterns = session.patterns.map((pattern) => make("li", {}, make("code", {}, pattern)));
    const more = session.subscriptions - patterns.length;
    if (more > 0) patterns.push(make("li", {}, `and ${full(more)} more`));
    if (patterns.length === 0) patterns.push(make("li", {}, "none"));
    byId("session-patterns").replaceChildren(...patterns);
    write(byId("session-error"), "");
    this.#ask(false);
    if (!byId("session").open) byId("session").showModal();
  }

  #ask(asks) {
    byId("confirm").hidden = !asks;
    byId("disconnect").hidden = asks;
    if (!asks) return byId("disconnect").focus();
    const { subject, instance } = this.#chosen;
    const who = subject ? `${subject}’s session` : "this session";
    write(byId("confirm-text"), `End ${who} at ${instance}? A Tidings client does not come back by itself. Its token stays good.`);
    byId("keep").focus();
  }

  async #disconnect() {
    const { id } = this.#chosen;
    try {
      await call(`websocket/sessions/${encodeURIComponent(id)}`, { method: "DELETE" });
      byId("session").close();
      void this.#load();
    } catch (error) {
      write(byId("session-error"), error.message);
      this.#ask(false);
    }
  }
}
