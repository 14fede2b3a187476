// Elements, made in one expression.

// `attributes` are set as attributes, functions among them as listeners (`onclick`), `false` and `undefined`
// are left out. Children are nodes or texts.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// The entries of a list of facts, from pairs of a term and a text.
export const facts = (pairs) =>
  pairs.map(([term, fact]) => make("div", {}, make("dt", {}, term), make("dd", {}, fact)));

export const byId = (id) => document.getElementById(id);

// Writes a text only if it changes: what has not changed is not laid out again.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// A message below a field, or none.
export function complain(field, message) {
  const place = byId(field.getAttribute("aria-describedby").split(" ").at(-1));
  write(place, message ?? "");
  if (message) field.setAttribute("aria-invalid", "true");
  else field.removeAttribute("aria-invalid");
}
