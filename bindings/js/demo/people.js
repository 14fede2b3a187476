/** Who is here, and who edits what. A record of the collection ends with the session that joined. */

const COLLECTION = "demo-people";
/** How many are shown; of more, how many they are. */
const SHOWN = 6;
const NAMES = ["Ada", "Ben", "Cleo", "Dora", "Emil", "Fritz", "Grete", "Hugo", "Ida", "Jona", "Kaja", "Lene", "Milo", "Nora"];

const list = document.getElementById("people");
const field = document.getElementById("name");

/** Joins as somebody; `changed` is called whenever who edits what has changed. */
export function joinPeople(client, changed) {
  const me = remembered();
  const joined = client.join(COLLECTION, me);
  // It goes out when there is a connection.
  const tell = () => joined.then((there) => there.update(me));
  let key;
  joined.then((there) =>
    there.key.subscribe((mine) => {
      key = mine;
      show();
    }),
  );

  field.value = me.name;
  field.addEventListener("change", () => {
    me.name = field.value.trim() || me.name;
    field.value = me.name;
    sessionStorage.setItem("me", JSON.stringify({ name: me.name, hue: me.hue }));
    tell();
  });

  const people = client.collection(COLLECTION, { storage: "memory" }).view({ sortBy: "name" });
  const show = () => {
    const all = people.get();
    const shown = all.slice(0, all.length > SHOWN ? SHOWN - 1 : SHOWN);
    list.replaceChildren(...shown.map((person) => avatar(person.value, person.key === key)));
    if (all.length > shown.length) list.append(more(all.length - shown.length));
    changed();
  };
  people.subscribe(show);
  return {
    /** The others who edit this card. */
    editorsOf: (card) => people.get().filter((person) => person.key !== key && person.value.editing === card),
    /** Tells the others which card one edits; `undefined`: none. */
    edit(card) {
      if (card === undefined) delete me.editing;
      else me.editing = card;
      tell();
    },
  };
}

function remembered() {
  try {
    const me = JSON.parse(sessionStorage.getItem("me"));
    if (me) return me;
  } catch {
    // Not ours: somebody new, then.
  }
  const any = (n) => Math.floor(Math.random() * n);
  const me = { name: NAMES[any(NAMES.length)], hue: any(12) * 30 };
  sessionStorage.setItem("me", JSON.stringify(me));
  return me;
}

function avatar({ name, hue }, isMe) {
  const item = document.createElement("li");
  item.className = isMe ? "avatar me" : "avatar";
  item.style.setProperty("--hue", hue);
  item.textContent = [...name][0];
  item.title = isMe ? `${name} (you)` : name;
  item.setAttribute("aria-label", item.title);
  return item;
}

function more(count) {
  const item = document.createElement("li");
  item.className = "avatar more";
  item.textContent = `+${count}`;
  item.title = `and ${count} more`;
  return item;
}
