/**
 * A storage in the browser's IndexedDB: what is told as kept is on the disk.
 *
 * Each tab has a slot of its own for each name, so that two never count their writes alike: the first
 * tab has the name itself, others `name~2` and so on, each held by a Web Lock for as long as the tab
 * lives. What a tab has left behind is sent by the next one that finds it, see {@link leftBehind}.
 */
import { TidingsError } from "./error.js";
import type { Storage } from "./types.js";

const VERSION = 1;
const STORE = "kept";
/** More tabs than this with the same storage keep what they have in memory. */
const MAX_SLOTS = 100;
/** How the names end under which loaded records are kept. All tabs load the same: one keeps them. */
const RECORDS = ".records";

/** What is kept under a name is in portions, in their order: `[name, number]` is the key of one. */
type Key = [name: string, portion: number];

/** A slot: what this tab has of a name. */
interface Slot {
  /** Where it is kept; nothing is if another tab does it. */
  place: string | undefined;
  /** The next portion's number. */
  next: number;
  release: () => void;
}

/** What a tab has left behind. */
export interface Adopted extends Storage {
  /** Lets go of it; removes it, if nothing of it is pending any more. */
  release(remove: boolean): Promise<void>;
}

/** A storage of one tab, in the database with this name. */
export interface IndexedDbStorage extends Storage {
  /** Removes what this tab has kept. */
  remove(name: string): Promise<void>;
  /** Lets other tabs have what this one has kept, when the collection of this name is closed. */
  release(collection: string): void;
  /** The slots of `name` that no tab has, and that are not empty. */
  leftBehind(name: string): Promise<string[]>;
  /** Takes a slot that was left behind; nothing if another tab was quicker. */
  adopt(place: string): Promise<Adopted | undefined>;
}

/** Why the storage cannot be used, for people. */
function failed(problem: string, cause?: unknown): TidingsError {
  const because = cause instanceof Error ? `: ${cause.name}: ${cause.message}` : "";
  return new TidingsError("storage", `${problem}${because}`, { retryable: true, cause });
}

/** Whether this page can keep anything in IndexedDB; why not, for people. */
export function unavailable(): string | undefined {
  if (typeof indexedDB === "undefined") return "there is no IndexedDB here";
  if (!globalThis.navigator?.locks) {
    return "there are no Web Locks here (pages need https or localhost for them)";
  }
  return undefined;
}

