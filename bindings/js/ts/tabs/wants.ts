/**
 * What a tab's client wants of whoever leads, and has not got: all of it is told to the next one.
 *
 * What makes that safe is that nothing has to be handed over. A tab numbers its own publishes, and
 * sends those that are not acknowledged again under the same numbers: the server knows them by these
 * (`as` in docs/protocol.md). And it knows how far each of its subscriptions has come: the next
 * leader's begin there.
 */
import type {
  Carried,
  Command,
  Failure,
  FlatCursor,
  Outcome,
  Packed,
  Position,
  PublishSettings,
  ToLeader,
  ToTab,
} from "./messages.js";

export interface WantsOptions {
  carried: Carried;
  /** What may wait to be acknowledged, for each priority. */
  maxEvents: number;
  maxBytes: number;
  /** How long after it was handed over a publish is given up, unless it says. */
  publishTimeout: number;
}

interface Publish {
  ticket: number;
  name: string;
  payload: Packed;
  options: PublishSettings;
  since: number;
}

interface Subscription {
  pattern: string;
  since: FlatCursor | undefined;
  /** Whether the client knows that the server has it. */
  live: boolean;
  /** How far it has come: epoch and offset by lane. */
  cursor: Map<number, [epoch: number, offset: number]>;
}

interface Request {
  name: string;
  payload: Packed;
  timeout: number | undefined;
  since: number;
  /** Whether a leader has it: it is not sent twice. */
  sent: boolean;
}

/** A message to the leader before it is said from whom it is. */
export type Unsent<T = ToLeader> = T extends unknown ? Omit<T, "term" | "tab" | "joined"> : never;

export class Wants {
  readonly #options: WantsOptions;
  /** Tells the leader, and whether there is one. */
  readonly #send: (message: Unsent) => boolean;
  readonly #publishes = new Map<number, Publish>();
  readonly #held = new Map<string, { events: number; bytes: number }>();
  readonly #subscriptions = new Map<number, Subscription>();
  readonly #requests = new Map<number, Request>();
  readonly #handles = new Set<string>();
  readonly #switches = new Map<number, string>();
  readonly #stats = new Map<number, (stats: unknown) => void>();
  #refreshing = false;
  #lastNumber = 0;
  #lastStats = 0;
  #drained: (() => void) | undefined;

  constructor(options: WantsOptions, send: (message: Unsent) => boolean) {
    this.#options = options;
    this.#send = send;
  }

  /** What the connection has counted. */
  stats(): Promise<unknown> {
    const ticket = ++this.#lastStats;
    return new Promise((resolve) => {
      this.#stats.set(ticket, resolve);
      this.#send({ k: "stats", ticket });
    });
  }

