// Pages of Chromium that people would have open, and what happens to them.
import { after, test } from "node:test";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { connect } from "@tidings/client";
import { ensure, same } from "./checks.js";
import { executable, launch, open } from "./chromium.js";
import { chromiumAlone } from "./devtools.js";
import { startProgram, startProgramAt } from "./program.js";
import { network } from "./proxy.js";
import { startRedis } from "./redis.js";
import { startServer } from "./server.js";
import { serve } from "./site.js";

const here = dirname(fileURLToPath(import.meta.url));
const dist = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));
// For people to look at.
const screenshots = join(here, "../screenshots");
await mkdir(screenshots, { recursive: true });

const server = await startServer();
const cable = await network(server.url);
const site = await serve(
  { "/package/": dist, "/board/": join(here, "board") },
  { "/elsewhere": "<!doctype html><title>elsewhere</title>" },
  (text) => text.replaceAll('"@tidings/client"', '"/package/index.js"'),
);
const browser = await launch();

// A page in a browser of its own, with its own network.
async function person(url = cable.url) {
  const context = await browser.newContext({ viewport: { width: 640, height: 400 } });
  const page = await open(context, `${site.url}/board/?server=${url}`);
  await page.waitForFunction(() => globalThis.ready);
  return page;
}

const state = (page, state) => page.evaluate((state) => globalThis.state(state), state);
const titles = (page) => page.locator("#todos li").allTextContents();
const shows = (page, texts) =>
  page.waitForFunction(
    (texts) => {
      const items = [...document.querySelectorAll("#todos li")];
      return JSON.stringify(items.map((item) => item.textContent)) === JSON.stringify(texts);
    },
    texts,
  );
const settled = (page) => page.evaluate(() => globalThis.todos.settled());
const end = async (...pages) => {
  for (const page of pages) {
    if (page.errors.length > 0) throw page.errors[0];
    await page.context().close();
  }
};

// What a page has received, by who has published it; it waits until there are so many.
async function received(page, count) {
  await page.waitForFunction((count) => globalThis.received.length >= count, count);
  const by = {};
  for (const [name, n] of await page.evaluate(() => globalThis.received)) (by[name] ??= []).push(n);
  return by;
}

const upto = (count) => Array.from({ length: count }, (_, n) => n);

test("two pages edit one collection, one of them offline", { timeout: 60_000 }, async () => {
  const [ann, ben] = [await person(), await person()];
  await ann.evaluate(() => globalThis.todos.insert("tea", { title: "Make tea", votes: 0 }).seen);
  await shows(ben, ["Make tea: 0 votes"]);
  await ben.context().setOffline(true);
  await state(ben, "reconnecting");
  await ben.evaluate(() => {
    globalThis.todos.update("tea", { title: "Make cocoa" });
    globalThis.todos.increment("tea", "votes");
    globalThis.todos.insert("milk", { title: "Buy milk", votes: 0 });
  });
  same(await titles(ben), ["Buy milk: 0 votes", "Make cocoa: 1 votes"], "what Ben sees at once");
  same(await ben.locator("li.pending").count(), 2, "the number that waits");
  await ben.screenshot({ path: join(screenshots, "offline.png") });
  await ann.evaluate(async () => {
    await globalThis.todos.update("tea", { title: "Make coffee" }).seen;
    await globalThis.todos.increment("tea", "votes").seen;
  });
  same(await titles(ann), ["Make coffee: 1 votes"], "what Ann sees meanwhile");
  await ben.context().setOffline(false);
  await state(ben, "connected");
  await settled(ben);
  // Both hold, field by field; of the title the later, and votes add up.
  const both = ["Buy milk: 0 votes", "Make cocoa: 2 votes"];
  await shows(ann, both);
  await shows(ben, both);
  same(await ben.locator("#conflicts").textContent(), "Make coffee had become Make cocoa");
  await ben.screenshot({ path: join(screenshots, "conflict.png") });
  await ann.evaluate(async () => {
    await globalThis.todos.batch((writes) => ["tea", "milk"].forEach((key) => writes.delete(key))).seen;
  });
  await shows(ben, []);
  await end(ann, ben);
});

