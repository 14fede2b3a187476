/**
 * Keeps a collection in the browser's IndexedDB, and sends what tabs have left behind there that are no
 * more. Loaded by who wants that only.
 */
import type { Core } from "./core.js";
import { indexedDb, unavailable, type Adopted, type IndexedDbStorage } from "./indexeddb.js";
import { begin, binary, forget, receive, type Messages } from "./inside.js";
import { report } from "./report.js";
import { answerStorage } from "./storage.js";
import type { Storage } from "./types.js";

/** How often it is looked for what was left behind, in milliseconds. */
const LOOK = 5_000;

let database: IndexedDbStorage | undefined;

export interface KeepingOptions {
  /** The collection's name. */
  name: string;
  /** The client, and how its collection was opened, as the module takes it. */
  client: number;
  settings: string;
  core: Core;
  messages: Messages;
  /** Told why nothing is kept, if so: the collection goes on in memory. */
  unkept(why: string): void;
}

/** The storage of a collection that is open in this tab. */
export class Keeping implements Storage {
  readonly #options: KeepingOptions;
  readonly #adopted = new Map<number, () => void>();
  #memory = false;
  #looking: ReturnType<typeof setInterval> | undefined;

  constructor(options: KeepingOptions) {
    begin(options.messages);
    this.#options = options;
  }

  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#database().read(name);
    } catch (error) {
      // What is there stays there: nothing of it is written over.
      this.#goOnInMemory(error);
      return undefined;
    }
  }

  async write(name: string, content: Uint8Array): Promise<void> {
    if (!this.#memory) await this.#keep(name, () => this.#database().write(name, content));
  }

  async append(name: string, content: Uint8Array): Promise<void> {
    if (!this.#memory) await this.#keep(name, () => this.#database().append(name, content));
  }

  async setAside(name: string): Promise<string> {
    return this.#database().setAside(name);
  }

  /** The collection is open: what was left behind can be sent. */
  opened(): void {
    if (this.#memory) return;
    const look = () => this.#adopt().catch(report);
    this.#looking = setInterval(look, LOOK);
    void look();
  }

  /** The collection is closed, and all of it kept. */
  close(): void {
    clearInterval(this.#looking);
    for (const end of this.#adopted.values()) end();
    database?.release(this.#options.name);
  }

  #database(): IndexedDbStorage {
    const why = unavailable();
    if (why) throw new Error(why);
    database ??= indexedDb();
    return database;
  }

  async #keep(name: string, keep: () => Promise<void>): Promise<void> {
    try {
      await keep();
    } catch (error) {
      // What is there is of before, and must not be taken for what is pending at the next start: numbers
      // would be used twice. If it cannot be removed, nothing goes on.
      await this.#database().remove(name);
      this.#goOnInMemory(error);
    }
  }

  #goOnInMemory(error: unknown): void {
    this.#memory = true;
    const why = error instanceof Error ? error.message : String(error);
    this.#options.unkept(`nothing is kept on this device, what is pending ends with the page: ${why}`);
  }

  /** Sends what tabs have left behind that were closed or have crashed. */
  async #adopt(): Promise<void> {
    if (this.#memory) return;
    const database = this.#database();
    for (const place of await database.leftBehind(this.#options.name)) {
      const adopted = await database.adopt(place);
      if (adopted) this.#send(adopted);
    }
  }

  /** Opens what was left behind as a collection of its own, until nothing of it is pending. */
  #send(adopted: Adopted): void {
    const { core, client, name, settings } = this.#options;
    let sent = false;
    const end = () => {
      if (this.#adopted.delete(number)) core.stop(number);
    };
    const number = receive((what, value) => {
      if (what === "storage") void answerStorage(core, adopted, value, binary);
      else if (what === "failed") end();
      else if (what === "released") {
        forget(number);
        adopted.release(sent).catch(report);
      } else if ((what === "opened" || what === "changed") && this.#adopted.has(number)) {
        sent = JSON.parse(core.changes(number)).status.pending === 0;
        if (sent) end();
      }
    });
    this.#adopted.set(number, end);
    try {
      core.open_collection(client, number, name, settings);
    } catch {
      // The client is closed.
      this.#adopted.delete(number);
      forget(number);
      adopted.release(false).catch(report);
    }
  }
}
