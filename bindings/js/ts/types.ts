/// <reference lib="esnext.disposable" preserve="true" />
/**
 * The whole interface of the package, without a line that runs: `client.ts` and `collection.ts` do
 * what is said here. Times are milliseconds, sizes bytes.
 */
import type { NameOf, PatternOf, PayloadOf, Suggested, TextFor } from "./events.js";
import type { TidingsError } from "./error.js";

export type { EventMap, NameOf, PatternOf, PayloadOf } from "./events.js";

/**
 * A value that changes. It follows the contract of Svelte's stores, and `get` is what React's
 * `useSyncExternalStore` wants: the same object for as long as nothing has changed.
 */
export interface Readable<T> {
  /** The value now. */
  get(): T;
  /**
   * Calls `listener` at once, and whenever the value changes, until the function that it gives back
   * is called. A listener that throws is reported (`reportError`); the others are called all the same.
   */
  subscribe(listener: (value: T) => void): () => void;
}

/** Something that can be taken back or given up with an `AbortSignal`. */
export interface Abortable {
  /** Gives up when it is aborted: what is waited for rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** What carries messages. */
export type Transport = "ws" | "socketio";

/** How urgent an event is. */
export type Priority = "low" | "normal" | "high" | "critical";

/** Where an event stands in the server's log. */
export interface Position {
  lane: number;
  offset: number;
}

/**
 * Up to where events of lanes are known: `{lane: [epoch, offset]}`. `[0, 0]` is before the oldest event
 * that the server has. Lanes that are not named begin now.
 */
export type Cursor = Readonly<Record<number, readonly [epoch: number, offset: number]>>;

/** An event as it arrives. */
export interface TidingsEvent<T = unknown> {
  name: string;
  /** What `JSON.parse` makes of it; a `Uint8Array` if it was published as bytes. */
  payload: T;
  /** Unique. */
  id: string;
  priority: Priority;
  /** When the server accepted it, in milliseconds since 1970. */
  time: number;
  headers: Readonly<Record<string, string>>;
  /** Not there if it is volatile. */
  position?: Position;
  /** Whether it comes from the past that `since` asked for. */
  replayed: boolean;
}

/** Who one is: what the server's authentication wants, usually a JWT. */
export type Token = string;

/** Gives a token: called before each connection attempt, and when the server wants a fresh one. */
export type TokenProvider = () => Token | Promise<Token>;

export interface ConnectOptions extends Abortable {
  /** Default `"auto"`: `ws`, or `socketio` where that does not work. */
  transport?: Transport | "auto";
  /** What may carry `socketio`, first choice first. Default `["websocket", "polling"]`. */
  socketioTransports?: readonly ("websocket" | "polling")[];
  /**
   * How messages are written. Default `"json"`; `"msgpack"`, which suits payloads of bytes, needs
   * `connect` of `@tidings/client/msgpack`.
   */
  format?: "json" | "msgpack";
  /** The Socket.IO namespace. Default `"/"`. */
  namespace?: string;
  /**
   * Who one is. A provider that throws is asked again with the usual delays; one that throws a
   * `TidingsError` with `retryable: false` closes the client.
   */
  auth?: Token | TokenProvider;
  /**
   * One connection for all tabs of the origin that say so, with the same name. Default `false`.
   */
  tabs?: boolean | { name?: string };
  /** Where collections keep what is pending and what was loaded. Default `"memory"`. */
  storage?: Storage | "indexeddb" | "memory";
  /** A random time up to `minDelay` before the first attempt, up to twice as long after each
   * further failure, never more than `maxDelay`. Default 200 and 5,000. */
  reconnect?: { minDelay?: number; maxDelay?: number };
  /** How long an attempt may take. Default 10,000. */
  connectTimeout?: number;
  /** How long after an event was first sent its acknowledgement may take. Default 60,000. */
  publishTimeout?: number;
  /** How long to wait for replies. Default 10,000. */
  requestTimeout?: number;
  /** What may wait to be acknowledged, for each priority; beyond that `publish` rejects. */
  queue?: {
    /** Default 10,000. */
    maxEvents?: number;
    /** Default 8 MiB. */
    maxBytes?: number;
    /** How long an event may wait for a connection. Default 300,000. */
    maxAge?: number;
  };
  /**
   * How long the server may hold events back so that several come as one message, up to what it allows
   * (1,000 unless it is told otherwise). A message costs a browser more than what is in it: a page that
   * draws what it hears has no use for more of them than it draws frames, one in 16 ms. Events of critical
   * priority never wait. For `ws` with JSON. Default 0.
   */
  batchDelay?: number;
  /** The largest message accepted from the server. Default 16 MiB. */
  maxMessage?: number;
  /** How `for await` subscriptions hold events that are not taken, unless they say. */
  buffer?: BufferOptions;
  /** Where the WebAssembly module is. Default: beside the package's own file. */
  wasm?: string | URL | Response | BufferSource | WebAssembly.Module;
}

/** What to do with events that come faster than `for await` takes them. */
export interface BufferOptions {
  /** Default 1024. */
  maxEvents?: number;
  /**
   * `"drop-oldest"` (the default) drops, and tells how many by `onMissed`. `"pause"` reads nothing
   * more from the connection, for anybody, until there is room.
   */
  overflow?: "drop-oldest" | "pause";
}

/** How the connection is doing. */
export interface Status {
  state: "connecting" | "connected" | "reconnecting" | "closed";
  /** What carries messages; not there while nothing does. */
  transport?: Transport;
  /** Why the last connection ended, as a number; 0 if none has. */
  code: number;
  /** The same, for people. */
  reason: string;
  /** Whether the client goes on trying. */
  retryable: boolean;
  /** When the next attempt begins, as `Date.now()` has it; not there while one is made. */
  nextAttempt?: number;
  /**
   * With the option `tabs`, whether the connection that the tabs share is this tab's (`"leader"`),
   * another one's (`"member"`), or is not shared (`"alone"`): because of what `tabProblem` says.
   */
  tab?: "leader" | "member" | "alone";
  /** Why this browser cannot share a connection among tabs. */
  tabProblem?: string;
}

export interface SubscribeOptions extends Abortable, BufferOptions {
  /** Begins with what the log has after this. Default: begins now. */
  since?: Cursor;
  /**
   * Called when events are missing. Without, it is told by a warning on the console.
   */
  onMissed?: (missed: Missed) => void;
  /** Called once when the subscription has ended otherwise than by `close`. `for await` throws it. */
  onError?: (error: TidingsError) => void;
}

/** Events that a subscription will not get. */
export type Missed =
  /** They were not taken in time: so many were dropped here. */
  | { reason: "overflow"; count: number }
  /** The server does not have them any more: those of this lane after `from`, up to `to`. */
  | { reason: "gap"; lane: number; from: number; to: number; epoch: number };

/** Something that can be ended. `using` and `await using` end it, too. */
export interface Closable extends AsyncDisposable {
  /** Ends it; more than once does nothing more. */
  close(): Promise<void>;
}

/** A subscription: `for await` takes its events, unless a callback does. */
export interface Subscription<Item> extends Closable, AsyncIterable<Item> {
  readonly pattern: string;
  /** Waits until the server has it: what is published from then on arrives. Rejects if it refuses. */
  ready(options?: Abortable): Promise<void>;
  readonly closed: boolean;
}

export interface PublishOptions extends Abortable {
  /** Default `"normal"`. */
  priority?: Priority;
  headers?: Readonly<Record<string, string>>;
  /** At once or not at all, without a place in the log. */
  volatile?: boolean;
  /** How long to try. Default: as `connect` was told. */
  timeout?: number;
}

export interface RequestOptions extends Abortable {
  /** How long to wait for the reply. Default: as `connect` was told. */
  timeout?: number;
}

/** A request of the server's. */
export interface ServerRequest<T = unknown> {
  name: string;
  payload: T;
}

/**
 * A connection that heals itself. All methods may be called before there is one.
 *
 * `E` says which events there are, see {@link EventMap}.
 */
export interface RealtimeClient<E = Record<string, any>> extends Closable {
  readonly url: string;
  readonly status: Readable<Status>;

