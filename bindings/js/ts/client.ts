import * as check from "./check.js";
import { asyncDispose } from "./dispose.js";
import { binary, forget, receive } from "./messages.js";
import { Session } from "./session.js";
import { until } from "./store.js";
import { EventSubscription } from "./subscription.js";
import { TidingsError } from "./error.js";
import type {
  Abortable,
  Closable,
  ConnectOptions,
  Position,
  PublishOptions,
  Readable,
  RequestOptions,
  ServerRequest,
  Stats,
  Status,
  SubscribeOptions,
  Subscription,
  TidingsEvent,
  Transport,
} from "./types.js";

/** How long `close` waits for what is queued. */
const CLOSE_TIMEOUT = 10_000;

const PRIORITIES = ["low", "normal", "high", "critical"] as const;
const TRANSPORTS = ["ws", "socketio"] as const;

/** Whether the module below has MessagePack: `build` puts it in. */
declare const MSGPACK: boolean;

/** Clients that nobody has any more are closed, unless a subscription needs them. */
const forgotten = new FinalizationRegistry((session: Session) => session.release());

/** Begins a client of the server at `url`: `make` makes what the application has of it. */
export function begin<C extends EventClient>(
  url: string | URL,
  options: ConnectOptions,
  make: new (session: Session, options: ConnectOptions) => C,
): C {
  check.options("options", options);
  check.signal(options.signal);
  options.signal?.throwIfAborted();
  const session = new Session(check.serverUrl(url), settings(options), options);
  const client = new make(session, options);
  const { signal } = options;
  if (signal) {
    const abort = () => void client.close();
    signal.addEventListener("abort", abort);
    session.status.subscribe(({ state }) => {
      if (state === "closed") signal.removeEventListener("abort", abort);
    });
  }
  return client;
}

function settings(options: ConnectOptions): string {
  const { auth, reconnect = {}, queue = {}, socketioTransports: carriers } = options;
  if (auth !== undefined && typeof auth !== "string") check.callback("auth", auth);
  if (options.namespace !== undefined) check.text("namespace", options.namespace);
  if (options.format === "msgpack" && !MSGPACK) {
    throw new TidingsError("bad-argument", '`format: "msgpack"` needs "@tidings/client/msgpack"');
  }
  carriers?.forEach((carrier) =>
    check.oneOf("socketioTransports", carrier, ["websocket", "polling"]),
  );
  const { tabs } = options;
  if (typeof tabs === "object" && tabs.name !== undefined) check.text("tabs.name", tabs.name);
  const minDelay = check.time("reconnect.minDelay", reconnect.minDelay) ?? 200;
  return JSON.stringify({
    transport: check.oneOf("transport", options.transport, [...TRANSPORTS, "auto"]),
    format: check.oneOf("format", options.format, ["json", "msgpack"]),
    namespace: options.namespace,
    carriers: carriers?.length ? carriers : undefined,
    auth: auth !== undefined,
    minDelay,
    maxDelay: check.time("reconnect.maxDelay", reconnect.maxDelay) ?? Math.max(minDelay, 5_000),
    connectTimeout: check.time("connectTimeout", options.connectTimeout),
    publishTimeout: check.time("publishTimeout", options.publishTimeout),
    requestTimeout: check.time("requestTimeout", options.requestTimeout),
    maxEvents: check.count("queue.maxEvents", queue.maxEvents, 1),
    maxBytes: check.count("queue.maxBytes", queue.maxBytes, 1),
    maxAge: check.time("queue.maxAge", queue.maxAge),
    batchDelay: check.time("batchDelay", options.batchDelay),
    maxMessage: check.count("maxMessage", options.maxMessage, 1),
  });
}

/** A client: events and requests. */
export class EventClient {
  readonly #session: Session;
  readonly #options: ConnectOptions;
  readonly #handlers = new Map<string, number>();
  #closed: Promise<void> | undefined;

  constructor(session: Session, options: ConnectOptions) {
    this.#session = session;
    this.#options = options;
    forgotten.register(this, session, this);
  }

  get url(): string {
    return this.#session.url;
  }

  get status(): Readable<Status> {
    return this.#session.status;
  }

  async ready(options: Abortable = {}): Promise<void> {
    check.signal(options.signal);
    const isConnected = ({ state }: Status) => {
      if (state === "closed") throw this.#session.closedError();
      return state === "connected";
    };
    await until(this.#session.status, isConnected, options.signal);
  }

  subscribe(
    pattern: string,
    first?: ((event: TidingsEvent<any>) => void) | SubscribeOptions,
    second?: SubscribeOptions,
  ): Subscription<TidingsEvent<any>> {
    check.text("the pattern", pattern);
    const callback = typeof first === "function" ? first : undefined;
    const options = (callback ? second : (first ?? second)) ?? {};
    check.options("options", options);
    return new EventSubscription(this.#session, pattern, callback, {
      ...this.#options.buffer,
      ...options,
    });
  }

