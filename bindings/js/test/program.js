// The program tidings-server, as people run it.
import { execFile, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const program = process.env.SERVER_PROGRAM;

// Settings of who runs the tests are none of theirs.
const mine = Object.entries(process.env).filter(([name]) => !/^(TIDINGS_|RUST_LOG$)/.test(name));
const env = Object.fromEntries(mine);

function found() {
  if (!program) throw new Error("run this by bindings/js/check: it builds the server");
  return program;
}

// What `tidings-server schema` prints.
export async function printSchemas(...options) {
  return (await promisify(execFile)(found(), ["schema", ...options], { env })).stdout;
}

// Starts it on a free port; gives where it listens.
export const startProgram = (...options) => startProgramAt("127.0.0.1:0", ...options);

export async function startProgramAt(address, ...options) {
  const child = spawn(found(), ["--listen", address, ...options], {
    stdio: ["ignore", "ignore", "pipe"],
    env,
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const said = [];
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const address = line.match(/listening.* address=(\S+)/)?.[1];
      if (address) resolve(`http://${address}`);
    });
    void ended.then(() => reject(new Error(`the server has ended: ${said.join("\n")}`)));
  });
  return {
    url: await listening,
    async end() {
      child.kill("SIGTERM");
      await ended;
    },
    // Without a word to anybody.
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
