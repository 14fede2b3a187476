// What `tidings-server schema --ts` prints is what the package takes: right payloads compile, wrong ones do not.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { printSchemas } from "./program.js";

// Beneath this directory, so that the package is found as everywhere.
const directory = await mkdtemp(join(dirname(fileURLToPath(import.meta.url)), "schema-"));
after(() => rm(directory, { recursive: true }));
const write = (name, content) => writeFile(join(directory, name), content);

const CONFIG = `
[events."orders.*.created"]
schema = '''
{
  "type": "object",
  "required": ["id", "total"],
  "properties": {
    "id": { "type": "integer" },
    "total": { "type": "number" },
    "state": { "enum": ["new", "paid"] },
    "lines": { "type": "array", "items": { "$ref": "#/$defs/Line" } }
  },
  "$defs": { "Line": { "type": "object", "required": ["sku"], "properties": { "sku": { "type": "string" } } } },
  "additionalProperties": false
}
'''

[events."news.today"]
schema = '{ "type": "string" }'

[collections.todos]
schema = '''
{
  "type": "object",
  "required": ["title", "done"],
  "properties": {
    "title": { "type": "string" },
    "done": { "type": "boolean" },
    "cups": { "type": ["integer", "null"] }
  },
  "additionalProperties": false
}
'''

[collections.anything]
`;

const HEAD = `
import { connect } from "@tidings/client";
import type { Collections, Events } from "./tidings.js";
const client = connect<Events>("http://127.0.0.1:9000");
const todos = client.collection<Collections["todos"]>("todos");
`;

const RIGHT = `${HEAD}
export async function right(): Promise<number> {
  await client.publish("orders.eu.created", { id: 1, total: 9.5, state: "paid", lines: [{ sku: "a" }] });
  await client.publish("news.today", "nothing new");
  client.subscribe("news.*", (event) => event.payload.toUpperCase());
  todos.insert("tea", { title: "Make tea", done: false });
  todos.update("tea", { done: true, cups: null });
  todos.increment("tea", "cups");
  const first: boolean | undefined = todos.view({ where: (todo) => !todo.done }).get()[0]?.value.done;
  client.collection<Collections["anything"]>("anything").insert("a", { b: [first] });
  for await (const order of client.subscribe("orders.*.created")) {
    const sku: string | undefined = order.payload.lines?.[0]?.sku;
    if (order.payload.state === "paid") return order.payload.total + (sku?.length ?? 0);
  }
  return 0;
}
`;

// Each is wrong by itself, and for the reason that is given.
const WRONG = [
  ['client.publish("orders.eu.created", { id: 1 });', /'total'/],
  ['client.publish("orders.eu.created", { id: "1", total: 2 });', /'string' is not assignable to type 'number'/],
  ['client.publish("orders.eu.created", { id: 1, total: 2, paid: true });', /'paid'/],
  ['client.publish("orders.eu.created", { id: 1, total: 2, state: "lost" });', /"lost"/],
  ['client.publish("orders.eu.created", { id: 1, total: 2, lines: [{}] });', /'sku'/],
  ['client.publish("orders.eu.changed", {});', /"orders.eu.changed"/],
  ['client.publish("news.today", 1);', /'number' is not assignable to .*'string'/],
  ['client.subscribe("orders.*.created", (event) => event.payload.price);', /'price'/],
  ['todos.insert("tea", { title: "Make tea" });', /'done'/],
  ['todos.update("tea", { done: "yes" });', /'string' is not assignable/],
  ['todos.update("tea", { colour: "green" });', /'colour'/],
  ['todos.view({ where: (todo) => todo.cup === 1 });', /'cup'/],
];

test("types of schemas compile with the package, and wrong payloads do not", { timeout: 60_000 }, async () => {
  await write("tidings.toml", CONFIG);
  await write("tidings.ts", await printSchemas("--ts", "--config", join(directory, "tidings.toml")));
  await write("right.ts", RIGHT);
  for (const [n, [line]] of WRONG.entries()) await write(`wrong-${n}.ts`, `${HEAD}\n${line}\nexport { todos };\n`);
  const files = ["right.ts", ...WRONG.map((_, n) => `wrong-${n}.ts`)];
  const errors = await compile(files);
  assert.equal(errors.get("right.ts"), undefined);
  for (const [n, [line, reason]] of WRONG.entries()) assert.match(errors.get(`wrong-${n}.ts`) ?? "", reason, line);
});

// The errors in each file, by its name.
async function compile(files) {
  const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const options = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"];
  options.push("--target", "es2022", "--module", "nodenext", "--lib", "es2023,esnext.disposable,dom", "--types", "");
  const run = promisify(execFile)(process.execPath, [tsc, ...options, ...files], { cwd: directory });
  const said = await run.then(
    () => "",
    (error) => error.stdout,
  );
  const errors = new Map();
  let file;
  for (const line of said.split("\n")) {
    file = line.match(/^(\S+?)\(\d/)?.[1] ?? file;
    if (line) errors.set(file, `${errors.get(file) ?? ""}${line}\n`);
  }
  return errors;
}
