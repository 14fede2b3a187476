// All of one event.
import { byId, facts, make, write } from "./element.js";
import { bytes, full, moment } from "./format.js";

// How many characters of a payload are shown.
const SHOWN = 20_000;

// Strings (keys among them), numbers and words of JSON.
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;

// The text with its parts marked by what they are.
export function colored(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [token, string, colon] = match;
    parts.push(text.slice(end, match.index));
    const kind = string === undefined ? "number" : colon === undefined ? "string" : "key";
    parts.push(make("span", { class: kind }, string ?? token));
    end = match.index + (string ?? token).length;
  }
  parts.push(text.slice(end));
  return parts;
}

const places = (pointers) => pointers.map((pointer) => pointer || "all of the payload").join(", ");

export class Inspect {
  #text = "";
  #schemas;

  constructor(schemas) {
    this.#schemas = schemas;
    byId("copy").addEventListener("click", () => void this.#copy());
  }

  show(event) {
    const { payload } = event;
    this.#text = JSON.stringify(payload, undefined, 2);
    const size = new TextEncoder().encode(JSON.stringify(payload)).length;
    byId("inspect-none").hidden = true;
    const { shown, hidden } = this.#schemas.sensitive(event);
    const entries = facts([
      ["Name", event.name],
      ["Priority", event.volatile ? `${event.priority}, volatile` : event.priority],
      ["Time", moment(event.time)],
      ["Id", event.id],
      ["Place", event.volatile ? "none: it was not kept" : `lane ${event.lane}, offset ${event.offset}`],
      ["Size", bytes(size)],
      ...Object.entries(event.headers ?? {}).map(([key, value]) => [`Header ${key}`, value]),
      ...(shown.length > 0 ? [["Sensitive", `${places(shown)}: your token may see it`]] : []),
    ]);
    byId("inspect-facts").replaceChildren(...entries);
    const why = "Sensitive: only tokens whose claim “sensitive” has this name get it, if it was published.";
    byId("left-out").hidden = hidden.length === 0;
    byId("left-out").replaceChildren(make("b", {}, `Not shown: ${places(hidden)}.`), ` ${why}`);
    byId("payload").hidden = false;
    byId("copy").hidden = false;
    byId("payload").replaceChildren(...colored(this.#text.slice(0, SHOWN)));
    const cut = this.#text.length > SHOWN;
    const note = `The first ${full(SHOWN)} of ${full(this.#text.length)} characters. Copy has all of them.`;
    write(byId("payload-note"), cut ? note : "");
    write(byId("copy"), "Copy payload");
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#text);
      write(byId("copy"), "Copied");
    } catch {
      write(byId("copy"), "Not allowed by the browser");
    }
  }
}
