// Has the client's checks run in a page of Chromium, or here: their module is made by the test.
import { execFileSync } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { dirname, extname, join } from "node:path";
import { pathToFileURL } from "node:url";

import { farewell, please } from "../please.js";

// How long one check may take before it is given up as hanging.
const HANGS = 60_000;

const [place, url, module] = process.argv.slice(2);

const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

// Serves an empty page, and the module beside it.
async function serve() {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://here").pathname;
    const type = TYPES[extname(path)] ?? "text/html";
    const content = path === "/" ? "<!doctype html><title>checks</title>" : null;
    try {
      const body = content ?? (await readFile(join(dirname(module), path)));
      response.writeHead(200, { "content-type": type }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

// Where Chromium is; CHROMIUM says it where it has another name.
function chromium() {
  for (const name of [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"]) {
    try {
      if (name) return execFileSync("which", [name], { encoding: "utf8" }).trim();
    } catch {
      // The next name.
    }
  }
  throw new Error("Chromium is missing: apt install chromium, or set CHROMIUM to where it is");
}

// A page that has the module: what it checks, and how.
async function page() {
  const { chromium: browsers } = await import("playwright-core");
  const browser = await browsers.launch({ executablePath: chromium(), args: ["--no-sandbox"] });
  const server = await serve();
  const page = await browser.newPage();
  page.on("pageerror", (error) => console.log(`the page: ${error.stack ?? error}`));
  page.on("crash", () => failed("the page", "it has crashed"));
  await page.exposeFunction("please", please);
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(async (name) => {
    globalThis.module = await import(name);
    await globalThis.module.default();
  }, `/${module.slice(dirname(module).length + 1)}`);
  return {
    checks: await page.evaluate(() => globalThis.module.checks(true)),
    check: (name) =>
      page.evaluate(([name, url]) => globalThis.module.check(name, url, globalThis.please), [
        name,
        url,
      ]),
    close: async () => {
      await browser.close();
      server.close();
    },
  };
}

// The same without a page: Node has WebSocket and fetch, too.
async function here() {
  const bindings = await import(pathToFileURL(module));
  const wasm = await readFile(module.replace(/\.js$/, "_bg.wasm"));
  bindings.initSync({ module: wasm });
  return {
    checks: bindings.checks(false),
    check: (name) => bindings.check(name, url, please),
    close: async () => {},
  };
}

function failed(name, error) {
  console.log(`FAILED: ${name} in ${place}: ${error?.message ?? error}`);
  process.exit(1);
}

const { checks, check, close } = await (place === "node" ? here() : page());
for (const name of checks) {
  const begun = performance.now();
  const hangs = setTimeout(() => failed(name, "it hangs"), HANGS);
  await check(name).catch((error) => failed(name, error));
  clearTimeout(hangs);
  console.log(`ok: ${name} (${Math.round(performance.now() - begun)} ms)`);
}
await close();
farewell();
