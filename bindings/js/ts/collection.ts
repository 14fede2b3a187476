import * as check from "./check.js";
import { asyncDispose } from "./dispose.js";
import { TidingsError } from "./error.js";
import type { Opened } from "./opened.js";
import { derived, until } from "./store.js";
import type {
  Abortable,
  Collection,
  CollectionStatus,
  Conflict,
  Entry,
  Patch,
  Readable,
  View,
  ViewOptions,
  Write,
  Writes,
} from "./types.js";
import { LiveView } from "./view.js";
import { WriteProgress } from "./write.js";

/** A handle to a collection, as the application has it. */
export class SharedCollection<T extends object> implements Collection<T> {
  readonly status: Readable<CollectionStatus>;
  readonly pending: Readable<number>;
  readonly conflicts: Readable<readonly Conflict<T>[]>;
  readonly #opened: Opened<T>;
  readonly #hold: { end(): void };
  #isClosed = false;

  constructor(opened: Opened<T>, hold: { end(): void }) {
    this.#opened = opened;
    this.#hold = hold;
    this.status = this.#heard(opened.status);
    this.pending = this.#heard(derived(opened.status, ({ pending }) => pending));
    this.conflicts = this.#heard(opened.conflicts);
  }

  get name(): string {
    return this.#opened.name;
  }

  get size(): number {
    return this.#opened.records.size;
  }

  async ready(options: Abortable = {}): Promise<void> {
    check.signal(options.signal);
    const opened = this.#opened;
    // Closing is told by the status, being ready by the other.
    const closed = new AbortController();
    const unsubscribe = opened.status.subscribe((status) => {
      if (status.closed) closed.abort(opened.whyClosed());
    });
    const either = options.signal
      ? AbortSignal.any([options.signal, closed.signal])
      : closed.signal;
    await until(opened.isReady, (isReady) => isReady, either).finally(unsubscribe);
  }

  loaded(options: Abortable = {}): Promise<void> {
    return this.#until(({ loaded }) => loaded, options);
  }

  settled(options: Abortable = {}): Promise<void> {
    return this.#until(({ pending }) => pending === 0, options);
  }

  async #until(is: (status: CollectionStatus) => boolean, options: Abortable): Promise<void> {
    await this.ready(options);
    const isOrThrows = (status: CollectionStatus) => {
      if (status.closed) throw this.#opened.whyClosed();
      return is(status);
    };
    await until(this.#opened.status, isOrThrows, options.signal);
  }

  get(key: string): Readonly<T> | undefined {
    return this.#opened.records.get(key)?.value;
  }

  has(key: string): boolean {
    return this.#opened.records.get(key) !== undefined;
  }

  all(): readonly Entry<T>[] {
    return this.#opened.records.all();
  }

  view(options: ViewOptions<T> = {}): View<T> {
    check.options("options", options);
    if (options.where !== undefined) check.callback("where", options.where);
    if (typeof options.sortBy !== "string" && options.sortBy !== undefined) {
      check.callback("sortBy", options.sortBy);
    }
    check.count("limit", options.limit);
    return this.#heard(new LiveView<T>(this.#opened.records, options));
  }

  record(key: string): Readable<Entry<T> | undefined> {
    return this.#heard(this.#opened.records.watch(check.text("the key", key)));
  }

  insert(key: string, value: T): Write<T> {
    return this.batch((writes) => writes.insert(key, value));
  }

  update(key: string, change: Patch<T> | ((draft: T) => void)): Write<T> {
    return this.batch((writes) => writes.update(key, change));
  }

  replace(key: string, value: T): Write<T> {
    return this.batch((writes) => writes.replace(key, value));
  }

  delete(key: string): Write<T> {
    return this.batch((writes) => writes.delete(key));
  }

  increment(key: string, field: keyof T & string, by = 1): Write<T> {
    return this.batch((writes) => writes.increment(key, field, by));
  }

  batch(change: (writes: Writes<T, void>) => void): Write<T> {
    check.callback("what makes the changes", change);
    this.#ensureOpen();
    const edits: Edits<T> = new Edits((key) => this.get(key));
    change(edits);
    const json = edits.json();
    const made = this.#opened.write((core, write) => core.mutate(this.#opened.number, write, json));
    return made ?? WriteProgress.skipped();
  }

  undo(): Write<T> | undefined {
    this.#ensureOpen();
    return this.#opened.write((core, write) => core.undo(this.#opened.number, write));
  }

  redo(): Write<T> | undefined {
    this.#ensureOpen();
    return this.#opened.write((core, write) => core.redo(this.#opened.number, write));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#hold.end();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The same, but this is open for as long as somebody listens, even if nobody has it any more. */
  #heard<R>(readable: Readable<R>): Readable<R> {
    return {
      get: () => readable.get(),
      subscribe: (listener) => {
        const release = this.#opened.hear(this);
        const unsubscribe = readable.subscribe(listener);
        return () => {
          unsubscribe();
          release();
        };
      },
    };
  }

  #ensureOpen(): void {
    if (this.#isClosed) {
      throw new TidingsError("closed", `this handle to the collection ${this.name} is closed`);
    }
    this.#opened.ensureOpen();
  }
}

/** Changes that are to be made together. */
class Edits<T extends object> implements Writes<T, void> {
  readonly #shown: (key: string) => Readonly<T> | undefined;
  readonly #edits: string[] = [];

  constructor(shown: (key: string) => Readonly<T> | undefined) {
    this.#shown = shown;
  }

  json(): string {
    return `[${this.#edits.join(",")}]`;
  }

  #add(what: string, key: string, value: unknown): void {
    const written = JSON.stringify(check.text("the key", key));
    this.#edits.push(`"${what}",${written},${check.json("the value", value)}`);
  }

  insert(key: string, value: T): void {
    this.#add("insert", key, value);
  }

  update(key: string, change: Patch<T> | ((draft: T) => void)): void {
    if (typeof change !== "function") return this.#add("update", key, change);
    const shown = this.#shown(check.text("the key", key));
    if (!shown) {
      const message = `there is no record ${JSON.stringify(key)} to be changed by a function`;
      throw new TidingsError("rejected", message, { reason: "missing" });
    }
    const draft = structuredClone(shown) as T;
    change(draft);
    this.#add("change", key, draft);
  }

  replace(key: string, value: T): void {
    this.#add("replace", key, value);
  }

  delete(key: string): void {
    this.#add("delete", key, null);
  }

  increment(key: string, field: keyof T & string, by = 1): void {
    check.text("the field", field);
    check.count("by", by, Number.MIN_SAFE_INTEGER);
    this.#add("increment", key, { [field]: by });
  }
}
