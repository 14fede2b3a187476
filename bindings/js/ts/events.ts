/**
 * Which events there are: names give the types of payloads when compiling.
 *
 * ```ts
 * type Events = {
 *   "orders.*.created": { id: number; total: number }; // any region
 *   "orders.*.cancelled": { id: number };
 *   "news": string;
 * };
 * const client = connect<Events>("https://example.com");
 * client.subscribe("orders.**", (event) => event.payload.id); // of both
 * client.publish("orders.eu.created", { id: 17, total: 3 });
 * ```
 *
 * Keys are names, or patterns for many of them: `*` stands for one segment, `**` for any number,
 * also none. So does `${string}` for one.
 */
export type EventMap = Record<string, unknown>;

/** A name in segments. */
type Split<S extends string> = S extends `${infer Head}.${infer Tail}`
  ? [Head, ...Split<Tail>]
  : [S];

/** Whether a segment stands for any. */
type IsAny<S> = S extends "*" ? true : string extends S ? true : false;

/** Whether some name matches both patterns. */
type Meets<A, B> = A extends ["**", ...infer RestA]
  ? Meets<RestA, B> extends true
    ? true
    : B extends [unknown, ...infer RestB]
      ? Meets<A, RestB>
      : false
  : B extends ["**", ...infer RestB]
    ? Meets<A, RestB> extends true
      ? true
      : A extends [unknown, ...infer RestA]
        ? Meets<RestA, B>
        : false
    : A extends [infer HeadA, ...infer RestA]
      ? B extends [infer HeadB, ...infer RestB]
        ? SameSegment<HeadA, HeadB> extends true
          ? Meets<RestA, RestB>
          : false
        : false
      : B extends []
        ? true
        : false;

type SameSegment<A, B> =
  IsAny<A> extends true
    ? true
    : IsAny<B> extends true
      ? true
      : A extends B
        ? true
        : B extends A
          ? true
          : false;

/** The keys of `E` that have a name in common with the pattern `P`. */
export type KeysOf<E, P extends string> = {
  [K in keyof E & string]: Meets<Split<P>, Split<K>> extends true ? K : never;
}[keyof E & string];

/** Whether nothing was said about which events there are. */
type IsUntyped<E> = string extends keyof E ? true : false;

/** Whether a name has a wildcard in it. */
type HasWildcard<S extends string> =
  Extract<Split<S>[number], "*" | "**"> extends never ? false : true;

/**
 * What events with this name, or with names that match this pattern, carry: a union of all that are
 * possible.
 */
export type PayloadOf<E, P extends string> =
  IsUntyped<E> extends true ? E[keyof E] : E[KeysOf<E, P>];

/** `P` if an event of `E` can have a name that matches it; otherwise a text that says so. */
export type PatternOf<E, P extends string> =
  IsUntyped<E> extends true
    ? P
    : string extends P
      ? "the compiler does not know this text: give the type of the payload"
      : [KeysOf<E, P>] extends [never]
        ? `no event has a name that matches ${P}`
        : P;

/** `N` if it is the name of an event of `E`; otherwise a text that says why it is none. */
export type NameOf<E, N extends string> =
  HasWildcard<N> extends true ? `${N} is a pattern: an event has one name` : PatternOf<E, N>;

/** For editors: the keys of `E` are suggested, others may be written. */
export type Suggested<E> = (keyof E & string) | (string & {});

/**
 * A text for which the compiler knows no payload. Who gives the payload's type explicitly may use
 * any.
 */
export type TextFor<T> = [T] extends [never] ? never : string;