/** Opens the storage: {@link unavailable} says whether there is one. */
export function indexedDb(database = "tidings"): IndexedDbStorage {
  const slots = new Map<string, Promise<Slot>>();
  let opening: Promise<IDBDatabase> | undefined;

  const open = (): Promise<IDBDatabase> => {
    opening ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open(database, VERSION);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE);
      request.onblocked = () => reject(failed(`${database} is open in a tab of another version`));
      request.onerror = () => reject(failed(`cannot open the database ${database}`, request.error));
      request.onsuccess = () => {
        const db = request.result;
        // Another tab has a newer version of this: it must not wait for this one.
        db.onversionchange = () => db.close();
        db.onclose = () => (opening = undefined);
        resolve(db);
      };
    }).catch((error) => {
      opening = undefined;
      // Browsers that allow no storage throw at once.
      throw error instanceof TidingsError
        ? error
        : failed(`cannot open the database ${database}`, error);
    });
    return opening;
  };

  /** Does something in one transaction, and waits until it is on the disk. */
  const transact = async <T>(
    mode: IDBTransactionMode,
    act: (store: IDBObjectStore) => IDBRequest<T> | void,
  ): Promise<T | undefined> => {
    const db = await open();
    return new Promise((resolve, reject) => {
      let transaction: IDBTransaction;
      try {
        transaction = db.transaction(STORE, mode, { durability: "strict" });
      } catch (error) {
        // The browser has closed it.
        opening = undefined;
        return reject(failed(`cannot use the database ${database}`, error));
      }
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onabort = () => {
        const error = transaction.error;
        const full = error?.name === "QuotaExceededError" ? ": the browser gives no more room" : "";
        reject(failed(`cannot write to the database ${database}${full}`, error));
      };
    });
  };

  /** Holds the lock of a place until what comes back is called; nothing if another tab has it. */
  const lock = (place: string): Promise<(() => void) | undefined> =>
    new Promise((resolve, reject) => {
      navigator.locks
        .request(`tidings-storage:${database}:${place}`, { ifAvailable: true }, (held) => {
          if (!held) return resolve(undefined);
          return new Promise<void>((release) => resolve(release));
        })
        .catch((error) => reject(failed(`cannot lock ${place}`, error)));
    });

  const take = async (name: string): Promise<Slot> => {
    for (let number = 1; number <= MAX_SLOTS; number += 1) {
      const place = number === 1 ? name : `${name}~${number}`;
      const release = await lock(place);
      if (release) return { place, next: 0, release };
      if (name.endsWith(RECORDS)) return { place: undefined, next: 0, release: () => {} };
    }
    throw failed(`${name} is in use by ${MAX_SLOTS} tabs`);
  };

  const slot = (name: string): Promise<Slot> => {
    let taken = slots.get(name);
    if (!taken) {
      taken = take(name);
      slots.set(name, taken);
      taken.catch(() => slots.delete(name));
    }
    return taken;
  };

  const range = (place: string): IDBKeyRange =>
    IDBKeyRange.bound([place, 0] satisfies Key, [place, Infinity] satisfies Key);

  const readPlace = async (place: string): Promise<{ next: number; content?: Uint8Array }> => {
    let next = 0;
    const portions: Uint8Array[] = [];
    await transact("readonly", (store) => {
      const cursor = store.openCursor(range(place));
      cursor.onsuccess = () => {
        const at = cursor.result;
        if (!at) return;
        portions.push(at.value as Uint8Array);
        next = (at.key as Key)[1] + 1;
        at.continue();
      };
    });
    return portions.length > 0 ? { next, content: concat(portions) } : { next };
  };

  const writePlace = (place: string, content: Uint8Array): Promise<unknown> =>
    transact("readwrite", (store) => {
      store.delete(range(place));
      store.put(content, [place, 0] satisfies Key);
    });

  const appendPlace = (place: string, content: Uint8Array, portion: number): Promise<unknown> =>
    transact("readwrite", (store) => void store.put(content, [place, portion] satisfies Key));

  const removePlace = (place: string): Promise<unknown> =>
    transact("readwrite", (store) => void store.delete(range(place)));

  const setPlaceAside = async (place: string): Promise<string> => {
    const { content } = await readPlace(place);
    for (let number = 1; ; number += 1) {
      const aside = `${place}.aside-${number}`;
      if ((await readPlace(aside)).content) continue;
      await transact("readwrite", (store) => {
        store.put(content ?? new Uint8Array(), [aside, 0] satisfies Key);
        store.delete(range(place));
      });
      return `${aside} in the IndexedDB database ${database}`;
    }
  };

  const storageOf = (find: (name: string) => Promise<Slot> | Slot): Storage => ({
    async read(name) {
      const taken = await find(name);
      const { next, content } = await readPlace(taken.place ?? name);
      taken.next = next;
      return content;
    },
    async write(name, content) {
      const taken = await find(name);
      if (!taken.place) return;
      await writePlace(taken.place, content);
      taken.next = 1;
    },
    async append(name, content) {
      const taken = await find(name);
      if (!taken.place) return;
      await appendPlace(taken.place, content, taken.next);
      taken.next += 1;
    },
    async setAside(name) {
      const taken = await find(name);
      const aside = await setPlaceAside(taken.place ?? name);
      taken.next = 0;
      return aside;
    },
  });

  return {
    ...storageOf(slot),
    async remove(name) {
      const taken = await slot(name);
      if (taken.place) await removePlace(taken.place);
      taken.next = 0;
    },
    release(collection) {
      for (const name of [collection, collection + RECORDS]) {
        slots.get(name)?.then(({ release }) => release()).catch(() => {});
        slots.delete(name);
      }
    },
    async leftBehind(name) {
      const [keys, { held = [] }] = await Promise.all([
        transact("readonly", (store) => store.getAllKeys(range2(name))),
        navigator.locks.query(),
      ]);
      const taken = new Set(held.map((lock) => lock.name));
      const places = new Set((keys ?? []).map((key) => (key as Key)[0]));
      return [...places].filter(
        (place) =>
          (place === name || /^~\d+$/.test(place.slice(name.length))) &&
          !taken.has(`tidings-storage:${database}:${place}`),
      );
    },
    async adopt(place) {
      const release = await lock(place);
      if (!release) return undefined;
      const adopted: Slot = { place, next: 0, release };
      const records: Slot = { place: undefined, next: 0, release: () => {} };
      // What it is called by who asks is of no interest: it is this one.
      const storage = storageOf((name) => (name.endsWith(RECORDS) ? records : adopted));
      return {
        ...storage,
        async release(remove) {
          try {
            if (remove) await removePlace(place);
          } finally {
            release();
          }
        },
      };
    },
  };
}

/** All that is kept under names that begin so. */
function range2(name: string): IDBKeyRange {
  return IDBKeyRange.bound([name, 0] satisfies Key, [`${name}\uffff`, 0] satisfies Key);
}

function concat(portions: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(portions.reduce((sum, portion) => sum + portion.length, 0));
  let at = 0;
  for (const portion of portions) {
    whole.set(portion, at);
    at += portion.length;
  }
  return whole;
}
