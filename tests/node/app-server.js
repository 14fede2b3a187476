// A Socket.IO application that uses what its server offers, for app.js to try. The same on Tidings
// is in tests/tests/socketio_clients/app.rs: what the script finds here, it must find there.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Server } = createRequire(import.meta.url)(process.argv[2] ?? "socket.io");
const parser =
  process.argv[3] === "msgpack"
    ? createRequire(import.meta.url)("socket.io-msgpack-parser")
    : undefined;

const http = createServer();
const io = new Server(http, {
  ...(parser && { parser }),
  connectionStateRecovery: { maxDisconnectionDuration: 60_000, skipMiddlewares: true },
});

io.on("connection", (socket) => {
  socket.emit("auth", socket.handshake.auth);
});

io.of(/^\/dynamic-\d+$/).on("connection", (socket) => {
  socket.emit("namespace", socket.nsp.name);
  socket.on("shout", (text) => socket.nsp.emit("shouted", text));
});

const app = io.of("/app");

app.use((socket, next) => {
  const { auth } = socket.handshake;
  if (auth.user === "mallory") {
    const refusal = new Error("not allowed");
    refusal.data = { code: 7, why: ["a", null] };
    return next(refusal);
  }
  socket.data.user = auth.user;
  next();
});

app.on("connection", (socket) => {
  const seen = [];
  socket.onAny((event, ...args) => {
    if (event !== "seen") seen.push([event, args.filter((arg) => typeof arg !== "function").length]);
  });
  const rooms = () => [...socket.rooms].filter((room) => room !== socket.id).sort();
  const choose = (operator, { to = [], except = [] }) => {
    if (to.length > 0) operator = operator.to(to);
    return except.length > 0 ? operator.except(except) : operator;
  };

  socket.on("who", (answer) => answer({ id: socket.id, user: socket.data.user, rooms: rooms() }));
  socket.on("seen", (answer) => answer(seen));
  socket.on("echo", (...args) => args.pop()(...args));
  socket.on("back", (...args) => socket.emit("back", ...args));
  socket.on("ask", (question, patience, answer) => {
    socket.timeout(patience).emit("question", question, (error, ...reply) => {
      answer(error ? "no answer" : reply);
    });
  });
  socket.on("join", async (rooms_, answer) => {
    await socket.join(rooms_);
    answer(rooms());
  });
  socket.on("leave", async (room, answer) => {
    await socket.leave(room);
    answer(rooms());
  });
  // Emits to the others, or to all of the namespace.
  socket.on("others", (where, args, answer) => {
    choose(socket.broadcast, where).emit(...args);
    answer("sent");
  });
  socket.on("all", (where, args, answer) => {
    choose(app, where).emit(...args);
    answer("sent");
  });
  socket.on("volatile", (n) => socket.volatile.emit("volatile", n));
  socket.on("collect", (where, patience, question, answer) => {
    choose(app, where)
      .timeout(patience)
      .emit("question", question, (error, replies) => answer(Boolean(error), replies));
  });
  socket.on("fetch", async (where, answer) => {
    const found = await choose(app, where).fetchSockets();
    answer(found.map(({ id, data, rooms }) => [id, data.user, [...rooms].length]));
  });
  socket.on("move", async (where, from, to, answer) => {
    choose(app, where).socketsJoin(to);
    choose(app, where).socketsLeave(from);
    answer("moved");
  });
  socket.on("dismiss", (where, close, answer) => {
    answer("dismissed");
    choose(app, where).disconnectSockets(close);
  });
  socket.on("quit", (close) => socket.disconnect(close));
  socket.on("disconnect", (reason) => app.to("watchers").emit("gone", socket.data.user, reason));
});

http.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${http.address().port}`));
