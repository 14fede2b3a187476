// An unmodified socket.io-client against an application that uses what Socket.IO's server offers:
// app-server.js, or the same on Tidings.
import {
  ask, assert, check, client, connected, done, mode, once, options, please, until, url, version,
  Manager,
} from "./checks.js";

const APP = "/app";
const recovers = !/^4\.[0-5]\./.test(version);

const user = (name, more) => connected(APP, { auth: { user: name }, ...more });

// A server that can recover sessions puts the event's place behind its arguments.
function withoutPlace(args) {
  assert.equal(typeof args.at(-1), "string");
  return args.slice(0, -1);
}

// The arguments of the next event with this name.
const heard = async (socket, event) => withoutPlace(await once(socket, event));

// The arguments of all events that come with this name.
function collect(socket, event) {
  const got = [];
  socket.on(event, (...args) => got.push(withoutPlace(args)));
  return got;
}

await check("several namespaces share one connection", async () => {
  const manager = new Manager(url, options);
  const [root, app, dynamic] = ["/", APP, "/dynamic-7"].map((name) =>
    manager.socket(name, { auth: { user: "ann" } }),
  );
  const auth = heard(root, "auth");
  const namespace = heard(dynamic, "namespace");
  assert.deepEqual(await auth, [{ user: "ann" }]);
  assert.deepEqual(await namespace, ["/dynamic-7"]);
  assert.equal((await ask(app, "who")).user, "ann");
  assert.equal(new Set([root.id, app.id, dynamic.id]).size, 3, "each has an id of its own");
  const shouted = heard(dynamic, "shouted");
  dynamic.emit("shout", "hey");
  assert.deepEqual(await shouted, ["hey"]);
  app.disconnect();
  assert.equal(root.connected && dynamic.connected, true, "leaving one leaves the others");
  const again = once(app, "connect");
  app.connect();
  await again;
  assert.equal((await ask(app, "who")).user, "ann");
  for (const socket of [root, app, dynamic]) socket.disconnect();
});

await check("a namespace that is not there is refused", async () => {
  for (const name of ["/nowhere", "/dynamic-x"]) {
    const socket = client(name);
    const [error] = await once(socket, "connect_error");
    assert.equal(error.message, "Invalid namespace");
    assert.equal(error.data, undefined);
    socket.disconnect();
  }
});

await check("middleware refuses with data, and lets in later", async () => {
  let name = "mallory";
  const socket = client(APP, { auth: (tell) => tell({ user: name }) });
  const [error] = await once(socket, "connect_error");
  assert.equal(error.message, "not allowed");
  assert.deepEqual(error.data, { code: 7, why: ["a", null] });
  assert.equal(socket.connected, false);
  name = "ann";
  const connect = once(socket, "connect");
  socket.connect();
  await connect;
  assert.equal((await ask(socket, "who")).user, "ann");
  socket.disconnect();
});

await check("events and acknowledgements carry any number of arguments, and binary", async () => {
  const socket = await user("ann");
  const cases = [[], [1], [null], ["a", { b: [true] }, 2.5], [Buffer.from([1, 2, 3])]];
  cases.push([{ deep: [{ data: Buffer.from([0, 255]) }, "x"] }, Buffer.alloc(0), "last"]);
  const plain = (value) => {
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return ["binary", ...new Uint8Array(value)];
    if (Array.isArray(value)) return value.map(plain);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  };
  for (const args of cases) {
    const back = heard(socket, "back");
    socket.emit("back", ...args);
    assert.deepEqual(plain(await back), plain(args));
    const echoed = await new Promise((resolve) =>
      socket.emit("echo", ...args, (...reply) => resolve(reply)),
    );
    assert.deepEqual(plain(echoed), plain(args));
  }
  socket.disconnect();
});

await check("the server's questions are answered, or time out", async () => {
  const socket = await user("ann");
  socket.on("question", (question, answer) => question === "silence?" || answer(question, 2));
  assert.deepEqual(await ask(socket, "ask", "two?", 10_000), ["two?", 2]);
  assert.equal(await ask(socket, "ask", "silence?", 50), "no answer");
  socket.disconnect();
});

await check("catch-all listeners see every event", async () => {
  const socket = await user("ann");
  const any = [];
  socket.onAny((...args) => any.push(args));
  socket.emit("unheard of", 1, 2, 3);
  await ask(socket, "echo", "x");
  assert.deepEqual(await ask(socket, "seen"), [["unheard of", 3], ["echo", 1]]);
  const back = heard(socket, "back");
  socket.emit("back", 1, 2);
  await back;
  assert.deepEqual(any.map(withoutPlace), [["back", 1, 2]]);
  socket.disconnect();
});