test("the network is cut while pages publish: nothing is lost or doubled", { timeout: 90_000 }, async () => {
  const [ann, ben] = [await person(), await person()];
  const publishing = [
    ann.evaluate(() => globalThis.publish("ann", 600)),
    ben.evaluate(() => globalThis.publish("ben", 600)),
  ];
  for (let cut = 1; cut <= 4; cut += 1) {
    await ann.waitForFunction((count) => globalThis.received.length > count, cut * 200);
    cable.cut();
  }
  await Promise.all(publishing);
  for (const page of [ann, ben]) same(await page.evaluate(() => globalThis.acknowledged()), 600);
  for (const page of [ann, ben]) {
    const expected = { "numbers.ann": upto(600), "numbers.ben": upto(600) };
    same(await received(page, 1200), expected, "what was received");
    same(await page.evaluate(() => globalThis.missed), [], "what was missed");
    // Whatever came before the cuts, the page comes back after them.
    await page.waitForFunction(async () => (await globalThis.client.stats()).reconnects >= 1);
  }
  await end(ann, ben);
});

test("the server is restarted while pages publish: what is gone is told", { timeout: 90_000 }, async () => {
  const [ann, ben] = [await person(), await person()];
  const publishing = [
    ann.evaluate(() => globalThis.publish("ann", 400)),
    ben.evaluate(() => globalThis.publish("ben", 400)),
  ];
  await ann.waitForFunction(() => globalThis.received.length > 100);
  await server.please("restart");
  await Promise.all(publishing);
  for (const page of [ann, ben]) same(await page.evaluate(() => globalThis.acknowledged()), 400);
  for (const page of [ann, ben]) {
    // The last ones come at the end, whatever happened before.
    await page.waitForFunction(() =>
      ["numbers.ann", "numbers.ben"].every((last) =>
        globalThis.received.some(([name, n]) => name === last && n === 399),
      ),
    );
    const by = await received(page, 0);
    const lost = Object.values(by).some((numbers) => numbers.length < 400);
    for (const [name, numbers] of Object.entries(by)) {
      const sorted = [...new Set(numbers)].sort((a, b) => a - b);
      same(numbers, sorted, `what came as ${name}, once and in order,`);
    }
    const missed = await page.evaluate(() => globalThis.missed);
    ensure(!lost || missed.length > 0, "something is missing and was not told");
    ensure(missed.every(({ reason }) => reason === "gap"), JSON.stringify(missed));
  }
  await end(ann, ben);
});

test("the server is killed while pages publish and edit: what Redis has outlives it", { timeout: 120_000 }, async () => {
  const redis = await startRedis();
  const folder = await mkdtemp(join(tmpdir(), "tidings-killed-"));
  const config = join(folder, "tidings.toml");
  await writeFile(config, "[collections.todos]\n");
  const start = (address) => startProgramAt(address, "--redis", redis.url, "--config", config);
  let killed = await start("127.0.0.1:0");
  const { url } = killed;
  const [ann, ben] = [await person(url), await person(url)];
  await ann.evaluate(() => globalThis.todos.insert("tea", { title: "Tea", votes: 0 }).seen);
  await shows(ben, ["Tea: 0 votes"]);
  const working = [ann, ben].flatMap((page, at) => [
    page.evaluate((name) => globalThis.publish(name, 600), ["ann", "ben"][at]),
    page.evaluate(() => globalThis.vote("tea", 150)),
  ]);
  for (const count of [200, 600]) {
    await ann.waitForFunction((count) => globalThis.received.length > count, count);
    await state(ben, "connected");
    await killed.kill();
    for (const page of [ann, ben]) await state(page, "reconnecting");
    killed = await start(new URL(url).host);
  }
  await Promise.all(working);
  for (const page of [ann, ben]) {
    same(await page.evaluate(() => globalThis.acknowledged()), 600);
    same(await page.evaluate(() => globalThis.voted()), 150);
  }
  for (const page of [ann, ben]) {
    const expected = { "numbers.ann": upto(600), "numbers.ben": upto(600) };
    same(await received(page, 1200), expected, "what was received");
    await shows(page, ["Tea: 300 votes"]);
    // Nothing that is not so was told.
    same(await page.evaluate(() => globalThis.missed), [], "what was missed");
    same(await page.evaluate(() => globalThis.todos.conflicts.get()), [], "the conflicts");
    const { publishFailures, gaps, connects } = await page.evaluate(() => globalThis.client.stats());
    same([publishFailures, gaps, connects], [0, 0, 3], "failures, gaps, and connections");
  }
  await end(ann, ben);
  await killed.end();
  await redis.end();
  await rm(folder, { recursive: true });
});

