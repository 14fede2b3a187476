// The package in Node.
import { test } from "node:test";
import * as tidings from "@tidings/client";

import { checks } from "./checks.js";
import { startServer } from "./server.js";

const server = await startServer();

async function until(is) {
  while (!is()) await new Promise((resolve) => setTimeout(resolve, 5));
}

// What has no `reportError` tells the console.
const reported = [];
console.error = (error) => reported.push(error.message);

for (const [name, check] of Object.entries(checks)) {
  test(name, { timeout: 60_000 }, () =>
    check({
      ...tidings,
      url: server.url,
      please: server.please,
      until,
      reported: () => reported.splice(0),
    }),
  );
}

test.after(() => server.end());
