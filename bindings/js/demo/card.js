/** One card: how it looks, and how it is edited where it stands. */

const template = document.getElementById("card").content.firstElementChild;

/** A card's element. `board` is what can be done with cards. */
export function makeCard(key, board) {
  const element = template.cloneNode(true);
  element.dataset.key = key;
  const find = (selector) => element.querySelector(selector);
  find("article").addEventListener("keydown", (event) => onKey(event, key, board, () => edit(element, key, board)));
  find(".title").addEventListener("click", () => edit(element, key, board));
  find(".like").addEventListener("click", () => board.like(key));
  find(".left").addEventListener("click", () => board.moveAside(key, -1));
  find(".right").addEventListener("click", () => board.moveAside(key, 1));
  find(".remove").addEventListener("click", () => board.remove(key));
  return element;
}

function onKey(event, key, board, startEdit) {
  if (event.target !== event.currentTarget) return;
  const moves = {
    ArrowLeft: () => board.moveAside(key, -1),
    ArrowRight: () => board.moveAside(key, 1),
    ArrowUp: () => board.moveAlong(key, -1),
    ArrowDown: () => board.moveAlong(key, 1),
  };
  const others = {
    Enter: startEdit,
    F2: startEdit,
    Delete: () => board.remove(key),
    ArrowUp: () => board.choose(key, -1),
    ArrowDown: () => board.choose(key, 1),
  };
  const act = event.altKey ? moves[event.key] : others[event.key];
  if (!act || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  act();
}

/** Brings the element up to date with its record. */
export function showCard(element, { value, pending }, editors) {
  const find = (selector) => element.querySelector(selector);
  const title = find(".title");
  if (title && title.textContent !== value.title) {
    if (title.textContent) flash(element);
    title.textContent = value.title;
  }
  const meanwhile = find(".meanwhile");
  if (meanwhile) {
    const isOther = value.title !== meanwhile.dataset.begun;
    meanwhile.textContent = isOther ? `Meanwhile it says: ${value.title}` : "";
  }
  find("article").setAttribute("aria-label", value.title);
  const likes = value.likes ?? 0;
  find(".like span").textContent = likes || "";
  find(".like").setAttribute("aria-label", `Like, ${likes} so far`);
  find(".like").classList.toggle("liked", likes > 0);
  element.classList.toggle("pending", pending);
  const names = editors.map((editor) => editor.value.name);
  find(".editors").textContent = names.length > 0 ? `${names.join(", ")} ${names.length > 1 ? "edit" : "edits"}` : "";
  element.classList.toggle("edited", names.length > 0);
  if (names.length > 0) element.style.setProperty("--hue", editors[0].value.hue);
}

function flash(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // The animation begins anew.
  element.classList.add("changed");
}

/** Lets the title be edited: Enter and leaving the field keep it, Escape does not. */
function edit(element, key, board) {
  const title = element.querySelector(".title");
  if (!title) return;
  const field = document.createElement("textarea");
  field.className = "field";
  field.maxLength = 200;
  field.rows = 1;
  field.setAttribute("aria-label", "Title");
  field.value = title.textContent;
  const meanwhile = document.createElement("p");
  meanwhile.className = "meanwhile";
  meanwhile.dataset.begun = title.textContent;
  title.replaceWith(field, meanwhile);
  field.focus();
  field.select();
  board.editing(key);

  let isOver = false;
  const end = (keep, refocus) => {
    if (isOver) return;
    isOver = true;
    const text = field.value.trim().replaceAll(/\s+/g, " ");
    field.replaceWith(title);
    meanwhile.remove();
    board.editing(undefined);
    if (keep && text && text !== meanwhile.dataset.begun) {
      title.textContent = text;
      board.rename(key, text);
    }
    board.refresh();
    if (refocus) element.querySelector("article").focus();
  };
  field.addEventListener("blur", () => end(true, false));
  field.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") end(false, true);
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      end(true, true);
    }
  });
}
