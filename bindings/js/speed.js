// This package and socket.io-client side by side: the same server, events, browser, in one run.
// `speed` builds what this needs and starts it.
import { readFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { launch } from "./test/chromium.js";
import { startProgram } from "./test/program.js";
import { serve } from "./test/site.js";

const number = (name, otherwise) => Number(process.env[name] ?? otherwise);
/** Events that are received at once. */
const EVENTS = number("EVENTS", 30_000);
/** Events that come one by one, and how many a second. */
const LIVE = number("LIVE", 5_000);
const RATE = number("RATE", 1_000);
const RUNS = number("RUNS", 7);
const CONNECTS = number("CONNECTS", 15);

const here = dirname(fileURLToPath(import.meta.url));
const node = join(here, "../../tests/node");
const require = createRequire(join(node, "package.json"));
const { io } = require("socket.io-client");
const peer = JSON.parse(await readFile(join(node, "node_modules/socket.io-client/package.json")));

const PAGE = `<!doctype html><title>speed</title><script type="module">
// What the application does with each event, the same for all.
let count = 0, sum = 0, done;
const take = (payload) => {
  sum += payload.price;
  if (++count === globalThis.wanted) done();
};
const finished = (wanted) => {
  count = 0;
  globalThis.wanted = wanted;
  return new Promise((resolve) => (done = resolve));
};
const clients = {
  async tidings(url, transport, batchDelay = 0) {
    const { connect } = await import("/package/index.js");
    const client = connect(url, { transport, batchDelay });
    await client.ready();
    return {
      receive: ([lane, epoch, offset]) =>
        client.subscribe("speed.*", (event) => take(event.payload), {
          since: { [lane]: [epoch, offset] },
        }),
      listen: () => client.subscribe("speed.*", (event) => take(event.payload)).ready(),
    };
  },
  // What the browser takes for the messages of \`ws\` by themselves, and no client could be below.
  async bare(url) {
    const socket = new WebSocket(url.replace("http", "ws") + "/ws", "tidings.v1.json");
    const say = (message) => socket.send(JSON.stringify(message));
    let welcomed, subscribed;
    socket.onopen = () => say(["hello", { v: 1, producer: crypto.randomUUID() }]);
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message[0] === "e") take(message[4]);
      else if (message[0] === "v") take(message[2]);
      else if (message[0] === "welcome") welcomed();
      else if (message[0] === "subbed") subscribed();
    };
    await new Promise((resolve) => (welcomed = resolve));
    return {
      receive: (place) => say(["sub", 1, "speed.*", { since: [place] }]),
      listen: () => new Promise((resolve) => {
        subscribed = resolve;
        say(["sub", 1, "speed.*"]);
      }),
    };
  },
  async peer(url, transports) {
    const { io } = await import("/peer/socket.io.esm.min.js");
    const socket = io(url, transports === "all" ? {} : { transports: [transports] });
    await new Promise((resolve) => socket.on("connect", resolve));
    socket.on("speed.event", take);
    return {
      receive: (place) => socket.emit("subscribe", { pattern: "speed.*", since: [place] }, () => {}),
      listen: () => socket.emitWithAck("subscribe", "speed.*"),
    };
  },
};
globalThis.begin = async (kind, ...settings) => {
  globalThis.client = await clients[kind](...settings);
};
globalThis.receive = async (place, wanted) => {
  const all = finished(wanted);
  const start = performance.now();
  client.receive(place);
  await all;
  return performance.now() - start;
};
globalThis.listen = async (wanted) => {
  const all = finished(wanted);
  await client.listen();
  globalThis.all = all;
};
globalThis.untilConnected = async (kind, ...settings) => {
  const start = performance.now();
  await clients[kind](...settings);
  return performance.now() - start;
};
</script>`;

const KINDS = [
  ["@tidings/client, ws", "tidings", "ws"],
  ["@tidings/client, ws, `batchDelay: 16`", "tidings", "ws", 16],
  ["@tidings/client, socketio", "tidings", "socketio"],
  [`socket.io-client ${peer.version}, websocket`, "peer", "websocket"],
  ["a `WebSocket` and `JSON.parse`, no client", "bare", ""],
];

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const directory = await mkdtemp(join(tmpdir(), "tidings-speed-"));
const config = join(directory, "speed.toml");
await writeFile(
  config,
  `[retention]\nmax_events = 1000000\nmax_bytes = "512 MiB"\n
[limits]\npublish_rate = 1000000\npublish_burst = 1000000\nmax_in_flight = 100000\n
[cors]\norigins = ["*"]\n`,
);
const server = await startProgram("--config", config);
const site = await serve(
  { "/package/": join(here, "dist"), "/peer/": join(node, "node_modules/socket.io-client/dist") },
  { "/": PAGE },
);
const browser = await launch();
const system = await browser.newBrowserCDPSession();
const publisher = io(server.url, { transports: ["websocket"] });

/** What the pages have used of the processor, in seconds. */
async function rendered() {
  const { processInfo } = await system.send("SystemInfo.getProcessInfo");
  return processInfo.filter(({ type }) => type === "renderer").reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

function event(n) {
  return { id: n, symbol: "ACME", price: 100 + (n % 100) / 4, at: 1_790_000_000_000 + n };
}

async function inPage(work) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(site.url);
    await page.waitForFunction(() => globalThis.untilConnected);
    return await work(page);
  } finally {
    await context.close();
  }
}

