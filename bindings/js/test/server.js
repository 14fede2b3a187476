// A real server, which can be stopped and started again.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

const program = process.env.TIDINGS_TEST_SERVER;

export async function startServer() {
  if (!program) throw new Error("run this by bindings/js/check: it builds the server");
  const child = spawn(program, { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error("the server has ended");
    return value;
  };
  const url = await line();
  let last = Promise.resolve();
  return {
    url,
    // `stop`, `start` or `restart`; one after the other.
    please(what) {
      last = last.then(async () => {
        child.stdin.write(`${what}\n`);
        await line();
      });
      return last;
    },
    async end() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin.end();
      await ended;
    },
  };
}
