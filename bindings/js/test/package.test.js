// What people get who install the package: all that it needs, and nothing of the machine that made it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { readdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.resolve("@tidings/client"))), "..");
const names = (await readdir(root, { recursive: true, withFileTypes: true }))
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
  .sort();
const read = (name) => readFile(join(root, name));
const manifest = JSON.parse(await read("package.json"));

test("the package has what it says, and nothing else", () => {
  const targets = (value) => (typeof value === "string" ? [value] : Object.values(value).flatMap(targets));
  for (const target of [manifest.types, ...targets(manifest.exports)]) {
    assert.ok(names.includes(target.slice("./".length)), `${target} is missing`);
  }
  for (const name of ["README.md", "LICENSE-MIT", "LICENSE-APACHE"]) {
    assert.ok(names.includes(name), `${name} is missing`);
  }
  const known = /^(README\.md|LICENSE-(MIT|APACHE)|package\.json|dist\/(tabs\/)?[\w-]+\.(js|js\.map|d\.ts|wasm))$/;
  assert.deepEqual(names.filter((name) => !known.test(name)), []);
  // Of what is only in the repository nothing is imported.
  assert.equal(manifest.dependencies, undefined);
});

test("people find it, and bundlers know what they may leave out", () => {
  const { name, license, type, sideEffects, engines, keywords, description } = manifest;
  assert.deepEqual(
    { name, license, type, sideEffects, engines },
    {
      name: "@tidings/client",
      license: "MIT OR Apache-2.0",
      type: "module",
      sideEffects: false,
      engines: { node: ">=20" },
    },
  );
  assert.ok(keywords.includes("realtime") && description.length > 40);
});

test("nothing in it is of the machine that made it", async () => {
  const made = process.env.TIDINGS_ROOT;
  assert.ok(made, "run this by bindings/js/check: it says where the package was made");
  for (const name of names) {
    const text = (await read(name)).toString("latin1");
    const of = text.match(/[\w./-]*\/(home|root|work|tmp|Users)\/[\w./-]*/)?.[0];
    assert.equal(of, undefined, `${name} names ${of}`);
    for (const path of [made, homedir()]) assert.ok(!text.includes(`${path}/`), `${name} names ${path}`);
  }
});

test("source maps bring their sources", async () => {
  const maps = names.filter((name) => name.endsWith(".map"));
  assert.ok(maps.length > 5, "there are no source maps");
  for (const name of maps) {
    const { sources, sourcesContent } = JSON.parse(await read(name));
    assert.equal(sourcesContent?.length, sources.length, name);
    for (const source of sources) assert.match(source, /^(\.\.\/)+(ts|generated)\//, name);
  }
});
