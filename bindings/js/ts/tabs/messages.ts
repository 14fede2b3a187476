/** What tabs tell each other, and the two ends of it: a tab's client, and the connection. */

/** JSON as text, or bytes. */
export type Packed = string | Uint8Array;

/** Lane, epoch and offset in turn. */
export type FlatCursor = number[];

/** An error as the module has it. */
export interface Failure {
  code: string;
  message: string;
  retryable: boolean;
  refusal?: number;
  reason?: string;
  /** How long it was waited for, in milliseconds, if it was in vain. */
  after?: number;
  /** How many wait already, if those are too many. */
  count?: number;
}

export interface Position {
  lane: number;
  offset: number;
}

export interface GapNotice {
  lane: number;
  from: number;
  to: number;
  epoch: number;
}

/** A status as the module has it: `nextAttempt` counts from now. */
export interface RawStatus {
  state: "connecting" | "connected" | "reconnecting" | "closed";
  transport?: string;
  code: number;
  reason: string;
  retryable: boolean;
  nextAttempt?: number;
}

export interface PublishSettings {
  priority?: string;
  headers?: Record<string, string>;
  volatile?: boolean;
  timeout?: number;
}

/** What becomes of something: a value, or why there is none. */
export type Outcome<T> = { value: T } | { failure: Failure };

/** What a tab's client wants; who carries it does it. */
export type Command =
  | { do: "publish"; ticket: number; name: string; payload: Packed; options: PublishSettings }
  | { do: "subscribe"; id: number; pattern: string; since?: FlatCursor }
  | { do: "unsubscribe"; id: number }
  | { do: "request"; ticket: number; name: string; payload: Packed; timeout?: number }
  | { do: "cancel"; ticket: number }
  | { do: "handles"; name: string; whether: boolean }
  | { do: "respond"; question: number; outcome: Outcome<Packed> }
  | { do: "switch"; ticket: number; transport: string }
  | { do: "refresh" }
  | { do: "close"; timeout: number };

/** A tab's client, which is told what becomes of what it wants. */
export interface Carried {
  status(status: RawStatus): void;
  subscribed(id: number): void;
  /** `text` says all of an event but bytes. */
  event(id: number, text: string, bytes?: Uint8Array): void;
  gap(id: number, gap: GapNotice): void;
  /** The subscription has ended. */
  ended(id: number, failure: Failure): void;
  published(ticket: number, outcome: Outcome<Position | null>): void;
  reply(ticket: number, outcome: Outcome<Packed>): void;
  request(question: number, name: string, payload: Packed): void;
  switched(ticket: number, outcome: Outcome<string>): void;
  refreshed(failure?: Failure): void;
}

/** What a subscription of the connection brings. */
export interface Sink {
  subscribed(): void;
  event(position: Position | undefined, text: string, bytes?: Uint8Array): void;
  gap(gap: GapNotice): void;
  ended(failure: Failure): void;
  cursor(cursor: FlatCursor): void;
}

/** The connection that all tabs share: a client of its own, in the tab that leads. */
export interface Upstream {
  publish(
    name: string,
    payload: Packed,
    options: PublishSettings & { as?: [producer: string, number: number] },
  ): Promise<Outcome<Position | null>>;
  /** `tell` has the sink told how far the subscription has come. */
  subscribe(
    pattern: string,
    since: FlatCursor | undefined,
    sink: Sink,
  ): { tell(): void; close(): void };
  request(
    name: string,
    payload: Packed,
    timeout: number | undefined,
  ): { reply: Promise<Outcome<Packed>>; cancel(): void };
  handle(
    name: string,
    answer: (payload: Packed) => Promise<Outcome<Packed>>,
  ): { close(): void };
  switchTransport(transport: string): Promise<Outcome<string>>;
  refreshToken(): Promise<Outcome<null>>;
  stats(): Promise<unknown>;
  close(timeout: number): Promise<void>;
}

/** From a tab to the leader: in whose term, from whom, and how often that tab has joined. */
export type ToLeader = { term: number; tab: string; joined: number } & (
  | { k: "join" }
  | { k: "leave" }
  | { k: "ping" }
  /** So many messages of the leader's were handled. */
  | { k: "took"; count: number }
  | { k: "publish"; n: number; name: string; payload: Packed; options: PublishSettings }
  | { k: "subscribe"; id: number; pattern: string; since: FlatCursor | undefined }
  | { k: "unsubscribe"; id: number }
  | { k: "request"; ticket: number; name: string; payload: Packed; timeout: number | undefined }
  | { k: "cancel"; ticket: number }
  | { k: "handles"; name: string; whether: boolean }
  | { k: "answer"; question: number; outcome: Outcome<Packed> }
  | { k: "switch"; ticket: number; transport: string }
  | { k: "refresh" }
  | { k: "stats"; ticket: number }
);

/** From the leader to one tab. */
export type ToTab = { term: number } & (
  | { k: "pong" }
  /** The leader does not know the tab, or no more, which has joined so often. */
  | { k: "rejoin"; joined: number }
  | { k: "subscribed"; id: number }
  | { k: "event"; id: number; at: Position | undefined; text: string; bytes: Uint8Array | undefined }
  | { k: "gap"; id: number; gap: GapNotice }
  | { k: "ended"; id: number; failure: Failure }
  | { k: "cursor"; id: number; cursor: FlatCursor }
  | { k: "published"; n: number; outcome: Outcome<Position | null> }
  | { k: "reply"; ticket: number; outcome: Outcome<Packed> }
  | { k: "ask"; question: number; name: string; payload: Packed }
  | { k: "switched"; ticket: number; outcome: Outcome<string> }
  | { k: "refreshed"; failure: Failure | undefined }
  | { k: "stats"; ticket: number; stats: unknown }
);

/** To all tabs. */
export type ToAll =
  /** Who leads is asked to say so. */
  | { k: "who" }
  | { k: "lead"; term: number; tab: string; status: RawStatus };
