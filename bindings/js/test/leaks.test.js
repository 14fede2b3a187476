// What is closed leaves nothing behind: neither in JavaScript nor in the module's memory.
import { after, test } from "node:test";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { ensure } from "./checks.js";
import { launch, open } from "./chromium.js";
import { startServer } from "./server.js";
import { serve } from "./site.js";

const dist = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));
/** What the module's exports are called. */
const names = JSON.parse(
  await readFile(join(process.env.TIDINGS_ROOT, "bindings/js/generated/tidings/exports.json")),
);

const PAGE = `<!doctype html><meta charset="utf-8"><title>leaks</title><link rel="icon" href="data:,">
<script type="module">
  // The module's own memory and counter, which the package does not show.
  const instantiate = WebAssembly.instantiateStreaming;
  WebAssembly.instantiateStreaming = async (...given) => {
    const made = await instantiate.apply(WebAssembly, given);
    globalThis.inside = made.instance.exports;
    return made;
  };
  const { connect } = await import("/package/index.js");

  globalThis.rounds = async (url, count) => {
    for (let n = 0; n < count; n += 1) {
      const client = connect(url);
      const subscription = client.subscribe("leaks.**");
      client.subscribe("leaks.**", () => undefined);
      client.handle("question", () => n);
      const todos = client.collection("todos");
      const unsubscribe = todos.view().subscribe(() => undefined);
      await Promise.all([subscription.ready(), todos.loaded()]);
      await client.publish("leaks.one", { n, text: "x".repeat(1000) });
      await client.request("echo", n);
      unsubscribe();
      await client.close();
    }
  };
  // Something that is never closed, only forgotten: a client and a loop that nobody has any more.
  globalThis.forget = async (url) => {
    const client = connect(url);
    await client.ready();
    await client.subscribe("leaks.**").ready();
    client.collection("todos");
  };
  // A listener, but not the collection that it is told of.
  globalThis.listen = async (url) => {
    const client = connect(url);
    const todos = client.collection("todos");
    globalThis.heard = new Set();
    todos.view().subscribe((entries) => entries.forEach(({ key }) => globalThis.heard.add(key)));
    await todos.loaded();
    globalThis.insert = async (key) => {
      const other = connect(url);
      await other.collection("todos").insert(key, {}).acknowledged;
      await other.close();
    };
  };
  globalThis.ready = true;
</script>`;

const ROUNDS = 1000;
// Until then the engine compiles, and tables of its own grow to their size: 0.6 MB that no further
// client adds to.
const WARM_UP = 1000;

const server = await startServer();
const site = await serve({ "/package/": dist }, { "/": PAGE });
const browser = await launch();
const page = await open(await browser.newContext(), site.url);
await page.waitForFunction(() => globalThis.ready);
const devtools = await page.context().newCDPSession(page);

async function used() {
  await devtools.send("HeapProfiler.enable");
  await devtools.send("HeapProfiler.collectGarbage");
  const { usedSize } = await devtools.send("Runtime.getHeapUsage");
  const look = ({ memory, count }) => ({
    memory: globalThis.inside[memory].buffer.byteLength,
    things: globalThis.inside[count](),
  });
  const inside = await page.evaluate(look, names);
  return { heap: usedSize, ...inside };
}

test(`${ROUNDS} clients that are closed leave nothing behind`, { timeout: 300_000 }, async () => {
  const rounds = (count) =>
    page.evaluate(([url, count]) => globalThis.rounds(url, count), [server.url, count]);
  await rounds(WARM_UP);
  const before = await used();
  let count = 0;
  let heap;
  // What clients leave behind comes with each of them; what the engine still does for itself does not.
  do {
    await rounds(ROUNDS);
    count += ROUNDS;
    const after = await used();
    console.log(JSON.stringify({ count, before, after }));
    ensure(after.things === 0, `${after.things} things are still there`);
    // A client needs about 100 KB in the module, and 20 KB beside it.
    const memory = after.memory - before.memory;
    ensure(memory <= 1 << 20, `the module's memory has grown by ${memory} bytes`);
    heap = (after.heap - before.heap) / count;
  } while (heap > 200 && count < 3 * ROUNDS);
  ensure(heap <= 200, `the heap has grown by ${heap} bytes for each client`);
});

test("what is forgotten ends when it is collected", { timeout: 60_000 }, async () => {
  await page.evaluate((url) => globalThis.forget(url), server.url);
  let things;
  // The collector says when.
  do {
    ({ things } = await used());
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 20)));
  } while (things > 0);
});

test("a collection is open while somebody listens to it", { timeout: 60_000 }, async () => {
  await page.evaluate((url) => globalThis.listen(url), server.url);
  // What is done about something that was collected is done some time after that.
  for (let n = 0; n < 5; n += 1) {
    await used();
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 20)));
  }
  await page.evaluate(() => globalThis.insert("after the collector"));
  await page.waitForFunction(() => globalThis.heard.has("after the collector"));
});

after(async () => {
  await browser.close();
  await Promise.all([site.close(), server.end()]);
});