test("the transport is changed while events arrive", { timeout: 90_000 }, async () => {
  const [ann, ben] = [await person(), await person()];
  const publishing = ben.evaluate(() => globalThis.publish("ben", 800));
  for (const transport of ["socketio", "ws", "socketio", "ws", "socketio"]) {
    const used = await ann.evaluate((to) => globalThis.client.switchTransport(to), transport);
    same(used, transport);
  }
  await publishing;
  same(await received(ann, 800), { "numbers.ben": upto(800) }, "what was received");
  same((await ann.evaluate(() => globalThis.client.stats())).switches, 5, "the number of switches");
  await end(ann, ben);
});

test("a tab that is hidden, or frozen, gets everything", { timeout: 120_000 }, async () => {
  const chromium = await chromiumAlone(executable());
  const address = `${site.url}/board/?server=${cable.url}`;
  const ann = await chromium.open(address);
  await ann.until("globalThis.ready === true");
  const ben = await chromium.open(address);
  await ben.until("globalThis.ready === true");
  const publish = (count) =>
    ben.evaluate(`publish("ben", ${count}).then(acknowledged)`).then((n) => same(n, count));
  const got = "JSON.stringify(received.map(([, n]) => n))";
  await ann.until('document.visibilityState === "hidden"');
  await publish(200);
  await ann.until("received.length >= 200");
  same(await ann.evaluate("document.visibilityState"), "hidden");
  same(await ann.evaluate(got), JSON.stringify(upto(200)), "what was received while hidden");
  await ann.become("frozen");
  await publish(200);
  cable.cut();
  await ben.evaluate('state("connected")');
  await publish(100);
  await ann.become("active");
  await ann.toFront();
  await ann.until('document.visibilityState === "visible"');
  await ann.until("received.length >= 500");
  const later = JSON.stringify([...upto(200), ...upto(200), ...upto(100)]);
  same(await ann.evaluate(got), later, "what was received in all");
  same(await ann.evaluate("missed.length"), 0, "the number of gaps");
  same(await ann.evaluate("client.status.get().state"), "connected");
  await chromium.close();
});

test("a tab whose timers run once a minute does without them", { timeout: 120_000 }, async () => {
  // So it is five minutes after it was hidden.
  const soon = "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1";
  const chromium = await chromiumAlone(executable(), [soon]);
  const address = `${site.url}/board/?server=${cable.url}`;
  const ann = await chromium.open(address);
  await ann.until("globalThis.ready === true");
  await ann.evaluate("(globalThis.tick = () => { globalThis.ticked = Date.now(); setTimeout(tick, 10); })()");
  const ben = await chromium.open(address);
  await ben.until("globalThis.ready === true");
  // Timers of a tab that is only hidden run once a second.
  const heldUp = "Date.now() - ticked > 3_000";
  await ann.until(`document.visibilityState === "hidden" && ${heldUp}`);

  const outside = publisher(server.url);
  await outside.publish(200);
  same(await numbersOf(ann, 200), upto(200), "what was received");
  const publish = "Promise.all(Array.from({ length: 100 }, (_, n) => client.publish('numbers.ann', n)))";
  same(await ann.evaluate(`${publish}.then((all) => all.length)`), 100, "what was published");
  await ben.until("received.length >= 300");
  await ann.evaluate("todos.insert('late', { title: 'Late', votes: 1 }).seen.then(() => 0)");
  await ben.until("todos.get('late')?.votes === 1");
  cable.cut();
  await outside.publish(100);
  await ann.until("received.length >= 400");
  same(await ann.evaluate("JSON.stringify([missed.length, client.status.get().state])"), '[0,"connected"]');
  // Still: a minute may have ended meanwhile.
  await ann.until(heldUp);
  await Promise.all([chromium.close(), outside.close()]);
});

