// Unmodified clients on each member of a cluster of Node servers and Tidings instances (member.js,
// tests/src/member.rs): what one member does, the clients of all must see, whichever it is.
// Arguments: NAME=URL of each member with commas between them, then those of checks.js, then the
// adapter.
import { ask, assert, check, done, io, once, options, please, until } from "../checks.js";

const [urls, , , , adapter] = process.argv.slice(2);
const members = urls.split(",").map((member) => member.split("="));
const names = members.map(([name]) => name);
const isNode = (name) => name.startsWith("node");

// The client of each member by the member's name, and what it has got.
const clients = {};
const got = {};

async function connect(name, url) {
  const client = io(`${url}/app`, { ...options, auth: { name } });
  clients[name] = client;
  got[name] = [];
  client.onAny((event, ...args) => {
    if (event !== "question") got[name].push([event, ...args]);
  });
  client.on("question", (question, answer) => {
    if (question.of === undefined || question.of === name) {
      answer({ name, bytes: Buffer.from(name), back: question.bytes });
    }
  });
  await once(client, "connect");
}

let fences = 0;

// Has the member `from` do something, by which the clients `who`, and no others, must get `event`.
async function reaches(who, event, act) {
  names.forEach((name) => (got[name].length = 0));
  await act();
  const has = (name, [wanted, ...args]) =>
    got[name].some(([event, ...rest]) => {
      if (event !== wanted) return false;
      assert.deepEqual(rest, args);
      return true;
    });
  await until(() => who.every((name) => has(name, event)));
  // What else is on its way comes before this, as far as there is an order.
  const fence = `fence ${(fences += 1)}`;
  await ask(clients[names[0]], "emit", {}, fence);
  await until(() => names.every((name) => has(name, [fence])));
  for (const name of names) {
    const times = got[name].filter(([other]) => other === event[0]).length;
    assert.equal(times, who.includes(name) ? 1 : 0, `${name} got ${event[0]} ${times} times`);
  }
}

const byName = (list) => list.sort((a, b) => (a.name < b.name ? -1 : 1));

// The sockets that `from` finds, once it has asked all members.
async function fetched(from, target = {}) {
  const [late, found] = await ask(clients[from], "fetch", target);
  assert.equal(late, false, `${from} waited in vain`);
  return byName(found);
}

const join = (name, room) => ask(clients[name], "join", room);
const leave = (name, room) => ask(clients[name], "leave", room);

await Promise.all(members.map(([name, url]) => connect(name, url)));

await check("all members know each other", async () => {
  await until(async () => {
    const found = await Promise.all(
      names.map((name) => ask(clients[name], "fetch", {}).then(([, sockets]) => sockets.length)),
    );
    return found.every((count) => count === names.length);
  });
  // A room has members everywhere, `pair` on one of each kind.
  await Promise.all(names.map((name) => join(name, "all")));
  await Promise.all([join("node2", "pair"), join("tidings2", "pair")]);
  const pairs = ["node2", "tidings2"];
  await until(async () => {
    names.forEach((name) => (got[name].length = 0));
    for (const from of names) await ask(clients[from], "emit", { to: ["pair"] }, "ready", from);
    await ask(clients.node1, "emit", {}, "asked");
    await until(() => names.every((name) => got[name].some(([event]) => event === "asked")));
    const ready = (name) => got[name].filter(([event]) => event === "ready").length;
    return pairs.every((name) => ready(name) === names.length);
  });
});

const bytes = Buffer.from([0, 1, 254, 255]);
const args = ["x", { deep: [1, null, "ü", { "": 2.5 }] }, 4294967296, -1, true, null];

