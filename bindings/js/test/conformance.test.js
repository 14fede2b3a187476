// The list of scenarios that every client of Tidings has to pass (tests/conformance), with the package in Node,
// without collections, with MessagePack, and in Chromium.
import { after, test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as tidings from "@tidings/client";
import * as msgpack from "@tidings/client/msgpack";
import * as realtime from "@tidings/client/realtime";

import { launch, open } from "./chromium.js";
import { startPlace } from "./conformance/place.js";
import { known, run } from "./conformance/run.js";
import { serve } from "./site.js";

const directory = process.env.TIDINGS_CONFORMANCE;
if (!directory) throw new Error("run this by bindings/js/check: it says where the list is");

const read = async (name) => {
  const list = JSON.parse(await readFile(join(directory, `${name}.json`)));
  assert.ok(list.length > 0, `${name}.json is empty`);
  return list;
};

const [events, connection, formats, collections, presence, wrong] = await Promise.all(
  ["events", "connection", "formats", "collections", "presence", "wrong"].map(read),
);
const core = [...events, ...connection];
const all = [...core, ...collections, ...presence];

const here = dirname(fileURLToPath(import.meta.url));
const dist = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));
const html = await readFile(join(here, "app/index.html"));
const siteWith = (script) =>
  serve({ "/package/": dist, "/test/": here }, { "/test/conformance/": html }, (text) =>
    text.replaceAll('"@tidings/client"', `"/package/${script}"`),
  );
const sites = await Promise.all(["index.js", "msgpack.js"].map(siteWith));
const browser = await launch();

const chromium = (site) => async (please) => {
  const page = await open(await browser.newContext(), "about:blank");
  await page.exposeFunction("please", please);
  await page.goto(`${site.url}/test/conformance/`);
  await page.waitForFunction(() => globalThis.ready);
  return async (scenario, by) => {
    await page.evaluate(([scenario, by]) => globalThis.run(scenario, by), [scenario, by]);
    assert.deepEqual(page.errors, []);
  };
};
const node = (its) => async (please) => (scenario, by) => run(its, please, scenario, by);

// Where the list runs, each place with a server of its own, beside the others.
const places = {
  "in Node": { list: all, begin: node(tidings) },
  // The same glue, over another module.
  "in Node, without collections": { list: core, begin: node(realtime), only: ["ws"] },
  "in Node, with MessagePack": { list: formats, begin: node(msgpack) },
  "in Chromium": { list: all, begin: chromium(sites[0]) },
  "in Chromium, with MessagePack": { list: formats, begin: chromium(sites[1]) },
};

async function pass(t, { list, begin, only = ["ws", "socketio", "polling"] }) {
  const place = await startPlace();
  const run = await begin(place.please);
  for (const scenario of list) {
    for (const by of only.filter((by) => (scenario.by ?? only).includes(by))) {
      await t.test(`${scenario.name} (${by})`, { timeout: 60_000 }, async () => {
        await place.fresh();
        await run(scenario, by);
      });
    }
  }
  if (list === all) {
    for (const scenario of wrong) {
      await t.test(`it is noticed when ${scenario.name}`, { timeout: 60_000 }, async () => {
        await place.fresh();
        await assert.rejects(run(scenario, "ws"), (error) => {
          assert.ok(error.message.includes(scenario.wrong), error.message);
          return true;
        });
      });
    }
  }
  await place.end();
}

test("the list", { concurrency: Object.keys(places).length }, (t) =>
  Promise.all(Object.entries(places).map(([where, place]) => t.test(where, (t) => pass(t, place)))),
);

test("every step is used, by transports that there are", () => {
  const used = (steps) => steps.flatMap((step) => [step.do, ...used(step.steps ?? [])]);
  const scenarios = [...all, ...formats];
  assert.deepEqual([...new Set(scenarios.flatMap(({ steps }) => used(steps)))].sort(), known.sort());
  for (const { name, by } of scenarios) {
    for (const transport of by ?? []) assert.ok(["ws", "socketio", "polling"].includes(transport), name);
  }
});

after(async () => {
  await browser.close();
  await Promise.all(sites.map((site) => site.close()));
});