  /** Waits until no publish is under way any more, but not for longer than this. */
  async drained(timeout: number): Promise<void> {
    if (this.#publishes.size === 0) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
      timer = setTimeout(resolve, timeout);
    });
    clearTimeout(timer);
  }

  /** Nobody leads this tab any more. */
  end(): void {
    for (const resolve of this.#stats.values()) resolve(undefined);
    this.#stats.clear();
  }

  /** Does what the client wants. `connected` is whether there is a connection. */
  command(command: Exclude<Command, { do: "close" }>, connected: boolean): void {
    switch (command.do) {
      case "publish":
        return this.#publish(command, connected);
      case "subscribe": {
        const { id, pattern, since } = command;
        this.#subscriptions.set(id, { pattern, since, live: false, cursor: new Map() });
        this.#send({ k: "subscribe", id, pattern, since });
        return;
      }
      case "unsubscribe":
        if (this.#subscriptions.delete(command.id)) this.#send({ k: "unsubscribe", id: command.id });
        return;
      case "request": {
        const { ticket, name, payload, timeout } = command;
        const request = { name, payload, timeout, since: Date.now(), sent: false };
        this.#requests.set(ticket, request);
        return this.#ask(ticket, request);
      }
      case "cancel":
        if (this.#requests.delete(command.ticket)) this.#send({ k: "cancel", ticket: command.ticket });
        return;
      case "handles":
        if (command.whether) this.#handles.add(command.name);
        else this.#handles.delete(command.name);
        this.#send({ k: "handles", name: command.name, whether: command.whether });
        return;
      case "respond":
        this.#send({ k: "answer", question: command.question, outcome: command.outcome });
        return;
      case "switch":
        this.#switches.set(command.ticket, command.transport);
        this.#send({ k: "switch", ticket: command.ticket, transport: command.transport });
        return;
      case "refresh":
        this.#refreshing = true;
        this.#send({ k: "refresh" });
        return;
    }
  }

  /** There is a new leader: it is told all that is to go on. */
  resume(): void {
    for (const name of this.#handles) this.#send({ k: "handles", name, whether: true });
    for (const [id, subscription] of this.#subscriptions) {
      const { pattern } = subscription;
      this.#send({ k: "subscribe", id, pattern, since: resumeFrom(subscription) });
    }
    for (const [n, publish] of this.#publishes) this.#publishAgain(n, publish);
    for (const [ticket, request] of this.#requests) {
      if (!request.sent) {
        this.#ask(ticket, request);
        continue;
      }
      this.#requests.delete(ticket);
      const message = "the tab with the connection was closed before the reply came";
      const failure = { code: "disconnected", message, retryable: true };
      this.#options.carried.reply(ticket, { failure });
    }
    for (const [ticket, transport] of this.#switches) {
      this.#send({ k: "switch", ticket, transport });
    }
    for (const ticket of this.#stats.keys()) this.#send({ k: "stats", ticket });
    if (this.#refreshing) this.#send({ k: "refresh" });
  }

  #publish({ ticket, name, payload, options }: Command & { do: "publish" }, connected: boolean): void {
    const priority = options.priority ?? "normal";
    const held = this.#held.get(priority) ?? { events: 0, bytes: 0 };
    const bytes = name.length + payload.length;
    const { maxEvents, maxBytes } = this.#options;
    if (options.volatile && !connected) {
      const failure = { code: "not-connected", message: "there is no connection", retryable: true };
      return this.#options.carried.published(ticket, { failure });
    }
    if (held.events >= maxEvents || (held.events > 0 && held.bytes + bytes > maxBytes)) {
      const message = `${held.events} events of priority ${priority}, ${held.bytes} bytes, wait already`;
      const count = held.events;
      const failure: Failure = { code: "queue-full", message, retryable: true, count };
      return this.#options.carried.published(ticket, { failure });
    }
    this.#held.set(priority, { events: held.events + 1, bytes: held.bytes + bytes });
    const n = ++this.#lastNumber;
    this.#publishes.set(n, { ticket, name, payload, options, since: Date.now() });
    this.#send({ k: "publish", n, name, payload, options });
  }

  #ask(ticket: number, request: Request): void {
    const { name, payload, timeout } = request;
    request.sent = this.#send({ k: "request", ticket, name, payload, timeout });
  }

  #publishAgain(n: number, { name, payload, options, since }: Publish): void {
    const allowed = options.timeout ?? this.#options.publishTimeout;
    const timeout = Math.max(1, allowed - (Date.now() - since));
    this.#send({ k: "publish", n, name, payload, options: { ...options, timeout } });
  }

  /** Takes what the leader says. */
  receive(message: ToTab): void {
    const { carried } = this.#options;
    switch (message.k) {
      case "subscribed": {
        const subscription = this.#subscriptions.get(message.id);
        if (!subscription || subscription.live) return;
        subscription.live = true;
        return carried.subscribed(message.id);
      }
      case "event":
        if (this.#isNew(message.id, message.at)) {
          carried.event(message.id, message.text, message.bytes);
        }
        return;
      case "gap": {
        const { lane, to, epoch } = message.gap;
        const subscription = this.#subscriptions.get(message.id);
        subscription?.cursor.set(lane, [epoch, to]);
        if (subscription) carried.gap(message.id, message.gap);
        return;
      }
      case "ended":
        if (this.#subscriptions.delete(message.id)) carried.ended(message.id, message.failure);
        return;
      case "cursor":
        return this.#progress(message.id, message.cursor);
      case "published":
        return this.#published(message.n, message.outcome);
      case "reply": {
        const request = this.#requests.get(message.ticket);
        this.#requests.delete(message.ticket);
        if (request) carried.reply(message.ticket, waited(message.outcome, request.since));
        return;
      }
      case "ask":
        return carried.request(message.question, message.name, message.payload);
      case "switched":
        if (this.#switches.delete(message.ticket)) {
          carried.switched(message.ticket, message.outcome);
        }
        return;
      case "refreshed":
        if (this.#refreshing) carried.refreshed(message.failure);
        this.#refreshing = false;
        return;
      case "stats":
        this.#stats.get(message.ticket)?.(message.stats);
        this.#stats.delete(message.ticket);
        return;
    }
  }

  /** Whether the subscription has not had what is at this position; it has now. */
  #isNew(id: number, at: Position | undefined): boolean {
    const subscription = this.#subscriptions.get(id);
    if (!subscription || !at) return subscription !== undefined;
    const reached = subscription.cursor.get(at.lane);
    if (reached && reached[1] >= at.offset) return false;
    subscription.cursor.set(at.lane, [reached?.[0] ?? 0, at.offset]);
    return true;
  }

  /** All events up to there were sent to this tab, and have come. */
  #progress(id: number, cursor: FlatCursor): void {
    const subscription = this.#subscriptions.get(id);
    for (const [lane, epoch, offset] of triples(cursor)) {
      const reached = subscription?.cursor.get(lane);
      subscription?.cursor.set(lane, [epoch, Math.max(offset, reached?.[1] ?? 0)]);
    }
  }

  #published(n: number, outcome: Outcome<Position | null>): void {
    const publish = this.#publishes.get(n);
    if (!publish) return;
    this.#publishes.delete(n);
    const held = this.#held.get(publish.options.priority ?? "normal");
    if (held) {
      held.events -= 1;
      held.bytes -= publish.name.length + publish.payload.length;
    }
    this.#options.carried.published(publish.ticket, waited(outcome, publish.since));
    if (this.#publishes.size === 0) this.#drained?.();
  }
}

/** A time-out says for how long it was waited. */
function waited<T>(outcome: Outcome<T>, since: number): Outcome<T> {
  if (!("failure" in outcome)) return outcome;
  return { failure: { ...outcome.failure, after: Date.now() - since } };
}

function resumeFrom({ since, live, cursor }: Subscription): FlatCursor | undefined {
  if (!live) return since;
  return [...cursor].flatMap(([lane, [epoch, offset]]) => [lane, epoch, offset]);
}

function* triples(flat: FlatCursor): Generator<[number, number, number]> {
  for (let at = 0; at + 2 < flat.length; at += 3) {
    yield [flat[at]!, flat[at + 1]!, flat[at + 2]!];
  }
}
