// A Socket.IO server on Node in a run of the harness: a member of a cluster with
// @socket.io/redis-adapter. What it does for clients is what src/process/application.rs does on
// Tidings. Arguments: HOST:PORT, and its settings as JSON. Ends when its standard input does.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createCluster } from "redis";
import { Server } from "socket.io";

const [listen, text] = process.argv.slice(2);
const { redis, adapter, mode: subscriptionMode, prefix, namespace } = JSON.parse(text);

const connect = () => {
  const cluster = createCluster({ rootNodes: redis.split(",").map((url) => ({ url })) });
  cluster.on("error", () => {});
  return cluster.connect();
};
const [publisher, subscriber] = await Promise.all([connect(), connect()]);
// When nothing is subscribed to on a node any more, the client (5.12) closes its connection there, and
// fails if two subscriptions end at once; these three, one for each master, do not end.
if (adapter === "sharded") {
  await Promise.all(["a", "b", "c"].map((channel) => subscriber.sSubscribe(channel, () => {})));
}

const http = createServer((_, response) => response.end());
const io = new Server(http, {
  adapter:
    adapter === "sharded"
      ? createShardedAdapter(publisher, subscriber, { channelPrefix: prefix, subscriptionMode })
      : createAdapter(publisher, subscriber, { key: prefix }),
});
io.of(namespace).on("connection", (socket) => {
  socket.on("join", async (room, done) => {
    await socket.join(room);
    done();
  });
  socket.on("publish", (room, payload, done) => {
    io.of(namespace).to(room).emit(room, payload);
    done();
  });
});

const [host, port] = listen.split(":");
http.listen(Number(port), host, () => console.log(`listening on ${host}:${http.address().port}`));
process.once("SIGTERM", () => io.close(() => process.exit()));
process.stdin.on("end", () => process.exit()).resume();
