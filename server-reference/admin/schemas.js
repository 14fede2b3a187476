// What events must carry: the schemas in force, what they have kept out, and what they say is sensitive.
import { call } from "./api.js";
import { byId, facts, make, write } from "./element.js";
import { full, moment } from "./format.js";
import { colored } from "./inspect.js";

// How often they are asked for while somebody looks.
const EVERY = 5000;

// Whether a pattern matches a name: `*` is one segment, `**` any number of them.
function matches([head, ...rest], name) {
  if (head === undefined) return name.length === 0;
  if (head === "**") return matches(rest, name) || (name.length > 0 && matches([head, ...rest], name.slice(1)));
  return name.length > 0 && (head === "*" || head === name[0]) && matches(rest, name.slice(1));
}

const covers = (pattern, name) => matches(pattern.split("."), name.split("."));

const unescaped = (segment) => segment.replaceAll("~1", "/").replaceAll("~0", "~");

// Whether there is something at a place, a JSON pointer with `*` for any item or member.
function isThere(value, [head, ...rest]) {
  if (head === undefined) return value !== undefined && value !== null;
  if (typeof value !== "object" || value === null) return false;
  if (head === "*") return Object.values(value).some((inner) => isThere(inner, rest));
  return Object.hasOwn(value, unescaped(head)) && isThere(value[unescaped(head)], rest);
}

const whereFrom = ({ registered }) => (registered ? "registered" : "declared");

export class Schemas {
  #body = byId("schemas").tBodies[0];
  #listed = { events: [], collections: [], differ: [] };
  #chosen;
  #timer;

  constructor() {
    byId("schema-close").addEventListener("click", () => byId("schema").close());
    this.refresh();
  }

  // There may be news.
  refresh() {
    clearTimeout(this.#timer);
    void this.#load();
  }

  // What is sensitive in an event: the places of which something is shown, and those of which nothing is.
  sensitive({ name, payload }) {
    const { events, collections } = this.#listed;
    const places = events.filter(({ pattern }) => covers(pattern, name)).flatMap((one) => one.sensitive_places);
    for (const collection of collections.filter((one) => name.startsWith(`state.${one.name}.`))) {
      places.push(...collection.schemas.flatMap((one) => one.sensitive_places.map((place) => `/value${place}`)));
    }
    const all = [...new Set(places)];
    const shown = all.filter((place) => isThere(payload, place.split("/").slice(1)));
    return { shown, hidden: all.filter((place) => !shown.includes(place)) };
  }

  async #load() {
    try {
      this.#listed = await call("schemas");
      this.#show();
    } catch (error) {
      write(byId("schemas-error"), error.message);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => (document.hidden ? this.#later() : this.#load()), EVERY);
  }

  #later() {
    document.addEventListener("visibilitychange", () => void this.#load(), { once: true });
  }

  #show() {
    const { events, differ, instance } = this.#listed;
    const others = differ.map((other) => other.instance).join(", ");
    const many = differ.length > 1 ? "declare" : "declares";
    write(byId("schemas-error"), others && `${others} ${many} other schemas: what is refused or hidden here may not be so there.`);
    write(byId("schemas-at"), events.length > 0 ? `Refused: by ${instance}, since its start` : "");
    while (this.#body.rows.length > Math.max(events.length, 1)) this.#body.lastElementChild.remove();
    events.forEach((event, at) => this.#row(event, at));
    if (this.#chosen && byId("schema").open) this.#detail();
    if (events.length > 0) return;
    const cell = make("td", { colspan: 5, class: "none" }, "No schema says what events must carry: anything may be published.");
    this.#body.replaceChildren(make("tr", {}, cell));
  }

  #row(event, at) {
    let row = this.#body.rows[at];
    if (!row || row.cells.length < 5) {
      const button = make("button", { type: "button", class: "link", onclick: () => this.#open(button.textContent) });
      const fresh = make("tr", {}, make("th", { scope: "row" }, button), ...Array.from({ length: 4 }, () => make("td")));
      if (row) row.replaceWith(fresh);
      else this.#body.append(fresh);
      row = fresh;
    }
    write(row.cells[0].firstElementChild, event.pattern);
    const last = event.last_violation;
    const texts = [whereFrom(event), event.sensitive_places.join(", ") || "–", full(event.violations), last ? last.what : "–"];
    texts.forEach((text, cell) => write(row.cells[cell + 1], text));
    row.cells[4].title = last ? last.what : "";
    row.dataset.state = event.violations > 0 ? "refused" : "";
  }

  #open(pattern) {
    this.#chosen = pattern;
    this.#detail();
    byId("schema").showModal();
  }

  #detail() {
    const event = this.#listed.events.find(({ pattern }) => pattern === this.#chosen);
    if (!event) return byId("schema").close();
    const last = event.last_violation;
    write(byId("schema-title"), event.pattern);
    byId("schema-facts").replaceChildren(...facts([
      ["From", event.registered ? "registered while the server ran" : "the configuration, or a Rust type"],
      ["Version", event.version],
      ["Sensitive", event.sensitive_places.join(", ") || "nothing"],
      ["Refused", event.violations === 1 ? "1 event" : `${full(event.violations)} events`],
      ...(last ? [["Last refused", `${moment(last.at_ms)}: ${last.what}`]] : []),
    ]));
    const text = JSON.stringify(event.schema, undefined, 2);
    if (byId("schema-text").textContent !== text) byId("schema-text").replaceChildren(...colored(text));
  }
}
