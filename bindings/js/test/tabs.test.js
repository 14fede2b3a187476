// Tabs that share one connection, in Chromium.
import assert from "node:assert/strict";

import { connect } from "@tidings/client";
import { run } from "./tabs/checks.js";
import { Tab, until } from "./tabs/place.js";

// How often the tab that leads goes away in one test, and how often somebody publishes then.
const ROUNDS = 3;
const EVERY = 25;

const leaderOf = async (tabs) => {
  for (const tab of tabs) if ((await tab.call("status")).tab === "leader") return tab;
  return undefined;
};

const role = (tab) => tab.call("status").then((status) => status.tab);

async function threeTabs(place, pattern = "numbers.**") {
  const tabs = [];
  for (const name of ["a", "b", "c"]) {
    tabs.push(await Tab.open(place, name));
    await tabs.at(-1).call("ready");
    await tabs.at(-1).call("subscribe", pattern);
  }
  return tabs;
}

// Somebody who has a connection of its own, hears everything and publishes numbers as `numbers.outside`.
async function outsider(place) {
  const client = connect(place.server.url, { reconnect: { minDelay: 20, maxDelay: 200 } });
  const received = [];
  const subscription = client.subscribe(
    "numbers.**",
    (event) => received.push([event.name, event.payload]),
    { onMissed: (missed) => received.push(["missed", missed]) },
  );
  await subscription.ready();
  let next = 0;
  const pending = new Set();
  const publish = () => {
    const published = client.publish("numbers.outside", next++).finally(() => pending.delete(published));
    pending.add(published);
  };
  const timer = setInterval(publish, EVERY);
  return {
    received,
    published: () => next,
    async stop() {
      clearInterval(timer);
      await Promise.all(pending);
      return next;
    },
    close: () => client.close(),
  };
}

const of = (received, name) => received.filter(([from]) => from === name).map(([, number]) => number);

// All numbers up to `count`, each once and in order.
function whole(numbers, count, what) {
  const at = numbers.findIndex((number, place) => number !== place);
  assert.equal(at, -1, `${what}: ${numbers[at]} came at place ${at}: ${numbers.slice(at - 3, at + 5)}`);
  assert.equal(numbers.length, count, `${what}: so many came`);
}

// Each once and in order, and all that were acknowledged; a tab that is gone may have published more.
function faithful(numbers, acknowledged, what) {
  const disordered = numbers.findIndex((number, place) => place > 0 && number <= numbers[place - 1]);
  assert.equal(disordered, -1, `${what}: ${numbers.slice(Math.max(0, disordered - 3), disordered + 3)}`);
  const missing = acknowledged.filter((number) => !numbers.includes(number));
  assert.deepEqual(missing, [], `${what}: acknowledged, and did not come`);
}

