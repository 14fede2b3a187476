// Checks tests/vectors/socketio.json against the parsers of the Socket.IO project: what they write
// must be what the vectors say, and what they read must mean what the vectors say.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as engine from "engine.io-parser";
import msgpack from "socket.io-msgpack-parser";
import * as text from "socket.io-parser";

const vectors = JSON.parse(readFileSync(new URL("../vectors/socketio.json", import.meta.url)));

const types = text.PacketType;
let checked = 0;

function binary(value) {
  if (Array.isArray(value)) return value.map(binary);
  if (value === null || typeof value !== "object") return value;
  if ("$bin" in value) return Buffer.from(value.$bin, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, binary(inner)]));
}

function packet({ type, nsp, id, data }) {
  const packet = { type: types[type] };
  if (data !== undefined) packet.data = binary(data);
  if (id !== undefined) packet.id = id;
  packet.nsp = nsp;
  return packet;
}

function read(decoder, messages) {
  const packets = [];
  decoder.on("decoded", (packet) => packets.push(packet));
  messages.forEach((message) => decoder.add(message));
  assert.equal(packets.length, 1);
  return packets[0];
}

function check(what, test) {
  try {
    test();
    checked += 1;
  } catch (error) {
    console.error(`${JSON.stringify(what)}\n${error.message}`);
    process.exitCode = 1;
  }
}

for (const vector of vectors.engineio.packets) {
  check(vector, () => {
    const packet = { type: vector.type };
    if (vector.data) packet.data = binary(vector.data);
    engine.encodePayload([packet], (body) => assert.equal(body, vector.text));
    assert.deepEqual(engine.decodePacket(vector.text), packet);
  });
}

for (const vector of vectors.engineio.payloads) {
  check(vector, () => {
    const packets = vector.packets.map((text) => engine.decodePacket(text));
    engine.encodePayload(packets, (body) => assert.equal(body, vector.body));
    assert.deepEqual(engine.decodePayload(vector.body), packets);
  });
}

for (const vector of vectors.socketio.packets) {
  const attachments = (vector.attachments ?? []).map((data) => Buffer.from(data, "base64"));
  check(vector, () => {
    if (vector.written !== false) {
      const written = new text.Encoder().encode(packet(vector));
      assert.deepEqual(written, [vector.text, ...attachments]);
    }
    const meant = read(new text.Decoder(), [vector.text, ...attachments]);
    delete meant.attachments;
    assert.deepEqual(meant, packet(vector));
  });
  if (vector.msgpack === undefined) continue;
  check(vector, () => {
    const [written] = new msgpack.Encoder().encode(packet(vector));
    assert.equal(Buffer.from(written).toString("base64"), vector.msgpack);
    const meant = read(new msgpack.Decoder(), [Buffer.from(vector.msgpack, "base64")]);
    assert.deepEqual(meant, packet(vector));
  });
}

for (const broken of vectors.socketio.broken) {
  check(broken, () => assert.throws(() => new text.Decoder().add(broken)));
}

console.log(`${checked} checks passed`);
