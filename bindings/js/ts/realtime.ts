/** `@tidings/client/realtime`: without collections the module is much smaller. */
import { begin, EventClient } from "./client.js";
import type { ConnectOptions, RealtimeClient } from "./types.js";

export { TidingsError, type ErrorCode, type ErrorDetails } from "./error.js";
export type * from "./types.js";

/**
 * A client of the server at `url`, which begins to connect and stays connected until it is closed. It
 * is there at once: nothing has to be waited for.
 *
 * `E` says which events there are and what they carry; see {@link EventMap}. Throws a `TidingsError`
 * with the code `"bad-argument"` if the URL or an option is not what it should be.
 */
export function connect<E = Record<string, any>>(
  url: string | URL,
  options: ConnectOptions = {},
): RealtimeClient<E> {
  return begin(url, options, EventClient) as unknown as RealtimeClient<E>;
}
