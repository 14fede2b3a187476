import { report } from "./report.js";
import type { Readable } from "./types.js";

/** A value that changes, and those who are told. */
export class Store<T> implements Readable<T> {
  #value: T;
  readonly #listeners = new Set<{ call: (value: T) => void }>();

  constructor(value: T) {
    this.#value = value;
  }

  get(): T {
    return this.#value;
  }

  /** Nobody is told if it is the same. */
  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) {
      // One may have been taken off by another one.
      if (this.#listeners.has(listener)) guarded(listener.call, value);
    }
  }

  subscribe(listener: (value: T) => void): () => void {
    // A listener that is given twice is called twice, and taken off once.
    const entry = { call: listener };
    this.#listeners.add(entry);
    guarded(listener, this.#value);
    return () => void this.#listeners.delete(entry);
  }

  /** How many are told. */
  get listeners(): number {
    return this.#listeners.size;
  }
}

/** What is made of another store's value: the same for as long as that gives the same. */
export function derived<T, R>(store: Readable<T>, make: (value: T) => R): Readable<R> {
  return {
    get: () => make(store.get()),
    subscribe(listener) {
      let last: { value: R } | undefined;
      return store.subscribe((from) => {
        const value = make(from);
        if (last && Object.is(last.value, value)) return;
        last = { value };
        guarded(listener, value);
      });
    },
  };
}

/** Calls what an application has given; what it throws is reported and costs nothing else. */
export function guarded<A extends unknown[]>(call: (...args: A) => void, ...args: A): void {
  try {
    call(...args);
  } catch (error) {
    report(error);
  }
}

/** Waits until a store's value is as it should be; `is` may throw that it never will be. */
export function until<T>(
  store: Readable<T>,
  is: (value: T) => boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    let over = false;
    let unsubscribe: (() => void) | undefined;
    const end = (settle: () => void) => {
      if (over) return;
      over = true;
      unsubscribe?.();
      signal?.removeEventListener("abort", abort);
      settle();
    };
    const abort = () => end(() => reject(signal?.reason));
    signal?.addEventListener("abort", abort);
    unsubscribe = store.subscribe((value) => {
      try {
        if (is(value)) end(resolve);
      } catch (error) {
        end(() => reject(error));
      }
    });
    // It may have been so at once.
    if (over) unsubscribe();
  });
}
