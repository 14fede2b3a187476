// Where the tests of tabs run: a server, a proxy that counts its WebSockets, a site with the package,
// and Chromium with as many tabs as are wanted.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

import { executable } from "../chromium.js";
import { startServer } from "../server.js";

const DIST = dirname(fileURLToPath(import.meta.resolve("@tidings/client")));
const TYPES = { ".js": "text/javascript", ".wasm": "application/wasm" };

export const PAGE = `<!doctype html><title>tab</title><script type="module" src="/page.js"></script>`;

function listening(server) {
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)));
}

// A proxy: how many connections have become WebSockets and are open, and ways to break them.
async function startProxy(to) {
  const { hostname, port } = new URL(to);
  const open = new Set();
  const counts = { now: 0, most: 0 };
  let blocked = false;
  const server = createTcpServer((client) => {
    if (blocked) return client.destroy();
    const upstream = connect(Number(port), hostname);
    let isSocket = false;
    client.once("data", (data) => {
      isSocket = /^upgrade: websocket/im.test(data.toString("latin1"));
      if (!isSocket) return;
      counts.now += 1;
      counts.most = Math.max(counts.most, counts.now);
    });
    client.pipe(upstream).pipe(client);
    open.add(client);
    const end = () => {
      if (open.delete(client) && isSocket) counts.now -= 1;
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on("close", end).on("error", end);
  });
  return {
    url: `http://127.0.0.1:${await listening(server)}`,
    counts,
    cut: () => open.forEach((client) => client.destroy()),
    // Lets nobody through, or everybody again.
    block(whether) {
      blocked = whether;
      if (whether) open.forEach((client) => client.destroy());
    },
    stop: () => {
      open.forEach((client) => client.destroy());
      server.close();
    },
  };
}

// Serves the package and the pages; `/elsewhere` is a page without it, of another site.
async function startSite() {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://here").pathname;
    const send = (type, body) => response.writeHead(200, { "content-type": type }).end(body);
    try {
      if (path === "/elsewhere") return send("text/html", "<!doctype html><title>elsewhere</title>");
      if (path === "/favicon.ico") return response.writeHead(204).end();
      if (/^\/(tab[^/]*)?$/.test(path)) return send("text/html", PAGE);
      const file = path === "/page.js" ? new URL("page.js", import.meta.url) : join(DIST, path);
      send(TYPES[extname(path)] ?? "application/octet-stream", await readFile(file));
    } catch {
      response.writeHead(404).end();
    }
  });
  const port = await listening(server);
  return { url: `http://localhost:${port}`, other: `http://127.0.0.1:${port}`, stop: () => server.close() };
}

// Chromium with a profile on the disk, which outlives it. Puppeteer, because it leaves hidden tabs hidden.
export async function openBrowser(profile) {
  return puppeteer.launch({
    executablePath: executable(),
    userDataDir: profile,
    args: ["--no-sandbox", "--disable-quic"],
    // It switches off what is to be tested.
    ignoreDefaultArgs: [
      "--disable-background-timer-throttling",
      "--disable-backgrounding-occluded-windows",
      "--disable-renderer-backgrounding",
    ],
  });
}

export async function openPlace() {
  const directory = await mkdtemp(join(tmpdir(), "tidings-tabs-"));
  const profile = join(directory, "profile");
  const server = await startServer();
  const proxy = await startProxy(server.url);
  const site = await startSite();
  const place = { server, proxy, site, profile, browser: await openBrowser(profile) };
  return {
    ...place,
    // The browser dies, as when the machine is switched off, and is opened again.
    async killBrowser() {
      const dead = new Promise((resolve) => this.browser.process().once("exit", resolve));
      this.browser.process().kill("SIGKILL");
      await dead;
      this.browser = await openBrowser(profile);
    },
    async close() {
      await this.browser.close().catch(() => {});
      for (const part of [proxy, site]) part.stop();
      await server.end();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

// Waits until something holds.
export async function until(what, holds, patience = 30_000) {
  const end = Date.now() + patience;
  let last;
  for (;;) {
    last = await holds();
    if (last === true) return;
    if (Date.now() > end) throw new Error(`it never came to be that ${what}: ${JSON.stringify(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// A tab that has opened a client: what it can be told to do is in page.js.
export class Tab {
  static async open(place, name, { ...options } = {}) {
    const page = await place.browser.newPage();
    if (options.before) await page.evaluateOnNewDocument(options.before);
    delete options.before;
    page.on("pageerror", (error) => console.log(`${name}: ${error.stack ?? error}`));
    page.on("console", (message) => {
      if (message.type() === "error") console.log(`${name}: ${message.text()}`);
    });
    await page.goto(`${place.site.url}/tab-${name}`);
    const tab = new Tab(place, name, page);
    await page.waitForFunction(() => globalThis.tab !== undefined);
    await tab.call("open", place.proxy.url, name, options);
    return tab;
  }

  constructor(place, name, page) {
    Object.assign(this, { place, name, page });
  }

  call(what, ...args) {
    return this.page.evaluate(([what, args]) => globalThis.tab[what](...args), [what, args]);
  }

  async devtools() {
    this.session ??= await this.page.createCDPSession();
    return this.session;
  }

  // Only a hidden tab can be frozen.
  async freeze(state) {
    await (await this.devtools()).send("Page.setWebLifecycleState", { state });
  }

  // The process that draws the tab dies. The order that kills it is never answered.
  async crash() {
    const crashed = new Promise((resolve) => this.page.once("error", resolve));
    (await this.devtools()).send("Page.crash").catch(() => {});
    await crashed;
  }
}
