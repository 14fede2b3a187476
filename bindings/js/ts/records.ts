import { guarded, Store } from "./store.js";
import type { Entry, Readable } from "./types.js";
import { byKey, type Changed, type Source } from "./view.js";

/** The records of a collection as they are shown. */
export class Records<T> implements Source<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #followers = new Set<(changed: readonly Changed<T>[]) => void>();
  /** Records that somebody is told of. */
  readonly #watched = new Map<string, Store<Entry<T> | undefined>>();
  #sorted: readonly Entry<T>[] | undefined = [];
  revision = 0;

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Entry<T> | undefined {
    return this.#entries.get(key);
  }

  entries(): Iterable<Entry<T>> {
    return this.#entries.values();
  }

  all(): readonly Entry<T>[] {
    this.#sorted ??= [...this.#entries.values()].sort(byKey);
    return this.#sorted;
  }

  follow(listener: (changed: readonly Changed<T>[]) => void): () => void {
    this.#followers.add(listener);
    return () => void this.#followers.delete(listener);
  }

  /** One record. */
  watch(key: string): Readable<Entry<T> | undefined> {
    return {
      get: () => this.#entries.get(key),
      subscribe: (listener) => {
        const store = this.#watched.get(key) ?? new Store(this.#entries.get(key));
        this.#watched.set(key, store);
        const unsubscribe = store.subscribe(listener);
        return () => {
          unsubscribe();
          if (store.listeners === 0) this.#watched.delete(key);
        };
      },
    };
  }

  /** Takes in what has changed: keys, values and whether they are pending, in turn. */
  change(told: readonly any[]): void {
    if (told.length === 0) return;
    // A record that has changed twice is told once.
    const changes = new Map<string, Changed<T>>();
    for (let at = 0; at < told.length; at += 3) {
      const [key, value, pending] = [told[at], told[at + 1], told[at + 2]];
      const after = value === null ? undefined : { key, value, pending };
      const before = changes.has(key) ? changes.get(key)?.before : this.#entries.get(key);
      changes.set(key, { before, after });
    }
    for (const [key, { after }] of changes) {
      if (after) this.#entries.set(key, after);
      else this.#entries.delete(key);
    }
    this.#sorted = undefined;
    this.revision += 1;
    const changed = [...changes.values()];
    for (const follower of [...this.#followers]) guarded(follower, changed);
    for (const [key, { after }] of changes) this.#watched.get(key)?.set(after);
  }
}
