// The rows of the live list. Only those that are in view are elements, and these are used again and again: what
// a change costs does not depend on how many there are.
import { make, write } from "./element.js";
import { preciseTime } from "./format.js";

// How many rows above and below the view are there, too.
const MARGIN = 3;

// How much of a payload a row shows.
const PREVIEW = 160;

function preview(event) {
  if (event.preview === undefined) {
    const text = JSON.stringify(event.payload);
    event.preview = text.length > PREVIEW ? `${text.slice(0, PREVIEW)}…` : text;
  }
  return event.preview;
}

// So many of `all`, evenly spread.
export function sample(all, number) {
  if (number >= all.length) return all;
  return Array.from({ length: number }, (_, at) => all[Math.floor(((at + 0.5) * all.length) / number)]);
}

export class Rows {
  #list;
  #space = make("div", { role: "presentation" });
  #slots = [];
  #events = [];
  #selected;
  #choose;
  #height = 26;

  // `choose` is told which event somebody has chosen.
  constructor(list, choose) {
    this.#list = list;
    this.#choose = choose;
    list.append(this.#space);
    list.addEventListener("scroll", () => this.#draw(), { passive: true });
    list.addEventListener("keydown", (event) => this.#key(event));
    list.addEventListener("click", ({ target }) => {
      const slot = this.#slots.find(({ row }) => row.contains(target));
      if (slot) this.#select(this.#events.indexOf(slot.event));
    });
    new ResizeObserver(() => this.#fit()).observe(list);
  }

  // These, the first one on top. Somebody who has scrolled down goes on seeing the same.
  show(events) {
    const { scrollTop } = this.#list;
    const [top] = scrollTop > 0 ? this.#events : [];
    this.#events = events;
    this.#space.style.height = `${events.length * this.#height}px`;
    const moved = top ? events.indexOf(top) : -1;
    if (moved > 0) this.#list.scrollTop = scrollTop + moved * this.#height;
    this.#draw();
  }

  // As many elements as are in view.
  #fit() {
    this.#height = parseFloat(getComputedStyle(this.#list).getPropertyValue("--row"));
    const needed = Math.ceil(this.#list.clientHeight / this.#height) + 2 * MARGIN;
    while (this.#slots.length < needed) this.#slots.push(this.#slot());
    for (const { row } of this.#slots.splice(needed)) row.remove();
    this.show(this.#events);
  }

  #slot() {
    const cells = ["time", "priority", "name", "preview"].map((kind) => make("span", { class: kind }));
    const id = `row-${this.#slots.length}`;
    const row = make("div", { role: "option", id, "aria-selected": "false", hidden: true }, ...cells);
    this.#space.append(row);
    return { row, cells, event: undefined };
  }

  #draw() {
    const first = Math.max(Math.floor(this.#list.scrollTop / this.#height) - MARGIN, 0);
    let active;
    for (let at = first; at < first + this.#slots.length; at += 1) {
      const slot = this.#slots[at % this.#slots.length];
      const event = this.#events[at];
      slot.row.hidden = event === undefined;
      if (event === undefined) {
        slot.event = undefined;
        continue;
      }
      slot.row.style.transform = `translateY(${at * this.#height}px)`;
      slot.row.setAttribute("aria-posinset", String(at + 1));
      slot.row.setAttribute("aria-setsize", String(this.#events.length));
      const selected = event === this.#selected;
      slot.row.setAttribute("aria-selected", String(selected));
      if (selected) active = slot.row.id;
      if (slot.event !== event) this.#fill(slot, event);
    }
    if (active) this.#list.setAttribute("aria-activedescendant", active);
    else this.#list.removeAttribute("aria-activedescendant");
  }

  #fill(slot, event) {
    slot.event = event;
    const priority = event.volatile ? "volatile" : event.priority;
    slot.row.dataset.priority = priority;
    const texts = [preciseTime(event.time), priority, event.name, preview(event)];
    texts.forEach((text, at) => write(slot.cells[at], text));
  }

  #key(event) {
    const count = this.#events.length;
    const at = this.#events.indexOf(this.#selected);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + 10, PageUp: at - 10, Home: 0, End: count - 1 };
    if (steps[event.key] === undefined || count === 0) return;
    event.preventDefault();
    this.#select(Math.min(Math.max(steps[event.key], 0), count - 1));
  }

  #select(at) {
    this.#selected = this.#events[at];
    const [top, bottom] = [at * this.#height, (at + 1) * this.#height];
    const { scrollTop, clientHeight } = this.#list;
    if (top < scrollTop) this.#list.scrollTop = top;
    else if (bottom > scrollTop + clientHeight) this.#list.scrollTop = bottom - clientHeight;
    this.#draw();
    this.#choose(this.#selected);
  }
}