await check("rooms, and who is in and who is excepted", async () => {
  const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((name) => user(name)));
  assert.deepEqual(await ask(ann, "join", ["a", "x"]), ["a", "x"]);
  assert.deepEqual(await ask(bob, "join", ["a", "b"]), ["a", "b"]);
  assert.deepEqual(await ask(eve, "join", ["b"]), ["b"]);
  const got = { ann: collect(ann, "news"), bob: collect(bob, "news"), eve: collect(eve, "news") };
  const tell = async (kind, where, n) => assert.equal(await ask(ann, kind, where, ["news", n]), "sent");
  await tell("all", { to: ["a"] }, 1); //                          ann bob
  await tell("all", { to: ["a", "b"] }, 2); //                     ann bob eve, each once
  await tell("all", { to: ["a"], except: ["b"] }, 3); //           ann
  await tell("all", { except: ["x"] }, 4); //                          bob eve
  await tell("others", {}, 5); //                                      bob eve
  await tell("others", { to: ["a"] }, 6); //                           bob
  await tell("others", { to: ["a", "b"], except: ["a"] }, 7); //           eve
  await tell("all", { to: [bob.id] }, 8); //                           bob: every socket has its room
  await tell("all", { to: ["nobody"] }, 9);
  await tell("all", {}, 10); //                                    ann bob eve
  await until(() => [ann, bob, eve].every((_, n) => Object.values(got)[n].at(-1)?.[0] === 10));
  const numbers = (events) => events.map(([n]) => n);
  assert.deepEqual(numbers(got.ann), [1, 2, 3, 10]);
  assert.deepEqual(numbers(got.bob), [1, 2, 4, 5, 6, 8, 10]);
  assert.deepEqual(numbers(got.eve), [2, 4, 5, 7, 10]);
  assert.deepEqual(await ask(bob, "leave", "a"), ["b"]);
  await tell("all", { to: ["a"] }, 11);
  await tell("all", {}, 12);
  await until(() => got.bob.at(-1)[0] === 12);
  assert.deepEqual(numbers(got.bob).slice(-2), [10, 12]);
  for (const socket of [ann, bob, eve]) socket.disconnect();
});

await check("broadcasts carry binary to everyone", async () => {
  const sockets = await Promise.all(["ann", "bob"].map((name) => user(name)));
  const news = sockets.map((socket) => heard(socket, "news"));
  await ask(sockets[0], "all", {}, ["news", { data: Buffer.from([1, 2, 3]) }, 4]);
  for (const [{ data }, number] of await Promise.all(news)) {
    assert.deepEqual([...new Uint8Array(data)], [1, 2, 3]);
    assert.equal(number, 4);
  }
  for (const socket of sockets) socket.disconnect();
});

await check("sockets are found, moved and sent away", async () => {
  const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((name) => user(name)));
  await ask(bob, "join", ["team"]);
  await ask(eve, "join", ["team", "more"]);
  const found = await ask(ann, "fetch", { to: ["team"] });
  const sorted = found.sort((a, b) => a[1].localeCompare(b[1]));
  assert.deepEqual(sorted, [[bob.id, "bob", 2], [eve.id, "eve", 3]]);
  assert.deepEqual((await ask(ann, "fetch", { to: ["team"], except: ["more"] })).length, 1);
  assert.deepEqual((await ask(ann, "fetch", {})).length, 3);
  assert.equal(await ask(ann, "move", { to: ["team"] }, "more", ["other", "third"]), "moved");
  assert.deepEqual((await ask(eve, "who")).rooms, ["other", "team", "third"]);
  assert.deepEqual((await ask(bob, "who")).rooms, ["other", "team", "third"]);
  const gone = [once(bob, "disconnect"), once(eve, "disconnect")];
  assert.equal(await ask(ann, "dismiss", { to: ["third"] }, false), "dismissed");
  for (const [reason] of await Promise.all(gone)) assert.equal(reason, "io server disconnect");
  assert.deepEqual((await ask(ann, "fetch", {})).length, 1);
  ann.disconnect();
});

await check("broadcasts collect acknowledgements", async () => {
  const [ann, bob, eve] = await Promise.all(["ann", "bob", "eve"].map((name) => user(name)));
  for (const socket of [bob, eve]) await ask(socket, "join", ["jury"]);
  bob.on("question", (question, answer) => answer(`${question} bob`));
  eve.on("question", (question, answer) => question === "silence?" || answer(`${question} eve`));
  const [failed, replies] = await ask(ann, "collect", { to: ["jury"] }, 10_000, "guilty?");
  assert.equal(failed, false);
  assert.deepEqual(replies.sort(), ["guilty? bob", "guilty? eve"]);
  // Bob answers, but a busy machine may need more patience for that.
  for (let patience = 50, heard = []; heard.length === 0; patience *= 4) {
    const [missing, answers] = await ask(ann, "collect", { to: ["jury"] }, patience, "silence?");
    assert.equal(missing, true);
    assert.deepEqual(answers, answers.length === 0 ? [] : ["silence? bob"]);
    heard = answers;
  }
  assert.deepEqual(await ask(ann, "collect", { to: ["nobody"] }, 10_000, "?"), [false, []]);
  for (const socket of [ann, bob, eve]) socket.disconnect();
});

