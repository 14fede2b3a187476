// The package in Chromium: in a page and in a web worker, without a bundler and built by Vite.
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

import { checks } from "./checks.js";
import { launch, open } from "./chromium.js";
import { network } from "./proxy.js";
import { startServer } from "./server.js";
import { serve } from "./site.js";

const here = dirname(fileURLToPath(import.meta.url));
const dist = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));

const server = await startServer();
const browser = await launch();
const built = await mkdtemp(join(tmpdir(), "tidings-vite-"));

// Browsers have no import maps for workers: without a bundler, one imports by path.
const plain = await serve(
  { "/package/": dist, "/test/": here },
  {},
  (text) => text.replaceAll('"@tidings/client"', '"/package/index.js"'),
);

await build({
  root: join(here, "app"),
  base: "./",
  logLevel: "warn",
  build: { outDir: built, emptyOutDir: true, target: "es2022" },
  worker: { format: "es" },
});
const bundled = await serve({ "/": built });

const sites = [
  ["without a bundler", `${plain.url}/test/app/`],
  ["built by Vite", `${bundled.url}/`],
];
for (const [how, url] of sites) {
  const page = await open(await browser.newContext(), "about:blank");
  await page.goto(url);
  await page.waitForFunction(() => globalThis.ready);
  for (const place of ["check", "checkInWorker"]) {
    for (const name of Object.keys(checks)) {
      const where = place === "check" ? "in a page" : "in a worker";
      test(`${name} (${where}, ${how})`, { timeout: 60_000 }, () =>
        page.evaluate(([place, name, url]) => globalThis[place](name, url), [
          place,
          name,
          server.url,
        ]),
      );
    }
  }
}

// Connects while the module is held up, and tells the WebSockets that were opened for it.
async function connectedEarly(url, meanwhile) {
  const page = await open(await browser.newContext(), `${plain.url}/test/app/`);
  let deliver;
  const held = new Promise((resolve) => (deliver = resolve));
  await page.route(/\.wasm$/, (route) => held.then(() => route.continue()));
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket));
  const first = page.waitForEvent("websocket");
  const connected = page.evaluate(async (url) => {
    const { connect } = await import("/package/index.js");
    const client = connect(url);
    await client.publish("early", 1);
    const { transport } = client.status.get();
    await client.close();
    return transport;
  }, url);
  await meanwhile(await first);
  deliver();
  assert.equal(await connected, "ws");
  assert.deepEqual(page.errors, []);
  return sockets.map((socket) => socket.url());
}

test("the connection is opened while the module is on its way", { timeout: 60_000 }, async () => {
  const sockets = await connectedEarly(server.url, () => undefined);
  assert.deepEqual(sockets, [`${server.url.replace("http", "ws")}/ws`]);
});

test("one that broke meanwhile is replaced by another", { timeout: 60_000 }, async () => {
  const cable = await network(server.url);
  const sockets = await connectedEarly(cable.url, async (first) => {
    // It may not have come to the cable yet.
    while (!first.isClosed()) {
      cable.cut();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  const url = `${cable.url.replace("http", "ws")}/ws`;
  assert.deepEqual(sockets, [url, url]);
  await cable.close();
});

test("a part that could not be loaded is told, and loaded the next time", { timeout: 60_000 }, async () => {
  const page = await open(await browser.newContext(), `${plain.url}/test/app/`);
  const use = (part) =>
    page.evaluate(
      async ([part, url]) => {
        const { connect } = await import("/package/index.js");
        const client = connect(url, { tabs: part === "share" });
        const using = {
          share: () => client.ready(),
          presence: () => client.join("people", { name: "Ann" }),
          keeping: () => client.collection("todos", { storage: "indexeddb" }).ready(),
        };
        const said = await using[part]().then(
          () => "used",
          ({ code, retryable, message }) => `${code}, ${retryable || client.status.get().retryable}: ${message}`,
        );
        await client.close();
        return said;
      },
      [part, server.url],
    );
  const parts = /(share|presence|keeping)\.js$/;
  await page.route(parts, (route) => route.abort());
  const why = "a part of the package could not be loaded .* has to be beside its index.js";
  assert.match(await use("share"), new RegExp(`^closed, true: .*${why}`));
  assert.match(await use("presence"), new RegExp(`^load-failed, true: ${why}`));
  assert.match(await use("keeping"), new RegExp(`^storage, true: .*${why}`));
  await page.unroute(parts);
  for (const part of ["share", "presence", "keeping"]) assert.equal(await use(part), "used");
  assert.deepEqual(page.errors, []);
});

after(async () => {
  await browser.close();
  await Promise.all([plain.close(), bundled.close(), server.end()]);
  await rm(built, { recursive: true });
});
