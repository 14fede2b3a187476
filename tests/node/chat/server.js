// A chat with rooms, as Socket.IO's own users write it. The same on Tidings is
// server-reference/examples/chat.rs; docs/migrating-from-socketio.md has both side by side.
import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);
const chat = io.of("/chat");

chat.use((socket, next) => {
  const { name } = socket.handshake.auth;
  if (typeof name === "string" && name !== "") {
    socket.data.name = name;
    return next();
  }
  const refusal = new Error("a name is needed");
  refusal.data = { code: "NO_NAME" };
  next(refusal);
});

chat.on("connection", (socket) => {
  const { name } = socket.data;

  socket.on("join", async (room, answer) => {
    await socket.join(room);
    socket.to(room).emit("joined", { room, name });
    const members = await chat.in(room).fetchSockets();
    answer(members.map((member) => member.data.name).sort());
  });

  socket.on("message", (room, text, answer) => {
    if (!socket.rooms.has(room)) return answer({ error: "join the room first" });
    chat.to(room).emit("message", { room, name, text });
    answer({ ok: true });
  });

  socket.on("typing", (room) => {
    socket.volatile.to(room).emit("typing", { room, name });
  });

  socket.on("vote", (room, question, answer) => {
    socket.to(room).timeout(5000).emit("vote", question, (_, votes) => answer(votes));
  });

  socket.on("disconnecting", () => {
    for (const room of socket.rooms) {
      socket.to(room).emit("left", { room, name });
    }
  });
});

const [host, port] = (process.argv[2] ?? "127.0.0.1:3000").split(":");
http.listen(Number(port), host, () => {
  console.log(`listening on http://${host}:${http.address().port}`);
});