  async publish(name: string, payload: unknown, options: PublishOptions = {}): Promise<any> {
    check.text("the name", name);
    const chosen = publishOptions(options);
    const bytes = check.bytes(payload);
    const json = bytes ? "" : check.json("the payload", payload);
    return this.#session.ask<Position | undefined>(
      options.signal,
      (core, number) =>
        bytes
          ? core.publish_binary(this.#session.number, number, name, bytes, chosen)
          : core.publish(this.#session.number, number, name, json, chosen),
      (position) => position ?? undefined,
    );
  }

  async request(name: string, payload: unknown = null, options: RequestOptions = {}): Promise<any> {
    check.text("the name", name);
    check.options("options", options);
    check.signal(options.signal);
    const timeout = check.time("timeout", options.timeout) ?? 0;
    const bytes = check.bytes(payload);
    const json = bytes ? "" : check.json("the payload", payload);
    return this.#session.ask(
      options.signal,
      (core, number) =>
        bytes
          ? core.request_binary(this.#session.number, number, name, bytes, timeout)
          : core.request(this.#session.number, number, name, json, timeout),
      (value, what) => (what === "binary" ? binary(value) : value),
    );
  }

  handle(
    name: string,
    handler: (payload: any, request: ServerRequest<any>) => unknown,
    options: Abortable = {},
  ): Closable {
    check.text("the name", name);
    check.callback("the handler", handler);
    check.signal(options.signal);
    options.signal?.throwIfAborted();
    const session = this.#session;
    const number = receive((what, [question, name, isBinary, value]) => {
      if (what !== "request") return;
      const payload = isBinary ? binary(value) : value;
      this.#answer(question, async () => handler(payload, { name, payload }));
    });
    const before = this.#handlers.get(name);
    if (before !== undefined) forget(before);
    this.#handlers.set(name, number);
    session.begin(number, (core) => core.handle(session.number, number, name), () => undefined);
    const close = async () => {
      options.signal?.removeEventListener("abort", close);
      forget(number);
      // Another one may have taken its place.
      if (this.#handlers.get(name) !== number) return;
      this.#handlers.delete(name);
      session.begin(number, (core) => core.unhandle(session.number, name), () => undefined);
    };
    options.signal?.addEventListener("abort", close);
    return { close, [asyncDispose]: close } as unknown as Closable;
  }

  async #answer(question: number, ask: () => Promise<unknown>): Promise<void> {
    let answer: (core: import("./core.js").Core) => void;
    try {
      const value = await ask();
      const bytes = check.bytes(value);
      const json = bytes || value === undefined ? undefined : check.json("the answer", value);
      answer = (core) =>
        bytes ? core.answer_binary(question, bytes) : core.answer(question, json);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      answer = (core) => core.answer_failed(question, message, false);
    }
    this.#session.begin(0, answer, () => undefined);
  }

  async stats(): Promise<Stats> {
    const session = this.#session;
    const { roundTrips, ...counted } =
      // In a tab that shares a connection, what that one counts.
      (await session.shared?.stats()) ??
      (await session.ask(
        undefined,
        (core, number) => core.stats(session.number, number),
        (stats) => stats,
      ));
    const { count, p50, p99, max } = roundTrips;
    const micros = { p50: p50 / 1000, p99: p99 / 1000, max: max / 1000 };
    return { ...counted, roundTrips: { count, ...micros } };
  }

  async switchTransport(transport: Transport, options: Abortable = {}): Promise<Transport> {
    check.oneOf("the transport", transport ?? null, TRANSPORTS);
    check.signal(options.signal);
    return this.#session.ask(
      options.signal,
      (core, number) => core.switch_transport(this.#session.number, number, transport),
      (used) => used,
    );
  }

  async refreshToken(): Promise<void> {
    if (this.#options.auth === undefined) {
      throw new TidingsError("bad-argument", "there is no token: give `connect` the option `auth`");
    }
    await this.#session.ask(
      undefined,
      (core, number) => core.refresh_token(this.#session.number, number),
      () => undefined,
    );
  }

  close(options: { timeout?: number } = {}): Promise<void> {
    const session = this.#session;
    const timeout = check.time("timeout", options.timeout) ?? CLOSE_TIMEOUT;
    session.closing = true;
    this.#closed ??= session
      .ask(
        undefined,
        (core, number) => core.close(session.number, number, timeout),
        () => undefined,
      )
      // A module that could not be loaded has nothing to close.
      .catch(() => undefined)
      .then(() => {
        forgotten.unregister(this);
        session.release();
        for (const number of this.#handlers.values()) forget(number);
      });
    return this.#closed;
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}

function publishOptions(options: PublishOptions): string {
  check.options("options", options);
  check.signal(options.signal);
  const { priority, headers, volatile, timeout } = options;
  if (priority === undefined && !headers && !volatile && timeout === undefined) return "";
  for (const [key, value] of Object.entries(headers ?? {})) check.header(key, value);
  return JSON.stringify({
    priority: check.oneOf("priority", priority, PRIORITIES),
    headers,
    volatile: volatile ? true : undefined,
    timeout: check.time("timeout", timeout),
  });
}
