// The package in Node.
import { equal, throws } from "node:assert/strict";
import { test } from "node:test";
import * as tidings from "@tidings/client";
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

// The module without collections is another one: the rest has to hold with it, too.
const needsCollections = (check) => /\bcollection\b/.test(check.toString());
for (const [name, check] of Object.entries(checks).filter(([, check]) => !needsCollections(check))) {
  test(`${name} (without collections)`, { timeout: 60_000 }, () =>
    check({ ...realtime, ...place, formats: ["json"] }),
  );
}

test("without collections there are none, and no MessagePack", async () => {
  const client = realtime.connect(server.url);
  equal(client.collection, undefined);
  await client.close();
  throws(() => realtime.connect(server.url, { format: "msgpack" }), /needs "@tidings\/client"/);
});

test.after(() => server.end());
