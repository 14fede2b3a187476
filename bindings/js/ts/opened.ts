import { SharedCollection } from "./collection.js";
import * as check from "./check.js";
import { TidingsError } from "./error.js";
import { binary, failure, forget, receive, thrown } from "./messages.js";
import type { Keeping } from "./keeping.js";
import { later } from "./later.js";
import { Records } from "./records.js";
import { report } from "./report.js";
import type { Core } from "./core.js";
import type { Session } from "./session.js";
import { answerStorage } from "./storage.js";
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
  /** The storage, if it is the browser's. */
  #keeping: Promise<Keeping> | undefined;
  #settings = "";
  readonly #ended: () => void;
  #unsubscribe: (() => void) | undefined;
  #core: Core | undefined;
  #handles = 0;
  /** Handles by which somebody listens: they are not collected meanwhile. */
  readonly #heard = new Set<{ by: SharedCollection<T> }>();
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
    this.#storage =
      storage === undefined || storage === "memory"
        ? undefined
        : storage === "indexeddb"
          ? this.#inBrowser()
          : own(storage);
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
        this.#settings = settings;
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

  /** The browser's storage, loaded when it is wanted. */
  #inBrowser(): Storage {
    const load = async () => {
      const { Keeping } = await later("keeping.js", import("./keeping.js"));
      return new Keeping({
        name: this.name,
        client: this.#session.number,
        settings: this.#settings,
        core: this.#core as Core,
        messages: { binary, forget, receive },
        unkept: (unkept) => this.status.set({ ...this.status.get(), unkept }),
      });
    };
    const keeping = () => {
      if (!this.#keeping) {
        this.#keeping = load();
        // The next one tries again.
        this.#keeping.catch(() => (this.#keeping = undefined));
      }
      return this.#keeping;
    };
    return {
      read: async (name) => (await keeping()).read(name),
      write: async (name, content) => (await keeping()).write(name, content),
      append: async (name, content) => (await keeping()).append(name, content),
      setAside: async (name) => (await keeping()).setAside(name),
    };
  }

  /** Another handle to it. */
  handle(): SharedCollection<T> {
    this.#handles += 1;
    const hold = new Hold(() => this.#release());
    const handle = new SharedCollection<T>(this, hold);
    forgotten.register(handle, hold, hold);
    return handle;
  }

  /** Keeps a handle from being collected until the function that it gives back is called. */
  hear(by: SharedCollection<T>): () => void {
    const heard = { by };
    this.#heard.add(heard);
    return () => void this.#heard.delete(heard);
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
        this.#keeping?.then((keeping) => keeping.opened(), () => undefined);
        break;
      case "changed":
        this.pull();
        break;
      case "conflict":
        this.conflicts.set([...this.conflicts.get(), value].slice(-CONFLICTS));
        break;
      case "storage":
        if (this.#core && this.#storage) void answerStorage(this.#core, this.#storage, value, binary);
        break;
      case "released":
        forget(this.#number);
        this.#keeping?.then((keeping) => keeping.close(), () => undefined);
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
      const { closed, unkept } = before;
      const after: CollectionStatus = { ...status, closed, ...(unkept && { unkept }) };
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
    // What was written last is still to be kept: it is told when that is done.
    if (!this.#core || !this.#storage) this.#session.stop(this.#number);
    else this.#core.stop(this.#number);
    this.status.set({ ...this.status.get(), closed: true });
    const closed = this.whyClosed();
    // These fail, as they cannot be made any more.
    const waiting = this.#waiting.splice(0);
    if (waiting.length > 0 && !error) report(closed);
  }
}

function own(storage: Storage): Storage {
  if (typeof storage !== "object" || storage === null) {
    throw new TidingsError(
      "bad-argument",
      `storage should be "indexeddb", "memory" or an object with read, write, append and setAside`,
    );
  }
  for (const method of ["read", "write", "append", "setAside"] as const) {
    check.callback(`storage.${method}`, storage[method]);
  }
  return storage;
}
