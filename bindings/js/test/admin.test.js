// The dashboards of three instances on a Redis, under load.
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { connect } from "@tidings/client";
import { launch, open } from "./chromium.js";
import { startProgram } from "./program.js";
import { startRedis } from "./redis.js";
import { SECRET, token } from "./token.js";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const everything = { subscribe: ["**"], publish: ["**"] };
const admin = token({ sub: "root", admin: true, ...everything });

// More than a list shows, and no more than a debug build of three servers takes.
const RATE = 300;

const order = {
  type: "object",
  required: ["number"],
  properties: { number: { type: "integer" }, card: { type: "string", "x-tidings-sensitive": true } },
};
const directory = await mkdtemp(join(tmpdir(), "tidings-"));
const config = join(directory, "tidings.toml");
await writeFile(config, `[events."orders.**"]\nschema = '${JSON.stringify(order)}'\n`);

const redis = await startRedis();
const names = ["pod-1", "pod-2", "pod-3"];
const options = ["--config", config, "--database", `sqlite:${join(directory, "kept.db")}`, "--auth-secret", SECRET];
const start = (name) => startProgram("--redis", redis.url, "--instance", name, ...options);
const instances = await Promise.all(names.map(start));
const browser = await launch();

// Two at each instance: one listens, one publishes.
const clients = instances.flatMap(({ url }, at) =>
  ["ann", "ben"].map((who) => {
    const transport = at === 1 ? "socketio" : "ws";
    return connect(url, { auth: token({ sub: `${who}-${at + 1}`, ...everything }), transport });
  }),
);
// One of them is going to be ended, which its subscription is told.
clients.forEach((client, at) => {
  client.subscribe(at % 2 ? "rooms.**" : "orders.**", () => undefined, { onError: () => undefined });
});
await Promise.all(clients.map((client) => client.ready()));

const PRIORITIES = ["low", "normal", "normal", "high", "critical"];
let published = 0;
const load = setInterval(() => {
  for (let n = 0; n < RATE / 20; n += 1) {
    published += 1;
    const name = published % 3 ? "orders.eu.created" : "rooms.17.message";
    const priority = PRIORITIES[published % PRIORITIES.length];
    clients[published % clients.length].publish(name, { number: published, card: "4111" }, { priority }).catch(() => undefined);
  }
}, 50);

after(async () => {
  clearInterval(load);
  await Promise.all(clients.map((client) => client.close()));
  await browser.close();
  await Promise.all(instances.map((instance) => instance.end()));
  await redis.end();
  await rm(directory, { recursive: true });
});

// A page of the first instance. What it must not do is told by `errors`.
async function visit(path, { as = admin, ...options } = {}) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  if (as) await context.addInitScript((token) => sessionStorage.setItem("tidings.admin.token", token), as);
  const page = await open(context, `${instances[0].url}/admin/${path}`);
  page.on("console", (message) => {
    if (/Content Security Policy|TrustedHTML/.test(message.text())) page.errors.push(new Error(message.text()));
  });
  return page;
}

const signedIn = (page) => page.locator("body[data-state=signed-in]").waitFor();
const says = (page, selector, text) => page.locator(selector).filter({ hasText: text }).first().waitFor();

async function leave(page) {
  await page.context().close();
  assert.deepEqual(page.errors, []);
}

test("only an admin's token lets in, and it stays in the tab", { timeout: 60_000 }, async () => {
  const page = await visit("events", { as: "" });
  const signIn = async (token) => {
    await page.locator("#token").fill(token);
    await page.locator("#token").press("Enter");
  };
  await signIn("open sesame");
  await says(page, "#token-error", "This is no token");
  await signIn(token({ sub: "root", admin: true }, "another secret, which is as long as that"));
  await says(page, "#token-error", "This token is not accepted");
  await signIn(token({ sub: "ann", ...everything }));
  await says(page, "#token-error", "it needs the claim “admin”");
  assert.equal(await page.locator("main").isVisible(), false);
  await signIn(admin);
  await signedIn(page);
  await says(page, "#health", "3 instances, all well");
  const kept = await page.evaluate(() => [Object.values(sessionStorage), localStorage.length, document.cookie, location.href]);
  assert.deepEqual(kept, [[admin], 0, "", `${instances[0].url}/admin/events`]);

  // The other page knows it, until somebody signs out.
  await page.getByRole("link", { name: "Connections" }).click();
  await signedIn(page);
  await page.locator("#sign-out").click();
  await page.locator("body[data-state=signed-out]").waitFor();
  assert.deepEqual(await page.evaluate(() => Object.values(sessionStorage)), []);
  await leave(page);
});

