// The demo as `tidings-server --demo` serves it, with two people on it.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, test } from "node:test";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import { launch, open } from "./chromium.js";
import { startProgram } from "./program.js";

const dist = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const server = await startProgram(`--demo=${dist}`);
const browser = await launch();

after(async () => {
  await browser.close();
  await server.end();
});

// Somebody who has opened the demo. What their page must not do is told by `errors`.
async function person(name, options = {}) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  const me = JSON.stringify({ name, hue: name.length * 40 });
  await context.addInitScript((me) => sessionStorage.setItem("me", me), me);
  const modules = [];
  context.on("request", (request) => request.url().endsWith(".wasm") && modules.push(request.url()));
  const page = await open(context, server.url);
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) page.errors.push(new Error(message.text()));
  });
  await page.locator("body[data-state=connected]").waitFor();
  await page.locator("[data-key=welcome]").waitFor();
  // What the page names in its head is what the package takes.
  assert.equal(modules.length, 1, `${modules}`);
  return page;
}

const card = (page, key) => page.locator(`[data-key="${key}"]`);

async function rename(page, key, title) {
  await card(page, key).locator(".title").click();
  await card(page, key).locator(".field").fill(title);
  await card(page, key).locator(".field").press("Enter");
}

const shows = (page, key, text) => card(page, key).locator(".title", { hasText: text }).waitFor();
const inColumn = (page, key, column) =>
  page.locator(`[data-column=${column}] [data-key="${key}"]`).waitFor();

async function leave(...pages) {
  for (const page of pages) {
    await page.context().close();
    assert.deepEqual(page.errors, []);
  }
}

test("what one does shows on the other's board", { timeout: 60_000 }, async () => {
  const [ann, ben] = [await person("Ann"), await person("Benno")];
  await ann.locator(".avatar[title=Benno]").waitFor();

  await rename(ann, "welcome", "Hello, Benno");
  await shows(ben, "welcome", "Hello, Benno");

  // Who edits what is seen by the other, until it is over.
  await card(ben, "move").locator("article").press("Enter");
  await card(ann, "move").locator(".editors", { hasText: "Benno edits" }).waitFor();
  await card(ben, "move").locator(".field").press("Escape");
  await card(ann, "move").locator(".editors:empty").waitFor({ state: "attached" });

  // The keyboard and the mouse move cards.
  await card(ann, "move").locator("article").press("Alt+ArrowRight");
  await inColumn(ben, "move", "done");
  await card(ben, "offline").dragTo(ben.locator("[data-column=done] .add"));
  await inColumn(ann, "offline", "done");

  // Undo takes the own change back, and not the other's.
  await ann.keyboard.press("Control+z");
  await inColumn(ben, "move", "doing");
  await ann.keyboard.press("Control+Shift+z");
  await inColumn(ben, "move", "done");
  await inColumn(ann, "offline", "done");

  // Likes of both count.
  await Promise.all([ann, ben].map((page) => card(page, "switch").locator(".like").click()));
  await card(ann, "switch").locator(".like", { hasText: "2" }).waitFor();

  const added = ann.locator("[data-column=ideas] .add input");
  await added.fill("A new card");
  await added.press("Enter");
  await ben.locator(".card", { hasText: "A new card" }).locator("article").press("Delete");
  await ann.locator(".card", { hasText: "A new card" }).waitFor({ state: "detached" });

  await ben.context().close();
  await ann.locator(".avatar[title=Benno]").waitFor({ state: "detached" });
  await leave(ann);
});

test("a conflict is shown with all sides, and what became of it", { timeout: 60_000 }, async () => {
  const [ann, ben] = [await person("Ann"), await person("Benno")];
  await ann.locator(".switch").click();
  await ann.locator("body[data-state=reconnecting]").waitFor();
  await rename(ann, "conflict", "What Ann says");
  await card(ann, "undo").locator("article").press("Alt+ArrowLeft");
  await ann.locator("#pending", { hasText: "2 changes wait" }).waitFor();
  await card(ann, "conflict").and(ann.locator(".pending")).waitFor();
  await rename(ben, "conflict", "What Benno says");
  await shows(ben, "conflict", "What Benno says");

  await ann.locator(".switch").click();
  const conflict = ann.locator(".conflict");
  await conflict.waitFor();
  const sides = await conflict.locator("dd").allTextContents();
  assert.deepEqual(sides.slice(1), ["What Ann says", "What Benno says"]);
  assert.match(await conflict.locator(".what").textContent(), /yours holds/);
  await shows(ben, "conflict", "What Ann says");
  await inColumn(ben, "undo", "doing");
  await ann.locator("#pending").waitFor({ state: "hidden" });

  await conflict.locator(".theirs").click();
  await shows(ben, "conflict", "What Benno says");
  await shows(ann, "conflict", "What Benno says");
  await ann.locator("#conflicts").waitFor({ state: "hidden" });
  await leave(ann, ben);
});

test("a change that the server does not take is taken back, and said", { timeout: 60_000 }, async () => {
  const [ann, ben] = [await person("Ann"), await person("Benno")];
  await ann.locator(".switch").click();
  await ann.locator("body[data-state=reconnecting]").waitFor();
  await rename(ann, "switch", "Too late");
  await card(ben, "switch").locator("article").press("Delete");
  await card(ben, "switch").waitFor({ state: "detached" });
  await ann.locator(".switch").click();
  await ann.locator(".conflict", { hasText: "not possible" }).waitFor();
  await card(ann, "switch").waitFor({ state: "detached" });
  await leave(ann, ben);
});

test("the transport changes while somebody works", { timeout: 60_000 }, async () => {
  const [ann, ben] = [await person("Ann"), await person("Benno")];
  await ann.locator(".segments label", { hasText: "Socket.IO" }).click();
  await ann.locator("#said", { hasText: "Now over Socket.IO" }).waitFor({ state: "attached" });
  await rename(ben, "undo", "Over both");
  await shows(ann, "undo", "Over both");
  await ann.locator("#round-trip", { hasText: /\d/ }).waitFor();
  await leave(ann, ben);
});

test("people with any eyes can use it", { timeout: 60_000 }, async () => {
  for (const options of [{ colorScheme: "light" }, { colorScheme: "dark", viewport: { width: 390, height: 844 } }]) {
    const page = await person("Ann", options);
    await page.locator(".switch").click();
    await card(page, "move").locator(".like").click();
    await page.locator("#pending").waitFor();
    await page.evaluate(axe);
    const { violations, passes } = await page.evaluate(() =>
      globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
    );
    assert.deepEqual(
      violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]),
      [],
    );
    assert(passes.some(({ id }) => id === "color-contrast"));
    const [wide, inner] = await page.evaluate(() => [document.body.scrollWidth, innerWidth]);
    assert(wide <= inner, `the page is ${wide} wide in a window of ${inner}`);
    await leave(page);
  }
});
