/** What the tab that leads does for all of them, itself included. */
import type { Failure, Outcome, Packed, RawStatus, ToLeader, ToTab, Upstream } from "./messages.js";

/** So many messages may wait for a tab that is frozen; then it is forgotten, and comes back later. */
const MAX_WAITING = 20_000;
/** So much text of them. */
const MAX_WAITING_CHARS = 16 << 20;
/** How often tabs are told how far their subscriptions have come, in milliseconds. */
const PROGRESS = 2_000;

const GONE: Failure = {
  code: "refused",
  message: "the tab that answers this was closed",
  retryable: true,
};

/** A tab that is led. */
interface Member {
  subscriptions: Map<number, { tell(): void; close(): void }>;
  requests: Map<number, () => void>;
  /** Names of requests it answers. */
  handles: Set<string>;
  /** Questions it has not answered. */
  asked: Set<number>;
  /** What it was sent and has not handled. */
  waiting: number[];
  chars: number;
}

export interface LeaderDoor {
  /** Sends to one tab. */
  send(tab: string, message: ToTab): void;
  /** Calls back when the tab is there no more; stops waiting when `signal` is aborted. */
  whenGone(tab: string, signal: AbortSignal, gone: () => void): void;
}

/** Carries all tabs by one connection. */
export class Leader {
  readonly term: number;
  readonly #upstream: Upstream;
  readonly #door: LeaderDoor;
  readonly #members = new Map<string, Member>();
  readonly #handlers = new Map<string, { close(): void }>();
  readonly #questions = new Map<number, (outcome: Outcome<Packed>) => void>();
  readonly #progress: ReturnType<typeof setInterval>;
  readonly #over = new AbortController();
  #lastQuestion = 0;

  constructor(term: number, upstream: Upstream, door: LeaderDoor) {
    this.term = term;
    this.#upstream = upstream;
    this.#door = door;
    this.#progress = setInterval(() => this.#tellProgress(), PROGRESS);
  }

  /** Whether another tab is to lead, or nobody. */
  get over(): boolean {
    return this.#over.signal.aborted;
  }

  /** How many tabs there are. */
  get members(): number {
    return this.#members.size;
  }

