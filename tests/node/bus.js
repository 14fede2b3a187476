// An unmodified socket.io-client as a client of Tidings' events.
import { ask, assert, check, client, connected, done, mode, once, please, until } from "./checks.js";

const CLIENTS = 100;
const PUBLISHERS = 10;
const LOAD = 400;

function transport(socket) {
  return socket.io.engine.transport.name;
}

const expected = mode === "polling" ? "polling" : "websocket";

await check("connects, over the transport it should", async () => {
  const socket = await connected();
  assert.equal(typeof socket.id, "string");
  await until(() => transport(socket) === expected);
  assert.equal((await ask(socket, "echo", 1)), 1);
  socket.disconnect();
});

await check("subscribes, publishes, unsubscribes", async () => {
  const socket = await connected();
  const got = [];
  socket.onAny((...args) => got.push(args));
  const answer = await ask(socket, "subscribe", "orders.*.created");
  assert.equal(answer.ok, true);
  const position = await ask(socket, "publish", "orders.eu.created", { id: 7, text: "é \u{1f600} \u001e" });
  assert.equal(position.ok, true);
  assert.equal(typeof position.offset, "number");
  await until(() => got.length === 1);
  assert.deepEqual(got[0], ["orders.eu.created", { id: 7, text: "é \u{1f600} \u001e" }]);

  assert.equal((await ask(socket, "subscribe", "marks.*")).ok, true);
  assert.equal((await ask(socket, "unsubscribe", "orders.*.created")).ok, true);
  await ask(socket, "publish", "orders.eu.created", "nobody wants this");
  await ask(socket, "publish", "marks.end", null);
  await until(() => got.length > 1);
  assert.deepEqual(got.slice(1), [["marks.end", null]]);

  const refused = await ask(socket, "subscribe", "");
  assert.equal(refused.ok, false);
  assert.equal(typeof refused.error.code, "number");
  socket.disconnect();
});

await check("loads, watches and changes a collection", async () => {
  const [one, other] = await Promise.all([connected(), connected()]);
  const todos = new Map();
  const apply = ({ key, version, value }) => {
    if (version > (todos.get(key)?.version ?? 0)) todos.set(key, { version, value });
  };
  one.onAny((_, change) => apply(change));
  // First the changes to come, then what is there.
  await ask(one, "subscribe", "state.todos.**");
  let page = { next: {} };
  while (page.next) {
    page = await ask(one, "state.todos.load", { ...page.next, limit: 1 });
    page.changes.forEach(apply);
  }

  const mutate = (...ops) => ask(other, "state.todos.mutate", { ops });
  const { results: [made] } = await mutate(
    { op: "insert", key: "tea", value: { title: "Make tea", done: false, cups: 1 } },
    { op: "insert", key: "milk", value: { title: "Buy milk" } },
  );
  await mutate({ op: "update", key: "tea", patch: { done: true } });
  await mutate({ op: "increment", key: "tea", by: { cups: 2 } });
  await mutate({ op: "delete", key: "milk" });
  await until(() => todos.get("milk")?.value === null && todos.get("tea").value.cups === 3);
  assert.deepEqual(todos.get("tea").value, { title: "Make tea", done: true, cups: 3 });

  // Two have changed the same field of the same version.
  const late = { op: "update", key: "tea", base: made.version, patch: { done: "later" }, was: { done: false } };
  const { results: [merged] } = await mutate(late);
  assert.deepEqual(merged.conflicts, [
    { key: "tea", outcome: "merged", base: { done: false }, mine: { done: "later" }, theirs: { done: true } },
  ]);
  const { results: [gone] } = await mutate({ op: "update", key: "milk", patch: {} });
  assert.deepEqual(gone.rejected, {
    key: "milk", reason: "missing", message: "there is no such record (any more): insert it first",
  });

  // A client that counts may send again what it has no answer to.
  const counted = { client: other.id, mutations: [
    { seq: 1, ops: [{ op: "increment", key: "tea", by: { cups: 1 } }] },
  ] };
  const first = await ask(other, "state.todos.mutate", counted);
  const again = await ask(other, "state.todos.mutate", counted);
  assert.deepEqual(again, first);
  await until(() => todos.get("tea").value.cups === 4);

  const { results: [bad] } = await mutate({ op: "upsert", key: "tea" });
  assert.equal(bad.rejected.reason, "refused");
  assert.match(bad.rejected.message, /ops\[0\]\.op: "upsert" is none/);
  const forged = await ask(other, "publish", "state.todos.tea", { key: "tea" });
  assert.match(forged.error.message, /state\.<collection>\.mutate/);
  one.disconnect();
  other.disconnect();
});

