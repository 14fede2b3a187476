/**
 * A board that everybody who opens this page shares: what `@tidings/client` does, in a page without a
 * framework. Start reading here.
 */
import "./line.js"; // before the client: it is the network that can be switched off
import { connect } from "./client/index.js";
import { makeColumn } from "./column.js";
import { showConflicts, showRejection } from "./conflicts.js";
import { showConnection } from "./connection.js";
import { letDrag } from "./drag.js";
import { joinPeople } from "./people.js";

const COLUMNS = [
  { id: "ideas", heading: "Ideas" },
  { id: "doing", heading: "Doing" },
  { id: "done", heading: "Done" },
];

const client = connect(location.origin);
const cards = client.collection("demo-cards");
const elements = new Map();
const said = document.getElementById("said");
const say = (text) => (said.textContent = text);

/** What can be done with cards; each is one change, shown at once. */
const board = {
  add: (column, title) => write(() => cards.insert(crypto.randomUUID(), { column, order: last(column) + 1, title })),
  rename: (key, title) => write(() => cards.update(key, { title })),
  like: (key) => write(() => cards.increment(key, "likes")),
  remove(key) {
    const next = neighbour(key, 1) ?? neighbour(key, -1);
    write(() => cards.delete(key));
    elements.get(next)?.querySelector("article").focus();
    say("Removed; undo brings it back");
  },
  /** Moves a card to the end of the column beside its own. */
  moveAside(key, by) {
    const from = COLUMNS.findIndex(({ id }) => id === cards.get(key)?.column);
    const to = COLUMNS[from + by];
    if (to) move(key, to.id, undefined);
  },
  /** Moves a card up or down in its column. */
  moveAlong(key, by) {
    const beyond = neighbour(key, by);
    if (beyond) move(key, cards.get(key).column, by < 0 ? beyond : neighbour(beyond, 1));
  },
  /** Puts the focus on the card above or below. */
  choose: (key, by) => elements.get(neighbour(key, by))?.querySelector("article").focus(),
  editing: (key) => people.edit(key),
  editorsOf: (key) => people?.editorsOf(key) ?? [],
  refresh,
};

let people;
let isDue = false;
const columns = COLUMNS.map((column) => makeColumn(column, cards, elements, board));
document.getElementById("board").append(...columns.map(({ element }) => element));
people = joinPeople(client, refresh);
showConnection(client, say);
showConflicts(cards, headingOf, say);
letDrag(document.getElementById("board"), move);
showPending();
letUndo();

/** Makes a change, and tells if the server does not take it. */
function write(change) {
  if (!attempt(change)) return;
  button("undo").disabled = false;
  button("redo").disabled = true;
}

function attempt(change) {
  try {
    const made = change();
    made?.acknowledged.catch((error) => error.code === "rejected" && showRejection(error));
    return made;
  } catch (error) {
    showRejection(error);
  }
}

/** Puts a card into a column, before another one or at the end. */
function move(key, column, before) {
  const others = entriesOf(column).filter((entry) => entry.key !== key);
  const at = before === undefined ? others.length : others.findIndex((entry) => entry.key === before);
  const above = others[at - 1]?.value.order;
  const below = others[at]?.value.order;
  const order = above === undefined ? (below ?? 1) - 1 : below === undefined ? above + 1 : (above + below) / 2;
  write(() => cards.update(key, { column, order }));
  say(`${cards.get(key)?.title}: ${headingOf(column)}, place ${at + 1} of ${others.length + 1}`);
}

function entriesOf(id) {
  return columns.find((column) => column.id === id).entries.get();
}

function headingOf(id) {
  return COLUMNS.find((column) => column.id === id)?.heading ?? id;
}

function last(id) {
  return entriesOf(id).at(-1)?.value.order ?? 0;
}

function neighbour(key, by) {
  const column = cards.get(key)?.column;
  const keys = column ? entriesOf(column).map((entry) => entry.key) : [];
  return keys[keys.indexOf(key) + by];
}

/** Shows all as it is now, once before the next picture. */
function refresh() {
  if (isDue) return;
  isDue = true;
  queueMicrotask(() => {
    isDue = false;
    const before = places();
    for (const column of columns) column.show();
    for (const [key, element] of elements) {
      if (cards.has(key)) continue;
      element.remove();
      elements.delete(key);
    }
    glide(before);
  });
}

function places() {
  return new Map([...elements].map(([key, element]) => [key, element.getBoundingClientRect()]));
}

/** Cards that have another place now go there instead of jumping. */
function glide(before) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const [key, element] of elements) {
    const from = before.get(key);
    const to = element.getBoundingClientRect();
    const [x, y] = from ? [from.left - to.left, from.top - to.top] : [0, 0];
    if (!from) element.animate([{ opacity: 0, scale: 0.97 }, {}], { duration: 160, easing: "ease-out" });
    else if (x || y) element.animate([{ translate: `${x}px ${y}px` }, {}], { duration: 220, easing: "ease-out" });
  }
}

function showPending() {
  const output = document.getElementById("pending");
  cards.pending.subscribe((count) => {
    output.hidden = count === 0;
    output.textContent = count === 1 ? "1 change waits" : `${count} changes wait`;
  });
}

function letUndo() {
  button("undo").addEventListener("click", undo);
  button("redo").addEventListener("click", redo);
  addEventListener("keydown", (event) => {
    if (event.target.closest?.("input, textarea") || !(event.ctrlKey || event.metaKey)) return;
    const act = { z: event.shiftKey ? redo : undo, y: redo }[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function undo() {
  const made = attempt(() => cards.undo());
  button(made ? "redo" : "undo").disabled = !made;
  say(made ? "Undone" : "Nothing to undo");
}

function redo() {
  const made = attempt(() => cards.redo());
  button(made ? "undo" : "redo").disabled = !made;
  say(made ? "Done again" : "Nothing to do again");
}

function button(id) {
  return document.getElementById(id);
}
