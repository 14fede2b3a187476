// Publishing an event by hand. What is wrong is said at the field that it is wrong in.
import { call } from "./api.js";
import { byId, complain, write } from "./element.js";

const FIELDS = { name: "event-name", payload: "event-payload", priority: "event-priority" };

// Which member of the event a refusal is about: it says so, or is about what the event must be like.
function fieldOf(message) {
  const member = /^(name|payload|priority)\b/i.exec(message)?.[1]?.toLowerCase();
  if (member) return member;
  return /\b(name|segment|publish)\b/i.test(message) ? "name" : "payload";
}

// Where JSON goes wrong, in words.
function wrongJson(text) {
  try {
    JSON.parse(text);
    return undefined;
  } catch (error) {
    return `This is not JSON: ${error.message.replace(/^JSON\.parse: /, "")}. Texts need double quotes.`;
  }
}

export class Publish {
  #refused;

  // `refused` is called when an event was not what a schema says.
  constructor(refused) {
    this.#refused = refused;
    byId("publish").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#publish();
    });
  }

  async #publish() {
    const [name, payload, priority] = Object.values(FIELDS).map(byId);
    for (const field of [name, payload, priority]) complain(field, undefined);
    write(byId("published-as"), "");
    if (name.value.trim() === "") return this.#refuse(name, "An event needs a name, such as orders.eu.created.");
    const wrong = wrongJson(payload.value);
    if (wrong) return this.#refuse(payload, wrong);
    // The payload goes as it was written: large numbers stay what they are.
    const head = { name: name.value.trim(), priority: priority.value, volatile: byId("event-volatile").checked };
    const body = `${JSON.stringify(head).slice(0, -1)},"payload":${payload.value}}`;
    try {
      const answer = await call("events", { method: "POST", body });
      const place = answer?.offset === undefined ? "" : `, at offset ${answer.offset} of lane ${answer.lane}`;
      write(byId("published-as"), `Published ${head.name}${place}.`);
    } catch (error) {
      this.#refuse(byId(FIELDS[fieldOf(error.message)]), error.message);
      if (error.status === 422) this.#refused();
    }
  }

  #refuse(field, message) {
    complain(field, message);
    field.focus();
  }
}
