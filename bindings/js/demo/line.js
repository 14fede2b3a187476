/**
 * The network of this page, with a switch: while it is off, nothing that the page opens gets through, and
 * what was open is closed. For the client that is a network that is gone. Imported before the client.
 */
const RealSocket = globalThis.WebSocket;
const realFetch = globalThis.fetch;
const sockets = new Set();
let off = new AbortController();
let isOff = false;

globalThis.WebSocket = class extends RealSocket {
  constructor(url, ...rest) {
    // There is nothing at that address.
    super(isOff ? new URL("/demo/cut", String(url)).href : url, ...rest);
    sockets.add(this);
    this.addEventListener("close", () => sockets.delete(this));
  }
};

globalThis.fetch = (resource, options = {}) => {
  if (isOff) return Promise.reject(new TypeError("the network is switched off"));
  const signals = [off.signal, options.signal].filter(Boolean);
  return realFetch(resource, { ...options, signal: AbortSignal.any(signals) });
};

/** Takes the network away, or gives it back. */
export function setLine(isOn) {
  isOff = !isOn;
  if (isOff) {
    off.abort();
    for (const socket of sockets) socket.close();
  } else {
    off = new AbortController();
  }
  // What a browser says when that happens.
  dispatchEvent(new Event(isOn ? "online" : "offline"));
}