  /** Waits until there is a connection. Rejects if the client is closed first. */
  ready(options?: Abortable): Promise<void>;

  /** Subscribes to a pattern: `for await` takes the events. */
  subscribe<const P extends Suggested<E>>(
    pattern: P & PatternOf<E, P>,
    options?: SubscribeOptions,
  ): Subscription<TidingsEvent<PayloadOf<E, P>>>;
  /** Subscribes to a pattern: each event is given to `callback`. One that throws is reported. */
  subscribe<const P extends Suggested<E>>(
    pattern: P & PatternOf<E, P>,
    callback: (event: TidingsEvent<PayloadOf<E, P>>) => void,
    options?: SubscribeOptions,
  ): Subscription<TidingsEvent<PayloadOf<E, P>>>;
  /** With the payload's type given explicitly. */
  subscribe<T = never>(pattern: TextFor<T>, options?: SubscribeOptions): Subscription<TidingsEvent<T>>;
  subscribe<T = never>(
    pattern: TextFor<T>,
    callback: (event: TidingsEvent<T>) => void,
    options?: SubscribeOptions,
  ): Subscription<TidingsEvent<T>>;

  /**
   * Publishes an event. Resolves when the server has it in its log, with its place there (with
   * nothing if it is volatile: then when it was sent). A `Uint8Array` travels as bytes, everything
   * else as JSON. Aborting ends the waiting only: what is queued is published all the same.
   */
  publish<const N extends Suggested<E>>(
    name: N & NameOf<E, N>,
    payload: PayloadOf<E, N>,
    options: PublishOptions & { volatile: true },
  ): Promise<void>;
  publish<const N extends Suggested<E>>(
    name: N & NameOf<E, N>,
    payload: PayloadOf<E, N>,
    options?: PublishOptions & { volatile?: false },
  ): Promise<Position>;