await check("volatile events arrive when nothing is in the way", async () => {
  const socket = await user("ann");
  const got = [];
  socket.on("volatile", (...args) => got.push(args));
  for (let n = 0; got.length === 0; n += 1) {
    socket.emit("volatile", n);
    await ask(socket, "echo");
  }
  assert.equal(got[0].length, 1, "what is volatile has no place");
  socket.disconnect();
});

await check("both sides say why a connection ended", async () => {
  const watcher = await user("watcher");
  await ask(watcher, "join", ["watchers"]);
  const gone = collect(watcher, "gone");
  const ends = async (name, end, here, there) => {
    const socket = await user(name, { reconnection: false });
    await until(() => socket.io.engine.transport.name === (mode === "polling" ? "polling" : "websocket"));
    const ended = once(socket, "disconnect");
    await end(socket);
    assert.equal((await ended)[0], here, name);
    const [, reason] = await until(() => gone.find(([who]) => who === name));
    assert.equal(reason, there, name);
    socket.disconnect();
  };
  await ends("a", (s) => s.disconnect(), "io client disconnect", "client namespace disconnect");
  await ends("b", (s) => s.emit("quit", false), "io server disconnect", "server namespace disconnect");
  await ends("c", (s) => s.emit("quit", true), "io server disconnect", "server namespace disconnect");
  await ends("d", (s) => s.io.engine.close(), "forced close", "transport close");
  if (mode !== "polling") {
    const cut = (s) => s.io.engine.transport.ws._socket.destroy();
    await ends("e", cut, "transport close", "transport close");
  }
  watcher.disconnect();
});

// The connection is cut, and stays so until it is opened again by hand.
async function cut(socket) {
  socket.io.reconnection(false);
  const ended = once(socket, "disconnect");
  socket.io.engine.close();
  await ended;
}

async function reopen(socket) {
  const connect = once(socket, "connect");
  socket.connect();
  await connect;
}

if (recovers) {
  await check("what was missed while the connection was cut is recovered", async () => {
    const [ann, bob] = await Promise.all(["ann", "bob"].map((name) => user(name)));
    assert.equal(ann.recovered, false);
    await ask(ann, "join", ["garden", "shed"]);
    await ask(ann, "leave", "shed");
    const got = collect(ann, "news");
    await ask(bob, "all", { to: ["garden"] }, ["news", 0]);
    await until(() => got.length === 1);
    const before = ann.id;
    for (let round = 0; round < 3; round += 1) {
      await cut(ann);
      for (let n = 0; n < 5; n += 1) {
        await ask(bob, "all", { to: ["garden"] }, ["news", round, n, Buffer.from([n])]);
        await ask(bob, "all", { to: ["cellar"] }, ["news", "not for ann"]);
        await ask(bob, "all", { to: ["garden"], except: [before] }, ["news", "nor this"]);
      }
      await reopen(ann);
      assert.equal(ann.recovered, true, "it is the same session");
      assert.equal(ann.id, before);
      const { user: name, rooms } = await ask(ann, "who");
      assert.deepEqual([name, rooms], ["ann", ["garden"]], "rooms and data are kept");
      await ask(bob, "all", { to: ["garden"] }, ["news", round, "after"]);
      await until(() => got.at(-1)[1] === "after");
      const missed = got.slice(-6).map(([inRound, n, data]) => [inRound, n, data?.length ?? data?.byteLength]);
      const expected = [0, 1, 2, 3, 4].map((n) => [round, n, 1]);
      assert.deepEqual(missed, [...expected, [round, "after", undefined]]);
      assert.equal(got.length, 1 + 6 * (round + 1), "nothing comes twice");
    }
    for (const socket of [ann, bob]) socket.disconnect();
  });

  await check("who said goodbye begins anew", async () => {
    const ann = await user("ann");
    await ask(ann, "join", ["garden"]);
    const before = ann.id;
    ann.disconnect();
    await reopen(ann);
    assert.equal(ann.recovered, false);
    assert.notEqual(ann.id, before);
    assert.deepEqual((await ask(ann, "who")).rooms, []);
    ann.disconnect();
  });
}

await check("after a restart of the server a session begins anew", async () => {
  const ann = await user("ann");
  await ask(ann, "join", ["garden"]);
  const before = ann.id;
  const ended = once(ann, "disconnect");
  const back = once(ann, "connect").catch(() => until(() => ann.connected));
  await please("restart");
  const [reason] = await ended;
  assert.ok(["transport close", "transport error"].includes(reason), reason);
  await back;
  assert.notEqual(ann.id, before);
  assert.notEqual(ann.recovered, true);
  assert.deepEqual((await ask(ann, "who")).rooms, []);
  ann.disconnect();
});

done();
