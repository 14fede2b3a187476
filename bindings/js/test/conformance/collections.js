// Steps about collections.
import { fail, fails, isSame, nothing, same, until } from "./world.js";

const CHANGES = ["insert", "update", "replace", "delete", "increment"];

function change(writes, step) {
  const what = CHANGES.find((what) => Object.hasOwn(step, what)) ?? fail(`nobody knows ${JSON.stringify(step)}`);
  const { [what]: key, value, ...others } = step;
  nothing(others);
  if (what === "increment") {
    for (const [field, by] of Object.entries(value)) writes.increment(key, field, by);
  } else {
    writes[what](key, value);
  }
}

const shown = (collection) => ({
  records: Object.fromEntries(collection.all().map(({ key, value }) => [key, value])),
  pending: collection.pending.get(),
});

// A write that was made by undo or redo.
const again = (what) => async (world, { client, collection, ...others }) => {
  nothing(others);
  const write = world.person(client).collection(collection)[what]();
  await (write ?? fail(`there is nothing to ${what}`)).seen;
};

export const collections = {
  undo: again("undo"),
  redo: again("redo"),

  async open(world, { client, collection: name, maxPending, page, ...others }) {
    nothing(others);
    const person = world.person(client);
    const collection = person.client.collection(name, { maxPending, page });
    person.collections.set(name, collection);
    await collection.ready();
    if (person.client.status.get().state === "connected") await collection.loaded();
  },

  async write(world, { client, collection: name, changes, as, wait = "seen", fails: code, reason, ...others }) {
    nothing(others);
    const collection = world.person(client).collection(name);
    const make = () => collection.batch((writes) => changes.forEach((step) => change(writes, step)));
    if (code) return fails(code, make, reason);
    const write = make();
    // Told by who waits for it.
    write.seen.catch(() => undefined);
    if (as) world.writes.set(as, write);
    if (wait === "seen") await write.seen;
    else if (wait !== "nothing") fail(`nobody waits for ${wait}`);
  },

  async written(world, { write: name, rejected, ...others }) {
    nothing(others);
    const write = world.writes.get(name) ?? fail(`there is no write ${name}`);
    if (rejected) await fails("rejected", () => write.seen, rejected);
    else await write.seen;
  },

  async shows(world, { client, collection: name, records, pending = 0, now = false, ...others }) {
    nothing(others);
    const collection = world.person(client).collection(name);
    const is = () => isSame(shown(collection), { records, pending });
    if (!now) await until(is, () => `it shows ${JSON.stringify(shown(collection))}`);
    same(shown(collection), { records, pending }, `what ${name} shows`);
  },

  async conflicts(world, { client, collection: name, are, ...others }) {
    nothing(others);
    const { conflicts } = world.person(client).collection(name);
    await until(() => conflicts.get().length >= are.length, () => `there are ${conflicts.get().length}`);
    const all = conflicts.get().map(({ key, outcome, mine, theirs }) => ({ key, outcome, mine, theirs }));
    same(all, are, "the conflicts");
  },
};
