/** Cards are dragged with a mouse or a pen; on a touch screen and with the keyboard there are buttons. */

/** How far the pointer must move until that is no click, in pixels. */
const FAR = 5;

/** Lets cards in `board` be dragged; `drop(key, column, before)` is told where one was let go. */
export function letDrag(board, drop) {
  board.addEventListener("pointerdown", (down) => {
    const card = down.target.closest(".card");
    if (!card || down.button !== 0 || down.pointerType === "touch") return;
    if (down.target.closest("button, textarea")) return;
    const over = new AbortController();
    let drag;
    const listen = (type, listener) => addEventListener(type, listener, { signal: over.signal });
    const end = () => {
      over.abort();
      drag?.end();
    };
    listen("pointermove", (move) => {
      if (!drag && Math.hypot(move.clientX - down.clientX, move.clientY - down.clientY) < FAR) return;
      drag ??= begin(card, down);
      drag.move(move);
    });
    listen("pointerup", () => {
      const target = drag?.target();
      end();
      if (target) {
        // The click that follows is part of the dragging.
        addEventListener("click", (click) => click.stopPropagation(), { capture: true, once: true });
        setTimeout(() => dispatchEvent(new Event("click")));
        drop(card.dataset.key, target.column, target.before);
      }
    });
    listen("pointercancel", end);
    listen("keydown", (event) => event.key === "Escape" && end());
  });
}

function begin(card, { clientX, clientY }) {
  const box = card.getBoundingClientRect();
  const ghost = card.cloneNode(true);
  const slot = document.createElement("li");
  ghost.classList.add("ghost");
  ghost.inert = true;
  for (const side of ["left", "top", "width"]) ghost.style.setProperty(side, `${box[side]}px`);
  slot.className = "slot";
  slot.style.setProperty("height", `${box.height}px`);
  card.classList.add("dragged");
  document.body.classList.add("dragging");
  document.body.append(ghost);
  card.before(slot);
  getSelection()?.removeAllRanges();
  return {
    move(to) {
      ghost.style.setProperty("translate", `${to.clientX - clientX}px ${to.clientY - clientY}px`);
      const column = document.elementFromPoint(to.clientX, to.clientY)?.closest(".column");
      if (!column) return;
      const others = [...column.querySelectorAll(".card:not(.dragged)")];
      const before = others.find((other) => {
        const { top, height } = other.getBoundingClientRect();
        return to.clientY < top + height / 2;
      });
      const list = column.querySelector(".cards");
      if (slot.parentElement !== list || slot.nextElementSibling !== (before ?? null)) {
        list.insertBefore(slot, before ?? null);
      }
    },
    target() {
      let next = slot.nextElementSibling;
      while (next && !next.matches(".card:not(.dragged)")) next = next.nextElementSibling;
      return { column: slot.closest(".column").dataset.column, before: next?.dataset.key };
    },
    end() {
      ghost.remove();
      slot.remove();
      card.classList.remove("dragged");
      document.body.classList.remove("dragging");
    },
  };
}
