// What the chat's front end does, with an unmodified socket.io-client: the same against the server
// on Node and the one on Tidings.
import { ask, assert, check, client, connected, done, once, until } from "../checks.js";

const CHAT = "/chat";

await check("nobody comes in without a name", async () => {
  for (const auth of [undefined, { name: "" }, { name: 7 }]) {
    const socket = client(CHAT, { auth });
    const [error] = await once(socket, "connect_error");
    assert.equal(error.message, "a name is needed");
    assert.deepEqual(error.data, { code: "NO_NAME" });
    assert.equal(socket.connected, false);
    socket.disconnect();
  }
});

const names = ["ann", "bob", "eve"];
const [ann, bob, eve] = await Promise.all(names.map((name) => connected(CHAT, { auth: { name } })));

await check("who joins is told who is there, and they are told of it", async () => {
  assert.deepEqual(await ask(ann, "join", "garden"), ["ann"]);
  const joined = once(ann, "joined");
  assert.deepEqual(await ask(bob, "join", "garden"), ["ann", "bob"]);
  assert.deepEqual(await joined, [{ room: "garden", name: "bob" }]);
  assert.deepEqual(await ask(eve, "join", "cellar"), ["eve"]);
});

await check("messages reach their room alone, in order", async () => {
  const got = { ann: [], bob: [], eve: [] };
  ann.on("message", (message) => got.ann.push(message));
  bob.on("message", (message) => got.bob.push(message));
  eve.on("message", (message) => got.eve.push(message));
  for (let n = 0; n < 10; n += 1) {
    assert.deepEqual(await ask(ann, "message", "garden", `no. ${n}`), { ok: true });
  }
  assert.deepEqual(await ask(eve, "message", "garden", "psst"), { error: "join the room first" });
  assert.deepEqual(await ask(eve, "message", "cellar", "echo?"), { ok: true });
  const said = got.ann.map(({ text }) => text);
  await until(() => got.bob.length === 10 && got.eve.length === 1);
  assert.deepEqual(said, Array.from({ length: 10 }, (_, n) => `no. ${n}`));
  assert.deepEqual(got.bob, got.ann);
  assert.deepEqual(got.bob[0], { room: "garden", name: "ann", text: "no. 0" });
  assert.deepEqual(got.eve, [{ room: "cellar", name: "eve", text: "echo?" }]);
});

await check("typing is shown to the others", async () => {
  const typing = once(ann, "typing");
  bob.emit("typing", "garden");
  assert.deepEqual(await typing, [{ room: "garden", name: "bob" }]);
});

await check("the others vote", async () => {
  bob.on("vote", (question, vote) => vote(`${question} yes`));
  assert.deepEqual(await ask(ann, "vote", "garden", "tea?"), ["tea? yes"]);
});

await check("who leaves is missed", async () => {
  const left = once(ann, "left");
  bob.disconnect();
  assert.deepEqual(await left, [{ room: "garden", name: "bob" }]);
});

done();
