import { guarded } from "./store.js";
import type { Entry, View, ViewOptions } from "./types.js";

/** What a record was, and what it is. */
export interface Changed<T> {
  before: Entry<T> | undefined;
  after: Entry<T> | undefined;
}

/** Records that a view is made of. */
export interface Source<T> {
  /** How many there are. */
  readonly size: number;
  /** Another number whenever one has changed. */
  readonly revision: number;
  entries(): Iterable<Entry<T>>;
  /** Tells all changes that have happened together. */
  follow(listener: (changed: readonly Changed<T>[]) => void): () => void;
}

type Compare<T> = (a: Entry<T>, b: Entry<T>) => number;

/** By key: no two are equal in it. */
export const byKey: Compare<unknown> = (a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0);

function order<T>({ sortBy, descending }: ViewOptions<T>): Compare<T> {
  const sign = descending ? -1 : 1;
  if (sortBy === undefined) return (a, b) => sign * byKey(a, b);
  const compare =
    typeof sortBy === "function"
      ? sortBy
      : (a: Readonly<T>, b: Readonly<T>) => compareFields(a[sortBy], b[sortBy]);
  return (a, b) => sign * compare(a.value, b.value) || byKey(a, b);
}

/** What is not there comes last. */
function compareFields(a: any, b: any): number {
  if (a === b) return 0;
  if (a === undefined || a === null) return b === undefined || b === null ? 0 : 1;
  if (b === undefined || b === null) return -1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * A live list. While somebody is told of it, it follows the changes, each of which costs by the
 * logarithm of its length and one copy of the list; otherwise it is made when it is asked for.
 */
export class LiveView<T> implements View<T> {
  readonly #source: Source<T>;
  readonly #where: ((value: Readonly<T>, key: string) => boolean) | undefined;
  readonly #compare: Compare<T>;
  readonly #limit: number | undefined;
  readonly #listeners = new Set<{ call: (entries: readonly Entry<T>[]) => void }>();
  #unfollow: (() => void) | undefined;
  /** All that `where` likes, in order. */
  #all: Entry<T>[] = [];
  #shown: readonly Entry<T>[] = [];
  #revision = -1;

  constructor(source: Source<T>, options: ViewOptions<T>) {
    this.#source = source;
    this.#where = options.where;
    this.#compare = order(options);
    this.#limit = options.limit;
  }

  get(): readonly Entry<T>[] {
    if (!this.#unfollow && this.#revision !== this.#source.revision) this.#rebuild();
    return this.#shown;
  }

  subscribe(listener: (entries: readonly Entry<T>[]) => void): () => void {
    if (!this.#unfollow) {
      this.get();
      this.#unfollow = this.#source.follow((changed) => this.#change(changed));
    }
    const entry = { call: listener };
    this.#listeners.add(entry);
    guarded(listener, this.#shown);
    return () => {
      this.#listeners.delete(entry);
      if (this.#listeners.size > 0) return;
      this.#unfollow?.();
      this.#unfollow = undefined;
    };
  }

  #likes(entry: Entry<T>): boolean {
    return !this.#where || this.#where(entry.value, entry.key);
  }

  #rebuild(): void {
    this.#all = [];
    for (const entry of this.#source.entries()) if (this.#likes(entry)) this.#all.push(entry);
    this.#all.sort(this.#compare);
    this.#show();
  }

  #change(changed: readonly Changed<T>[]): void {
    if (changed.length * 8 > this.#source.size) this.#rebuild();
    else if (changed.filter((change) => this.#apply(change)).length > 0) this.#show();
    this.#revision = this.#source.revision;
  }

  /** Whether it is any different then. */
  #apply({ before, after }: Changed<T>): boolean {
    const was = before && this.#likes(before);
    const is = after && this.#likes(after);
    if (was) this.#all.splice(this.#place(before), 1);
    if (is) this.#all.splice(this.#place(after), 0, after);
    return Boolean(was || is);
  }

  /** Where an entry is, or would be. */
  #place(entry: Entry<T>): number {
    let [low, high] = [0, this.#all.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#compare(this.#all[middle] as Entry<T>, entry) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** What is shown is another array only if something in it is different. */
  #show(): void {
    this.#revision = this.#source.revision;
    const shown = this.#all.slice(0, this.#limit);
    const before = this.#shown;
    if (shown.length === before.length && shown.every((entry, at) => entry === before[at])) return;
    this.#shown = shown;
    for (const listener of [...this.#listeners]) {
      if (this.#listeners.has(listener)) guarded(listener.call, shown);
    }
  }
}
