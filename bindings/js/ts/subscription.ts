import * as check from "./check.js";
import { asyncDispose } from "./dispose.js";
import { TidingsError } from "./error.js";
import { binary, failure, receive } from "./messages.js";
import { report } from "./report.js";
import type { Session } from "./session.js";
import { guarded, Store, until } from "./store.js";
import type {
  Abortable,
  Cursor,
  Missed,
  SubscribeOptions,
  Subscription,
  TidingsEvent,
} from "./types.js";

type Item = TidingsEvent<any>;
type Waiting = { resolve(result: IteratorResult<Item, undefined>): void; reject(error: unknown): void };

const END: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Those that are taken by `for await` and that nobody has any more end. */
const forgotten = new FinalizationRegistry((inside: Inside) => inside.end());

/** A subscription as the application has it. */
export class EventSubscription implements Subscription<Item> {
  readonly pattern: string;
  readonly #inside: Inside;

  constructor(
    session: Session,
    pattern: string,
    callback: ((event: Item) => void) | undefined,
    options: SubscribeOptions,
  ) {
    this.pattern = pattern;
    this.#inside = new Inside(session, pattern, callback, options);
    // With a callback it goes on without this.
    if (!callback) forgotten.register(this, this.#inside, this);
  }

  get closed(): boolean {
    return this.#inside.state.get() === "ended";
  }

  async ready(options: Abortable = {}): Promise<void> {
    check.signal(options.signal);
    const inside = this.#inside;
    const isLive = (state: State) => {
      if (state === "ended") throw inside.whyEnded();
      return state === "live";
    };
    await until(inside.state, isLive, options.signal);
  }

  async close(): Promise<void> {
    forgotten.unregister(this);
    this.#inside.end();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  [Symbol.asyncIterator](): AsyncIterator<Item, undefined> {
    const inside = this.#inside;
    if (!inside.queue) {
      throw new TidingsError("bad-argument", "a subscription with a callback has no `for await`");
    }
    return {
      next: () => inside.next(),
      // Leaving the loop ends the subscription.
      return: async () => {
        await this.close();
        return END;
      },
    };
  }
}

type State = "begun" | "live" | "ended";

/** What goes on without anybody having the subscription. */
class Inside {
  readonly state = new Store<State>("begun");
  readonly queue: Queue | undefined;
  readonly #session: Session;
  readonly #number: number;
  readonly #options: SubscribeOptions;
  readonly #callback: ((event: Item) => void) | undefined;
  readonly #abort = () => this.end(this.#options.signal?.reason);
  #error: unknown;

  constructor(
    session: Session,
    pattern: string,
    callback: ((event: Item) => void) | undefined,
    options: SubscribeOptions,
  ) {
    const { signal, onMissed, onError, since } = options;
    check.signal(signal);
    signal?.throwIfAborted();
    if (onMissed !== undefined) check.callback("onMissed", onMissed);
    if (onError !== undefined) check.callback("onError", onError);
    const capacity = check.count("maxEvents", options.maxEvents, 1) ?? 1024;
    const overflow = check.oneOf("overflow", options.overflow, ["drop-oldest", "pause"]);
    const from = since === undefined ? "" : cursor(since);
    this.#session = session;
    this.#callback = callback;
    this.#options = options;
    if (!callback) {
      const missed = (count: number) => this.#missed({ reason: "overflow", count });
      this.queue = new Queue(session, capacity, overflow === "pause", missed);
    }
    this.#number = receive((what, value) => this.#hear(what, value));
    session.begin(
      this.#number,
      (core, number) => core.subscribe(session.number, number, pattern, from),
      (error) => this.#failed(error),
    );
    signal?.addEventListener("abort", this.#abort);
  }

  #hear(what: string, value: any): void {
    switch (what) {
      case "json":
      case "binary": {
        const event = eventOf(value, what === "binary");
        if (this.#callback) guarded(this.#callback, event);
        else this.queue?.push(event);
        break;
      }
      case "gap":
        this.#missed(value);
        break;
      case "subscribed":
        this.state.set("live");
        break;
      case "failed":
        this.#failed(failure(value));
    }
  }

  #missed(missed: Missed): void {
    const { onMissed } = this.#options;
    if (onMissed) guarded(onMissed, missed);
    else console.warn("tidings: events are missing (option onMissed)", missed);
  }

