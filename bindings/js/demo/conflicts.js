/** What has become of changes that met those of others: shown until it is dismissed. */

const template = document.getElementById("conflict").content.firstElementChild;
const place = document.getElementById("conflicts");
const OUTCOMES = {
  mine: "Yours holds now.",
  theirs: "Theirs holds now.",
  merged: "Both were put together; where they differ, yours holds.",
};
const LABELS = { title: "Title", column: "Column", order: "Place", likes: "Likes" };

/** Shows the conflicts of `cards`; `heading` names a column. */
export function showConflicts(cards, heading, say) {
  let known = cards.conflicts.get();
  cards.conflicts.subscribe((conflicts) => {
    const fresh = conflicts.filter((conflict) => !known.includes(conflict));
    known = conflicts;
    for (const conflict of fresh) show(conflict);
  });

  const words = (field, value) => {
    if (value === undefined) return "–";
    if (field === "column") return heading(value);
    return field === "order" ? Number(value).toFixed(1) : String(value);
  };

  function show(conflict) {
    const { key, base, mine, theirs, outcome } = conflict;
    const fields = Object.keys(LABELS).filter((field) => theirs?.[field] !== undefined && theirs[field] !== mine?.[field]);
    const rows = fields.map((field) => [LABELS[field], ...[base, mine, theirs].map((side) => words(field, side?.[field]))]);
    const take = async () => {
      try {
        await cards.update(key, Object.fromEntries(fields.map((field) => [field, theirs[field]]))).acknowledged;
        say("Theirs holds now");
      } catch (error) {
        say(error.message);
      }
    };
    const title = cards.get(key)?.title ?? "A card that is gone";
    add("Two changed the same card", `“${title}”. ${OUTCOMES[outcome]}`, rows, cards.has(key) ? take : undefined);
    say("Somebody else has changed the same card; what became of it is shown");
  }
}

/** Shows that the server did not take a change, which is undone. */
export function showRejection(error) {
  add("A change was not possible", `${sentence(error.message)} It was taken back.`, []);
}

const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.?$/, ".")}`;

function add(heading, text, rows, take) {
  const element = template.cloneNode(true);
  element.querySelector("h2").textContent = heading;
  element.querySelector(".what").textContent = text;
  const list = element.querySelector("dl");
  for (const [label, base, mine, theirs] of rows) {
    for (const [term, value] of [["Was", base], ["Yours", mine], ["Theirs", theirs]]) {
      const group = document.createElement("div");
      const name = document.createElement("dt");
      const content = document.createElement("dd");
      name.textContent = rows.length > 1 ? `${label}: ${term.toLowerCase()}` : term;
      content.textContent = value;
      group.append(name, content);
      list.append(group);
    }
  }
  const close = () => {
    element.remove();
    place.hidden = place.childElementCount === 0;
  };
  const theirs = element.querySelector(".theirs");
  if (take) theirs.addEventListener("click", () => (take(), close()));
  else theirs.remove();
  element.querySelector(".dismiss").addEventListener("click", close);
  place.append(element);
  place.hidden = false;
}
