// What the package must do wherever it runs. It is imported by Node and by pages: nothing of either is
// used here. Each check is given the package and a server of its own to speak with.

export function ensure(so, otherwise) {
  if (!so) throw new Error(otherwise);
}

// Members of objects may be in any order.
const text = (value) =>
  JSON.stringify(value, (_, value) =>
    value?.constructor === Object ? Object.fromEntries(Object.entries(value).sort()) : value,
  );

export function same(is, expected, what = "it") {
  const [a, b] = [text(is), text(expected)];
  if (a !== b) throw new Error(`${what} is ${a}, not ${b}`);
}

// The error that a promise or a function ends with; its code must be this one.
export async function fails(code, what) {
  try {
    await (typeof what === "function" ? what() : what);
  } catch (error) {
    same([error.name, error.code], ["TidingsError", code], `${error.stack}\nthe error`);
    return error;
  }
  throw new Error(`it did not fail with ${code}`);
}

export function until(store, is) {
  return new Promise((resolve) => {
    let unsubscribe;
    let over = false;
    unsubscribe = store.subscribe((value) => {
      if (over || !is(value)) return;
      over = true;
      resolve(value);
      queueMicrotask(() => unsubscribe());
    });
  });
}

async function take(subscription, count) {
  const events = [];
  for await (const event of subscription) {
    events.push(event);
    if (events.length === count) break;
  }
  return events;
}

let names = 0;
// A name that no other check uses.
const fresh = (name) => `${name}.${Date.now().toString(36)}${(names += 1)}`;

const quick = { reconnect: { minDelay: 20, maxDelay: 200 } };