  /** Carries nobody any more. What was handed to the connection may still be sent. */
  end(): void {
    if (this.over) return;
    this.#over.abort();
    clearInterval(this.#progress);
    for (const answer of this.#questions.values()) answer({ failure: GONE });
    this.#questions.clear();
    this.#members.clear();
  }

  /** Takes what a tab has sent. */
  receive(message: ToLeader): void {
    if (this.over || message.term !== this.term) return;
    if (message.k === "join") return this.#join(message.tab);
    const member = this.#members.get(message.tab);
    if (!member) {
      const { tab, joined } = message;
      if (message.k !== "leave") this.#door.send(tab, { term: this.term, k: "rejoin", joined });
      return;
    }
    this.#serve(message.tab, member, message);
  }

  #join(tab: string): void {
    // It begins anew: it has lost something, or was frozen.
    this.#forget(tab);
    this.#members.set(tab, {
      subscriptions: new Map(),
      requests: new Map(),
      handles: new Set(),
      asked: new Set(),
      waiting: [],
      chars: 0,
    });
    this.#door.whenGone(tab, this.#over.signal, () => this.#forget(tab));
    this.#send(tab, { term: this.term, k: "pong" });
  }

  #serve(tab: string, member: Member, message: ToLeader): void {
    const { term } = this;
    switch (message.k) {
      case "join":
        return;
      case "leave":
        return this.#forget(tab);
      case "ping":
        return this.#send(tab, { term, k: "pong" });
      case "took":
        for (const chars of member.waiting.splice(0, message.count)) member.chars -= chars;
        return;
      case "publish": {
        const { n, name, payload, options } = message;
        const as = options.volatile ? {} : { as: [tab, n] satisfies [string, number] };
        this.#upstream
          .publish(name, payload, { ...options, ...as })
          .then((outcome) => this.#answer(tab, member, { term, k: "published", n, outcome }));
        return;
      }
      case "subscribe":
        return this.#subscribe(tab, member, message);
      case "unsubscribe":
        member.subscriptions.get(message.id)?.close();
        member.subscriptions.delete(message.id);
        return;
      case "request": {
        const { ticket, name, payload, timeout } = message;
        const { reply, cancel } = this.#upstream.request(name, payload, timeout);
        member.requests.set(ticket, cancel);
        reply.then((outcome) => {
          if (member.requests.delete(ticket)) {
            this.#answer(tab, member, { term, k: "reply", ticket, outcome });
          }
        });
        return;
      }
      case "cancel":
        member.requests.get(message.ticket)?.();
        member.requests.delete(message.ticket);
        return;
      case "handles":
        if (message.whether) member.handles.add(message.name);
        else member.handles.delete(message.name);
        return this.#arrangeHandler(message.name);
      case "answer":
        member.asked.delete(message.question);
        this.#questions.get(message.question)?.(message.outcome);
        this.#questions.delete(message.question);
        return;
      case "switch": {
        const { ticket } = message;
        this.#upstream
          .switchTransport(message.transport)
          .then((outcome) => this.#answer(tab, member, { term, k: "switched", ticket, outcome }));
        return;
      }
      case "refresh":
        this.#upstream.refreshToken().then((outcome) => {
          const failure = "failure" in outcome ? outcome.failure : undefined;
          this.#answer(tab, member, { term, k: "refreshed", failure });
        });
        return;
      case "stats": {
        const { ticket } = message;
        this.#upstream
          .stats()
          .then((stats) => this.#answer(tab, member, { term, k: "stats", ticket, stats }));
        return;
      }
    }
  }

  #subscribe(tab: string, member: Member, message: ToLeader & { k: "subscribe" }): void {
    const { term } = this;
    const { id, pattern, since } = message;
    const send = (message: ToTab): void => {
      if (member.subscriptions.get(id) === subscription) this.#answer(tab, member, message);
    };
    const subscription = this.#upstream.subscribe(pattern, since, {
      subscribed: () => send({ term, k: "subscribed", id }),
      event: (at, text, bytes) => send({ term, k: "event", id, at, text, bytes }),
      gap: (gap) => send({ term, k: "gap", id, gap }),
      cursor: (cursor) => send({ term, k: "cursor", id, cursor }),
      ended: (failure) => {
        send({ term, k: "ended", id, failure });
        member.subscriptions.delete(id);
      },
    });
    member.subscriptions.set(id, subscription);
  }

  #tellProgress(): void {
    for (const { subscriptions } of this.#members.values()) {
      for (const subscription of subscriptions.values()) subscription.tell();
    }
  }

  /** The server's requests go to a tab that answers them. */
  #arrangeHandler(name: string): void {
    const wanted = [...this.#members.values()].some((member) => member.handles.has(name));
    const handler = this.#handlers.get(name);
    if (wanted && !handler) {
      this.#handlers.set(
        name,
        this.#upstream.handle(name, (payload) => this.#ask(name, payload)),
      );
    } else if (!wanted && handler) {
      handler.close();
      this.#handlers.delete(name);
    }
  }

  #ask(name: string, payload: Packed): Promise<Outcome<Packed>> {
    for (const [tab, member] of [...this.#members].reverse()) {
      if (!member.handles.has(name)) continue;
      const question = ++this.#lastQuestion;
      member.asked.add(question);
      return new Promise((answer) => {
        this.#questions.set(question, answer);
        this.#send(tab, { term: this.term, k: "ask", question, name, payload });
      });
    }
    return Promise.resolve({ failure: GONE });
  }

  /** Sends to a tab, unless it has come anew meanwhile. */
  #answer(tab: string, member: Member, message: ToTab): void {
    if (!this.over && this.#members.get(tab) === member) this.#send(tab, message);
  }

  #send(tab: string, message: ToTab): void {
    const member = this.#members.get(tab);
    if (!member) return;
    const chars = message.k === "event" ? message.text.length + (message.bytes?.length ?? 0) : 0;
    member.waiting.push(chars);
    member.chars += chars;
    this.#door.send(tab, message);
    // It gets what it misses from the server's log when it goes on.
    if (member.waiting.length > MAX_WAITING || member.chars > MAX_WAITING_CHARS) this.#forget(tab);
  }

  #forget(tab: string): void {
    const member = this.#members.get(tab);
    if (!member) return;
    this.#members.delete(tab);
    for (const subscription of member.subscriptions.values()) subscription.close();
    for (const cancel of member.requests.values()) cancel();
    for (const question of member.asked) {
      this.#questions.get(question)?.({ failure: GONE });
      this.#questions.delete(question);
    }
    for (const name of member.handles) this.#arrangeHandler(name);
  }
}

/** What all tabs are told as long as the one that leads says nothing else. */
export const CONNECTING: RawStatus = {
  state: "connecting",
  code: 0,
  reason: "connecting",
  retryable: true,
};