await check("passes binary both ways", async () => {
  const socket = await connected();
  const data = Buffer.from([0, 1, 2, 0x1e, 0xff]);
  const received = once(socket, "files.a");
  await ask(socket, "subscribe", "files.*");
  assert.equal((await ask(socket, "publish", "files.a", data)).ok, true);
  assert.deepEqual(Buffer.from((await received)[0]), data);
  const large = Buffer.alloc(100_000, 7);
  assert.ok(large.equals(Buffer.from(await ask(socket, "echo", large))));
  socket.disconnect();
});

await check("acknowledges both ways", async () => {
  const socket = await connected();
  assert.deepEqual(await ask(socket, "echo", { a: [1, "2", null, true] }), { a: [1, "2", null, true] });
  const [nothing, refusal] = await ask(socket, "nobody answers this", 1);
  assert.equal(nothing, null);
  assert.equal(typeof refusal.error.code, "number");
  socket.on("question", (n, answer) => answer(n + 1));
  assert.equal(await ask(socket, "ask me", 41), 42);
  socket.disconnect();
});

// Events flow both ways while the connection moves to a WebSocket, if it does: none is lost or
// doubled, and their order is kept.
await check("loses nothing while it moves to a WebSocket", async (progress) => {
  const other = await connected("/", { transports: [expected] });
  const socket = client();
  const ready = once(socket, "connect");
  const down = [];
  const up = [];
  socket.on("load.down", (n) => down.push(n));
  other.on("load.up", (n) => up.push(n));
  await ask(other, "subscribe", "load.up");
  await ready;
  await ask(socket, "subscribe", "load.down");
  let sent = 0;
  let acknowledged = 0;
  const refused = [];
  const answered = (answer) => {
    acknowledged += 1;
    if (!answer.ok) refused.push(answer);
  };
  progress(() => JSON.stringify({ sent, acknowledged, refused, down, up }));
  // Until the move is over, and for a while behind it.
  for (let left = LOAD; left > 0; ) {
    if (transport(socket) === expected) left -= 1;
    other.emit("publish", "load.down", sent, answered);
    socket.emit("publish", "load.up", sent, answered);
    sent += 1;
    if (sent % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await until(() => acknowledged === 2 * sent && down.length >= sent && up.length >= sent);
  const all = Array.from({ length: sent }, (_, n) => n);
  assert.deepEqual(down, all);
  assert.deepEqual(up, all);
  socket.disconnect();
  other.disconnect();
});

await check("comes back after a restart of the server", async () => {
  const socket = await connected();
  const before = socket.id;
  const gone = once(socket, "disconnect");
  const back = once(socket, "connect").catch(() => until(() => socket.connected));
  await please("restart");
  const [reason] = await gone;
  assert.ok(["transport close", "transport error"].includes(reason), reason);
  await back;
  assert.notEqual(socket.id, before);
  const received = once(socket, "after.restart");
  await ask(socket, "subscribe", "after.*");
  await ask(socket, "publish", "after.restart", 1);
  assert.deepEqual(await received, [1]);
  socket.disconnect();
});

await check(`serves ${CLIENTS} clients at once`, async () => {
  const got = Array.from({ length: CLIENTS }, () => []);
  const sockets = await Promise.all(
    got.map(async (events) => {
      const socket = await connected();
      socket.on("crowd.hello", (n) => events.push(n));
      await ask(socket, "subscribe", "crowd.*");
      return socket;
    }),
  );
  assert.equal(new Set(sockets.map((socket) => socket.id)).size, CLIENTS);
  const publishers = sockets.slice(0, PUBLISHERS);
  await Promise.all(publishers.map((socket, n) => ask(socket, "publish", "crowd.hello", n)));
  await until(() => got.every((events) => events.length >= PUBLISHERS));
  const all = Array.from({ length: PUBLISHERS }, (_, n) => n);
  for (const events of got) {
    assert.deepEqual(events, got[0], "all see one order");
    assert.deepEqual([...events].sort((a, b) => a - b), all);
  }
  for (const socket of sockets) socket.disconnect();
});

done();
