import type { TidingsError } from "./error.js";
import type { Acknowledged, Write } from "./types.js";

/** A point that a write comes to, or not. A promise is made of it when somebody asks for one. */
class Stage<V> {
  #outcome: { value: V } | { error: unknown } | undefined;
  #promise: Promise<V> | undefined;
  #settle: (() => void) | undefined;

  get promise(): Promise<V> {
    this.#promise ??= new Promise((resolve, reject) => {
      this.#settle = () => {
        if (!this.#outcome) return;
        if ("value" in this.#outcome) resolve(this.#outcome.value);
        else reject(this.#outcome.error);
      };
      this.#settle();
    });
    return this.#promise;
  }

  /** Whether somebody has asked for it. */
  get isAwaited(): boolean {
    return this.#promise !== undefined;
  }

  reach(value: V): void {
    this.#outcome ??= { value };
    this.#settle?.();
  }

  fail(error: unknown): void {
    this.#outcome ??= { error };
    this.#settle?.();
  }
}

/** How far a write has come, as it is told. */
export class WriteProgress implements Write {
  readonly #stored = new Stage<void>();
  readonly #acknowledged = new Stage<Acknowledged>();
  readonly #seen = new Stage<void>();

  get stored(): Promise<void> {
    return this.#stored.promise;
  }

  get acknowledged(): Promise<Acknowledged> {
    return this.#acknowledged.promise;
  }

  get seen(): Promise<void> {
    return this.#seen.promise;
  }

  get isAwaited(): boolean {
    return [this.#stored, this.#acknowledged, this.#seen].some((stage) => stage.isAwaited);
  }

  hear(what: string, value: any): void {
    if (what === "stored") this.#stored.reach();
    else if (what === "acknowledged") this.#acknowledged.reach(value);
    else if (what === "seen") this.#seen.reach();
  }

  /** One that would change nothing. */
  static skipped(): WriteProgress {
    const progress = new WriteProgress();
    progress.skip();
    return progress;
  }

  /** It would have changed nothing. */
  skip(): void {
    this.#stored.reach();
    this.#acknowledged.reach({ conflicts: [] });
    this.#seen.reach();
  }

  fail(error: TidingsError): void {
    this.#stored.fail(error);
    this.#acknowledged.fail(error);
    this.#seen.fail(error);
  }
}
