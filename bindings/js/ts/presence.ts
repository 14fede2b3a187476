/** Being there: one's own record in a collection of those who are there. Loaded when somebody joins. */
import { asyncDispose } from "./dispose.js";
import { Store } from "./store.js";
import type { Abortable, Client, Collection, Presence, View } from "./types.js";

/** What this has of the script that was there before: there is one kind of error in a page. */
export interface Parts {
  TidingsError: typeof import("./error.js").TidingsError;
  json: typeof import("./check.js").json;
}

/** How long to wait before the server is asked again for what it could not do just now. */
const RETRY = 1_000;

/** What the server says of a join. */
interface Answer {
  key: string;
  /** For how long it must have heard nothing of the session to take it for gone. */
  timeout: number;
  rejected?: { reason: string; message: string };
}

/** Joins, and waits until others see it. */
export async function join<T extends object>(
  client: Client,
  name: string,
  record: T,
  options: Abortable = {},
  parts: Parts,
): Promise<Presence<T>> {
  // Which also says what is wrong with the signal.
  await client.ready(options);
  const own = new OwnPresence<T>(client, name, parts);
  try {
    await own.begin(record, options.signal);
  } catch (error) {
    await own.close();
    throw error;
  }
  return own;
}

class OwnPresence<T extends object> implements Presence<T> {
  readonly key = new Store("");
  readonly members: View<T>;
  readonly #parts: Parts;
  readonly #client: Client;
  readonly #collection: Collection<T>;
  readonly #ended = new AbortController();
  /** What others see; nothing before the server has it. */
  #record: T | undefined;
  /** What was told last: one thing is told after the other. */
  #told: Promise<unknown> = Promise.resolve();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: Client, name: string, parts: Parts) {
    this.#parts = parts;
    this.#client = client;
    // Who was there when the page was closed says nothing.
    this.#collection = client.collection<T>(name, { storage: "memory" });
    this.members = this.#collection.view();
  }

  get name(): string {
    return this.#collection.name;
  }

  async begin(record: T, signal: AbortSignal | undefined): Promise<void> {
    const end = () => void this.close();
    signal?.throwIfAborted();
    signal?.addEventListener("abort", end);
    this.#ended.signal.addEventListener("abort", () => signal?.removeEventListener("abort", end));
    await this.update(record).catch((error) => {
      throw signal?.aborted ? signal.reason : error;
    });
    let wasConnected = true;
    const unsubscribe = this.#client.status.subscribe(({ state }) => {
      const isConnected = state === "connected";
      // Whoever was away for long has been taken for gone.
      if (isConnected && !wasConnected) this.#again();
      if (state === "closed") this.#end();
      wasConnected = isConnected;
    });
    if (this.#ended.signal.aborted) unsubscribe();
    this.#ended.signal.addEventListener("abort", unsubscribe);
  }

  async update(record: T): Promise<void> {
    // As it is now: it is told again later.
    const kept = JSON.parse(this.#parts.json("the record", record)) as T;
    await this.#tell(() => kept);
  }

  /** Says that it still is there. */
  #again(): void {
    this.#tell(() => this.#record).catch(() => undefined);
  }

  #tell(record: () => T | undefined): Promise<void> {
    const told = this.#told.then(() => this.#join(record()));
    this.#told = told.catch(() => undefined);
    return told;
  }

  async #join(record: T | undefined): Promise<void> {
    if (!record) return;
    const { signal } = this.#ended;
    const { TidingsError } = this.#parts;
    try {
      const answer: Answer = await this.#ask("join", record, signal);
      const { key, timeout, rejected } = answer;
      this.#later(timeout / 2);
      if (rejected) throw new TidingsError("rejected", rejected.message, { reason: rejected.reason });
      this.#record = record;
      this.key.set(key);
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new TidingsError("closed", `this client has left ${this.name}`);
    }
  }

  #later(delay: number): void {
    clearTimeout(this.#timer);
    if (!this.#ended.signal.aborted) this.#timer = setTimeout(() => this.#again(), delay);
  }

  /** Asks the collection's server until it answers. */
  async #ask(what: string, payload: unknown, signal?: AbortSignal): Promise<any> {
    const options = signal ? { signal } : {};
    for (;;) {
      await this.#client.ready(options);
      try {
        return await this.#client.request(`state.${this.name}.${what}`, payload, options);
      } catch (error) {
        if (!(error as { retryable?: boolean }).retryable) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY));
      }
    }
  }

  async close(): Promise<void> {
    if (!this.#end()) return;
    // Where it cannot be told, the server finds out when the session ends.
    const left = this.#ask("leave", null).catch(() => undefined);
    if (this.#client.status.get().state === "connected") await left;
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Whether it has not ended before. */
  #end(): boolean {
    if (this.#ended.signal.aborted) return false;
    clearTimeout(this.#timer);
    this.#ended.abort();
    void this.#collection.close();
    return true;
  }
}
