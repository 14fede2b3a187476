/**
 * Readables that open something when somebody begins to listen, and close it when nobody does any more:
 * what the packages for React, Angular and Svelte are made of.
 */
import type { Client, Collection, CollectionOptions, Readable, SubscribeOptions, TidingsEvent } from "./types.js";

/** A client; none where pages are rendered on a server, which connects to nobody. */
export type MaybeClient<E> = Client<E> | undefined;

/** How many events are kept, and how the subscription is. */
export interface RecentOptions extends SubscribeOptions {
  /** The newest so many are kept. Default 100. */
  limit?: number;
}

/** The latest event that matches; `undefined` before the first one and while nobody listens. */
export function latest<T>(
  client: MaybeClient<any>,
  pattern: string,
  options?: SubscribeOptions,
): Readable<TidingsEvent<T> | undefined> {
  return whileHeard<TidingsEvent<T> | undefined>(undefined, (set) =>
    follow<T>(client, pattern, set, options),
  );
}

/** The newest events that match, oldest first; none while nobody listens. */
export function recent<T>(
  client: MaybeClient<any>,
  pattern: string,
  { limit = 100, ...options }: RecentOptions = {},
): Readable<readonly TidingsEvent<T>[]> {
  return whileHeard<readonly TidingsEvent<T>[]>([], (set) => {
    let kept: readonly TidingsEvent<T>[] = [];
    let fresh: TidingsEvent<T>[] = [];
    const take = (event: TidingsEvent<T>) => {
      // Those that arrive together are told together.
      if (fresh.push(event) > 1) return;
      queueMicrotask(() => {
        kept = [...kept, ...fresh].slice(-limit);
        fresh = [];
        set(kept);
      });
    };
    return follow<T>(client, pattern, take, options);
  });
}

function follow<T>(
  client: MaybeClient<any>,
  pattern: string,
  take: (event: TidingsEvent<T>) => void,
  options?: SubscribeOptions,
): () => void {
  const subscription = client?.subscribe<any>(pattern, take, options);
  return () => void subscription?.close();
}

/** A collection that is open while somebody listens; `undefined` otherwise. */
export function collection<T extends object = any>(
  client: MaybeClient<any>,
  name: string,
  options?: CollectionOptions,
): Readable<Collection<T> | undefined> {
  return whileHeard<Collection<T> | undefined>(undefined, (set) => {
    const opened = client?.collection<T>(name, options);
    set(opened);
    return () => void (opened && leave(opened));
  });
}

/** Closes a collection once what was written has gone out. */
export async function leave(opened: Collection<any>): Promise<void> {
  // It fails if the client was closed: then there is nothing to wait for.
  await opened.settled().catch(() => {});
  await opened.close();
}

/** What is open while somebody listens: `open` is told where to put values, and gives what closes it. */
export function whileHeard<T>(nothing: T, open: (set: (value: T) => void) => () => void): Readable<T> {
  const listeners = new Set<(value: T) => void>();
  let value = nothing;
  let close: (() => void) | undefined;
  const begin = () => {
    let over = false;
    const end = open((next) => {
      if (over) return;
      value = next;
      for (const listener of [...listeners]) tell(listener, next);
    });
    close = () => {
      over = true;
      value = nothing;
      end();
    };
  };
  return {
    get: () => value,
    subscribe(listener) {
      // A function of its own, so that the same listener may be there twice.
      const entry = (next: T) => listener(next);
      if (!close) begin();
      listeners.add(entry);
      tell(entry, value);
      return () => {
        if (!listeners.delete(entry) || listeners.size > 0) return;
        // Who leaves and comes back at once, as React's StrictMode does, finds it as it was.
        queueMicrotask(() => {
          if (listeners.size > 0) return;
          close?.();
          close = undefined;
        });
      };
    },
  };
}

function tell<T>(listener: (value: T) => void, value: T): void {
  try {
    listener(value);
  } catch (error) {
    reportError(error);
  }
}

/** What `pick` makes of what `source` holds; `nothing` while it holds nothing. */
export function through<S, T>(
  source: Readable<S | undefined>,
  pick: (held: S) => Readable<T>,
  nothing: T,
): Readable<T> {
  return whileHeard<T>(nothing, (set) => {
    let leaveLast = () => {};
    const leaveSource = source.subscribe((held) => {
      leaveLast();
      leaveLast = held === undefined ? (set(nothing), () => {}) : pick(held).subscribe(set);
    });
    return () => {
      leaveLast();
      leaveSource();
    };
  });
}
