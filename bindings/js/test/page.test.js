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
