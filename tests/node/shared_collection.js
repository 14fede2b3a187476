// A collection that instances share, as an unmodified socket.io-client of one of them has it. Others
// write through another instance.
import { ask, assert, check, connected, done, please, until } from "./checks.js";

await check("loads, watches and changes what others change, too", async () => {
  const socket = await connected();
  const todos = new Map();
  const apply = ({ key, version, value }) => {
    if (version > (todos.get(key)?.version ?? 0)) todos.set(key, { version, value });
  };
  socket.onAny((name, change) => name.startsWith("state.todos.") && apply(change));
  await ask(socket, "subscribe", "state.todos.**");
  for (let page = { next: {} }; page.next; ) {
    page = await ask(socket, "state.todos.load", page.next);
    page.changes.forEach(apply);
  }
  assert.deepEqual(todos.get("tea").value, { title: "Tea", done: false, cups: 0 });

  await please("count");
  await until(() => todos.get("tea").value.cups === 1);
  const ops = [
    { op: "insert", key: "milk", value: { title: "Buy milk" } },
    { op: "increment", key: "tea", by: { cups: 2 } },
  ];
  const counted = { client: "node", mutations: [{ seq: 1, ops }] };
  const first = await ask(socket, "state.todos.mutate", counted);
  assert.equal(typeof first.results[0].version, "number");
  assert.deepEqual(await ask(socket, "state.todos.mutate", counted), first, "one effect");
  await until(() => todos.has("milk") && todos.get("tea").value.cups === 3);
  const { results: [refused] } = await ask(socket, "state.todos.mutate", { ops: [ops[0]] });
  assert.equal(refused.rejected.reason, "exists");
  socket.disconnect();
});

done();
