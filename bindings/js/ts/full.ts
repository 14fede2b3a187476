import * as check from "./check.js";
import { begin, EventClient } from "./client.js";
import { TidingsError } from "./error.js";
import { later } from "./later.js";
import { Opened } from "./opened.js";
import type { Session } from "./session.js";
import type {
  Abortable,
  Client,
  Collection,
  CollectionOptions,
  ConnectOptions,
  Presence,
} from "./types.js";

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
): Client<E> {
  return begin(url, options, FullClient) as unknown as Client<E>;
}

/** A client with collections. */
class FullClient extends EventClient {
  readonly #session: Session;
  readonly #options: ConnectOptions;
  readonly #collections = new Map<string, Opened<any>>();

  constructor(session: Session, options: ConnectOptions) {
    super(session, options);
    this.#session = session;
    this.#options = options;
  }

  collection<T extends object>(name: string, options: CollectionOptions = {}): Collection<T> {
    check.text("the name", name);
    check.options("options", options);
    let opened = this.#collections.get(name);
    if (!opened) {
      const storage = options.storage ?? this.#options.storage;
      const ended = () => this.#collections.delete(name);
      opened = new Opened<T>(this.#session, name, { ...options, ...(storage && { storage }) }, ended);
      this.#collections.set(name, opened);
    }
    return opened.handle();
  }

  async join<T extends object>(name: string, record: T, options: Abortable): Promise<Presence<T>> {
    const { join } = await later("presence.js", import("./presence.js"));
    return join(this as unknown as Client, name, record, options, { TidingsError, json: check.json });
  }
}