const checks = {
  async "three tabs have one WebSocket and all get everything once"(place) {
    const tabs = await threeTabs(place);
    assert.deepEqual(await Promise.all(tabs.map(role)), ["leader", "member", "member"]);
    for (const tab of tabs) await tab.call("start", `numbers.${tab.name}`, EVERY);
    for (const tab of tabs) await until("it published", async () => (await tab.call("acknowledged")).length >= 40);
    for (const tab of tabs) await tab.call("stop");
    const counts = {};
    for (const tab of tabs) {
      await until("all are acknowledged", async () => {
        counts[tab.name] = (await tab.call("acknowledged")).length;
        return counts[tab.name] === (await tab.call("published"));
      });
    }
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const tab of tabs) {
      await until("all came", async () => (await tab.call("count")) >= all);
      const received = await tab.call("received");
      for (const { name } of tabs) whole(of(received, `numbers.${name}`), counts[name], `${name} in ${tab.name}`);
    }
    assert.equal(place.proxy.counts.most, 1);
    await refused(tabs[1]);
    assert.ok((await tabs[2].call("stats")).published >= all, "the connection's count is told in any tab");
  },

  async "the leader is closed, and crashes, under way: nothing is lost, doubled or disordered"(place) {
    let tabs = await threeTabs(place);
    const [stays] = tabs.slice(1);
    const other = await outsider(place);
    const gone = [];
    for (const tab of tabs) await tab.call("start", `numbers.${tab.name}`, EVERY);
    for (let round = 0; round < ROUNDS; round += 1) {
      await until("somebody leads", async () => (await leaderOf(tabs)) !== undefined);
      const leader = await leaderOf(tabs);
      const before = await stays.call("count");
      await until("events arrive", async () => (await stays.call("count")) > before + 40);
      if (leader === stays) {
        // It gives the lead on, and must miss nothing.
        await tabs.find((tab) => tab !== stays).page.bringToFront();
        await stays.freeze("frozen");
        await until("another leads", async () => (await leaderOf(tabs.filter((tab) => tab !== stays))) !== undefined);
        await stays.freeze("active");
        continue;
      }
      // What it knows of by now was acknowledged.
      gone.push([leader.name, await leader.call("acknowledged")]);
      if (round % 2 === 0) await leader.crash();
      else await leader.page.close();
      tabs = tabs.filter((tab) => tab !== leader);
      const next = await Tab.open(place, `d${round}`);
      await next.call("ready");
      await next.call("subscribe", "numbers.**");
      await next.call("start", `numbers.${next.name}`, EVERY);
      tabs.push(next);
    }
    await settled(tabs, gone, stays, other);
    await other.close();
  },

  async "a leader that hangs loses the lead, and goes on as a member"(place) {
    const tabs = await threeTabs(place);
    const [hangs, stays] = tabs;
    const other = await outsider(place);
    await until("events arrive", async () => (await stays.call("count")) > 100);
    const hanging = hangs.call("hang", 14_000);
    await until("another leads", async () => (await leaderOf(tabs.slice(1))) !== undefined);
    const before = await stays.call("count");
    await until("events arrive", async () => (await stays.call("count")) > before + 100);
    await hanging;
    await until("it is a member", async () => (await role(hangs)) === "member");
    await settled(tabs, [], stays, other);
    await everywhere(tabs, other);
    await until("one WebSocket is left", () => place.proxy.counts.now === 1);
    await other.close();
  },

  async "a leader that is frozen gives the lead on, and goes on as a member"(place) {
    const tabs = await threeTabs(place);
    const [frozen, stays] = tabs;
    const other = await outsider(place);
    for (const tab of tabs) await tab.call("start", `numbers.${tab.name}`, EVERY);
    await until("events arrive", async () => (await stays.call("count")) > 100);
    await frozen.freeze("frozen");
    await until("another leads", async () => (await leaderOf(tabs.slice(1))) !== undefined);
    const before = await stays.call("count");
    await until("events arrive", async () => (await stays.call("count")) > before + 60);
    await frozen.freeze("active");
    await until("it is a member", async () => (await role(frozen)) === "member");
    await settled(tabs, [], stays, other);
    await everywhere(tabs, other);
    await until("one WebSocket is left", () => place.proxy.counts.now === 1);
    await other.close();
  },

  async "a cut, and a network that is gone for a while"(place) {
    const tabs = await threeTabs(place);
    const other = await outsider(place);
    for (const tab of tabs) await tab.call("start", `numbers.${tab.name}`, EVERY);
    for (let round = 0; round < ROUNDS; round += 1) {
      const before = await tabs[2].call("count");
      await until("events arrive", async () => (await tabs[2].call("count")) > before + 40);
      place.proxy.cut();
    }
    const leader = await leaderOf(tabs);
    const network = (offline) =>
      leader.devtools().then((devtools) =>
        devtools.send("Network.emulateNetworkConditions", {
          offline,
          latency: 0,
          downloadThroughput: -1,
          uploadThroughput: -1,
        }),
      );
    await network(true);
    const state = (tab) => tab.call("status").then((status) => status.state);
    for (const tab of tabs) await until("it is told", async () => (await state(tab)) === "reconnecting");
    await network(false);
    for (const tab of tabs) await until("it is back", async () => (await state(tab)) === "connected");
    await settled(tabs, [], tabs[1], other);
    await everywhere(tabs, other);
    await other.close();
  },

  async "a tab that is put away for the back button gives the lead on, and comes back"(place) {
    const tabs = await threeTabs(place);
    const [away, stays] = tabs;
    const other = await outsider(place);
    await until("events arrive", async () => (await away.call("count")) > 100);
    await away.page.evaluate(() => addEventListener("pageshow", (event) => (globalThis.persisted = event.persisted)));
    await away.page.goto(`${place.site.other}/elsewhere`);
    await until("another leads", async () => (await leaderOf(tabs.slice(1))) !== undefined);
    const before = await stays.call("count");
    await until("events arrive", async () => (await stays.call("count")) > before + 100);
    await away.page.goBack();
    await until("it was kept by the browser", () => away.page.evaluate(() => globalThis.persisted ?? performance.getEntriesByType("navigation")[0].notRestoredReasons));
    await until("it is a member", async () => (await role(away)) === "member");
    await settled(tabs, [], stays, other);
    await everywhere(tabs, other);
    await other.close();
  },
};

// What nobody answers is refused in a tab that does not lead as in any.
async function refused(tab) {
  const error = await tab.call("fails", "nobody", null);
  assert.equal(error.code, "refused");
}

// Everybody stops publishing, and all that was published is everywhere it has to be.
async function settled(tabs, gone, stays, other) {
  for (const tab of tabs) await tab.call("stop");
  const count = await other.stop();
  const acknowledged = new Map(gone);
  for (const tab of tabs) {
    await until(`all of ${tab.name} is acknowledged`, async () => {
      const numbers = await tab.call("acknowledged");
      acknowledged.set(tab.name, numbers);
      const published = await tab.call("published");
      if (numbers.length === published) return true;
      const { queued, inFlight, resent } = await tab.call("stats");
      const failures = (await tab.call("failures")).slice(0, 3);
      return { published, acknowledged: numbers.length, failures, queued, inFlight, resent };
    });
    assert.deepEqual(await tab.call("failures"), []);
  }
  await until("all of it came outside", () =>
    [...acknowledged].every(([name, numbers]) => of(other.received, `numbers.${name}`).length >= numbers.length) &&
    of(other.received, "numbers.outside").length >= count);
  await until("all of it came here", async () => (await stays.call("count")) >= other.received.length || [await stays.call("count"), other.received.length]);
  const received = await stays.call("received");
  assert.deepEqual(of(received, "missed"), []);
  assert.deepEqual(of(other.received, "missed"), []);
  whole(of(received, "numbers.outside"), count, `what came outside in ${stays.name}`);
  for (const [name, numbers] of acknowledged) {
    const heard = of(other.received, `numbers.${name}`);
    faithful(heard, numbers, `what ${name} published`);
    const own = of(received, `numbers.${name}`);
    // A tab that came later began later.
    assert.deepEqual(heard.slice(-own.length), own, `what ${name} published, in ${stays.name}`);
  }
}

// All that was published outside came to each of these tabs, once and in order: to one that was away after
// the others.
async function everywhere(tabs, other) {
  for (const tab of tabs) {
    const outside = async () => of(await tab.call("received"), "numbers.outside");
    await until(`all of it came to ${tab.name}`, async () => {
      const { length } = await outside();
      return length >= other.published() || length;
    });
    whole(await outside(), other.published(), tab.name);
  }
}

run(checks);
