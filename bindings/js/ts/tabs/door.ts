/** How tabs of an origin reach each other, and who of them leads: BroadcastChannel and Web Locks. */
import type { LeaderDoor } from "./leader.js";
import type { ToAll, ToLeader, ToTab } from "./messages.js";

/** What a tab is told. */
export interface Visitor {
  toAll(message: ToAll): void;
  toTab(message: ToTab): void;
  toLeader(message: ToLeader): void;
  /** No other tab leads, and none can while this one does. */
  elected(): void;
  /** Another tab has taken the lead away. */
  deposed(): void;
  /** The page is back from where the browser had put it. */
  back(): void;
}

/** Why tabs cannot share a connection here, for people; nothing if they can. */
export function unavailable(): string | undefined {
  if (typeof BroadcastChannel === "undefined") return "there is no BroadcastChannel here";
  if (!globalThis.navigator?.locks) {
    return "there are no Web Locks here (pages need https or localhost for them)";
  }
  return undefined;
}

type Letter = { tab: ToTab } | { leader: ToLeader };

/** A tab's door to the others that share something with this name. */
export class Door implements LeaderDoor {
  /** Names this tab; random, so that nobody else publishes in its name. */
  readonly tab: string = crypto.randomUUID();
  readonly #name: string;
  #visitor: Visitor | undefined;
  #hall: BroadcastChannel | undefined;
  #own: BroadcastChannel | undefined;
  readonly #others = new Map<string, BroadcastChannel>();
  /** Until the page is put away. */
  #here = new AbortController();
  /** Ends the wait for the lead. */
  #waiting = new AbortController();
  #resign: (() => void) | undefined;

  constructor(name: string) {
    this.#name = `tidings:${name}`;
  }

  open(visitor: Visitor): void {
    this.#visitor = visitor;
    this.#enter();
    globalThis.addEventListener?.("pagehide", this.#onHide);
    globalThis.addEventListener?.("pageshow", this.#onShow);
    globalThis.document?.addEventListener("freeze", this.#onFreeze);
    globalThis.document?.addEventListener("resume", this.#onResume);
  }

  close(): void {
    globalThis.removeEventListener?.("pagehide", this.#onHide);
    globalThis.removeEventListener?.("pageshow", this.#onShow);
    globalThis.document?.removeEventListener("freeze", this.#onFreeze);
    globalThis.document?.removeEventListener("resume", this.#onResume);
    this.#leave();
    this.#visitor = undefined;
  }

  sendAll(message: ToAll): void {
    this.#hall?.postMessage(message);
  }

  send(tab: string, message: ToTab): void {
    if (tab === this.tab) queueMicrotask(() => this.#visitor?.toTab(message));
    else this.#channelOf(tab).postMessage({ tab: message } satisfies Letter);
  }

  sendLeader(tab: string, message: ToLeader): void {
    if (tab === this.tab) queueMicrotask(() => this.#visitor?.toLeader(message));
    else this.#channelOf(tab).postMessage({ leader: message } satisfies Letter);
  }

  whenGone(tab: string, signal: AbortSignal, gone: () => void): void {
    if (tab === this.tab) return;
    navigator.locks
      .request(this.#presence(tab), { signal: AbortSignal.any([signal, this.#here.signal]) }, () => {
        this.#others.get(tab)?.close();
        this.#others.delete(tab);
        gone();
      })
      // It is not waited for any more.
      .catch(() => {});
  }

  /** Takes the lead away from a tab that does not answer. */
  steal(): void {
    this.#waiting.abort();
    this.#request({ steal: true });
  }

  #channelOf(tab: string): BroadcastChannel {
    let channel = this.#others.get(tab);
    if (!channel) {
      channel = new BroadcastChannel(`${this.#name}:${tab}`);
      this.#others.set(tab, channel);
    }
    return channel;
  }

  #presence(tab: string): string {
    return `${this.#name}:${tab}`;
  }

  #enter(): void {
    this.#here = new AbortController();
    const { signal } = this.#here;
    this.#hall = new BroadcastChannel(this.#name);
    this.#hall.onmessage = ({ data }) => this.#visitor?.toAll(data as ToAll);
    this.#own = new BroadcastChannel(`${this.#name}:${this.tab}`);
    this.#own.onmessage = ({ data }) => {
      const letter = data as Letter;
      if ("tab" in letter) this.#visitor?.toTab(letter.tab);
      else this.#visitor?.toLeader(letter.leader);
    };
    // Others see by this lock that the tab is there.
    navigator.locks
      .request(this.#presence(this.tab), () => untilAborted(signal))
      .catch(() => {});
    this.#request({});
  }

  #leave(): void {
    this.#waiting.abort();
    this.#resign?.();
    this.#resign = undefined;
    this.#here.abort();
    for (const channel of [this.#hall, this.#own, ...this.#others.values()]) channel?.close();
    this.#others.clear();
    this.#hall = undefined;
    this.#own = undefined;
  }

  /** Waits for the lead, and holds it. */
  #request(how: { steal?: true }): void {
    const waiting = new AbortController();
    this.#waiting = waiting;
    const here = this.#here.signal;
    // A lock that is stolen cannot be waited for: there is no signal then.
    const options = how.steal ? how : { signal: waiting.signal };
    let held = false;
    navigator.locks
      .request(`${this.#name}:lead`, options, () => {
        if (here.aborted) return undefined;
        held = true;
        const until = new Promise<void>((resolve) => (this.#resign = resolve));
        this.#visitor?.elected();
        return until;
      })
      .catch(() => {
        if (here.aborted || !held) return;
        // Stolen: this tab was thought to be frozen, and perhaps was.
        this.#resign = undefined;
        this.#visitor?.deposed();
        this.#request({});
        this.sendAll({ k: "who" });
      });
  }

  readonly #onHide = (event: PageTransitionEvent): void => {
    // A page that may come back must not keep others from leading, nor itself from coming back.
    if (event.persisted) this.#leave();
  };

  readonly #onShow = (event: PageTransitionEvent): void => {
    if (event.persisted) this.#comeBack();
  };

  /** A frozen page has no timers and hears nothing of the network, but answers others: it has to go. */
  readonly #onFreeze = (): void => this.#leave();

  readonly #onResume = (): void => this.#comeBack();

  #comeBack(): void {
    // A page that was frozen when it was put away comes back twice.
    if (!this.#visitor || this.#hall) return;
    this.#enter();
    this.#visitor.back();
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
