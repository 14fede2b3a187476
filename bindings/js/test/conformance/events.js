// Steps about events and requests.
import { fail, fails, isSame, nothing, same, until } from "./world.js";

// What a subscription has got so far.
class Got {
  events = {};
  missed = { gap: 0, overflow: 0 };
  #expected;

  note({ name, payload }) {
    (this.events[name] ??= []).push(payload instanceof Uint8Array ? `bytes ${number(payload)}` : payload);
  }

  miss({ reason, count = 1 }) {
    this.missed[reason] += count;
  }

  expect(events, missed, isBytes) {
    const numbers = (range) => {
      const [from, to] = typeof range === "number" ? [0, range] : range;
      return Array.from({ length: to - from }, (_, at) => (isBytes ? `bytes ${from + at}` : from + at));
    };
    const all = Object.entries(events).map(([name, range]) => [name, numbers(range)]);
    this.#expected = { events: Object.fromEntries(all), missed };
  }

  // Whether so much has come, right or wrong.
  isThere() {
    const { events, missed } = this.#expected;
    const came = Object.entries(events).every(
      ([name, numbers]) => (this.events[name]?.length ?? 0) >= numbers.length,
    );
    const enough = missed === "gap" ? this.missed.gap > 0 : this.missed.overflow >= (missed?.overflow ?? 0);
    return this.error !== undefined || (came && enough);
  }

  #isMissed(missed) {
    if (missed === "gap") return this.missed.gap > 0 && this.missed.overflow === 0;
    return isSame(this.missed, { gap: 0, overflow: 0, ...missed });
  }

  check() {
    if (this.error) throw this.error;
    if (!this.#expected) return;
    const { events, missed } = this.#expected;
    const names = [...new Set([...Object.keys(events), ...Object.keys(this.events)])];
    for (const name of names) same(this.events[name] ?? [], events[name] ?? [], `what came as ${name}`);
    if (!this.#isMissed(missed)) fail(`missed: ${this.tell()}, not ${JSON.stringify(missed ?? {})}`);
  }

  tell() {
    const counts = Object.entries(this.events).map(([name, numbers]) => `${numbers.length} ${name}`);
    return `${counts.join(", ")} came, missed ${JSON.stringify(this.missed)}`;
  }
}

const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, 4);
const number = (bytes) => view(bytes).getUint32(0);

function bytes(number) {
  const bytes = new Uint8Array(4);
  view(bytes).setUint32(0, number);
  return bytes;
}

async function publish(world, person, { name, count, priority, volatile, bytes: isBytes, timeout, fails: code }) {
  const first = world.numbers.get(name) ?? 0;
  const numbers = Array.from({ length: count }, (_, at) => first + at);
  const publish = async (number) =>
    person.client.publish(name, isBytes ? bytes(number) : number, { priority, volatile, timeout });
  if (code) {
    for (const number of numbers) await fails(code, () => publish(number));
    return [];
  }
  world.numbers.set(name, first + count);
  const published = numbers.map(publish);
  // Told by who waits for them.
  for (const one of published) one.catch(() => undefined);
  if (!volatile) person.published.push(...published);
  return published;
}

function subscribe(client, got, pattern, hold, options) {
  if (hold) return client.subscribe(pattern, options);
  return client.subscribe(pattern, (event) => got.note(event), options);
}

export const events = {
  async subscribe(world, { client, as, pattern, since, wait = true, hold = false, ...others }) {
    nothing(others);
    if (since !== undefined && since !== "beginning") fail(`nobody knows since ${since}`);
    const got = new Got();
    got.subscription = subscribe(world.client(client), got, pattern, hold, {
      since: since && Object.fromEntries([...world.lanes].map((lane) => [lane, [0, 0]])),
      onMissed: (missed) => got.miss(missed),
      onError: (error) => (got.error = error),
    });
    world.subscriptions.set(as, got);
    if (wait) await got.subscription.ready();
  },

  async subscribed(world, { subscription, ...others }) {
    nothing(others);
    await world.subscription(subscription).subscription.ready();
  },

  take(world, { subscription, ...others }) {
    nothing(others);
    const got = world.subscription(subscription);
    const take = async () => {
      for await (const event of got.subscription) got.note(event);
    };
    take().catch((error) => (got.error = error));
  },

  async unsubscribe(world, { subscription, ...others }) {
    nothing(others);
    await world.subscription(subscription).subscription.close();
  },

  async publish(world, { client, name, count, wait = true, priority, volatile, bytes, timeout, fails, ...others }) {
    nothing(others);
    const what = { name, count, priority, volatile, bytes, timeout, fails };
    const published = await publish(world, world.person(client), what);
    if (!wait) return;
    for (const position of await Promise.all(published)) if (position) world.lanes.add(position.lane);
  },

  async acknowledged(world, { client, count, ...others }) {
    nothing(others);
    const { published } = world.person(client);
    same(published.length, count, "how many were to be acknowledged");
    const positions = await Promise.all(published);
    const places = new Set(positions.map(({ lane, offset }) => `${lane} ${offset}`));
    same(places.size, count, "how many places the acknowledged have");
  },

  async expect(world, { subscription, events, missed, bytes = false, ...others }) {
    nothing(others);
    const got = world.subscription(subscription);
    got.expect(events, missed, bytes);
    await until(() => got.isThere(), () => got.tell());
    got.check();
  },

  async request(world, { client: name, name: of, payload, reply, fails: code, ...others }) {
    nothing(others);
    const client = world.client(name);
    if (code) return fails(code, () => client.request(of, payload));
    same(await client.request(of, payload), reply, "the reply");
  },

  answer(world, { client, name, adding, ...others }) {
    nothing(others);
    world.client(client).handle(name, (payload) => payload + adding);
  },
};
