// node shrink.js DIRECTORY FILE.wasm: makes of the module that the bindings' generator has left in DIRECTORY what is
// published, and changes the JavaScript beside it accordingly.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const [directory, to] = process.argv.slice(2);
const script = join(directory, "tidings_js.js");

// As small as it gets; the names of what it imports and exports, which nobody reads, have a letter or two.
const told = execFileSync("node_modules/.bin/wasm-opt", [
  join(directory, "tidings_js_bg.wasm"),
  "-Oz",
  // The stack is at the bottom of the memory: what it has last is not used for anything else.
  "--low-memory-unused",
  "--strip-producers",
  "--strip-target-features",
  "--minify-imports-and-exports-and-modules",
  "--output",
  to,
]);
const short = JSON.parse(told);
const imports = new Map(short.imports.map(([, name, letter]) => [name, letter]));
const exports = new Map(short.exports);

const unused = new Set(imports.keys());
const renamed = readFileSync(script, "utf8")
  .replace('"./tidings_js_bg.js":', "a:")
  .replace(/^( +)(__w\w+)(?=: function)/gm, (all, indent, name) => {
    unused.delete(name);
    return imports.has(name) ? indent + imports.get(name) : all;
  })
  .replace(/(?<=\bwasm\.)\w+/g, (name) => {
    if (!exports.has(name)) throw new Error(`${script} uses ${name}, which the module does not export`);
    return exports.get(name);
  });
if (unused.size > 0) throw new Error(`${script} does not have ${[...unused].join(", ")}`);
writeFileSync(script, renamed);
// For tests that look into a module.
writeFileSync(join(directory, "exports.json"), JSON.stringify(Object.fromEntries(exports)));

// Messages of panics say where a crate was on this machine, that of std's allocator, which was built before, as well.
// Whoever downloads it need not know; a text in a module keeps its length.
const crates = join(process.env.CARGO_HOME || join(homedir(), ".cargo"), "registry/src");
const nowhere = "crates".padEnd(crates.length, "/");
writeFileSync(to, readFileSync(to, "latin1").replaceAll(crates, nowhere), "latin1");
