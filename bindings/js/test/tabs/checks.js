// Runs checks, each in a place of its own.
import { test } from "node:test";

import { openPlace } from "./place.js";

export function run(checks) {
  for (const [name, check] of Object.entries(checks)) {
    test(name, { timeout: 120_000 }, async () => {
      const place = await openPlace();
      try {
        await check(place);
      } finally {
        await place.close();
      }
    });
  }
}