for (const from of ["node1", "tidings1"]) {
  const emit = (target, event, ...args) => () => ask(clients[from], "emit", target, event, ...args);

  await check(`${from}: events`, async () => {
    await reaches(names, ["text", ...args], emit({}, "text", ...args));
    await reaches(names, ["binary", bytes, { in: [bytes] }],
      emit({}, "binary", bytes, { in: [bytes] }));
    await reaches(["node2", "tidings2"], ["room", 1], emit({ to: ["pair"] }, "room", 1));
    await reaches(["node2", "tidings2"], ["room binary", bytes],
      emit({ to: ["pair"] }, "room binary", bytes));
    await reaches(names, ["both", 2], emit({ to: ["pair", "all"] }, "both", 2));
    await reaches(["node1", "tidings1"], ["but", 3], emit({ except: ["pair"] }, "but", 3));
    await reaches(["node1", "tidings1"], ["of all but", 4],
      emit({ to: ["all"], except: ["pair"] }, "of all but", 4));
    await reaches([], ["nobody", 5], emit({ to: ["nobody"] }, "nobody", 5));
    await reaches([from], ["here", 6], emit({ local: true }, "here", 6));
    await reaches(names, ["volatile", 7], emit({ volatile: true }, "volatile", 7));
    for (const name of ["node2", "tidings2"]) {
      await reaches([name], ["private", 8], emit({ to: [clients[name].id] }, "private", 8));
    }
  });

  // Node's clients get all of it, and of Tidings' those who may.
  await check(`${from}: what is sensitive`, async () => {
    const paid = { no: 7, card: "4111" };
    for (const [payload, hidden] of [[paid, { no: 7 }], [{ no: 8, card: bytes }, null]]) {
      names.forEach((name) => (got[name].length = 0));
      await emit({}, "orders.paid", payload)();
      await until(() => names.every((name) => got[name].length > 0));
      for (const name of names) {
        assert.deepEqual(got[name], [["orders.paid", name === "tidings1" ? hidden : payload]], name);
      }
    }
  });

  await check(`${from}: many events, in order`, async () => {
    names.forEach((name) => (got[name].length = 0));
    const numbers = Array.from({ length: 300 }, (_, number) => number);
    await Promise.all(numbers.map((number) => emit({}, "number", number)()));
    for (const name of names) {
      await until(() => got[name].length >= numbers.length);
      // With the classic adapter Node's client publishes on all nodes of Redis in turns.
      if (isNode(from) && adapter === "classic") got[name].sort(([, a], [, b]) => a - b);
      assert.deepEqual(got[name], numbers.map((number) => ["number", number]), name);
    }
  });

  await check(`${from}: rooms with odd names`, async () => {
    for (const room of ["room with spaces", "a#b*[c]", "exactly twenty chars", "ünï", "7"]) {
      await Promise.all([join("node2", room), join("tidings2", room)]);
      await until(async () => (await fetched(from, { to: [room] })).length === 2);
      names.forEach((name) => (got[name].length = 0));
      const both = () => ["node2", "tidings2"].every((name) => got[name].length > 0);
      // In dynamic modes members listen to a new room a moment after somebody is in it.
      await until(async () => {
        await ask(clients[from], "emit", { to: [room] }, "odd", room);
        return both();
      });
      await Promise.all([leave("node2", room), leave("tidings2", room)]);
    }
  });

  await check(`${from}: who is there`, async () => {
    const found = await fetched(from);
    const rooms = (name) => (name.endsWith("2") ? ["all", "pair"] : ["all"]);
    const expected = names.map((name) => ({
      id: clients[name].id, rooms: rooms(name), name, auth: name,
    }));
    assert.deepEqual(found, byName(expected));
    const pair = await fetched(from, { to: ["pair"] });
    assert.deepEqual(pair.map(({ name }) => name), ["node2", "tidings2"]);
    assert.deepEqual(await fetched(from, { to: ["nobody"] }), []);
    const here = await fetched(from, { local: true });
    assert.deepEqual(here.map(({ name }) => name), [from]);
    if (adapter === "classic" || !isNode(from)) {
      const all = await ask(clients[from], "rooms");
      const ids = names.map((name) => clients[name].id);
      assert.deepEqual(all.sort(), ["all", "pair", ...ids].sort());
    }
  });

  await check(`${from}: acknowledgements`, async () => {
    const collect = async (target, patience, question) => {
      const [late, answers] = await ask(clients[from], "collect", target, patience, question);
      for (const { name, bytes: own, back } of answers) {
        assert.deepEqual([own, back], [Buffer.from(name), question.bytes]);
      }
      return [late, answers.map(({ name }) => name).sort()];
    };
    assert.deepEqual(await collect({}, 60_000, { bytes }), [false, [...names].sort()]);
    assert.deepEqual(await collect({ to: ["pair"] }, 60_000, { bytes }),
      [false, ["node2", "tidings2"]]);
    assert.deepEqual(await collect({ to: ["nobody"] }, 60_000, { bytes }), [false, []]);
    assert.deepEqual(await collect({}, 300, { bytes, of: "tidings2" }), [true, ["tidings2"]]);
    assert.deepEqual(await collect({}, 300, { bytes, of: "node2" }), [true, ["node2"]]);
  });

  await check(`${from}: what is fetched can be spoken to`, async () => {
    for (const name of names) {
      const answer = await ask(clients[from], "whisper", name, { bytes });
      assert.deepEqual(answer, { name, bytes: Buffer.from(name), back: bytes });
      const room = { to: [`whispered to ${name}`] };
      await until(async () => (await fetched(from, room)).length === 1);
      await reaches([name], ["hush", name], () => ask(clients[from], "hush", name));
      await until(async () => (await fetched(from, room)).length === 0);
    }
  });

  await check(`${from}: rooms of others`, async () => {
    const bring = (target, room) => ask(clients[from], "bring", target, room);
    const take = (target, room) => ask(clients[from], "take", target, room);
    const inRoom = async (room) => (await fetched(from, { to: [room] })).map(({ name }) => name);
    await bring({ except: ["pair"] }, "moved");
    await until(async () => String(await inRoom("moved")) === "node1,tidings1");
    await bring({ to: ["moved"] }, "again");
    await until(async () => String(await inRoom("again")) === "node1,tidings1");
    await take({ to: ["again"] }, "moved");
    await until(async () => (await inRoom("moved")).length === 0);
    await take({}, "again");
    await until(async () => (await inRoom("again")).length === 0);
  });

  await check(`${from}: between members`, async () => {
    await ask(clients[from], "tell others", from, args);
    for (const name of names.filter((name) => name !== from)) {
      const hasHeard = async () => {
        const told = await ask(clients[name], "told");
        return told.find(([teller]) => teller === from);
      };
      assert.deepEqual(await until(hasHeard), [from, args]);
    }
    const own = await ask(clients[from], "told");
    assert.ok(own.every(([teller]) => teller !== from));
    const [late, answers] = await ask(clients[from], "ask others", "ask", args);
    assert.equal(late, false);
    const others = names.filter((name) => name !== from);
    assert.deepEqual(byName(answers), byName(others.map((name) => ({ name, question: args }))));
    if (isNode(from)) {
      // Who has nothing to say does not keep Node waiting.
      const [late, answers] = await ask(clients[from], "ask others", "ask node", 1);
      assert.equal(late, false);
      assert.deepEqual(answers.filter((answer) => answer !== null), ["node2"]);
      assert.equal(answers.length, names.length - 1);
    }
  });

  await check(`${from}: disconnecting others`, async () => {
    for (const close of [false, true]) {
      const gone = ["node2", "tidings2"].map((name) => once(clients[name], "disconnect"));
      await ask(clients[from], "dismiss", { to: ["pair"] }, close);
      assert.deepEqual(await Promise.all(gone).then((all) => all.map(([reason]) => reason)),
        ["io server disconnect", "io server disconnect"]);
      assert.ok(["node1", "tidings1"].every((name) => clients[name].connected));
      for (const name of ["node2", "tidings2"]) {
        clients[name].connect();
        await once(clients[name], "connect");
        await join(name, "all");
        await join(name, "pair");
      }
    }
  });
}