test("events are shown as they come, chosen, looked at and published", { timeout: 60_000 }, async () => {
  const page = await visit("events");
  await signedIn(page);
  // Figures and charts have numbers, of all instances together.
  await page.waitForFunction(() => {
    const [published] = document.querySelectorAll("#figures dd");
    return parseFloat(published.textContent.replace(",", "")) > 100;
  });
  const slider = page.locator("#published .plot");
  await page.waitForFunction(() => /normal [1-9]/.test(document.querySelector("#published .plot").ariaValueText));
  await page.locator("#latency summary").click();
  await says(page, "#latency tbody td", /\d (µs|ms)/);
  await says(page, "#names button", "orders.eu.created");

  // There are more than are shown, which is said.
  await says(page, "#showing", /Showing \d+ of \d+ events\/s/);
  assert((await page.locator("#tail [role=option]").count()) < 50, "only what is in view is there");

  // A name and a priority.
  await page.locator("#names button", { hasText: "rooms.17.message" }).click();
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#tail [role=option]:not([hidden]) .name")];
    return rows.length > 10 && rows.every(({ textContent }) => textContent === "rooms.17.message");
  });
  await page.locator("#priorities input[value=normal]").uncheck();
  await page.locator("#priorities input[value=low]").uncheck();
  await page.waitForFunction(() => {
    const rows = [...document.querySelectorAll("#tail [role=option]:not([hidden])")];
    return rows.length > 10 && rows.every(({ dataset }) => ["high", "critical"].includes(dataset.priority));
  });
  await page.locator("#pattern").fill("too.long.".repeat(40));
  await page.locator("#pattern").press("Enter");
  await says(page, "#pattern-error", "255 bytes");

  // Paused, nothing moves; the keyboard chooses an event, and all of it is shown.
  await page.locator("#pattern").fill("orders.*.created");
  await page.locator("#pattern").press("Enter");
  await page.locator("#tail [role=option]").nth(10).waitFor();
  await page.locator("#pause").press("Space");
  await says(page, "#showing", "Paused");
  const first = await page.locator("#tail [role=option]").first().textContent();
  await says(page, "#showing", "more than 200 newer events");
  assert.equal(await page.locator("#tail [role=option]").first().textContent(), first);
  await page.locator("#tail").focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  await page.locator("#tail [role=option]:nth-child(2)[aria-selected=true]").waitFor();
  await says(page, "#payload", /"number": \d+/);
  await says(page, "#inspect-facts dd", "orders.eu.created");
  await says(page, "#left-out", "Not shown: /card.");
  assert.doesNotMatch(await page.locator("#payload").textContent(), /card|4111/);
  await page.locator("#earlier").click();
  await page.locator("#pause").click();

  // Published by hand: what is wrong is said where it is wrong.
  const publish = async (name, payload) => {
    await page.locator("#event-name").fill(name);
    await page.locator("#event-payload").fill(payload);
    await page.locator("#publish [type=submit]").click();
  };
  await publish("by.*", "{}");
  await says(page, "#event-name[aria-invalid] ~ #event-name-error", "which only a pattern may contain");
  await publish("by.hand", "{'no': 1}");
  await says(page, "#event-payload-error", "This is not JSON");
  assert.equal(await page.locator("#event-name-error").textContent(), "");
  // What is not what its schema says is told with place and rule, and is in the list of schemas then.
  await publish("orders.eu.created", '{"number": "seven"}');
  await says(page, "#event-payload-error", "orders.eu.created, /number: what is there is not of type");
  await says(page, "#schemas td", "orders.eu.created, /number");
  await page.locator("#schemas button").press("Enter");
  await says(page, "#schema-facts dd", "1 event");
  await says(page, "#schema-text", '"x-tidings-sensitive": true');
  await page.locator("#schema-close").click();
  await page.locator("#pattern").fill("by.*");
  await page.locator("#pattern").press("Enter");
  await page.mouse.move(5, 5);
  await says(page, "#showing", "Waiting for events");
  await page.locator("#priorities input[value=normal]").check();
  const large = JSON.stringify({ text: "x".repeat(30_000), number: 12345678901234567890n.toString() });
  await publish("by.hand", large);
  await says(page, "#published-as", "Published by.hand, at offset");
  await page.locator("#tail [role=option]").filter({ hasText: "by.hand" }).click();
  await says(page, "#payload-note", "The first 20,000 of");
  await says(page, "#showing", "Standing still");
  await page.keyboard.press("Escape");
  await page.mouse.move(5, 5);
  await says(page, "#showing", "Waiting for events");
  assert.equal(await slider.getAttribute("role"), "slider");
  await leave(page);
});

