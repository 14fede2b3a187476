// What a scenario has: clients, each with a network of its own, and what each of them has got.

// How long something that must come may take.
const PATIENCE = 30_000;

export function fail(message) {
  throw new Error(message);
}

// Members of a step that are left when all that are known were taken.
export function nothing(others) {
  const names = Object.keys(others);
  if (names.length > 0) fail(`nobody knows ${names.join()}`);
}

// Members of objects may be in any order.
export const text = (value) =>
  JSON.stringify(value, (_, value) =>
    value?.constructor === Object ? Object.fromEntries(Object.entries(value).sort()) : value,
  );

export function same(is, expected, what) {
  const [a, b] = [text(is), text(expected)];
  if (a !== b) fail(`${what}: ${a}, not ${b}`);
}

export const isSame = (one, other) => text(one) === text(other);

export async function until(is, otherwise) {
  for (const end = Date.now() + PATIENCE; !is(); ) {
    if (Date.now() > end) fail(`it never came to that: ${otherwise()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

// It must fail with this code, and a write for this reason.
export async function fails(code, what, reason) {
  const error = await (async () => what())().then(
    () => fail(`it succeeded, and should have failed as ${code}`),
    (error) => error,
  );
  if (error.code !== code || (reason && error.reason !== reason)) {
    fail(`it failed as ${error.code} ${error.reason ?? ""} (${error.message}), not ${code} ${reason ?? ""}`);
  }
}

const BY = {
  ws: { transport: "ws" },
  socketio: { transport: "socketio" },
  polling: { transport: "socketio", socketioTransports: ["polling"] },
};

// Somebody with a client.
class Person {
  published = [];
  collections = new Map();

  constructor(client) {
    this.client = client;
  }

  collection(name) {
    return this.collections.get(name) ?? fail(`the collection ${name} is not open`);
  }
}

export class World {
  #connect;
  #by;
  #people = new Map();
  subscriptions = new Map();
  writes = new Map();
  presences = new Map();
  // Which number comes next under each name.
  numbers = new Map();
  // Lanes that something was published in.
  lanes = new Set();

  constructor(connect, please, by) {
    this.#connect = connect;
    this.please = please;
    this.#by = BY[by] ?? fail(`nobody knows the transport ${by}`);
  }

  async connect(name, options) {
    const url = await this.please("cable", name);
    const reconnect = { minDelay: 5, maxDelay: 50 };
    const person = new Person(this.#connect(url, { ...this.#by, reconnect, ...options }));
    this.#people.set(name, person);
    return person;
  }

  person(name) {
    return this.#people.get(name) ?? fail(`there is no client ${name}`);
  }

  client(name) {
    return this.person(name).client;
  }

  subscription(name) {
    return this.subscriptions.get(name) ?? fail(`there is no subscription ${name}`);
  }

  presence(name) {
    return this.presences.get(name) ?? fail(`there is no presence ${name}`);
  }

  // What comes before an answer has come, so what was expected still holds.
  async ends() {
    for (const { client } of this.#people.values()) {
      if (client.status.get().state === "connected") await client.request("echo", null);
    }
    for (const subscription of this.subscriptions.values()) subscription.check();
  }

  async close() {
    await Promise.all([...this.#people.values()].map(({ client }) => client.close({ timeout: 1000 })));
  }
}