/** A backlog, as fast as it can be taken. */
function atOnce([, kind, ...how], place) {
  return inPage(async (page) => {
    await page.evaluate(([kind, ...settings]) => begin(kind, ...settings), [kind, server.url, ...how]);
    const before = await rendered();
    const took = await page.evaluate(([place, wanted]) => receive(place, wanted), [place, EVENTS]);
    return { took, cpu: (await rendered()) - before };
  });
}

/** Events that come one by one. */
function oneByOne([, kind, ...how]) {
  return inPage(async (page) => {
    await page.evaluate(([kind, ...settings]) => begin(kind, ...settings), [kind, server.url, ...how]);
    await page.evaluate((wanted) => listen(wanted), LIVE);
    const before = await rendered();
    const start = performance.now();
    for (let sent = 0; sent < LIVE; ) {
      const due = Math.min(LIVE, Math.floor(((performance.now() - start) * RATE) / 1000));
      for (; sent < due; sent += 1) publisher.emit("publish", "speed.event", event(sent), { volatile: true });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await page.evaluate(() => globalThis.all);
    return { cpu: (await rendered()) - before };
  });
}

const untilConnected = ([, kind, ...how]) =>
  inPage((page) =>
    page.evaluate(([kind, ...settings]) => globalThis.untilConnected(kind, ...settings), [kind, server.url, ...how]),
  );

/** By turns, so that what disturbs the machine disturbs all. */
async function byTurns(kinds, runs, measure) {
  const results = new Map(kinds.map((kind) => [kind, []]));
  for (let run = 0; run < runs; run += 1) {
    for (const kind of kinds) results.get(kind).push(await measure(kind));
  }
  return results;
}

function print(title, columns, rows) {
  console.log(`\n${title}\n\n| | ${columns.join(" | ")} |\n|${" --- |".repeat(columns.length + 1)}`);
  for (const row of rows) console.log(`| ${row.join(" | ")} |`);
}

try {
  const answer = await publisher.emitWithAck("subscribe", "speed.nothing");
  const first = await publisher.emitWithAck("publish", "speed.first", event(0));
  const place = [first.lane, answer.cursor.find(([lane]) => lane === first.lane)[1], first.offset];
  let last;
  for (let n = 0; n < EVENTS; n += 1) last = publisher.emitWithAck("publish", "speed.event", event(n));
  await last;

  const burst = await byTurns(KINDS, RUNS, (kind) => atOnce(kind, place));
  print(
    `${EVENTS} small JSON events at once; medians of ${RUNS} runs by turns`,
    ["events per second", "fastest run", "µs of processor in the page per event"],
    KINDS.map((kind) => {
      const runs = burst.get(kind);
      const rate = (took) => Math.round(EVENTS / (took / 1000));
      const times = runs.map(({ took }) => took);
      const cpu = (median(runs.map(({ cpu }) => cpu)) / EVENTS) * 1e6;
      return [kind[0], rate(median(times)), rate(Math.min(...times)), cpu.toFixed(1)];
    }),
  );

  const live = await byTurns(KINDS, Math.ceil(RUNS / 2), oneByOne);
  print(
    `${RATE} events a second, one by one`,
    ["µs of processor in the page per event"],
    KINDS.map((kind) => [
      kind[0],
      ((median(live.get(kind).map(({ cpu }) => cpu)) / LIVE) * 1e6).toFixed(1),
    ]),
  );

  const all = [...KINDS, [`socket.io-client ${peer.version}, as it is`, "peer", "all"]];
  const connects = await byTurns(all, CONNECTS, untilConnected);
  print(
    `From the script's start to connected, nothing cached; of ${CONNECTS} pages each`,
    ["median, ms", "fastest, ms"],
    all.map((kind) => {
      const times = connects.get(kind);
      return [kind[0], median(times).toFixed(0), Math.min(...times).toFixed(0)];
    }),
  );
} finally {
  publisher.close();
  await browser.close();
  await Promise.all([site.close(), server.end()]);
  await rm(directory, { recursive: true });
}
