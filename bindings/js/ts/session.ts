/** A client as the module knows it: what `Client` and its subscriptions have in common. */
import { TidingsError } from "./error.js";
import type { Core } from "./core.js";
import { early } from "./early.js";
import { later } from "./later.js";
import { binary, failure, forget, loaded, receive, thrown } from "./messages.js";
import { Store } from "./store.js";
import type { Shared } from "./tabs/share.js";
import type * as Share from "./tabs/share.js";
import type { ConnectOptions, Status, Token, TokenProvider } from "./types.js";

/** What is begun in the module, with a number that was given to it. */
export type Begin = (core: Core, number: number) => void;

/** A part of a session that ends with it. */
export interface Part {
  fail(error: TidingsError): void;
}

export class Session {
  readonly number: number;
  readonly status: Store<Status>;
  /** Whether the application has closed it. */
  closing = false;
  /** What this tab has of a connection that tabs share. */
  shared: Shared | undefined;
  #tabProblem: string | undefined;
  readonly #loading: Promise<Core>;
  readonly #auth: Token | TokenProvider | undefined;
  #core: Core | undefined;

  constructor(
    readonly url: string,
    settings: string,
    options: ConnectOptions,
  ) {
    this.#auth = options.auth;
    this.status = new Store<Status>({
      state: "connecting",
      code: 0,
      reason: "connecting",
      retryable: true,
    });
    this.number = receive((what, value) => this.#hear(what, value));
    const { tabs } = options;
    const opened = early(url, options);
    const sharing = tabs ? later("tabs/share.js", import("./tabs/share.js")) : undefined;
    this.#loading = Promise.all([loaded(options.wasm), sharing]).then(([core, share]) => {
      if (share) this.#join(share, core, settings, typeof tabs === "object" ? tabs.name : undefined);
      else core.connect(this.number, url, settings, opened);
      this.#core = core;
      return core;
    });
    this.#loading.catch((error: unknown) => {
      opened?.close();
      const { message, retryable } = thrown(error) as TidingsError;
      this.#hear("status", { state: "closed", code: 0, reason: message, retryable });
    });
  }

  /** Has the connection that the tabs share, if this browser can share one. */
  #join(share: typeof Share, core: Core, settings: string, name = ""): void {
    this.#tabProblem = share.unavailable();
    if (this.#tabProblem !== undefined) return core.connect(this.number, this.url, settings);
    const token = (question: number) => void this.#giveToken(question);
    const role = (tab: "leader" | "member") => this.status.set({ ...this.status.get(), tab });
    const sharing = { url: this.url, name, settings, token, role };
    this.shared = share.share(core, this.number, sharing, { binary, forget, receive });
  }

  #hear(what: string, value: any): void {
    if (what === "token") void this.#giveToken(value[0]);
    if (what === "command") this.shared?.command(value);
    if (what !== "status") return;
    const { nextAttempt, ...status } = value;
    if (nextAttempt !== undefined) status.nextAttempt = Date.now() + nextAttempt;
    if (this.shared) status.tab = this.shared.role;
    if (this.#tabProblem) Object.assign(status, { tab: "alone", tabProblem: this.#tabProblem });
    this.status.set(status);
    if (status.state === "closed") forget(this.number);
  }

  async #giveToken(question: number): Promise<void> {
    const core = this.#core;
    if (!core) return;
    try {
      const token = typeof this.#auth === "function" ? await this.#auth() : this.#auth;
      if (typeof token !== "string") {
        throw new TidingsError("bad-argument", "`auth` should give a text");
      }
      core.answer(question, JSON.stringify(token));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const retryable = !(error instanceof TidingsError) || error.retryable;
      core.answer_failed(question, message, retryable);
    }
  }

  /** Begins something as soon as the module is there; what goes wrong then is given to `fail`. */
  begin(number: number, begin: Begin, fail: (error: unknown) => void): void {
    const now = (core: Core) => {
      try {
        begin(core, number);
      } catch (error) {
        fail(thrown(error));
      }
    };
    if (this.#core) now(this.#core);
    else this.#loading.then(now, (error: unknown) => fail(thrown(error)));
  }

  /** Ends something, if it has begun. */
  stop(number: number): void {
    forget(number);
    if (this.#core) this.#core.stop(number);
    else this.#loading.then((core) => core.stop(number), () => undefined);
  }

  /**
   * Begins something and waits for what becomes of it: `failed`, or anything else, of which `read`
   * makes the result. Aborting ends it.
   */
  ask<T>(
    signal: AbortSignal | undefined,
    begin: Begin,
    read: (value: any, what: string) => T,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const end = () => {
        forget(number);
        signal?.removeEventListener("abort", abort);
      };
      const abort = () => {
        end();
        this.stop(number);
        reject(signal?.reason);
      };
      const number = receive((what, value) => {
        end();
        if (what === "failed") reject(failure(value));
        else resolve(read(value, what));
      });
      signal?.addEventListener("abort", abort);
      this.begin(number, begin, (error) => {
        end();
        reject(error);
      });
    });
  }

  /** Why nothing can be done any more. */
  closedError(): TidingsError {
    const { reason, code } = this.status.get();
    return new TidingsError("closed", `the client is closed: ${reason}`, { refusal: code });
  }

  /** Drops the module's handle: it closes the client when nothing else needs it. */
  release(): void {
    this.#loading.then((core) => core.forget(this.number), () => undefined);
  }
}
