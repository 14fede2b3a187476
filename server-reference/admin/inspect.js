// All of one event.
import { byId, make, write } from "./element.js";
import { bytes, full, moment } from "./format.js";

// How many characters of a payload are shown.
const SHOWN = 20_000;

// Strings (keys among them), numbers and words of JSON.
const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/g;

// The text with its parts marked by what they are.
function colored(text) {
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

export class Inspect {
  #text = "";

  constructor() {
    byId("copy").addEventListener("click", () => void this.#copy());
  }

  show(event) {
    const { payload } = event;
    this.#text = JSON.stringify(payload, undefined, 2);
    const size = new TextEncoder().encode(JSON.stringify(payload)).length;
    byId("inspect-none").hidden = true;
    const facts = [
      ["Name", event.name],
      ["Priority", event.volatile ? `${event.priority}, volatile` : event.priority],
      ["Time", moment(event.time)],
      ["Id", event.id],
      ["Place", event.volatile ? "none: it was not kept" : `lane ${event.lane}, offset ${event.offset}`],
      ["Size", bytes(size)],
      ...Object.entries(event.headers ?? {}).map(([key, value]) => [`Header ${key}`, value]),
    ];
    const entries = facts.map(([term, fact]) => make("div", {}, make("dt", {}, term), make("dd", {}, fact)));
    byId("inspect-facts").replaceChildren(...entries);
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
