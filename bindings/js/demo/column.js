/** One column: its cards in their order, live, and the form that adds one. */
import { makeCard, showCard } from "./card.js";

const template = document.getElementById("column").content.firstElementChild;

/** Shows the cards of a column. Cards are moved between columns as elements: `elements` has them all. */
export function makeColumn({ id, heading }, cards, elements, board) {
  const element = template.cloneNode(true);
  element.dataset.column = id;
  const list = element.querySelector(".cards");
  const form = element.querySelector(".add");
  element.querySelector(".heading").textContent = heading;
  list.setAttribute("aria-label", heading);
  form.firstElementChild.setAttribute("aria-label", `Add a card to ${heading}`);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const title = form.firstElementChild.value.trim();
    if (title) board.add(id, title);
    form.reset();
  });

  const entries = cards.view({ where: (card) => card.column === id, sortBy: "order" });
  entries.subscribe(() => board.refresh());
  return {
    id,
    element,
    entries,
    show() {
      const shown = entries.get();
      element.querySelector(".count").textContent = shown.length;
      element.classList.toggle("empty", shown.length === 0);
      let next = list.querySelector(".card");
      for (const entry of shown) {
        let card = elements.get(entry.key);
        if (!card) elements.set(entry.key, (card = makeCard(entry.key, board)));
        showCard(card, entry, board.editorsOf(entry.key));
        if (card === next) {
          next = nextCard(next);
        } else if (card.parentElement?.isConnected) {
          keepFocus(() => list.insertBefore(card, next));
        } else {
          list.insertBefore(card, next);
        }
      }
    },
  };
}

function nextCard(card) {
  let next = card.nextElementSibling;
  while (next && !next.classList.contains("card")) next = next.nextElementSibling;
  return next;
}

/** An element that is moved in the document loses the focus. */
function keepFocus(move) {
  const focused = document.activeElement;
  move();
  if (focused !== document.activeElement) focused.focus({ preventScroll: true });
}
