// A typed client: what `tsc` accepts here must also work against the server. Where an error is
// expected, the types must catch a mistake.
import { io, type Socket } from "socket.io-client";

interface ServerToClientEvents {
  news: (title: string, tags: string[]) => void;
  question: (n: number, answer: (reply: number) => void) => void;
  "orders.eu.created": (order: Order) => void;
}

interface ClientToServerEvents {
  subscribe: (pattern: string, answer: (reply: Answer) => void) => void;
  publish: <T>(name: string, payload: T, answer: (reply: Answer) => void) => void;
  echo: (text: string, answer: (reply: string) => void) => void;
  "ask me": (n: number, answer: (reply: number) => void) => void;
}

interface Order {
  id: number;
  lines: { article: string; amount: number }[];
}

type Answer =
  | { ok: true; id?: number; lane?: number; offset?: number }
  | { ok: false; error: { code: number; message: string } };

const url: string = process.argv[2] ?? "http://127.0.0.1:9000";
const socket: Socket<ServerToClientEvents, ClientToServerEvents> = io(url, { forceNew: true });

function mustBe(condition: boolean, what: string): asserts condition {
  if (!condition) {
    console.log(`FAILED: ${what}`);
    process.exit(1);
  }
}

setTimeout(() => mustBe(false, "it hangs"), 60_000).unref();

// @ts-expect-error: no such event
const unknown = () => socket.emit("subscrbe", "orders.*.created");
// @ts-expect-error: a number is no text
const wrong = () => socket.emit("echo", 7, () => {});
// @ts-expect-error: the server sends an order
const misread = () => socket.on("orders.eu.created", (order: string) => order);
void [unknown, wrong, misread];

const order: Order = { id: 7, lines: [{ article: "tea", amount: 2 }] };
const received = new Promise<Order>((resolve) => socket.on("orders.eu.created", resolve));
socket.on("question", (n, answer) => answer(n * 2));

const subscribed: Answer = await socket.emitWithAck("subscribe", "orders.*.created");
mustBe(subscribed.ok, "subscribes");
const published: Answer = await socket.emitWithAck("publish", "orders.eu.created", order);
mustBe(published.ok && published.offset !== undefined, "publishes");
const { id, lines } = await received;
mustBe(id === 7 && lines[0]?.amount === 2, "receives");
const echoed: string = await socket.timeout(60_000).emitWithAck("echo", "hello");
mustBe(echoed.toUpperCase() === "HELLO", "asks");
const doubled: number = await socket.emitWithAck("ask me", 21);
mustBe(doubled === 42, "is asked");
socket.disconnect();
console.log("done");
