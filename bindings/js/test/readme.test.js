// What the README says to do, word for word, in a folder that has nothing.
import { test } from "node:test";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { ensure, same } from "./checks.js";
import { startServer } from "./server.js";

const here = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);

const inPackage = join(here, "../node_modules/@tidings/client/README.md");
const readmes = { "the project's": process.env.TIDINGS_README, "the package's": inPackage };

// The blocks of a language.
async function blocksOf(readme, language) {
  const text = await readFile(readme, "utf8");
  return text.split("```" + language + "\n").slice(1).map((rest) => rest.split("```")[0]);
}

// Does something in a folder that has nothing but the package.
async function inFolder(act) {
  const folder = await mkdtemp(join(tmpdir(), "tidings-readme-"));
  try {
    const options = { cwd: folder };
    await run("npm", ["install", "--offline", join(here, "../tidings-client.tgz")], options);
    await act(folder, options);
  } finally {
    await rm(folder, { recursive: true });
  }
}

for (const [whose, readme] of Object.entries(readmes)) {
  test(`${whose} README's first client in JavaScript`, { timeout: 120_000 }, async () => {
    const blocks = await blocksOf(readme, "js");
    const client = blocks.find((block) => block.includes('"@tidings/client"'));
    ensure(client, "it shows no client in JavaScript");
    const text = await readFile(readme, "utf8");
    ensure(text.includes("`node --experimental-websocket client.mjs`"), "it does not say how");
    const server = await startServer();
    try {
      await inFolder(async (folder, options) => {
        // Only the server is at another port here.
        ensure(client.includes("http://127.0.0.1:9000"), "it names no server");
        const here = client.replace("http://127.0.0.1:9000", server.url);
        await writeFile(join(folder, "client.mjs"), here);
        const { stdout } = await run("node", ["--experimental-websocket", "client.mjs"], options);
        same(stdout, "No. 18 is orders.eu.created\n", "what it says");
      });
    } finally {
      await server.end();
    }
  });
}

// What a page has of its own, which the README takes for granted.
const GIVEN = `import { connect } from "@tidings/client";
declare function fetchToken(): Promise<string>;
declare function show(id: number, total: number): void;
declare function render(entries: readonly { key: string }[]): void;
declare function tell(conflicts: readonly { key: string }[]): void;
`;

test("what the package's README shows in TypeScript compiles", { timeout: 120_000 }, async () => {
  const blocks = await blocksOf(inPackage, "ts");
  ensure(blocks.length >= 2, "it shows nothing in TypeScript");
  await inFolder(async (folder, options) => {
    await writeFile(join(folder, "shown.ts"), GIVEN + blocks.join("\n"));
    await writeFile(join(folder, "package.json"), '{ "type": "module" }');
    const strict = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022"];
    await run(join(here, "node_modules/.bin/tsc"), [...strict, "shown.ts"], options).catch((error) => {
      throw new Error(error.stdout || error.message);
    });
  });
});
