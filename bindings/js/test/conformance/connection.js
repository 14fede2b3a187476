// Steps about clients and their connections.
import { fail, fails, nothing, same, until } from "./world.js";

const isAs = (client, is) => until(
  () => client.status.get().state === is,
  () => `the client is ${JSON.stringify(client.status.get())}`,
);

// What is done to the network of a client.
const network = (what) => async (world, { client, ...others }) => {
  nothing(others);
  world.client(client);
  await world.please(what, client);
};

const server = (what) => async (world, others) => {
  nothing(others);
  await world.please(what);
};

export const connection = {
  cut: network("cut"),
  unplug: network("unplug"),
  refuse: network("refuse"),
  plug: network("plug"),
  stop: server("stop"),
  start: server("start"),

  async connect(world, { client, wait = true, format, queue, buffer, ...others }) {
    nothing(others);
    const person = await world.connect(client, { format, queue, buffer });
    if (wait) await person.client.ready();
  },

  async close(world, { client, ...others }) {
    nothing(others);
    await world.client(client).close();
  },

  async status(world, { client, is, ...others }) {
    nothing(others);
    await isAs(world.client(client), is);
  },

  async stats(world, { client, is = {}, atLeast = {}, ...others }) {
    nothing(others);
    const stats = await world.client(client).stats();
    for (const [name, count] of [...Object.entries(is), ...Object.entries(atLeast)]) {
      if (typeof stats[name] !== "number") fail(`nobody counts ${name}`);
      if (Object.hasOwn(is, name)) same(stats[name], count, name);
      else if (stats[name] < count) fail(`${name}: ${stats[name]}, not at least ${count}`);
    }
  },

  async switch(world, { client: name, to, fails: code, ...others }) {
    nothing(others);
    const client = world.client(name);
    if (code) return fails(code, () => client.switchTransport(to));
    same(await client.switchTransport(to), to, "the transport");
    same(client.status.get().transport, to, "the transport by the status");
  },
};
