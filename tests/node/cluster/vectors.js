// Writes what @socket.io/redis-adapter and @socket.io/redis-emitter publish, as JSON: for each message
// the adapter, what was done, the channel, and the message, as text if it is JSON and in base64
// otherwise. Chance is taken out, so that every run writes the same: tests/vectors/node-adapter.json.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
require("node:crypto").randomBytes = (length) => Buffer.alloc(length, 0x2a);
const { createAdapter, createShardedAdapter } = require("@socket.io/redis-adapter");
const { Emitter } = require("@socket.io/redis-emitter");
const { Server } = require("socket.io");

const vectors = [];
let adapter;
let did;

// A client of Redis that nobody listens to, where three members have subscribed.
const redis = {
  on() {},
  async publish(channel, message) {
    const bytes = Buffer.from(message);
    const content = bytes[0] === 0x7b ? { text: bytes.toString() } : { base64: bytes.toString("base64") };
    vectors.push({ adapter, did, channel, ...content });
  },
  async pSubscribe() {},
  async subscribe() {},
  async sSubscribe() {},
  async sUnsubscribe() {},
  sPublish(channel, message) {
    return this.publish(channel, message);
  },
  async sendCommand() {
    return ["channel", "3"];
  },
};

const bytes = Buffer.from([0, 1, 254, 255]);
const args = ["ü", 1, -1, 2.5, 300, 70000, 4294967296, -129, true, null, { a: [{ b: "x" }] }];
const settled = () => new Promise((resolve) => setImmediate(resolve));

async function record(what, act) {
  did = what;
  await act();
  await settled();
}

async function operations(chat) {
  await record("emit", () => chat.emit("news", ...args));
  await record("emit binary", () => chat.emit("news", bytes, { in: [bytes] }));
  await record("emit dates", () =>
    chat.emit("news", new Date(1717240205678), new Date(1717240205000), new Date(-1), NaN, bytes));
  await record("emit to room", () => chat.to("room").emit("news", 1));
  await record("emit to id", () => chat.to("12345678901234567890").emit("news", 1));
  await record("emit to rooms", () => chat.to(["a", "b"]).except("c").volatile.emit("news", 1));
  await record("join", () => chat.in("a").except("b").socketsJoin(["c", "d"]));
  await record("leave", () => chat.in("a").socketsLeave("c"));
  await record("disconnect", () => chat.in("a").disconnectSockets(true));
  await record("server side", () => chat.serverSideEmit("told", ...args));
}

async function questions(chat) {
  await record("fetch", () => void chat.in("a").except("b").fetchSockets().catch(() => {}));
  await record("ask members", () => void chat.serverSideEmitWithAck("asked", 1).catch(() => {}));
  await record("ask clients", () => chat.to("a").timeout(50).emit("asked", 1, () => {}));
  await record("ask clients binary", () => chat.timeout(50).emit("asked", bytes, () => {}));
}

for (const [name, create] of [
  ["classic", () => createAdapter(redis, redis)],
  ["sharded", () => createShardedAdapter(redis, redis)],
]) {
  adapter = name;
  const chat = new Server({ adapter: create() }).of("/chat");
  await operations(chat);
  await questions(chat);
  if (name === "classic") {
    await record("rooms", () => void chat.adapter.allRooms().catch(() => {}));
  }
  // What it answers to another member's questions.
  chat.on("asked", (question, answer) => answer({ back: question }));
  const socket = {
    id: "12345678901234567890",
    handshake: { auth: { name: "ann" } },
    rooms: new Set(["12345678901234567890", "a"]),
    data: { n: 1 },
    acks: new Map(),
    client: { writeToEngine() {} },
  };
  chat.sockets.set(socket.id, socket);
  chat.adapter.addAll(socket.id, socket.rooms);
  const ask = (type, rest) =>
    name === "classic"
      ? chat.adapter.onrequest("socket.io-request#/chat#", Buffer.from(
          JSON.stringify({ uid: "other1", requestId: "asked1", type, ...rest })))
      : chat.adapter.onMessage({ uid: "0123456789abcdef", nsp: "/chat", type,
          data: { requestId: "asked1", ...rest } });
  const opts = { rooms: [], except: [] };
  const packet = { type: 2, data: ["asked", 1], nsp: "/chat" };
  const [fetch, emit, server] = name === "classic" ? [5, 7, 6] : [7, 3, 9];
  await record("fetched", () => ask(fetch, { opts }));
  if (name === "classic") await record("told rooms", () => ask(1, {}));
  await record("members answer", () => ask(server, { data: ["asked", 1], packet: ["asked", 1] }));
  await record("counted", () => ask(emit, { opts, packet }));
  const [acknowledge] = socket.acks.values();
  await record("acknowledged", () => acknowledge({ ok: true }));
  await record("acknowledged binary", () => acknowledge(bytes));
  await record("acknowledged with nothing", () => acknowledge());
}

adapter = "emitter";
await operations(new Emitter(redis).of("/chat"));

console.log(`[\n${vectors.map((vector) => JSON.stringify(vector)).join(",\n")}\n]`);
process.exit();
