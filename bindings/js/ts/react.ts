/**
 * Hooks for React 18 and later.
 *
 * ```tsx
 * <TidingsProvider client={() => connect("https://example.com")}><App /></TidingsProvider>
 *
 * function Todos() {
 *   const todos = useCollection<Todo>("todos");
 *   const open = useView(todos, { where: isOpen, sortBy: "title" });
 *   return open.map(({ key, value }) => (
 *     <button key={key} onClick={() => todos?.update(key, { done: true })}>{value.title}</button>
 *   ));
 * }
 * ```
 *
 * What a component uses is open for as long as it is mounted. On a server nothing is opened, and hooks
 * give what there is before a connection.
 */
import { createContext, createElement, useContext, useMemo, useRef, useSyncExternalStore } from "react";
import type { ReactNode } from "react";
import type { PatternOf, PayloadOf, Suggested } from "./events.js";
import { collection, latest, recent, whileHeard } from "./live.js";
import type { MaybeClient, RecentOptions } from "./live.js";
import type {
  Client,
  Collection,
  CollectionOptions,
  CollectionStatus,
  Conflict,
  Entry,
  Readable,
  Status,
  SubscribeOptions,
  TidingsEvent,
  ViewOptions,
} from "./types.js";

export type { MaybeClient, RecentOptions } from "./live.js";

const Context = createContext<Readable<Client<any> | undefined> | undefined>(undefined);
const BEFORE: Status = { state: "connecting", code: 0, reason: "", retryable: true };
const UNOPENED: CollectionStatus = { loaded: false, records: 0, pending: 0, closed: false };
const NONE: readonly never[] = [];

export interface TidingsProviderProps {
  /**
   * A client, which is left open; or a function that makes one: it is called when this is mounted, never
   * on a server, and its client closed when this is unmounted. A later function counts for nothing.
   */
  client: Client<any> | (() => Client<any>);
  children?: ReactNode;
}

/** Gives a client to the components in it. */
export function TidingsProvider({ client, children }: TidingsProviderProps): ReactNode {
  const make = useRef(client);
  const given = typeof client === "function" ? undefined : client;
  const held = useMemo<Readable<Client<any> | undefined>>(
    () =>
      whileHeard<Client<any> | undefined>(undefined, (set) => {
        const made = given ?? (make.current as () => Client<any>)();
        set(made);
        return () => void (given ?? made.close());
      }),
    [given],
  );
  // Listened to here, so that it stays open while components come and go.
  useReadable(held, undefined);
  return createElement(Context.Provider, { value: held }, children);
}

/** What a {@link Readable} holds; `before` on a server and while there is none. */
export function useReadable<T, B = undefined>(readable: Readable<T> | undefined, before: B): T | B {
  return useSyncExternalStore<T | B>(
    useMemo(() => (changed: () => void) => readable?.subscribe(changed) ?? (() => {}), [readable]),
    () => (readable ? readable.get() : before),
    () => before,
  );
}

/** The client of the provider around; `undefined` on a server and until that is mounted. */
export function useTidings<E = Record<string, any>>(): Client<E> | undefined {
  const held = useContext(Context);
  if (!held) throw new Error("there is no <TidingsProvider> around this component");
  return useReadable(held, undefined);
}

/** How the connection is doing. */
export function useStatus(): Status {
  return useReadable(useTidings()?.status, BEFORE);
}

/** The latest event that matches; `undefined` before the first. Options count when it begins. */
export function useLatest<T = any>(pattern: string, options?: SubscribeOptions): TidingsEvent<T> | undefined {
  const client = useTidings();
  const begin = useRef(options);
  return useReadable(
    useMemo(() => latest<T>(client, pattern, begin.current), [client, pattern]),
    undefined,
  );
}

/** The newest events that match, oldest first; at most `limit`, 100. Options count when it begins. */
export function useRecent<T = any>(pattern: string, options?: RecentOptions): readonly TidingsEvent<T>[] {
  const client = useTidings();
  const begin = useRef(options);
  const limit = options?.limit;
  return useReadable(
    useMemo(
      () => recent<T>(client, pattern, { ...begin.current, ...(limit !== undefined && { limit }) }),
      [client, pattern, limit],
    ),
    NONE,
  );
}

/**
 * A collection, open while the component is mounted: what it has written by then still goes out.
 * `undefined` on a server and until it is mounted. Options count when it begins.
 */
export function useCollection<T extends object = any>(
  name: string,
  options?: CollectionOptions,
): Collection<T> | undefined {
  const client = useTidings();
  const begin = useRef(options);
  return useReadable(
    useMemo(() => collection<T>(client, name, begin.current), [client, name]),
    undefined,
  );
}

/**
 * Records of a collection, live. Functions in `options` should be the same at each render (defined
 * outside, or by `useCallback`): each new one has all records looked at anew.
 */
export function useView<T extends object>(
  records: Collection<T> | undefined,
  { where, sortBy, descending, limit }: ViewOptions<T> = {},
): readonly Entry<T>[] {
  const view = useMemo(
    () =>
      records?.view({
        ...(where && { where }),
        ...(sortBy && { sortBy }),
        ...(descending !== undefined && { descending }),
        ...(limit !== undefined && { limit }),
      }),
    [records, where, sortBy, descending, limit],
  );
  return useReadable(view, NONE);
}

/** One record, live. */
export function useRecord<T extends object>(
  records: Collection<T> | undefined,
  key: string,
): Entry<T> | undefined {
  return useReadable(
    useMemo(() => records?.record(key), [records, key]),
    undefined,
  );
}

/** How many writes are pending. */
export function usePending(records: Collection<any> | undefined): number {
  return useReadable(records?.pending, 0);
}

/** Conflicts of this client's writes, newest last. */
export function useConflicts<T extends object>(records: Collection<T> | undefined): readonly Conflict<T>[] {
  return useReadable(records?.conflicts, NONE);
}

/** How a collection is doing. */
export function useCollectionStatus(records: Collection<any> | undefined): CollectionStatus {
  return useReadable(records?.status, UNOPENED);
}

/** Those hooks that know which events there are. */
export interface Hooks<E> {
  useTidings(): MaybeClient<E>;
  useLatest<const P extends Suggested<E>>(
    pattern: P & PatternOf<E, P>,
    options?: SubscribeOptions,
  ): TidingsEvent<PayloadOf<E, P>> | undefined;
  useRecent<const P extends Suggested<E>>(
    pattern: P & PatternOf<E, P>,
    options?: RecentOptions,
  ): readonly TidingsEvent<PayloadOf<E, P>>[];
}

/** The same hooks for an event map: `const { useLatest } = hooks<Events>();` */
export function hooks<E>(): Hooks<E> {
  return { useTidings, useLatest, useRecent } as Hooks<E>;
}