  /** It has ended by itself. */
  #failed(error: unknown): void {
    if (this.state.get() === "ended") return;
    const { onError } = this.#options;
    // That the application has closed the client is no news to it.
    const isNews = !this.#session.closing;
    const isAwaited = this.state.listeners > 0 || this.queue !== undefined;
    this.end(error, isNews);
    if (!isNews) return;
    if (onError) guarded(onError, error as TidingsError);
    else if (!isAwaited) report(error);
  }

  /** Nothing comes any more; with an error that `for await` is to throw. */
  end(error?: unknown, throws = error !== undefined): void {
    if (this.state.get() === "ended") return;
    this.#error = error;
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#session.stop(this.#number);
    this.queue?.end(throws ? error : undefined);
    this.state.set("ended");
  }

  whyEnded(): unknown {
    return this.#error ?? new TidingsError("closed", "the subscription was closed");
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    return this.queue?.next() ?? Promise.resolve(END);
  }
}

/** Events that `for await` has not taken. */
class Queue {
  readonly #session: Session;
  readonly #capacity: number;
  readonly #pauses: boolean;
  readonly #onMissed: (count: number) => void;
  readonly #waiting: Waiting[] = [];
  #events: Item[] = [];
  #first = 0;
  #missed = 0;
  #pause: number | undefined;
  #ended = false;
  #error: unknown;

  constructor(
    session: Session,
    capacity: number,
    pauses: boolean,
    onMissed: (count: number) => void,
  ) {
    this.#session = session;
    this.#capacity = capacity;
    this.#pauses = pauses;
    this.#onMissed = onMissed;
  }

  get #length(): number {
    return this.#events.length - this.#first;
  }

  push(event: Item): void {
    const waiting = this.#waiting.shift();
    if (waiting) return waiting.resolve({ done: false, value: event });
    if (this.#length >= this.#capacity) {
      if (this.#pauses) this.#stopReading();
      else this.#drop();
    }
    this.#events.push(event);
  }

  #drop(): void {
    this.#shift();
    this.#missed += 1;
    if (this.#missed > 1) return;
    // Told once for all that come at once.
    queueMicrotask(() => {
      this.#onMissed(this.#missed);
      this.#missed = 0;
    });
  }

  #shift(): Item | undefined {
    const event = this.#events[this.#first];
    this.#first += 1;
    // What was taken goes when it is half of all: each event moves at most once.
    if (this.#first * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#first);
      this.#first = 0;
    }
    return event;
  }

  #stopReading(): void {
    if (this.#pause !== undefined) return;
    const session = this.#session;
    this.#pause = receive(() => undefined);
    session.begin(
      this.#pause,
      (core, number) => core.pause(session.number, number),
      () => undefined,
    );
  }

  #goOnReading(): void {
    if (this.#pause === undefined) return;
    this.#session.stop(this.#pause);
    this.#pause = undefined;
  }

  async next(): Promise<IteratorResult<Item, undefined>> {
    if (this.#length > 0) {
      const value = this.#shift() as Item;
      if (this.#length <= this.#capacity / 2) this.#goOnReading();
      return { done: false, value };
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      throw error;
    }
    if (this.#ended) return END;
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  end(error: unknown): void {
    this.#ended = true;
    this.#goOnReading();
    // What was received before can still be taken after an error, not after `close`.
    if (error === undefined) {
      this.#events = [];
      this.#first = 0;
    }
    const [first, ...others] = this.#waiting.splice(0);
    if (first && error !== undefined) first.reject(error);
    else {
      this.#error = error;
      first?.resolve(END);
    }
    others.forEach(({ resolve }) => resolve(END));
  }
}

const PRIORITIES = ["low", "normal", "high", "critical"] as const;

/** An event as the module tells it: its parts in this order, each in its place. */
function eventOf(
  [name, payload, id, priority, time, replayed, lane, offset, headers]: any[],
  isBinary: boolean,
): Item {
  const event: Item = {
    name,
    payload: isBinary ? binary(payload) : payload,
    id,
    priority: PRIORITIES[priority]!,
    time,
    headers: headers ?? {},
    replayed: replayed === 1,
  };
  // Volatile events have no place.
  if (lane >= 0) event.position = { lane, offset };
  return event;
}

function cursor(since: Cursor): string {
  check.options("since", since);
  const lanes = Object.entries(since).map(([lane, [epoch, offset]]) => [Number(lane), epoch, offset]);
  lanes.flat().forEach((number) => check.count("since", number));
  return JSON.stringify(lanes.flat());
}