  /** Asks who handles `name` on the server. */
  request<T = any>(name: string, payload?: unknown, options?: RequestOptions): Promise<T>;

  /**
   * Answers the server's requests of this name; the latest handler counts. What it throws is told to
   * the server.
   */
  handle<T = any>(
    name: string,
    handler: (payload: T, request: ServerRequest<T>) => unknown,
    options?: Abortable,
  ): Closable;

  /** What was counted so far. */
  stats(): Promise<Stats>;
  /**
   * Carries the session on by another transport, without loss or pause. Gives the one in use.
   */
  switchTransport(transport: Transport, options?: Abortable): Promise<Transport>;
  /** Presents a fresh token to the server, without reconnecting. */
  refreshToken(): Promise<void>;
  /** Publishes what is queued, says goodbye, and closes; `timeout` is for that. Default 10,000. */
  close(options?: { timeout?: number }): Promise<void>;
}

/** A client, with collections. */
export interface Client<E = Record<string, any>> extends RealtimeClient<E> {
  /**
   * A collection of the server's: records that are kept in step with it. Opening the same one again
   * gives another handle to it.
   */
  collection<T extends object = any>(name: string, options?: CollectionOptions): Collection<T>;
  /**
   * This client is there, for others to see in a collection whose records end with their sessions:
   * `record` is what they see. Resolves when they do; rejects if the server does not take it. It is
   * there until it leaves (`close`, or the signal), the client is closed, or the server has not heard
   * of it for the collection's time-out; after that it joins again by itself.
   */
  join<T extends object = any>(
    collection: string,
    record: T,
    options?: Abortable,
  ): Promise<Presence<T>>;
}

/**
 * That this client is there. A client has one record in such a collection: who joins twice, or in two
 * tabs that share a connection, is there once, with what was told last.
 */
export interface Presence<T extends object> extends Closable {
  /** The collection's name. */
  readonly name: string;
  /** The key of one's own record. It changes with the session. */
  readonly key: Readable<string>;
  /** Who is there, by their keys; oneself, too. */
  readonly members: View<T>;
  /** Tells others something else. Rejects if the server does not take it: they see what they saw. */
  update(record: T): Promise<void>;
  /** Leaves. */
  close(): Promise<void>;
}

/** What a client has counted. */
export interface Stats {
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
  /** Events delivered. */
  events: number;
  volatileEvents: number;
  /** Events delivered that were published while there was no connection, or replayed. */
  recovered: number;
  /** Events dropped because they had been delivered before. */
  duplicates: number;
  gaps: number;
  attempts: number;
  connects: number;
  reconnects: number;
  switches: number;
  /** Publishes acknowledged. */
  published: number;
  resent: number;
  publishFailures: number;
  volatileSent: number;
  /** Events published and not acknowledged. */
  queued: Readonly<Record<Priority, number>>;
  queuedBytes: Readonly<Record<Priority, number>>;
  inFlight: number;
  requests: number;
  subscriptions: number;
  /** How long acknowledgements took: how many there were, the median, the 99th percentile, the worst. */
  roundTrips: { count: number; p50: number; p99: number; max: number };
}

export interface CollectionOptions {
  /** Where it keeps what is pending and what was loaded. Default: as `connect` was told. */
  storage?: Storage | "indexeddb" | "memory";
  /** How conflicts are shown until the server decides. Default: as the server says. */
  policy?: "merge" | "server-wins" | "client-wins" | "last-write-wins";
  /** How many writes may be pending. Default 10,000. */
  maxPending?: number;
  /** How many bytes of writes may be pending. Default 8 MiB. */
  maxPendingBytes?: number;
  /** How many writes can be undone. Default 100. */
  maxUndo?: number;
  /** How many records are loaded at once. Default 500. */
  page?: number;
}

/** A record as it is shown. */
export interface Entry<T> {
  readonly key: string;
  /** Frozen in the types only: changing it changes nothing for the others. Use `update`. */
  readonly value: Readonly<T>;
  /** Whether there are changes in it that the server has not confirmed. */
  readonly pending: boolean;
}

/** Which records a view has, and in which order. */
export interface ViewOptions<T> {
  where?: (value: Readonly<T>, key: string) => boolean;
  /**
   * A field, or a function as `Array.sort` wants it; records that are equal in it are in the order of
   * their keys. Default: by key.
   */
  sortBy?: (keyof T & string) | ((a: Readonly<T>, b: Readonly<T>) => number);
  /** The other way round. */
  descending?: boolean;
  /** At most so many, from the beginning. */
  limit?: number;
}

/**
 * A live list of records. It costs nothing while nobody subscribes to it, and gives the same array for
 * as long as none of its records has changed, and the same `Entry` for as long as that has not.
 */
export interface View<T> extends Readable<readonly Entry<T>[]> {}

/** How a collection is doing. Whether there is a connection is the client's to say. */
export interface CollectionStatus {
  /** Whether everything is there, as of the last connection. */
  loaded: boolean;
  /** How many records are shown. */
  records: number;
  /** How many writes the server has not taken, or not shown to everybody. */
  pending: number;
  /** What does not work at the moment, for people; it is tried again. */
  trouble?: string;
  /** That what was pending could not be read when the collection was opened, why, and where it is. */
  setAside?: string;
  /** Why nothing is kept on this device, although it was to be: what is pending ends with the page. */
  unkept?: string;
  closed: boolean;
}

/** Two have changed the same record, neither having seen the other's change. */
export interface Conflict<T = any> {
  readonly key: string;
  /** What it was when mine was made, as far as mine says. */
  readonly base?: Partial<T>;
  /** What mine would have made of it; not there if it was a deletion. */
  readonly mine?: Partial<T>;
  /** What it is by now. */
  readonly theirs: Partial<T>;
  /** Which holds; `"merged"`: both do. */
  readonly outcome: "mine" | "theirs" | "merged";
}

/** What the server says of a write that it has taken. */
export interface Acknowledged<T = any> {
  /** The version of the write's last change, unless the server does not remember. */
  version?: number;
  /** What was decided on the way. */
  conflicts: readonly Conflict<T>[];
}

/**
 * A write: shown already, and on its way whether this is kept or not. Its promises reject with a
 * `TidingsError` with the code `"rejected"` if the server rejects it, which takes it back, and with
 * `"closed"` if the collection is closed before.
 */
export interface Write<T = any> {
  /** The storage has it: it survives a restart. At once without a storage. */
  readonly stored: Promise<void>;
  /** The server has taken it. */
  readonly acknowledged: Promise<Acknowledged<T>>;
  /** It came back from the server, as others see it. */
  readonly seen: Promise<void>;
}

/** A patch of fields: those with `null` are removed, objects are patched field by field. */
export type Patch<T> = {
  [K in keyof T]?: (NonNullable<T[K]> extends readonly unknown[]
    ? T[K]
    : NonNullable<T[K]> extends object
      ? Patch<T[K]> | T[K]
      : T[K]) | null;
};

/** The changes that can be made to records. */
export interface Writes<T, Result> {
  /** Adds a record. Throws if there is one with this key. */
  insert(key: string, value: T): Result;
  /**
   * Changes fields of a record: `change` is a JSON merge patch (RFC 7396), or a function that changes a
   * copy, of which the fields that differ are updated. Throws if there is no such record.
   */
  update(key: string, change: Patch<T> | ((draft: T) => void)): Result;
  /** Changes a record as a whole. Throws if there is no such record. */
  replace(key: string, value: T): Result;
  /** Removes a record. Throws if there is no such record. */
  delete(key: string): Result;
  /** Adds to a field, whatever it is by then: never a conflict. `by` is a whole number, default 1. */
  increment(key: string, field: keyof T & string, by?: number): Result;
}

/**
 * Records that are kept in step with the server's. What is shown is what the server has confirmed and,
 * on top of it, what was written here.
 *
 * Writes throw at once what is wrong with them, a `TidingsError`; what the server says of them is told
 * by the {@link Write}. Those made before `ready` are made then.
 */
export interface Collection<T extends object> extends Writes<T, Write<T>>, Closable {
  readonly name: string;
  /** Waits until it is open: until what its storage has is shown. That needs no connection. */
  ready(options?: Abortable): Promise<void>;
  /** Waits until all records are there. */
  loaded(options?: Abortable): Promise<void>;
  /** Waits until nothing is pending any more. */
  settled(options?: Abortable): Promise<void>;

