// The packages for React, Angular and Svelte, in small applications that show the same.
import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";
import { compile } from "svelte/compiler";
import { connect } from "@tidings/client";

import { launch, open } from "./chromium.js";
import { startProgram } from "./program.js";
import { serve } from "./site.js";

const here = dirname(fileURLToPath(import.meta.url));
const dist = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));
const out = await mkdtemp(join(tmpdir(), "tidings-frameworks-"));

const CONFIG = `
[collections.todos]
schema = '{"required": ["title"]}'
`;
await writeFile(join(out, "tidings.toml"), CONFIG);
const server = await startProgram("--config", join(out, "tidings.toml"));
const browser = await launch();

// Another client, which changes what the applications show.
const other = connect(server.url);
const todos = other.collection("todos");
await todos.loaded();
const alone = await counts();

after(async () => {
  await browser.close();
  await site.close();
  await other.close();
  await server.end();
  await rm(out, { recursive: true });
});

// What compiles components of Svelte: for browsers, or to be rendered on a server.
const svelte = (generate) => ({
  name: "svelte",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const { js } = compile(source, { generate, filename: basename(path) });
      return { contents: js.code, resolveDir: dirname(path) };
    }),
});

// As frameworks/tsconfig.json has it, which the packed tests cannot read.
const COMPILING = { jsx: "react-jsx", experimentalDecorators: true, useDefineForClassFields: false };

// Builds as an application's own build would: with one copy of the framework.
const bundle = (names, outdir, options = {}) =>
  build({
    entryPoints: names.map((name) => join(here, "frameworks", name)),
    outdir,
    bundle: true,
    format: "esm",
    target: "es2022",
    nodePaths: [join(here, "node_modules")],
    tsconfigRaw: { compilerOptions: COMPILING },
    plugins: [svelte("client")],
    logLevel: "warning",
    ...options,
  });

await bundle(["react.tsx", "angular.ts", "svelte.ts"], out, {
  conditions: ["browser", "development"],
  define: { "process.env.NODE_ENV": '"development"' }, // React mounts twice, as in StrictMode
});
await copyFile(join(dist, "tidings.wasm"), join(out, "tidings.wasm"));

const PAGE = '<!doctype html><meta charset="utf-8"><title>app</title><link rel="icon" href="data:,"><div></div>';
const site = await serve({ "/": out }, { "/": PAGE });

// How many sessions and subscriptions the server has.
async function counts() {
  const response = await fetch(`${server.url}/api/websocket/stats`);
  const { sessions, subscriptions } = await response.json();
  return { sessions, subscriptions };
}

