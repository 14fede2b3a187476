// The package in Node.
import { equal, throws } from "node:assert/strict";
import { test } from "node:test";
import * as tidings from "@tidings/client";
import * as msgpack from "@tidings/client/msgpack";
import * as realtime from "@tidings/client/realtime";

import { checks } from "./checks.js";
import { startServer } from "./server.js";

const server = await startServer();

async function until(is) {
  while (!is()) await new Promise((resolve) => setTimeout(resolve, 5));
}

// What has no `reportError` tells the console.
const reported = [];
console.error = (error) => reported.push(error.message);

const place = { url: server.url, until, reported: () => reported.splice(0) };
for (const [name, check] of Object.entries(checks)) {
  test(name, { timeout: 60_000 }, () => check({ ...tidings, ...place }));
}

// The modules with MessagePack and without collections are others: the same has to hold with them.
const needsCollections = (check) => /\bcollection\b/.test(check.toString());
for (const [name, check] of Object.entries(checks)) {
  test(`${name} (with MessagePack)`, { timeout: 60_000 }, () =>
    check({ ...msgpack, ...place, formats: ["json", "msgpack"] }),
  );
  if (needsCollections(check)) continue;
  test(`${name} (without collections)`, { timeout: 60_000 }, () => check({ ...realtime, ...place }));
}

test("without collections there are none", async () => {
  const client = realtime.connect(server.url);
  equal(client.collection, undefined);
  await client.close();
});

test("whoever wants MessagePack is told what to import", () => {
  for (const { connect } of [tidings, realtime]) {
    throws(() => connect(server.url, { format: "msgpack" }), /needs "@tidings\/client\/msgpack"/);
  }
});

test.after(() => server.end());
