// A network between clients and a server that can be cut: without a goodbye, as real ones are.
import { connect, createServer } from "node:net";

export async function network(to) {
  const { hostname, port } = new URL(to);
  const sockets = new Set();
  let isOpen = true;
  const server = createServer((near) => {
    if (!isOpen) return near.destroy();
    const far = connect(Number(port), hostname);
    for (const [from, to] of [[near, far], [far, near]]) {
      sockets.add(from);
      from.on("error", () => undefined);
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    // Lets no other connection through until it is plugged again; those that are there go on.
    refuse() {
      isOpen = false;
    },
    unplug() {
      this.refuse();
      this.cut();
    },
    plug() {
      isOpen = true;
    },
    close() {
      this.cut();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}
