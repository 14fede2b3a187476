// What the scripts that drive socket.io-client share: named checks, and waiting for conditions.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { farewell, please } from "./please.js";

const require = createRequire(import.meta.url);

// How long one check may take before it is given up as hanging.
const HANGS = 60_000;

// The arguments of a script: the server's URL, the package to use, and how to connect.
export const [url, library = "socket.io-client", mode = "default", parserName = "default"] =
  process.argv.slice(2);

export const { io, Manager } = require(library);
export const version = require(`${library}/package.json`).version;

const transports = { default: undefined, websocket: ["websocket"], polling: ["polling"] }[mode];
const parser = parserName === "msgpack" ? require("socket.io-msgpack-parser") : undefined;

// The options that the arguments ask for.
export const options = {
  forceNew: true,
  reconnectionDelay: 20,
  reconnectionDelayMax: 100,
  ...(transports && { transports }),
  ...(parser && { parser }),
};

const sockets = new Set();

// A client of a namespace, on a connection of its own unless `more` says otherwise.
export function client(namespace = "/", more = {}) {
  const socket = io(url + namespace, { ...options, ...more });
  sockets.add(socket);
  return socket;
}

// A client that has connected.
export async function connected(namespace, more) {
  const socket = client(namespace, more);
  await once(socket, "connect");
  return socket;
}

// The arguments of the next `event`.
export function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const settle = (then) => (...args) => {
      emitter.off(event, got);
      emitter.off("connect_error", refused);
      then(...args);
    };
    const got = settle((...args) => resolve(args));
    const refused = settle((error) => reject(error));
    emitter.on(event, got);
    if (event === "connect") emitter.on("connect_error", refused);
  });
}

// Emits, and waits for the acknowledgement: its only argument, or a list of them.
export function ask(socket, ...args) {
  return new Promise((resolve) => {
    socket.emit(...args, (...answer) => resolve(answer.length === 1 ? answer[0] : answer));
  });
}

// Waits until `condition` gives something truthy, which it returns.
export async function until(condition) {
  for (;;) {
    const value = await condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

// Runs one check. The first one that fails ends the script. What the check is handed takes a function that
// tells how far it has come, should it hang.
export async function check(name, run) {
  const begun = performance.now();
  let progress = () => "";
  const hangs = setTimeout(() => failed(name, new Error(`it hangs ${progress()}`)), HANGS);
  try {
    await run((tell) => (progress = tell));
  } catch (error) {
    failed(name, error);
  }
  clearTimeout(hangs);
  console.log(`ok: ${name} (${Math.round(performance.now() - begun)} ms)`);
}

function failed(name, error) {
  console.log(`FAILED: ${name} (${library} ${version}, ${mode}, ${parserName})`);
  console.log(error.stack ?? error);
  process.exit(1);
}

// The end of a script: everything that was opened is closed.
export function done() {
  for (const socket of sockets) {
    socket.disconnect();
    socket.io.engine?.close();
  }
  farewell();
}

export { assert, please };