// What a page of Chromium alone has received, when there are so many.
async function numbersOf(page, count) {
  await page.until(`received.length >= ${count}`);
  return JSON.parse(await page.evaluate("JSON.stringify(received.map(([, n]) => n))"));
}

// Publishes numbers from outside, going on where it has stopped.
function publisher(url) {
  const client = connect(url);
  let next = 0;
  return {
    async publish(count) {
      const numbers = Array.from({ length: count }, () => next++);
      await Promise.all(numbers.map((n) => client.publish("numbers.outside", n)));
    },
    close: () => client.close(),
  };
}

test("a machine that has slept gets what it missed", { timeout: 120_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "tidings-asleep-"));
  const config = join(folder, "tidings.toml");
  const heartbeat = '[heartbeat]\nping_interval = "500 ms"\nping_timeout = "500 ms"\n';
  await writeFile(config, `[collections.todos]\n${heartbeat}`);
  const program = await startProgram("--config", config);
  const chromium = await chromiumAlone(executable());
  const ann = await chromium.open(`${site.url}/board/?server=${program.url}`);
  await ann.until("globalThis.ready === true");
  const outside = publisher(program.url);
  await outside.publish(100);
  same(await numbersOf(ann, 100), upto(100), "what was received before");
  const sessions = async () =>
    (await (await fetch(`${program.url}/api/websocket/stats`)).json()).connections.ws;
  same(await sessions(), 2, "the number of connections");
  chromium.sleep();
  // The server gives up whoever does not answer.
  while ((await sessions()) > 1) await new Promise((resolve) => setTimeout(resolve, 50));
  await outside.publish(200);
  chromium.wake();
  same(await numbersOf(ann, 300), upto(300), "what was received in all");
  same(await ann.evaluate("missed.length"), 0, "the number of gaps");
  same(await ann.evaluate("client.status.get().state"), "connected");
  await Promise.all([chromium.close(), outside.close()]);
  await program.end();
  await rm(folder, { recursive: true });
});

// Goes away and comes back. Returns why the browser has not kept the page, if it has not: it is free to.
async function awayAndBack(ann, meanwhile) {
  await ann.evaluate("addEventListener('pageshow', ({ persisted }) => (globalThis.persisted = persisted))");
  await ann.evaluate("globalThis.itself = true");
  await ann.goTo(`${site.url}/elsewhere`);
  await ann.until("document.title === 'elsewhere'");
  await meanwhile();
  await ann.evaluate("history.back()");
  // Or another page of the same address.
  await ann.until("globalThis.itself ? globalThis.persisted === true : globalThis.ready === true");
  const reasons = "JSON.stringify(performance.getEntriesByType('navigation')[0].notRestoredReasons)";
  return ann.evaluate(`globalThis.itself ? "" : ${reasons}`);
}

test("a page that comes back by the back button gets what it missed", { timeout: 120_000 }, async () => {
  const chromium = await chromiumAlone(executable());
  const why = [];
  for (let kept = false; !kept; ) {
    ensure(why.length < 5, `the browser has never kept the page: ${why}`);
    const ann = await chromium.open(`${site.url}/board/?server=${cable.url}`);
    await ann.until("globalThis.ready === true");
    const outside = publisher(server.url);
    await outside.publish(100);
    same(await numbersOf(ann, 100), upto(100), "what was received before");
    const lost = await awayAndBack(ann, () => outside.publish(200));
    kept = lost === "";
    if (kept) {
      same(await numbersOf(ann, 300), upto(300), "what was received in all");
      same(await ann.evaluate("missed.length"), 0, "the number of gaps");
    } else {
      why.push(lost);
    }
    await outside.close();
  }
  await chromium.close();
});

after(async () => {
  await browser.close();
  await Promise.all([site.close(), cable.close()]);
  await server.end();
});
