import type { ConnectOptions } from "./types.js";

/**
 * A WebSocket to the server, which is opened while the module is still being loaded: the module goes on with
 * it if that is what it would have opened first, and closes it otherwise.
 */
export function early(url: string, options: ConnectOptions): WebSocket | undefined {
  const { transport, format = "json", tabs } = options;
  try {
    // Of tabs that share a connection one has it.
    if (transport !== "socketio" && !tabs) {
      return new WebSocket(url.replace(/^http/, "ws").replace(/\/*$/, "/ws"), "tidings.v1." + format);
    }
  } catch {
    // The module says what is wrong.
  }
  return undefined;
}
