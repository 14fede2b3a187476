/**
 * Stores for Svelte. All that a client gives to be watched is a store already: `$status` of
 * `const status = client.status`. Here is what opens something when a component begins to listen, and
 * closes it when none does any more.
 *
 * ```svelte
 * <script lang="ts">
 *   import { collection, recent, view } from "@tidings/client/svelte";
 *   import { client } from "./client"; // connect(...) in a browser, undefined on a server
 *   const news = recent(client, "news.**", { limit: 20 });
 *   const todos = collection<Todo>(client, "todos");
 *   const open = view(todos, { where: (todo) => !todo.done });
 * </script>
 * {#each $open as { key, value } (key)}
 *   <button onclick={() => $todos?.update(key, { done: true })}>{value.title}</button>
 * {/each}
 * ```
 */
import { createSubscriber } from "svelte/reactivity";
import type { PatternOf, PayloadOf, Suggested } from "./events.js";
import * as opening from "./live.js";
import type { MaybeClient, RecentOptions } from "./live.js";
import type {
  Collection,
  CollectionStatus,
  Conflict,
  Entry,
  Readable,
  SubscribeOptions,
  TidingsEvent,
  ViewOptions,
} from "./types.js";

export { collection } from "./live.js";
export type { MaybeClient, RecentOptions } from "./live.js";

/** The latest event that matches; `undefined` before the first one and while nobody listens. */
export const latest: <E, const P extends Suggested<E>>(
  client: MaybeClient<E>,
  pattern: P & PatternOf<E, P>,
  options?: SubscribeOptions,
) => Readable<TidingsEvent<PayloadOf<E, P>> | undefined> = opening.latest;

/** The newest events that match, oldest first, at most `limit`, 100; none while nobody listens. */
export const recent: <E, const P extends Suggested<E>>(
  client: MaybeClient<E>,
  pattern: P & PatternOf<E, P>,
  options?: RecentOptions,
) => Readable<readonly TidingsEvent<PayloadOf<E, P>>[]> = opening.recent;

/** A collection as {@link collection} gives it. */
export type CollectionStore<T extends object> = Readable<Collection<T> | undefined>;

/** Records of a collection, live. */
export function view<T extends object>(
  records: CollectionStore<T>,
  options?: ViewOptions<T>,
): Readable<readonly Entry<T>[]> {
  return opening.through<Collection<T>, readonly Entry<T>[]>(records, (held) => held.view(options), []);
}

/** One record, live. */
export function record<T extends object>(
  records: CollectionStore<T>,
  key: string,
): Readable<Entry<T> | undefined> {
  return opening.through<Collection<T>, Entry<T> | undefined>(records, (held) => held.record(key), undefined);
}

/** How many writes are pending. */
export function pending(records: CollectionStore<any>): Readable<number> {
  return opening.through(records, (held) => held.pending, 0);
}

/** Conflicts of this client's writes, newest last. */
export function conflicts<T extends object>(records: CollectionStore<T>): Readable<readonly Conflict<T>[]> {
  return opening.through<Collection<T>, readonly Conflict<T>[]>(records, (held) => held.conflicts, []);
}

/** How a collection is doing. */
export function status(records: CollectionStore<any>): Readable<CollectionStatus> {
  const unopened: CollectionStatus = { loaded: false, records: 0, pending: 0, closed: false };
  return opening.through(records, (held) => held.status, unopened);
}

/** For runes: `const open = live(view(todos));` and then `open.current`, in markup, `$derived` or `$effect`. */
export function live<T>(readable: Readable<T>): { readonly current: T } {
  const listen = createSubscriber((changed) => {
    let first = true;
    const stop = readable.subscribe(() => first || changed());
    first = false;
    return stop;
  });
  return {
    get current() {
      listen();
      return readable.get();
    },
  };
}
