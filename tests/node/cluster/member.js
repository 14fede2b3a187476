// A Socket.IO server that is a member of a cluster, with @socket.io/redis-adapter on a Redis Cluster.
// The same on Tidings is tests/src/member.rs. Arguments: its name, the URLs of Redis with commas
// between them, the adapter (classic or sharded), the sharded adapter's mode, and the port (0).
// Ends when its standard input does.
import { createServer } from "node:http";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { Emitter } from "@socket.io/redis-emitter";
import { createCluster } from "redis";
import { Server } from "socket.io";

const [name, urls, kind, subscriptionMode = "dynamic", port = "0"] = process.argv.slice(2);

// What channels begin with; by default it is "socket.io".
const PREFIX = "mixed";

const redis = () => {
  const cluster = createCluster({ rootNodes: urls.split(",").map((url) => ({ url })) });
  cluster.on("error", () => {});
  return cluster.connect();
};
const [publisher, subscriber] = await Promise.all([redis(), redis()]);
const adapter =
  kind === "classic"
    ? createAdapter(publisher, subscriber, {
        key: PREFIX,
        publishOnSpecificResponseChannel: name.endsWith("2"),
      })
    : createShardedAdapter(publisher, subscriber, { channelPrefix: PREFIX, subscriptionMode });
// When nothing is subscribed to on a node any more, the client (5.12) closes its connection there, and
// fails if two subscriptions end at once; these three, one for each master, do not end.
if (kind === "sharded") {
  await Promise.all(["a", "b", "c"].map((channel) => subscriber.sSubscribe(channel, () => {})));
}
const rootEmitter = new Emitter(publisher, { key: PREFIX });
const emitter = rootEmitter.of("/app");

const http = createServer();
const app = new Server(http, { adapter }).of("/app");

// What other members have sent to this one.
const told = [];
app.on("tell", (...args) => told.push(args));
app.on("ask", (question, answer) => answer({ name, question }));
app.on("ask node", (_, answer) => answer(name));

const choose = (operator, { to = [], except = [], local, volatile }) => {
  if (to.length > 0) operator = operator.to(to);
  if (except.length > 0) operator = operator.except(except);
  if (local) operator = operator.local;
  return volatile ? operator.volatile : operator;
};

app.on("connection", (socket) => {
  socket.data = { name: socket.handshake.auth.name };
  socket.on("join", (room, done) => {
    socket.join(room);
    done();
  });
  socket.on("leave", (room, done) => {
    socket.leave(room);
    done();
  });
  socket.on("emit", (target, event, ...args) => {
    const done = args.pop();
    choose(app, target).emit(event, ...args);
    done();
  });
  socket.on("collect", (target, patience, question, done) => {
    choose(app, target)
      .timeout(patience)
      .emit("question", question, (error, answers) => done(error !== null, answers));
  });
  socket.on("fetch", async (target, done) => {
    try {
      const found = await choose(app, target).fetchSockets();
      done(false, found.map(({ id, rooms, data, handshake }) => ({
        id,
        rooms: [...rooms].filter((room) => room !== id).sort(),
        name: data.name,
        auth: handshake.auth.name,
      })));
    } catch {
      done(true, []);
    }
  });
  socket.on("whisper", async (name, question, done) => {
    const found = (await app.fetchSockets()).find(({ data }) => data.name === name);
    found.join(`whispered to ${name}`);
    done(await found.timeout(60_000).emitWithAck("question", question));
  });
  socket.on("hush", async (name, done) => {
    const found = (await app.fetchSockets()).find(({ data }) => data.name === name);
    found.emit("hush", name);
    found.leave(`whispered to ${name}`);
    done();
  });
  socket.on("bring", (target, room, done) => {
    choose(app, target).socketsJoin(room);
    done();
  });
  socket.on("take", (target, room, done) => {
    choose(app, target).socketsLeave(room);
    done();
  });
  socket.on("dismiss", (target, close, done) => {
    choose(app, target).disconnectSockets(close);
    done();
  });
  socket.on("rooms", async (done) => done([...(await app.adapter.allRooms())]));
  socket.on("tell others", (...args) => {
    const done = args.pop();
    app.serverSideEmit("tell", ...args);
    done();
  });
  socket.on("told", (done) => done(told));
  socket.on("ask others", async (event, question, done) => {
    try {
      done(false, await app.serverSideEmitWithAck(event, question));
    } catch (error) {
      done(true, error.responses);
    }
  });
  // What services without clients do.
  socket.on("emitter to all", (...args) => {
    const done = args.pop();
    rootEmitter.emit(...args);
    done();
  });
  socket.on("emitter", (what, target, ...args) => {
    const done = args.pop();
    choose(emitter, target)[what](...args);
    done();
  });
});

http.listen(Number(port), "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${http.address().port}`);
});
process.stdin.on("end", () => process.exit()).resume();
