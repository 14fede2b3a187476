// Steps about being there.
import { fails, isSame, nothing, same, text, until } from "./world.js";

export const presence = {
  async join(world, { client: name, collection, as, record, fails: code, reason, ...others }) {
    nothing(others);
    const client = world.client(name);
    if (code) return fails(code, () => client.join(collection, record), reason);
    world.presences.set(as, await client.join(collection, record));
  },

  async tell(world, { presence, record, rejected, ...others }) {
    nothing(others);
    const there = world.presence(presence);
    if (rejected) return fails("rejected", () => there.update(record), rejected);
    await there.update(record);
  },

  async leave(world, { presence, ...others }) {
    nothing(others);
    await world.presence(presence).close();
  },

  async there(world, { client, collection: name, are, ...others }) {
    nothing(others);
    const collection = world.person(client).collection(name);
    const there = () => collection.all().map(({ value }) => text(value)).sort();
    const expected = are.map(text).sort();
    await until(() => isSame(there(), expected), () => `there are ${there()}`);
    same(there(), expected, "who is there");
  },
};