test("sessions of all instances are found, looked at and ended", { timeout: 60_000 }, async () => {
  const page = await visit("websocket");
  await signedIn(page);
  for (const name of names) await says(page, "#instances tbody tr", name);
  await says(page, "#session-count", "6 sessions");
  await page.waitForFunction(() => /Socket\.IO [1-9]/.test(document.querySelector("#connections .plot").ariaValueText));
  await page.waitForFunction(() => /round trip [1-9]/.test(document.querySelector("#backplane .plot").ariaValueText));
  await page.locator("#instance").selectOption("pod-2");
  await says(page, "#by-instance .legend li:only-child", "pod-2");
  await page.locator("#instance").selectOption("");

  // The one at another instance is found, and asked about before it is ended.
  await page.locator("#search-text").fill("BEN-3");
  await says(page, "#session-count", "1 session found");
  await page.locator("#sessions tbody button").press("Enter");
  await says(page, "#session-facts dd", "pod-3");
  await says(page, "#session-patterns", "rooms.**");
  await page.locator("#disconnect").press("Enter");
  await says(page, "#confirm-text", "End ben-3’s session at pod-3?");
  await page.keyboard.press("Enter");
  await page.locator("#confirm").waitFor({ state: "hidden" });
  await page.locator("#disconnect").press("Enter");
  await page.locator("#confirm-disconnect").press("Enter");
  await says(page, "#sessions .none", "Nobody like this is connected");
  assert.equal(clients[5].status.get().state, "closed");
  await page.locator("#search-text").fill("");
  await says(page, "#session-count", "5 sessions");
  await page.locator("#kinds input[value=ended]").check();
  await says(page, "#ended tbody tr", /ben-3.*an operator has ended the session \(4504\)/);
  await page.locator("#kinds input[value=connected]").check();
  await says(page, "#session-count", "5 sessions");

  // A mark is on everybody's charts.
  await page.locator("#mark").press("Enter");
  await page.keyboard.press("Enter");
  await says(page, "#mark-error", "Say what happened");
  await page.locator("#mark-text").fill("v1.4.0");
  await page.keyboard.press("Enter");
  await page.locator("#mark-dialog").waitFor({ state: "hidden" });
  const headers = { Authorization: `Bearer ${admin}` };
  const answer = await fetch(`${instances[2].url}/api/websocket/stats?scope=cluster&history=1`, { headers });
  const known = (await answer.json()).instances.map(({ marks }) => marks.map(({ text }) => text));
  assert.deepEqual(known, [["v1.4.0"], ["v1.4.0"], ["v1.4.0"]]);
  await says(page, "#marks tbody th", "v1.4.0");
  await leave(page);
});

// What axe has found in order, all of it.
async function judged(page, part = "html") {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(
    (part) => globalThis.axe.run(part, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
    part,
  );
  assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), []);
  return passes.map(({ id }) => id);
}

test("both pages are accessible, light, dark and on a phone", { timeout: 60_000 }, async () => {
  const phone = { viewport: { width: 360, height: 740 } };
  for (const [path, options] of [
    ["events", { colorScheme: "light" }],
    ["events", { colorScheme: "dark", ...phone }],
    ["websocket", { colorScheme: "light", ...phone }],
    ["websocket", { colorScheme: "dark" }],
  ]) {
    const page = await visit(path, options);
    await signedIn(page);
    if (path === "events") {
      // The list stands still under the pointer.
      await page.locator("#tail").hover();
      await page.locator("#tail [role=option]").first().click();
      await page.locator("#payload").waitFor();
      assert((await judged(page)).includes("color-contrast"));
    } else {
      await page.locator("#sessions button").first().waitFor();
      assert((await judged(page)).includes("color-contrast"));
      await page.locator("#kinds input[value=ended]").check();
      await page.locator("#ended tbody tr").first().waitFor();
      await judged(page, "#ended");
      await page.locator("#kinds input[value=connected]").check();
      await page.locator("#sessions button").first().click();
      await page.locator("#disconnect").click();
      await page.locator("#confirm").waitFor();
      if (options.colorScheme === "dark") await judged(page, "#session");
    }
    const [wide, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert(wide <= inner, `${path} is ${wide} wide in a window of ${inner}`);
    await leave(page);
  }
});
