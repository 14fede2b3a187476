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
await check("loses nothing while it moves to a WebSocket", async () => {
  const other = await connected("/", { transports: [expected] });
  const socket = client();
  const down = [];
  const up = [];
  socket.on("load.down", (n) => down.push(n));
  other.on("load.up", (n) => up.push(n));
  await ask(other, "subscribe", "load.up");
  await once(socket, "connect");
  await ask(socket, "subscribe", "load.down");
  let sent = 0;
  let acknowledged = 0;
  // Until the move is over, and for a while behind it.
  for (let left = LOAD; left > 0; ) {
    if (transport(socket) === expected) left -= 1;
    other.emit("publish", "load.down", sent, () => (acknowledged += 1));
    socket.emit("publish", "load.up", sent, () => (acknowledged += 1));
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
