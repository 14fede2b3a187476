// What the browser keeps of collections, in Chromium.
import assert from "node:assert/strict";

import { connect } from "@tidings/client";
import { run } from "./tabs/checks.js";
import { Tab, until } from "./tabs/place.js";

const ALONE = { tabs: false };

// What the server has, as somebody else sees it.
async function onServer(place) {
  const client = connect(place.server.url);
  const todos = client.collection("todos");
  await todos.loaded();
  return { value: (key) => todos.get(key), close: () => client.close() };
}

async function withCollection(place, name, options = ALONE) {
  const tab = await Tab.open(place, name, options);
  await tab.call("collect", "todos");
  return tab;
}

// Counts by one so often, each of them kept before this ends.
async function count(tab, key, times) {
  for (let time = 0; time < times; time += 1) await tab.call("write", "stored", "increment", key, "n", 1);
}

const checks = {
  async "what was pending when the browser died is sent by the next page, each once and in order"(place) {
    const first = await withCollection(place, "first");
    await first.call("write", "acknowledged", "insert", "counter", { n: 0, last: "none" });
    // What was loaded is kept a little later than what is pending.
    const records = async () => (await first.call("kept"))["todos.records"] ?? "";
    await until("the record is kept", async () => (await records()).includes("counter"));
    place.proxy.block(true);
    await count(first, "counter", 20);
    for (const last of ["a", "b", "c"]) await first.call("write", "stored", "update", "counter", { last });
    await place.killBrowser();
    const next = await withCollection(place, "next");
    assert.deepEqual(await next.call("all"), [["counter", { n: 20, last: "c" }]], "it is shown at once");
    assert.equal((await next.call("collectionStatus")).pending, 23);
    place.proxy.block(false);
    await next.call("settled");
    const server = await onServer(place);
    await until("the server has it", () => server.value("counter")?.last === "c");
    assert.deepEqual(server.value("counter"), { n: 20, last: "c" });
    await server.close();
  },

  async "two tabs keep their writes apart, and what a closed one has left is sent by the other"(place) {
    const tabs = [await withCollection(place, "a"), await withCollection(place, "b")];
    await tabs[0].call("write", "acknowledged", "insert", "counter", { n: 0 });
    await until("both have it", async () => (await tabs[1].call("all")).length === 1);
    place.proxy.block(true);
    for (const tab of tabs) await count(tab, "counter", 10);
    await tabs[0].crash();
    place.proxy.block(false);
    const server = await onServer(place);
    await until("the server has all", () => server.value("counter")?.n === 20 || server.value("counter"));
    await until("nothing is left behind", async () => {
      const kept = await tabs[1].call("kept");
      return kept.todos === undefined || Object.keys(kept);
    });
    await tabs[1].call("settled");
    assert.equal(server.value("counter").n, 20);
    await server.close();
  },

  async "what cannot be read is set aside, told, and still there"(place) {
    const first = await withCollection(place, "first");
    await first.call("write", "stored", "insert", "one", { n: 1 });
    await first.page.goto(`${place.site.url}/elsewhere`);
    const spoils = await Tab.open(place, "spoils", ALONE);
    await spoils.call("spoil", "todos");
    const next = await withCollection(place, "next");
    const { setAside } = await next.call("collectionStatus");
    assert.match(setAside ?? "", /what was pending could not be read .*todos\.aside-1 in the IndexedDB/);
    assert.match((await next.call("kept"))["todos.aside-1"], /no JSON/);
    await next.call("write", "acknowledged", "insert", "two", { n: 2 });
  },

  async "without a storage the collection goes on in memory, and says why"(place) {
    for (const [before, why] of [
      ["indexedDB.open = () => { throw new DOMException('private', 'SecurityError') }", /cannot open.*private/],
      ["delete Navigator.prototype.locks", /no Web Locks/],
    ]) {
      const tab = await withCollection(place, "without", { ...ALONE, before });
      assert.match((await tab.call("collectionStatus")).unkept ?? "", why);
      await tab.call("write", "acknowledged", "insert", `key ${why}`, { n: 1 });
      await tab.page.close();
    }
  },

  async "a full storage is told, and nothing waits for it"(place) {
    const tab = await withCollection(place, "full");
    const devtools = await tab.devtools();
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: place.site.url, quotaSize: 20_000 });
    const text = "x".repeat(60_000);
    await tab.call("write", "acknowledged", "insert", "large", { text });
    await until("it is told", async () => /no more room|Quota/.test((await tab.call("collectionStatus")).unkept ?? "") || (await tab.call("collectionStatus")));
    await tab.call("write", "acknowledged", "insert", "small", { n: 1 });
    assert.equal((await tab.call("kept")).todos, undefined, "nothing of before is taken for pending later");
  },
};

run(checks);
