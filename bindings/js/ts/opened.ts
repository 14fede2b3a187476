import { SharedCollection } from "./collection.js";
import * as check from "./check.js";
import { TidingsError } from "./error.js";
import { binary, failure, forget, receive, thrown } from "./messages.js";
import { Records } from "./records.js";
import { report } from "./report.js";
import type { Core } from "./core.js";
import type { Session } from "./session.js";
import { Store } from "./store.js";
import type { CollectionOptions, CollectionStatus, Conflict, Storage } from "./types.js";
import { WriteProgress } from "./write.js";

/** How many conflicts are kept for those who look at them. */
const CONFLICTS = 100;

const POLICIES = ["merge", "server-wins", "client-wins", "last-write-wins"] as const;

/** Makes a write in the module; `false` if there is nothing to write. */
type Make = (core: Core, write: number) => boolean;

/**
 * What a handle holds. It knows nothing of the handle: that could never be collected otherwise, as
 * this is kept until it is.
 */
class Hold {
  #release: (() => void) | undefined;

  constructor(release: () => void) {
    this.#release = release;
  }

  end(): void {
    forgotten.unregister(this);
    this.#release?.();
    this.#release = undefined;
  }
}

/** Handles that nobody has any more are closed. */
const forgotten = new FinalizationRegistry((hold: Hold) => hold.end());

/** A collection that is open, for all who have a handle to it. */
export class Opened<T extends object> {
  readonly records = new Records<T>();
  readonly status: Store<CollectionStatus>;
  readonly conflicts = new Store<readonly Conflict<T>[]>([]);
  /** Whether what the storage has is shown. */
  readonly isReady = new Store(false);
  readonly #session: Session;
  readonly #number: number;
  readonly #storage: Storage | undefined;
  readonly #ended: () => void;
  #unsubscribe: (() => void) | undefined;
  #core: Core | undefined;
  #handles = 0;
  /** Writes that wait until it is open. */
  #waiting: (() => void)[] = [];
  #error: TidingsError | undefined;

  constructor(
    session: Session,
    readonly name: string,
    options: CollectionOptions,
    ended: () => void,
  ) {
    const { policy, maxPending, maxPendingBytes, maxUndo, page, storage } = options;
    this.#storage = storage === undefined || storage === "memory" ? undefined : own(storage);
    const settings = JSON.stringify({
      policy: check.oneOf("policy", policy, POLICIES),
      maxPending: check.count("maxPending", maxPending, 1),
      maxPendingBytes: check.count("maxPendingBytes", maxPendingBytes, 1),
      maxUndo: check.count("maxUndo", maxUndo),
      page: check.count("page", page, 1),
      storage: this.#storage !== undefined,
    });
    this.#session = session;
    this.#ended = ended;
    this.status = new Store<CollectionStatus>({
      loaded: false,
      records: 0,
      pending: 0,
      closed: false,
    });
    this.#number = receive((what, value) => this.#hear(what, value));
    session.begin(
      this.#number,
      (core, number) => {
        this.#core = core;
        core.open_collection(session.number, number, name, settings);
      },
      (error) => this.#end(error as TidingsError),
    );
    this.#unsubscribe = session.status.subscribe(({ state }) => {
      if (state === "closed") this.#end(session.closedError());
    });
    // It may have been closed before.
    if (this.status.get().closed) this.#unsubscribe();
  }

  /** Another handle to it. */
  handle(): SharedCollection<T> {
    this.#handles += 1;
    const hold = new Hold(() => this.#release());
    const handle = new SharedCollection<T>(this, hold);
    forgotten.register(handle, hold, hold);
    return handle;
  }

  #release(): void {
    this.#handles -= 1;
    if (this.#handles === 0) this.#end(undefined);
  }

  #hear(what: string, value: any): void {
    switch (what) {
      case "opened":
        this.pull();
        this.isReady.set(true);
        this.#waiting.splice(0).forEach((write) => write());
        break;
      case "changed":
        this.pull();
        break;
      case "conflict":
        this.conflicts.set([...this.conflicts.get(), value].slice(-CONFLICTS));
        break;
      case "storage":
        void this.#keep(value);
        break;
      case "failed":
        this.#end(failure(value));
    }
  }

  /** Takes in what has changed in the module. */
  pull(): void {
    if (!this.#core) return;
    try {
      const { status, changes } = JSON.parse(this.#core.changes(this.#number));
      this.records.change(changes);
      const before = this.status.get();
      const after: CollectionStatus = { ...status, closed: before.closed };
      if (JSON.stringify(before) !== JSON.stringify(after)) this.status.set(after);
    } catch (error) {
      // A collection that is not open any more, or not yet, has nothing to tell.
      if ((thrown(error) as TidingsError).code !== "closed") report(error);
    }
  }

  /** Makes a write: at once if it is open, which throws what is wrong with it. */
  write(make: Make): WriteProgress | undefined {
    this.ensureOpen();
    const progress = new WriteProgress();
    if (this.isReady.get()) return this.#make(make, progress) ? progress : undefined;
    this.#waiting.push(() => {
      try {
        if (!this.#make(make, progress)) progress.skip();
      } catch (error) {
        const isAwaited = progress.isAwaited;
        progress.fail(error as TidingsError);
        if (!isAwaited) report(error);
      }
    });
    return progress;
  }

  #make(make: Make, progress: WriteProgress): boolean {
    const number = receive((what, value) => {
      if (what === "failed") progress.fail(failure(value));
      else progress.hear(what, value);
      if (what === "failed" || what === "done") forget(number);
    });
    let isMade = false;
    try {
      isMade = make(this.#core as Core, number);
    } catch (error) {
      throw thrown(error);
    } finally {
      if (!isMade) forget(number);
    }
    this.pull();
    return isMade;
  }

  get number(): number {
    return this.#number;
  }

  ensureOpen(): void {
    if (this.status.get().closed) throw this.whyClosed();
  }

  whyClosed(): TidingsError {
    return this.#error ?? new TidingsError("closed", `the collection ${this.name} is closed`);
  }

  #end(error: TidingsError | undefined): void {
    if (this.status.get().closed) return;
    this.pull();
    this.#error = error;
    this.#unsubscribe?.();
    this.#ended();
    this.#session.stop(this.#number);
    this.status.set({ ...this.status.get(), closed: true });
    const closed = this.whyClosed();
    // These fail, as they cannot be made any more.
    const waiting = this.#waiting.splice(0);
    if (waiting.length > 0 && !error) report(closed);
  }

  async #keep([question, what, name, place]: [number, string, string, number?]): Promise<void> {
    const [core, storage] = [this.#core, this.#storage];
    if (!core || !storage) return;
    const content = place === undefined ? undefined : binary(place);
    try {
      if (what === "read") {
        const kept = await storage.read(name);
        if (kept) core.answer_binary(question, kept);
        else core.answer(question, undefined);
      } else if (what === "setAside") {
        core.answer(question, JSON.stringify(await storage.setAside(name)));
      } else {
        await storage[what as "write" | "append"](name, content as Uint8Array);
        core.answer(question, undefined);
      }
    } catch (error) {
      core.answer_failed(question, error instanceof Error ? error.message : String(error), true);
    }
  }
}

function own(storage: Storage | "indexeddb"): Storage {
  if (typeof storage !== "object" || storage === null) {
    throw new TidingsError(
      "bad-argument",
      `storage should be "memory" or an object with read, write, append and setAside`,
    );
  }
  for (const method of ["read", "write", "append", "setAside"] as const) {
    check.callback(`storage.${method}`, storage[method]);
  }
  return storage;
}
