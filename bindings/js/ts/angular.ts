/**
 * Signals for Angular 20 and later, with or without zones.
 *
 * ```ts
 * bootstrapApplication(App, { providers: [provideTidings(() => connect("https://example.com"))] });
 *
 * @Component({ template: `
 *   {{ tidings.status().state }}
 *   @for (todo of open(); track todo.key) {
 *     <button (click)="todos?.update(todo.key, { done: true })">{{ todo.value.title }}</button>
 *   }` })
 * class Todos {
 *   tidings = inject(Tidings<Events>);
 *   todos = this.tidings.collection<Todo>("todos");
 *   open = this.tidings.view(this.todos, () => ({ where: (todo) => !todo.done }));
 *   news = this.tidings.recent("news.**", { limit: 20 });
 * }
 * ```
 *
 * What a component asks for in its constructor or fields is open until it is destroyed. On a server
 * nothing is opened, and signals have what there is before a connection.
 */
import {
  DestroyRef,
  effect,
  inject,
  makeEnvironmentProviders,
  PLATFORM_ID,
  signal,
  untracked,
} from "@angular/core";
import type { EnvironmentProviders, Signal } from "@angular/core";
import type { PatternOf, PayloadOf, Suggested } from "./events.js";
import { latest, leave, recent } from "./live.js";
import type { RecentOptions } from "./live.js";
import type {
  Client,
  Collection,
  CollectionOptions,
  CollectionStatus,
  Conflict,
  Entry,
  Readable,
  Status,
  SubscribeOptions,
  TidingsEvent,
  ViewOptions,
} from "./types.js";

export type { RecentOptions } from "./live.js";

/** A client and what it knows, as signals. `inject(Tidings<Events>)` where `provideTidings` was called. */
export class Tidings<E = Record<string, any>> {
  /** `undefined` on a server. */
  readonly client: Client<E> | undefined;
  /** How the connection is doing. */
  readonly status: Signal<Status>;

  constructor(client: Client<E> | undefined) {
    this.client = client;
    this.status = follow(() => client?.status, {
      state: "connecting",
      code: 0,
      reason: "",
      retryable: true,
    });
  }

  /** The latest event that matches; `undefined` before the first. */
  latest<const P extends Suggested<E>>(
    pattern: P & PatternOf<E, P>,
    options?: SubscribeOptions,
  ): Signal<TidingsEvent<PayloadOf<E, P>> | undefined> {
    const events = latest<PayloadOf<E, P>>(this.client, pattern, options);
    return follow(() => events, undefined);
  }

  /** The newest events that match, oldest first; at most `limit`, 100. */
  recent<const P extends Suggested<E>>(
    pattern: P & PatternOf<E, P>,
    options?: RecentOptions,
  ): Signal<readonly TidingsEvent<PayloadOf<E, P>>[]> {
    const events = recent<PayloadOf<E, P>>(this.client, pattern, options);
    return follow(() => events, []);
  }

  /**
   * A collection, open until the component is destroyed: what it has written by then still goes out.
   * `undefined` on a server.
   */
  collection<T extends object = any>(name: string, options?: CollectionOptions): Collection<T> | undefined {
    const opened = this.client?.collection<T>(name, options);
    inject(DestroyRef).onDestroy(() => void (opened && leave(opened)));
    return opened;
  }

  /** Records of a collection, live; `options` may read signals. */
  view<T extends object>(
    records: Collection<T> | undefined,
    options?: () => ViewOptions<T>,
  ): Signal<readonly Entry<T>[]> {
    return follow(() => records?.view(options?.()), []);
  }

  /** One record, live; `key` may be a signal, such as an input. */
  record<T extends object>(
    records: Collection<T> | undefined,
    key: string | (() => string),
  ): Signal<Entry<T> | undefined> {
    return follow(() => records?.record(typeof key === "string" ? key : key()), undefined);
  }

  /** How many writes are pending. */
  pending(records: Collection<any> | undefined): Signal<number> {
    return follow(() => records?.pending, 0);
  }

  /** Conflicts of this client's writes, newest last. */
  conflicts<T extends object>(records: Collection<T> | undefined): Signal<readonly Conflict<T>[]> {
    return follow(() => records?.conflicts, []);
  }

  /** How a collection is doing. */
  collectionStatus(records: Collection<any> | undefined): Signal<CollectionStatus> {
    return follow(() => records?.status, { loaded: false, records: 0, pending: 0, closed: false });
  }
}

/**
 * Provides {@link Tidings}. `connect` is called once, when it is first injected in a browser; its client
 * is closed with the application.
 */
export function provideTidings(connect: () => Client<any>): EnvironmentProviders {
  const make = () => {
    const client = inject(PLATFORM_ID) === "browser" ? connect() : undefined;
    inject(DestroyRef).onDestroy(() => void client?.close());
    return new Tidings(client);
  };
  return makeEnvironmentProviders([{ provide: Tidings, useFactory: make }]);
}

/**
 * A signal that has what a {@link Readable} has, `before` until then. `source` may read signals, and
 * then changes which it is. It ends with the component in whose constructor it is called.
 */
export function follow<T>(source: () => Readable<T> | undefined, before: T): Signal<T> {
  const value = signal(before);
  effect((onCleanup) => {
    const readable = source();
    untracked(() => {
      const stop = readable?.subscribe((next) => value.set(next));
      onCleanup(() => stop?.());
    });
  });
  return value.asReadonly();
}
