// What a page downloads for each way to import the package, measured against budget.json.
//
//   node size.js
//
// The budget only goes down: too much fails, and so does a budget that is not lowered to what there is.
// Another compiler makes another module: with one that is not the budget's, this only says what there is.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** How much less than its budget something may have before the budget has to follow. */
const SLACK = 0.02;

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const { compiler, entries } = JSON.parse(readFileSync(join(here, "budget.json"), "utf8"));

// By the program: what zlib makes differs between builds of Node.
const zipped = (file) => execFileSync("gzip", ["-9nc", join(dist, file)], { maxBuffer: 1 << 26 }).length;

/** A file and all that it imports at once; what is imported when it is needed is not among them. */
function withImports(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(join(dist, file), "utf8");
  for (const [, other] of text.matchAll(/(?:from|import)"\.\/([^"]+\.js)"/g)) withImports(other, found);
  return found;
}

const run = [join(here, "../../tests/wasm-toolchain"), ["run", "rustc", "--version"]];
const used = execFileSync(...run, { encoding: "utf8" }).trim();
const binds = used === compiler;
if (!binds) console.log(`size: built by ${used}; the budget is for ${compiler}, and is not enforced`);

const problems = [];
for (const [entry, { script, module, budget }] of Object.entries(entries)) {
  const sizes = {
    wasm: zipped(module),
    js: [...withImports(script)].map(zipped).reduce((sum, size) => sum + size, 0),
  };
  for (const [part, size] of Object.entries(sizes)) {
    const allowed = budget[part];
    console.log(`size: ${entry} ${part} ${size} bytes (gzip), budget ${allowed}`);
    if (size > allowed) {
      problems.push(`${entry}: ${part} has ${size} bytes, ${size - allowed} more than its budget`);
    } else if (size < allowed * (1 - SLACK)) {
      problems.push(`${entry}: ${part} has only ${size} bytes: set its budget to that (budget.json)`);
    }
  }
}
if (binds && problems.length > 0) {
  problems.forEach((problem) => console.error(`size: ${problem}`));
  process.exit(1);
}
