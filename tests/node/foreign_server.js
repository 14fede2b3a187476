// A plain Socket.IO server for the tests of the SDK's client: knows nothing of Tidings.
// Arguments: the package to use, then options as JSON: those of the server, and
//   port            the port to listen on (0)
//   blockWebSocket  tear every WebSocket down, as some proxies do
//   msgpack         use socket.io-msgpack-parser
// Writes the port as its first line. Ends when its standard input does.
import { createServer } from "node:http";

const [name, json] = process.argv.slice(2);
const { Server } = await import(name);
const { port = 0, blockWebSocket, msgpack, ...options } = JSON.parse(json ?? "{}");
if (msgpack) options.parser = (await import("socket.io-msgpack-parser")).default;

const http = createServer((request, response) => response.writeHead(404).end());
const io = new Server(http, { pingInterval: 300, pingTimeout: 20_000, ...options });
if (blockWebSocket) {
  http.removeAllListeners("upgrade");
  http.on("upgrade", (_, socket) => socket.destroy());
}

const serve = (socket) => {
  const last = (args) => typeof args.at(-1) === "function";
  // Answers with its arguments: as an acknowledgement if one is wanted, otherwise as an event.
  socket.on("echo", (...args) => {
    if (last(args)) args.pop()(...args);
    else socket.emit("echoed", ...args);
  });
  socket.on("who", (ack) => {
    const { handshake, id, recovered, conn } = socket;
    ack({
      id,
      recovered: recovered ?? false,
      auth: handshake.auth,
      query: handshake.query,
      header: handshake.headers["x-test"],
      transport: conn.transport.name,
    });
  });
  // Asks with an acknowledgement and tells what was answered.
  socket.on("ask me", (question) => {
    socket.timeout(5000).emit("question", question, (error, ...answer) => {
      socket.emit("answered", error?.message ?? null, ...answer);
    });
  });
  socket.on("count", (n) => {
    for (let i = 1; i <= n; i++) socket.emit("n", i);
  });
  socket.on("emit", (event, ...args) => socket.emit(event, ...args));
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack();
  });
  // Cuts the client off and goes on speaking to its room.
  socket.on("cut", (room, n) => {
    socket.conn.close();
    for (let i = 1; i <= n; i++) socket.nsp.to(room).emit("missed", i);
  });
  socket.on("kick", () => socket.disconnect());
  // Acknowledges each number only the second time it comes.
  const seen = new Set();
  socket.on("at the second try", (n, ack) => {
    if (seen.has(n)) ack(n);
    seen.add(n);
  });
  socket.on("heard", (ack) => ack([...numbers]));
  socket.on("number", (n) => numbers.push(n));
};

const numbers = [];
io.on("connection", serve);
io.of("/chat").on("connection", serve);
io.of("/members")
  .use((socket, next) => {
    if (socket.handshake.auth.token === "good") return next();
    const error = new Error("not authorized");
    error.data = { content: "sign in first", attempt: socket.handshake.auth.attempt ?? null };
    next(error);
  })
  .on("connection", serve);

http.listen(port, "127.0.0.1", () => console.log(http.address().port));
process.stdin.on("end", () => process.exit()).resume();