export const checks = {
  async "events come to callbacks and to for await, with all that is known of them"(place) {
    const client = place.connect(place.url);
    const name = fresh("orders");
    const called = [];
    const callback = client.subscribe(`${name}.**`, (event) => called.push(event));
    const loop = client.subscribe(`${name}.*.created`);
    await Promise.all([callback.ready(), loop.ready()]);
    const other = await client.publish(`${name}.eu.cancelled`, "No. 16");
    const payload = { text: "für Zoë 🎉 \u2028 \"", list: [1, 2.5, null, true], nested: { a: {} } };
    const options = { priority: "high", headers: { trace: "a\nb", zwei: "ü" } };
    const position = await client.publish(`${name}.eu.created`, payload, options);
    const [event] = await take(loop, 1);
    same(event.payload, payload, "the payload");
    const { name: its, priority, headers, position: where, replayed } = event;
    same([its, priority, replayed], [`${name}.eu.created`, "high", false]);
    same([headers, where], [options.headers, position]);
    ensure(Math.abs(event.time - Date.now()) < 60_000, `its time is ${event.time}`);
    ensure(typeof event.id === "string" && event.id !== "", "it has no id");
    ensure(other.offset > 0 && other.lane !== position.lane, "another priority has another lane");
    ensure(loop.closed, "leaving the loop does not end the subscription");
    // Priorities overtake each other.
    await place.until(() => called.length === 2);
    const seen = called.map((event) => event.name).sort();
    same(seen, [`${name}.eu.cancelled`, `${name}.eu.created`], "what the callback has seen");
    await client.close();
  },

  async "bytes stay bytes"(place) {
    for (const format of place.formats ?? ["json"]) {
      const client = place.connect(place.url, { format });
      const name = fresh("bytes");
      const subscription = client.subscribe(name);
      await subscription.ready();
      const bytes = Uint8Array.from({ length: 1000 }, (_, at) => at % 256);
      await client.publish(name, bytes);
      const [{ payload }] = await take(subscription, 1);
      ensure(payload instanceof Uint8Array, `${payload} is no Uint8Array`);
      same([...payload], [...bytes], "the payload");
      const reply = await client.request("echo", bytes);
      same([...reply], [...bytes], "the reply");
      await client.close();
    }
  },

  async "events that may wait come together"(place) {
    const [client, publisher] = [{ batchDelay: 500 }, {}].map((options) =>
      place.connect(place.url, { transport: "ws", ...options }),
    );
    const name = fresh("together");
    const subscription = client.subscribe(name);
    await subscription.ready();
    const { messagesIn: before } = await client.stats();
    for (let n = 0; n < 50; n += 1) await publisher.publish(name, n);
    const events = await take(subscription, 50);
    same(events.map(({ payload }) => payload), Array.from({ length: 50 }, (_, n) => n));
    const messages = (await client.stats()).messagesIn - before;
    ensure(messages < 25, `50 events came as ${messages} messages`);
    await Promise.all([client.close(), publisher.close()]);
  },

  async "requests are answered, in both directions"(place) {
    const client = place.connect(place.url);
    same(await client.request("echo", { hello: ["you"] }), { hello: ["you"] });
    same(await client.request("echo"), null);
    const refused = await fails("refused", client.request("nobody handles this"));
    same([refused.refusal, refused.retryable], [306, false]);
    const asked = [];
    const handler = client.handle("question", async (payload, request) => {
      asked.push(request.name);
      if (payload === "throw") throw new Error("no such thing");
      return payload + 1;
    });
    same(await client.request("ask me", 41), 42);
    const thrown = await fails("refused", client.request("ask me", "throw"));
    ensure(thrown.message.includes("no such thing"), thrown.message);
    await handler.close();
    await fails("refused", client.request("ask me", 41));
    same(asked, ["question", "question"]);
    await client.close();
  },

  async "a collection shows writes at once, and others see them"(place) {
    const [ann, ben] = [place.connect(place.url), place.connect(place.url)];
    const [mine, theirs] = [ann.collection("todos"), ben.collection("todos")];
    await Promise.all([mine.loaded(), theirs.loaded()]);
    const key = fresh("tea").replace(".", "-");
    const write = mine.insert(key, { title: "Make tea", done: false, votes: 0 });
    same(mine.get(key), { title: "Make tea", done: false, votes: 0 });
    same([mine.record(key).get().pending, mine.pending.get()], [true, 1]);
    ensure((await write.acknowledged).version > 0, "it has no version");
    await write.seen;
    same([mine.record(key).get().pending, mine.pending.get()], [false, 0]);
    await until(theirs.record(key), (entry) => entry?.value.title === "Make tea");
    const open = theirs.view({ where: (todo) => !todo.done, sortBy: "title" });
    ensure(open.get().some((entry) => entry.key === key), "it is not in the view");
    mine.update(key, (todo) => {
      todo.done = true;
    });
    mine.increment(key, "votes", 3);
    theirs.update(key, { title: "Make coffee" });
    await until(open, (entries) => !entries.some((entry) => entry.key === key));
    await Promise.all([mine.settled(), theirs.settled()]);
    const after = { title: "Make coffee", done: true, votes: 3 };
    await until(mine.record(key), ({ value }) => value.title === after.title);
    await until(theirs.record(key), ({ value }) => value.votes === 3);
    same(mine.get(key), after, "mine");
    same(theirs.get(key), after, "theirs");
    await mine.undo().seen;
    same(mine.get(key).votes, 0, "after undo");
    await mine.redo().seen;
    same(mine.get(key).votes, 3, "after redo");
    const exists = await fails("rejected", () => mine.insert(key, after));
    same(exists.reason, "exists");
    same((await fails("rejected", () => mine.update(`${key}-no`, {}))).reason, "missing");
    await mine.batch((writes) => {
      writes.insert(`${key}-b`, after);
      writes.delete(key);
    }).seen;
    same([mine.has(key), mine.has(`${key}-b`)], [false, true]);
    await until(theirs.record(key), (entry) => entry === undefined);
    await mine.delete(`${key}-b`).acknowledged;
    await Promise.all([ann.close(), ben.close()]);
    ensure(mine.status.get().closed, "the client is closed and the collection is not");
  },

  async "aborting gives up what is waited for, and ends what goes on"(place) {
    const client = place.connect(place.url);
    const reason = new Error("enough");
    const isReason = async (promise, what) => {
      const error = await promise.then(() => undefined, (error) => error);
      ensure(error === reason, `${what} ended with ${error}`);
    };
    const aborted = AbortSignal.abort(reason);
    const soon = () => {
      const controller = new AbortController();
      queueMicrotask(() => controller.abort(reason));
      return controller.signal;
    };
    for (const signal of [aborted, soon()]) {
      await isReason(client.request("echo", 1, { signal }), "a request");
    }
    await isReason(client.publish(fresh("a"), 1, { signal: aborted }), "a publish");
    await isReason(client.ready({ signal: aborted }), "ready");
    await isReason(client.switchTransport("socketio", { signal: soon() }), "a switch");
    const ends = new AbortController();
    const options = { signal: ends.signal };
    const called = client.subscribe(fresh("b"), () => undefined, options);
    const loop = client.subscribe(fresh("b"), options);
    const handler = client.handle("question", (number) => number, options);
    await Promise.all([called.ready(), loop.ready()]);
    const looping = take(loop, 1);
    same(await client.request("ask me", 1), 1);
    same((await client.stats()).subscriptions, 2, "the number of subscriptions");
    ends.abort(reason);
    await isReason(looping, "the loop");
    ensure(called.closed && loop.closed, "a subscription is not closed");
    await fails("refused", client.request("ask me", 1));
    same((await client.stats()).subscriptions, 0, "the number of subscriptions");
    await handler.close();
    const short = new AbortController();
    const other = place.connect(place.url, { signal: short.signal });
    await other.ready();
    short.abort();
    await until(other.status, ({ state }) => state === "closed");
    await fails("closed", other.publish(fresh("c"), 1));
    await client.close();
  },

  async "wrong arguments are told with what would be right, and cost nothing else"(place) {
    const { connect } = place;
    const client = connect(place.url);
    const circle = {};
    circle.circle = circle;
    const nothing = () => undefined;
    for (const [wrong, says] of [
      [() => connect("ftp://example.com"), "http, https, ws or wss"],
      [() => connect("http://"), "the URL"],
      [() => connect(place.url, { transport: "websocket" }), '"ws" or "socketio" or "auto"'],
      [() => connect(place.url, { reconnect: { minDelay: -1 } }), "reconnect.minDelay"],
      [() => connect(place.url, { queue: { maxEvents: 0 } }), "1 or more, not 0"],
      [() => connect(place.url, { signal: "now" }), 'an AbortSignal, not "now"'],
      [() => connect(place.url, { auth: 17 }), "auth should be a function, not 17"],
      [() => client.subscribe(17), "the pattern should be a text that is not empty, not 17"],
      [() => client.subscribe("a", nothing, { overflow: "block" }), '"drop-oldest" or "pause"'],
      [() => client.subscribe("a", { maxEvents: 1.5 }), "maxEvents should be a whole number"],
      [() => client.publish("", 1), "the name should be a text that is not empty"],
      [() => client.publish("a", undefined), "null for nothing"],
      [() => client.publish("a", nothing), "null for nothing"],
      [() => client.publish("a", circle), "cannot be written as JSON"],
      [() => client.publish("a", 1n), "cannot be written as JSON"],
      [() => client.publish("a", 1, { priority: "urgent" }), '"low" or "normal" or "high"'],
      [() => client.publish("a", 1, { headers: { n: 1 } }), 'the header "n" should be a text'],
      [() => client.request("a", 1, { timeout: "1s" }), "timeout should be milliseconds"],
      [() => client.handle("a"), "the handler should be a function, not undefined"],
      [() => client.switchTransport("auto"), '"ws" or "socketio", not "auto"'],
      [() => client.refreshToken(), "the option `auth`"],
      [() => client.collection("a", { policy: "mine" }), '"merge" or "server-wins"'],
      [() => client.collection("a", { storage: "disk" }), "read, write, append and setAside"],
    ]) {
      const error = await fails("bad-argument", wrong);
      ensure(error.message.includes(says), `"${error.message}" does not say ${says}`);
      ensure(!error.retryable, `${error.message}: the same again does no better`);
    }
    const todos = client.collection("todos");
    await todos.ready();
    for (const [wrong, says] of [
      [() => todos.insert(17, {}), "the key should be a text"],
      [() => todos.insert("x".repeat(300), {}), "a key has at most"],
      [() => todos.insert("a", [1]), "object"],
      [() => todos.increment("a", "votes", 0.5), "by should be a whole number"],
      [() => todos.view({ limit: -1 }), "limit should be a whole number, 0 or more"],
      [() => todos.view({ where: true }), "where should be a function, not true"],
    ]) {
      const error = await fails("bad-argument", wrong);
      ensure(error.message.includes(says), `"${error.message}" does not say ${says}`);
    }
    const refused = await fails("refused", client.publish("a\nb", 1));
    same([refused.refusal, refused.retryable], [301, false]);
    const bad = client.subscribe("a\nb", { onError: () => undefined });
    await fails("refused", bad.ready());
    same(await client.request("echo", "still here"), "still here");
    await client.close();
  },

  async "what callbacks throw is reported, and costs nothing else"(place) {
    const client = place.connect(place.url);
    const name = fresh("numbers");
    const received = [];
    const thrown = client.subscribe(name, ({ payload }) => {
      throw new Error(`thrown for ${payload}`);
    });
    const other = client.subscribe(name, ({ payload }) => received.push(payload));
    const unsubscribe = client.status.subscribe(() => {
      throw new Error("thrown by a listener");
    });
    await Promise.all([thrown.ready(), other.ready()]);
    for (let n = 0; n < 3; n += 1) await client.publish(name, n);
    await place.until(() => received.length === 3);
    same(received, [0, 1, 2]);
    unsubscribe();
    const reported = (await place.reported()).sort();
    const each = [0, 1, 2].map((n) => `thrown for ${n}`);
    same(reported.filter((message) => message.startsWith("thrown for")), each, "what was reported");
    ensure(reported.includes("thrown by a listener"), "the listener's error was not reported");
    await client.close();
  },

  async "what is closed says so, and loops end"(place) {
    const client = place.connect(place.url);
    const subscription = client.subscribe(fresh("a"));
    const loop = take(subscription, 1);
    await subscription.ready();
    const [first, second] = [client.collection("todos"), client.collection("todos")];
    await first.loaded();
    await first.close();
    await fails("closed", () => first.insert("a", {}));
    await second.loaded();
    const asyncDispose = Symbol.asyncDispose ?? Symbol.for("Symbol.asyncDispose");
    await client[asyncDispose]();
    await client.close();
    same(client.status.get().state, "closed");
    same(await loop, []);
    await fails("closed", client.ready());
    await fails("closed", client.request("echo", 1));
    await fails("closed", subscription.ready());
    await fails("closed", client.subscribe("a", () => undefined, { onError() {} }).ready());
    await fails("closed", () => second.insert("a", {}));
    await fails("closed", second.loaded());
  },

  async "views are the same until a record in them changes"(place) {
    const client = place.connect(place.url);
    const todos = client.collection("todos");
    await todos.loaded();
    const prefix = fresh("view").replace(".", "-");
    const where = (_, key) => key.startsWith(prefix);
    const top = todos.view({ where, sortBy: "votes", descending: true, limit: 2 });
    const titles = todos.view({ where, sortBy: (a, b) => (a.title < b.title ? -1 : 1) });
    const seen = [];
    const unsubscribe = top.subscribe((entries) => seen.push(entries.map(({ value }) => value.votes)));
    for (const votes of [3, 1, 2]) {
      await todos.insert(`${prefix}-${votes}`, { title: `t${votes}`, votes }).seen;
    }
    same(top.get().map(({ value }) => value.votes), [3, 2]);
    same(titles.get().map(({ value }) => value.title), ["t1", "t2", "t3"]);
    const [before, least] = [top.get(), todos.record(`${prefix}-1`).get()];
    ensure(titles.get() === titles.get() && todos.all() === todos.all(), "asking makes another");
    const one = [];
    const unwatch = todos.record(`${prefix}-1`).subscribe((entry) => one.push(entry?.value.votes));
    await todos.update(`${prefix}-1`, { title: "t0" }).seen;
    ensure(top.get() === before, "it is another array although nothing in it has changed");
    ensure(todos.record(`${prefix}-1`).get() !== least, "the record is still the same");
    await todos.increment(`${prefix}-1`, "votes", 9).seen;
    same(top.get().map(({ value }) => value.votes), [10, 3]);
    same([seen[0], seen.at(-1)], [[], [10, 3]], "what the listener was told");
    same([one[0], one.at(-1)], [1, 10], "what was told of the record");
    unsubscribe();
    unwatch();
    await todos.batch((writes) => [1, 2, 3].forEach((n) => writes.delete(`${prefix}-${n}`))).seen;
    same(top.get(), []);
    same(seen.at(-1), [10, 3], "who has unsubscribed is told nothing more");
    await client.close();
  },

  async "what is pending survives in a storage"(place) {
    const kept = new Map();
    const storage = {
      read: async (name) => kept.get(name),
      write: async (name, content) => void kept.set(name, content.slice()),
      append: async (name, content) => {
        const before = kept.get(name) ?? new Uint8Array();
        const after = new Uint8Array(before.length + content.length);
        after.set(before);
        after.set(content, before.length);
        kept.set(name, after);
      },
      setAside: async () => "nowhere",
    };
    const key = fresh("kept").replace(".", "-");
    // There is nobody: what is written here waits.
    const offline = place.connect("http://127.0.0.1:9", { storage, ...quick });
    const write = offline.collection("todos").insert(key, { title: "Buy milk" });
    await write.stored;
    await offline.close();
    await fails("closed", write.acknowledged);
    const client = place.connect(place.url, { storage });
    const todos = client.collection("todos");
    await todos.ready();
    same(todos.get(key), { title: "Buy milk" }, "what is shown at once");
    await todos.settled();
    const other = place.connect(place.url);
    const others = other.collection("todos");
    await others.loaded();
    same(others.get(key), { title: "Buy milk" }, "what others see");
    await others.delete(key).seen;
    await Promise.all([client.close(), other.close()]);
  },

  async "a token is asked for, and a provider that throws is asked again"(place) {
    let asked = 0;
    const auth = async () => {
      asked += 1;
      if (asked < 3) throw new Error("not yet");
      return "a token that nobody checks";
    };
    const client = place.connect(place.url, { auth, ...quick });
    await client.ready();
    ensure(asked >= 3, `it was asked ${asked} times`);
    await client.close();
    const gone = () => {
      throw new place.TidingsError("bad-argument", "signed out", { retryable: false });
    };
    const other = place.connect(place.url, { auth: gone, ...quick });
    const error = await fails("closed", other.ready());
    ensure(error.message.includes("signed out"), error.message);
  },
};