  /** A record as it is shown. */
  get(key: string): Readonly<T> | undefined;
  has(key: string): boolean;
  /** How many are shown. */
  readonly size: number;
  /** All as they are shown, in the order of their keys; the same array until one changes. */
  all(): readonly Entry<T>[];

  view(options?: ViewOptions<T>): View<T>;
  /** One record. */
  record(key: string): Readable<Entry<T> | undefined>;
  readonly status: Readable<CollectionStatus>;
  /** How many writes are pending. */
  readonly pending: Readable<number>;
  /** Conflicts of this client's writes, newest last; the last 100. */
  readonly conflicts: Readable<readonly Conflict<T>[]>;

  /** Makes all the changes that `change` makes to what it is given together, or none. */
  batch(change: (writes: Writes<T, void>) => void): Write<T>;
  /**
   * Takes back what was written last here and not undone: the fields that still are as it has left
   * them. Nothing if there is nothing to take back.
   */
  undo(): Write<T> | undefined;
  /** Does again what was undone last. */
  redo(): Write<T> | undefined;
  /** Closes this handle; what is pending is stored, and sent when it is opened again. */
  close(): Promise<void>;
}

/**
 * Keeps bytes by name. What it was last told to keep is there after a crash, whole: of a `write` either
 * all or what was before, of an `append` a beginning.
 */
export interface Storage {
  read(name: string): Promise<Uint8Array | undefined>;
  /** Keeps it instead of what was there. */
  write(name: string, content: Uint8Array): Promise<void>;
  /** Keeps it behind what is there. */
  append(name: string, content: Uint8Array): Promise<void>;
  /** Keeps what is there elsewhere, for people to look at; tells where. */
  setAside(name: string): Promise<string>;
}
