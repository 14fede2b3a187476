/** The connection that tabs share, as the module has it: a client in the tab that leads. */
import type { Core } from "../core.js";
import { binary, forget, receive } from "../inside.js";
import type {
  Failure,
  FlatCursor,
  Outcome,
  Packed,
  Position,
  PublishSettings,
  RawStatus,
  Sink,
  Upstream,
} from "./messages.js";

export interface ConnectionOptions {
  url: string;
  settings: string;
  /** The module asks for a token by this question. */
  token(question: number): void;
  status(status: RawStatus): void;
}

export class Connection implements Upstream {
  readonly #core: Core;
  readonly #number: number;

  /** Throws what the module throws if an option is not what it should be. */
  constructor(core: Core, { url, settings, token, status }: ConnectionOptions) {
    this.#core = core;
    this.#number = receive((what, value) => {
      if (what === "token") token(value[0]);
      else if (what === "status") status(value);
    });
    core.connect(this.#number, url, settings);
  }

  publish(
    name: string,
    payload: Packed,
    options: PublishSettings & { as?: [string, number] },
  ): Promise<Outcome<Position | null>> {
    const chosen = JSON.stringify(options);
    return this.#ask(
      (number) =>
        typeof payload === "string"
          ? this.#core.publish(this.#number, number, name, payload, chosen)
          : this.#core.publish_binary(this.#number, number, name, payload, chosen),
      (position: Position | null) => position,
    ).outcome;
  }

  subscribe(pattern: string, since: FlatCursor | undefined, sink: Sink) {
    const core = this.#core;
    const number = receive((what, value) => {
      switch (what) {
        case "subscribed":
          return sink.subscribed();
        case "event": {
          const [lane, offset, text, place] = value;
          const position = lane < 0 ? undefined : { lane, offset };
          return sink.event(position, text, place === undefined ? undefined : binary(place));
        }
        case "gap":
          return sink.gap(value);
        case "cursor":
          return sink.cursor(value);
        case "failed":
          forget(number);
          return sink.ended(value);
      }
    });
    attempt(
      () => core.subscribe_for(this.#number, number, pattern, since ? JSON.stringify(since) : ""),
      (failure) => queueMicrotask(() => sink.ended(failure)),
    );
    return {
      tell: () => core.tell_cursor(number),
      close: () => {
        forget(number);
        core.stop(number);
      },
    };
  }

  request(name: string, payload: Packed, timeout: number | undefined) {
    const [json, bytes] = typeof payload === "string" ? [payload, undefined] : ["", payload];
    const { outcome, number } = this.#ask(
      (number) => this.#core.request_for(this.#number, number, name, json, bytes, timeout ?? 0),
      (reply: string | number) => (typeof reply === "number" ? binary(reply) : reply),
    );
    const cancel = () => {
      forget(number);
      this.#core.stop(number);
    };
    return { reply: outcome, cancel };
  }

  handle(name: string, answer: (payload: Packed) => Promise<Outcome<Packed>>) {
    const core = this.#core;
    const number = receive(async (what, [question, , isBinary, value]) => {
      if (what !== "request") return;
      const outcome = await answer(isBinary ? binary(value) : JSON.stringify(value));
      if ("failure" in outcome) {
        const { message, retryable } = outcome.failure;
        core.answer_failed(question, message, retryable);
      } else if (typeof outcome.value === "string") core.answer(question, outcome.value);
      else core.answer_binary(question, outcome.value);
    });
    attempt(() => core.handle(this.#number, number, name), () => {});
    return {
      close: () => {
        forget(number);
        core.unhandle(this.#number, name);
      },
    };
  }

  switchTransport(transport: string): Promise<Outcome<string>> {
    return this.#ask(
      (number) => this.#core.switch_transport(this.#number, number, transport),
      (used: string) => used,
    ).outcome;
  }

  refreshToken(): Promise<Outcome<null>> {
    return this.#ask((number) => this.#core.refresh_token(this.#number, number), () => null).outcome;
  }

  async stats(): Promise<unknown> {
    const { outcome } = this.#ask(
      (number) => this.#core.stats(this.#number, number),
      (stats: unknown) => stats,
    );
    const stats = await outcome;
    return "value" in stats ? stats.value : undefined;
  }

  async close(timeout: number): Promise<void> {
    await this.#ask((number) => this.#core.close(this.#number, number, timeout), () => null).outcome;
    forget(this.#number);
    this.#core.forget(this.#number);
  }

  /** Begins something, and waits for what becomes of it. */
  #ask<T>(begin: (number: number) => void, read: (value: any) => T) {
    let settle: (outcome: Outcome<T>) => void = () => {};
    const outcome = new Promise<Outcome<T>>((resolve) => (settle = resolve));
    const number = receive((what, value) => {
      forget(number);
      settle(what === "failed" ? { failure: value } : { value: read(value) });
    });
    attempt(
      () => begin(number),
      (failure) => {
        forget(number);
        settle({ failure });
      },
    );
    return { outcome, number };
  }
}

/** Does something in the module, which throws failures as texts. */
function attempt(act: () => void, failed: (failure: Failure) => void): void {
  try {
    act();
  } catch (error) {
    failed(
      typeof error === "string"
        ? (JSON.parse(error) as Failure)
        : { code: "internal", message: String(error), retryable: false },
    );
  }
}