async function untilCounts(expected) {
  for (let last; ; ) {
    last = await counts();
    if (last.sessions === expected.sessions && last.subscriptions === expected.subscriptions) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Waits for what `read` finds to be what is expected.
const shows = (page, selector, expected) =>
  page.waitForFunction(
    ([selector, expected]) => document.querySelector(selector)?.textContent.trim() === expected,
    [selector, expected],
  );

for (const framework of ["react", "angular", "svelte"]) {
  test(`${framework}: what is mounted is live, and leaves nothing behind`, { timeout: 60_000 }, async () => {
    for (const { key } of todos.all()) todos.delete(key);
    todos.insert("tea", { title: "Make tea", done: false });
    todos.insert("cake", { title: "Bake a cake", done: false });
    await todos.settled();

    const page = await open(await browser.newContext(), site.url);
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) page.errors.push(new Error(message.text()));
    });
    await page.evaluate(
      async ([framework, url]) => {
        const { mount } = await import(`/${framework}.js`);
        globalThis.mounted = await mount(document.querySelector("div"), url);
      },
      [framework, server.url],
    );
    await shows(page, "#status", "connected");
    await shows(page, "#todos", "Bake a cakeMake tea");
    await shows(page, "#one", "Make tea");

    // What others do is seen.
    await todos.update("tea", { title: "Make green tea" }).seen;
    await shows(page, "#one", "Make green tea");
    await shows(page, "#todos", "Bake a cakeMake green tea");
    // One subscription for the collection, one for each of the two that show events.
    const mounted = { sessions: alone.sessions + 1, subscriptions: alone.subscriptions + 3 };
    await untilCounts(mounted);
    for (const text of ["one", "two", "three"]) await other.publish("news.today", text);
    await shows(page, "#latest", "three");
    await shows(page, "#news", "two three");

    // What is written is seen by others.
    await page.click("#cake");
    await shows(page, "#todos", "Make green tea");
    await until(() => todos.get("cake").done);
    await shows(page, "#pending", "0");
    await shows(page, "#conflicts", "0");

    // A component that is gone listens to nothing, one that comes back to all.
    await page.click("#toggle");
    await untilCounts({ ...mounted, subscriptions: alone.subscriptions });
    await page.click("#toggle");
    await shows(page, "#one", "Make green tea");
    await untilCounts(mounted);

    // What is written by a component that is gone at once still goes out.
    await page.evaluate(() => ["tea", "toggle"].forEach((id) => document.getElementById(id).click()));
    await until(() => todos.get("tea").done);
    await untilCounts({ ...mounted, subscriptions: alone.subscriptions });
    await page.click("#toggle");
    await untilCounts(mounted);
    await page.evaluate(() => globalThis.mounted.unmount());
    await untilCounts(alone);
    assert.deepEqual(page.errors, []);
    await page.context().close();
  });
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}

// On a server: nothing is opened, and what there is before a connection is rendered.
let rendered = 0;
async function forServer(source, options = {}) {
  const name = `server-${(rendered += 1)}.mjs`;
  await bundle([], out, {
    entryPoints: undefined,
    stdin: { contents: source, resolveDir: join(here, "frameworks"), loader: "tsx" },
    outdir: undefined,
    outfile: join(out, name),
    platform: "node",
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
    ...options,
  });
  return import(pathToFileURL(join(out, name)));
}

test("react is rendered on a server", async () => {
  const { html } = await forServer(`
    import { renderToString } from "react-dom/server";
    import { TidingsProvider } from "@tidings/client/react";
    import { App } from "./react-app.js";
    const client = () => { throw new Error("a server connects to nobody"); };
    export const html = renderToString(<TidingsProvider client={client}><App /></TidingsProvider>);
  `);
  assert.match(html, /<p id="status">connecting<\/p>.*<ul id="todos"><\/ul>.*<p id="pending">0<\/p>/);
});

test("svelte is rendered on a server", async () => {
  const source = `
    import { render } from "svelte/server";
    import App from "./App.svelte";
    export const html = render(App, { props: { client: undefined } }).body;
  `;
  const { html } = await forServer(source, { plugins: [svelte("server")] });
  assert.match(html, /<p id="status">connecting<\/p>.*<ul id="todos">.*<p id="pending">0<\/p>/s);
});

test("angular has signals on a server", async () => {
  const { before } = await forServer(`
    import "@angular/compiler";
    import {
      createEnvironmentInjector, Injector, PLATFORM_ID, provideZonelessChangeDetection, runInInjectionContext,
      ɵINJECTOR_SCOPE,
    } from "@angular/core";
    import { provideTidings, Tidings } from "@tidings/client/angular";
    const injector = createEnvironmentInjector([
      { provide: ɵINJECTOR_SCOPE, useValue: "root" },
      { provide: PLATFORM_ID, useValue: "server" },
      provideZonelessChangeDetection(),
      provideTidings(() => { throw new Error("a server connects to nobody"); }),
    ], Injector.NULL);
    export const before = runInInjectionContext(injector, () => {
      const tidings = injector.get(Tidings);
      const todos = tidings.view(tidings.collection("todos"));
      return { state: tidings.status().state, todos: todos() };
    });
    injector.destroy();
  `);
  assert.deepEqual(before, { state: "connecting", todos: [] });
});
