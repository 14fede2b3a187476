/** Compile-time tests: `tsc` must accept what stands here, and refuse each line marked so. */
import type { Client, Presence, Subscription, TidingsEvent } from "../../ts/types.js";

type Same<A, B> =
  (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
declare function holds<_Condition extends true>(): void;
type PayloadIn<S> = S extends Subscription<TidingsEvent<infer T>> ? T : never;

type Created = { id: number; total: number };
type Cancelled = { id: number; why: string };
type Message = { text: string };

interface Events {
  "orders.*.created": Created;
  "orders.*.cancelled": Cancelled;
  news: string;
  "audit.**": { who: string };
  [room: `rooms.${string}.message`]: Message;
}

declare const client: Client<Events>;
declare const anything: Client;

export function names() {
  void client.publish("orders.eu.created", { id: 17, total: 3 });
  void client.publish("news", "it works");
  void client.publish("audit", { who: "Ann" });
  void client.publish("audit.a.b.c", { who: "Ann" });
  void client.publish("rooms.17.message", { text: "hello" });
  // @ts-expect-error The payload is another event's.
  void client.publish("orders.eu.created", { id: 17, why: "no" });
  // @ts-expect-error A field is missing.
  void client.publish("orders.eu.created", { id: 17 });
  // @ts-expect-error There is no such event.
  void client.publish("orders.eu.changed", { id: 17 });
  // @ts-expect-error A segment too many.
  void client.publish("orders.eu.north.created", { id: 17, total: 3 });
  // @ts-expect-error An event has one name.
  void client.publish("orders.*.created", { id: 17, total: 3 });
  // @ts-expect-error An event has one name.
  void client.publish("audit.**", { who: "Ann" });
  // @ts-expect-error A text instead of an object.
  void client.publish("rooms.17.message", "hello");
}

export function patterns() {
  const exact = client.subscribe("orders.eu.created");
  holds<Same<PayloadIn<typeof exact>, Created>>();
  const created = client.subscribe("orders.*.created");
  holds<Same<PayloadIn<typeof created>, Created>>();
  const orders = client.subscribe("orders.**");
  holds<Same<PayloadIn<typeof orders>, Created | Cancelled>>();
  const eu = client.subscribe("orders.eu.*");
  holds<Same<PayloadIn<typeof eu>, Created | Cancelled>>();
  const ends = client.subscribe("**.cancelled");
  holds<Same<PayloadIn<typeof ends>, Cancelled | { who: string }>>();
  const room = client.subscribe("rooms.17.message");
  holds<Same<PayloadIn<typeof room>, Message>>();
  const rooms = client.subscribe("rooms.*.message");
  holds<Same<PayloadIn<typeof rooms>, Message>>();
  const one = client.subscribe("*");
  holds<Same<PayloadIn<typeof one>, string | { who: string }>>();
  // @ts-expect-error Nothing has such a name.
  client.subscribe("order.**");
  // @ts-expect-error Nothing has such a name.
  client.subscribe("orders.*.*.created");
  // @ts-expect-error Nothing has such a name.
  client.subscribe("orders");
}

export function callbacks() {
  client.subscribe("orders.*.created", (event) => {
    holds<Same<typeof event.payload, Created>>();
    holds<Same<typeof event.name, string>>();
  });
  client.subscribe("orders.**", (event) => {
    if ("why" in event.payload) holds<Same<typeof event.payload, Cancelled>>();
  });
  // @ts-expect-error The payload has no such field.
  client.subscribe("news", (event) => event.payload.total);
}

export async function explicitly(pattern: string) {
  for await (const event of anything.subscribe<Created>("orders.*.created")) {
    holds<Same<typeof event.payload, Created>>();
  }
  anything.subscribe<Created>(pattern, (event) => holds<Same<typeof event.payload, Created>>());
  client.subscribe<Created>(pattern, (event) => holds<Same<typeof event.payload, Created>>());
  // @ts-expect-error The compiler does not know which events a text that is not known means.
  client.subscribe(pattern);
  anything.subscribe(pattern, (event) => event.payload.whatever);
  void anything.publish(pattern, { any: "thing" });
}

export async function collections() {
  type Todo = { title: string; done: boolean; votes: number; by?: { name: string; age: number } };
  const todos = anything.collection<Todo>("todos");
  todos.insert("tea", { title: "Make tea", done: false, votes: 0 });
  todos.update("tea", { done: true });
  todos.update("tea", { by: { age: 3 } });
  todos.update("tea", { by: null });
  todos.update("tea", (todo) => {
    todo.done = true;
  });
  todos.increment("tea", "votes");
  holds<Same<ReturnType<typeof todos.get>, Readonly<Todo> | undefined>>();
  todos.view({ where: (todo) => !todo.done, sortBy: "title", limit: 10 });
  todos.batch((writes) => writes.delete("tea"));
  // @ts-expect-error Fields are missing.
  todos.insert("tea", { title: "Make tea" });
  // @ts-expect-error There is no such field.
  todos.update("tea", { titel: "Make tea" });
  // @ts-expect-error There is no such field.
  todos.increment("tea", "vote");
  // @ts-expect-error There is no such field.
  todos.view({ sortBy: "age" });
  // @ts-expect-error What is shown is changed by writes.
  todos.get("tea")!.done = true;
  await todos.insert("tea", { title: "", done: false, votes: 0 }).acknowledged;
}

export async function ends() {
  await using subscription = client.subscribe("news");
  for await (const { payload } of subscription) holds<Same<typeof payload, string>>();
}

export async function presence() {
  const there = await anything.join<{ name: string }>("people", { name: "Ann" });
  holds<Same<typeof there, Presence<{ name: string }>>>();
  await there.update({ name: "Anna" });
  there.members.subscribe(([first]) => first?.value.name);
  // @ts-expect-error Others could not see that.
  await there.update({ nick: "Ann" });
}