if (adapter === "classic") {
  await check("the emitter reaches clients of a server without an application", async () => {
    const client = io(members.find(([name]) => name === "tidings1")[1], options);
    clients.plain = client;
    await once(client, "connect");
    let hello;
    client.on("hello", (...args) => (hello = args));
    // The server may not have subscribed yet.
    await until(() => ask(clients.node1, "emitter to all", "hello", 1, bytes).then(() => hello));
    assert.deepEqual(hello, [1, bytes]);
  });

  await check("the emitter", async () => {
    const emitter = (...args) => () => ask(clients.node1, "emitter", ...args);
    await reaches(names, ["service", ...args, bytes],
      emitter("emit", {}, "service", ...args, bytes));
    await reaches(["node2", "tidings2"], ["to room", 1],
      emitter("emit", { to: ["pair"] }, "to room", 1));
    await reaches(["node1", "tidings1"], ["to others", 2],
      emitter("emit", { except: ["pair"] }, "to others", 2));
    await emitter("socketsJoin", { except: ["pair"] }, "called")();
    const called = () => fetched("tidings1", { to: ["called"] });
    await until(async () => (await called()).length === 2);
    await emitter("socketsLeave", {}, "called")();
    await until(async () => (await called()).length === 0);
    await emitter("serverSideEmit", {}, "tell", "service", 3)();
    for (const name of names) {
      await until(async () =>
        (await ask(clients[name], "told")).some(([teller]) => teller === "service"));
    }
    const gone = ["node2", "tidings2"].map((name) => once(clients[name], "disconnect"));
    await emitter("disconnectSockets", { to: ["pair"] })();
    await Promise.all(gone);
    for (const name of ["node2", "tidings2"]) {
      clients[name].connect();
      await once(clients[name], "connect");
    }
  });
}

await check("members that hang or die are waited for no longer than they may be", async () => {
  await please("stop node2");
  const alive = ["node1", "tidings1", "tidings2"];
  const [late, found] = await ask(clients.tidings1, "fetch", {});
  assert.deepEqual([late, byName(found).map(({ name }) => name)], [true, alive]);
  const [silent, answers] = await ask(clients.tidings1, "ask others", "ask", 1);
  assert.deepEqual([silent, byName(answers).map(({ name }) => name)], [true, ["node1", "tidings2"]]);
  const [, acks] = await ask(clients.tidings1, "collect", {}, 300, {});
  assert.deepEqual(byName(acks).map(({ name }) => name), alive);
  await please("kill node2");
  await until(async () => {
    const [late, found] = await ask(clients.tidings1, "fetch", {});
    return !late && found.length === 3;
  });
});

Object.values(clients).forEach((client) => client.disconnect());
done();
