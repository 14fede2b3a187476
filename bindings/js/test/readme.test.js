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

test("the README's first client in JavaScript", { timeout: 120_000 }, async () => {
  const readme = await readFile(process.env.TIDINGS_README, "utf8");
  const blocks = readme.split("```js\n").slice(1).map((rest) => rest.split("```")[0]);
  const client = blocks.find((block) => block.includes('"@tidings/client"'));
  ensure(client, "the README shows no client in JavaScript");
  ensure(readme.includes("`node --experimental-websocket client.mjs`"), "it does not say how");
  const server = await startServer();
  const folder = await mkdtemp(join(tmpdir(), "tidings-readme-"));
  try {
    const options = { cwd: folder };
    await run("npm", ["install", "--offline", join(here, "../tidings-client.tgz")], options);
    // Only the server is at another port here.
    ensure(client.includes("http://127.0.0.1:9000"), "it names no server");
    await writeFile(join(folder, "client.mjs"), client.replace("http://127.0.0.1:9000", server.url));
    const { stdout } = await run("node", ["--experimental-websocket", "client.mjs"], options);
    same(stdout, "No. 18 is orders.eu.created\n", "what it says");
  } finally {
    await rm(folder, { recursive: true });
    await server.end();
  }
});
