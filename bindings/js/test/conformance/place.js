// A server with nothing in it, and a network to it for each client.
import { network } from "../proxy.js";
import { startServer } from "../server.js";

export async function startPlace() {
  const server = await startServer();
  const cables = new Map();
  const away = async () => {
    await Promise.all([...cables.values()].map((cable) => cable.close()));
    cables.clear();
  };
  return {
    async fresh() {
      await away();
      await server.please("restart");
    },
    // What the steps of a scenario want done.
    async please(what, client) {
      if (what === "stop" || what === "start") return server.please(what);
      if (what === "cable") {
        if (!cables.has(client)) cables.set(client, await network(server.url));
        return cables.get(client).url;
      }
      cables.get(client)[what]();
    },
    async end() {
      await away();
      await server.end();
    },
  };
}
