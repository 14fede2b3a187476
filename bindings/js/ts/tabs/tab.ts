/**
 * A tab's part in sharing a connection: it finds out who leads, leads itself when nobody else does,
 * and sees to it that its client notices nothing when that changes.
 */
import type { Door } from "./door.js";
import { CONNECTING, Leader } from "./leader.js";
import type { Command, RawStatus, ToAll, ToLeader, ToTab, Upstream } from "./messages.js";
import { Wants, type Unsent, type WantsOptions } from "./wants.js";

/**
 * A leader that says nothing for so long is asked whether it is there; and so long it has to answer. Not
 * the same in all tabs, so that one of them is the first to take its place.
 */
const PATIENCE = 3_000 + Math.random() * 1_500;
/** How often that is looked at. */
const LOOK = 1_000;
/** How many messages are handled before the leader is told. */
const TOOK = 200;

export interface TabOptions extends WantsOptions {
  /** Makes the connection that this tab leads with; `status` is told how it is doing. */
  connect(status: (status: RawStatus) => void): Upstream;
  /** Told whether the connection is this tab's, when that changes. */
  role(role: Role): void;
}

/** Whose the connection is: this tab's, or another one's. */
export type Role = "leader" | "member";

export class Tab {
  readonly #door: Door;
  readonly #options: TabOptions;
  readonly #wants: Wants;
  readonly #looking: ReturnType<typeof setInterval>;
  /** Whose word counts: the term is larger with each leader. */
  #term = 0;
  #leader: string | undefined;
  #joined = 0;
  /** When the leader was heard last, and asked whether it is there. */
  #heard = Date.now();
  #asked: number | undefined;
  #took = 0;
  #status: RawStatus = CONNECTING;
  #wasConnected = false;
  #leading: { leader: Leader; upstream: Upstream } | undefined;
  #closing = false;
  #over = false;

  constructor(door: Door, options: TabOptions) {
    this.#door = door;
    this.#options = options;
    this.#wants = new Wants(options, (message) => this.#send(message));
    this.#looking = setInterval(() => this.#look(), LOOK);
    door.open({
      toAll: (message) => this.#hear(message),
      toTab: (message) => this.#receive(message),
      toLeader: (message) => this.#leading?.leader.receive(message),
      elected: () => this.#lead(),
      deposed: () => this.#stepDown(),
      back: () => this.#goOn(),
    });
    door.sendAll({ k: "who" });
  }

  /** Whether the connection is this tab's. */
  get role(): Role {
    return this.#leading ? "leader" : "member";
  }

  /** What the connection has counted. */
  stats(): Promise<unknown> {
    return this.#wants.stats();
  }

  /** Does what this tab's client wants. */
  command(command: Command): void {
    if (command.do === "close") void this.#close(command.timeout);
    else this.#wants.command(command, this.#status.state === "connected");
  }

  /** Sends to the leader, if there is one. */
  #send(message: Unsent): boolean {
    if (!this.#leader) return false;
    const from = { term: this.#term, tab: this.#door.tab, joined: this.#joined };
    this.#door.sendLeader(this.#leader, { ...message, ...from } as ToLeader);
    return true;
  }

  #hear(message: ToAll): void {
    if (this.#over) return;
    if (message.k === "who") return this.#sayWhoLeads();
    if (message.term < this.#term) return;
    if (message.term > this.#term || !this.#leader) {
      this.#stepDown();
      this.#join(message.term, message.tab);
    }
    this.#heard = Date.now();
    this.#asked = undefined;
    this.#tellStatus(message.status);
  }

  #sayWhoLeads(): void {
    const { term } = this.#leading?.leader ?? {};
    if (term === undefined) return;
    this.#door.sendAll({ k: "lead", term, tab: this.#door.tab, status: this.#status });
  }

  #tellStatus(status: RawStatus): void {
    // To this tab the connection of a new leader is not the first one.
    const state =
      status.state === "connecting" && this.#wasConnected ? "reconnecting" : status.state;
    this.#wasConnected ||= state === "connected";
    this.#status = { ...status, state };
    this.#options.carried.status(this.#status);
    if (state === "closed") this.#end();
  }

  /** There is a new leader, or one that does not know this tab any more. */
  #join(term: number, leader: string): void {
    [this.#term, this.#leader] = [term, leader];
    this.#joined += 1;
    this.#took = 0;
    this.#heard = Date.now();
    this.#asked = undefined;
    this.#send({ k: "join" });
    this.#wants.resume();
  }

  #receive(message: ToTab): void {
    // What one says that leads no more does not count.
    if (this.#over || message.term !== this.#term) return;
    this.#heard = Date.now();
    this.#asked = undefined;
    this.#took += 1;
    if (this.#took >= TOOK) {
      this.#send({ k: "took", count: this.#took });
      this.#took = 0;
    }
    if (message.k !== "rejoin") this.#wants.receive(message);
    else if (this.#leader && message.joined === this.#joined) this.#join(this.#term, this.#leader);
  }

  /** Nobody else leads: this tab does. */
  #lead(): void {
    if (this.#over || this.#closing) return;
    const term = Math.max(Date.now(), this.#term + 1);
    const { tab } = this.#door;
    let leader: Leader | undefined;
    let upstream: Upstream;
    try {
      upstream = this.#options.connect((status) => {
        if (!leader || leader.over) return;
        // First the others: this tab may be at its end then.
        this.#door.sendAll({ k: "lead", term, tab, status });
        this.#tellStatus(status);
      });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return this.#tellStatus({ state: "closed", code: 0, reason, retryable: false });
    }
    leader = new Leader(term, upstream, this.#door);
    this.#leading = { leader, upstream };
    this.#options.role("leader");
    this.#door.sendAll({ k: "lead", term, tab, status: CONNECTING });
    this.#join(term, tab);
  }

  /** Another tab leads, or nobody until one is found. */
  #stepDown(): void {
    const leading = this.#leading;
    if (!leading) return;
    this.#leading = undefined;
    this.#leader = undefined;
    leading.leader.end();
    this.#options.role("member");
    // What it still has to send is sent by whoever leads next, and counts once.
    void leading.upstream.close(0);
  }

  /** The page was frozen, or put away by the browser, and is back: others may lead by now. */
  #goOn(): void {
    if (this.#over) return;
    this.#stepDown();
    this.#leader = undefined;
    this.#heard = Date.now();
    this.#asked = undefined;
    this.#door.sendAll({ k: "who" });
  }

  /** Looks whether the leader is there: a frozen tab leads nobody. */
  #look(): void {
    if (this.#over || this.#leading || Date.now() - this.#heard < PATIENCE) return;
    if (this.#asked === undefined) {
      this.#asked = Date.now();
      if (this.#leader) this.#send({ k: "ping" });
      else this.#door.sendAll({ k: "who" });
    } else if (Date.now() - this.#asked >= PATIENCE) {
      this.#asked = undefined;
      this.#heard = Date.now();
      this.#door.steal();
    }
  }

  async #close(timeout: number): Promise<void> {
    if (this.#closing || this.#over) return;
    this.#closing = true;
    await this.#wants.drained(timeout);
    this.#send({ k: "leave" });
    const leading = this.#leading;
    leading?.leader.end();
    // First it is over here, then another tab may lead: there is one connection at a time.
    await leading?.upstream.close(Math.min(timeout, 1_000));
    this.#tellStatus({
      state: "closed",
      code: 1000,
      reason: "closed by the application",
      retryable: false,
    });
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#looking);
    this.#leading?.leader.end();
    this.#leading = undefined;
    this.#wants.end();
    this.#door.close();
  }
}
