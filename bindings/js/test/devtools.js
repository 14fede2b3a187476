// Chromium by its own protocol. Playwright keeps every page in the foreground, so that none is ever
// really hidden.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export async function chromiumAlone(executable, args = []) {
  const profile = await mkdtemp(join(tmpdir(), "tidings-chromium-"));
  const child = spawn(
    executable,
    [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--remote-debugging-port=0",
      `--user-data-dir=${profile}`,
      ...args,
      "about:blank",
    ],
    // With its processes in a group of their own, to be stopped together.
    { stdio: ["ignore", "ignore", "pipe"], detached: true },
  );
  const ended = new Promise((resolve) => child.once("exit", resolve));
  let endpoint;
  for await (const line of createInterface({ input: child.stderr })) {
    endpoint = /DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (endpoint) break;
  }
  if (!endpoint) throw new Error(`${executable} has ended before it could be spoken with`);
  child.stderr.resume();
  const socket = new WebSocket(endpoint);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("Chromium does not answer"));
  });
  const waiting = new Map();
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    const { resolve, reject } = waiting.get(id) ?? {};
    waiting.delete(id);
    if (error) reject?.(new Error(error.message));
    else resolve?.(result);
  };
  let last = 0;
  const send = (method, params = {}, sessionId = undefined) =>
    new Promise((resolve, reject) => {
      last += 1;
      waiting.set(last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    });

  return {
    // A tab of the one window, in front of the others.
    async open(url) {
      const { targetId } = await send("Target.createTarget", { url });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      return {
        toFront: () => send("Target.activateTarget", { targetId }),
        goTo: (url) => send("Page.navigate", { url }, sessionId),
        // `frozen`, in which nothing of it runs, or `active`.
        become: (state) => send("Page.setWebLifecycleState", { state }, sessionId),
        async evaluate(expression) {
          const params = { expression, awaitPromise: true, returnByValue: true };
          const { result, exceptionDetails } = await send("Runtime.evaluate", params, sessionId);
          if (exceptionDetails) {
            throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
          }
          return result.value;
        },
        async until(expression) {
          while (!(await this.evaluate(expression))) {
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        },
      };
    },
    // As when the machine sleeps: nothing of it runs, and nobody is told.
    sleep: () => process.kill(-child.pid, "SIGSTOP"),
    wake: () => process.kill(-child.pid, "SIGCONT"),
    async close() {
      await send("Browser.close");
      await ended;
      await rm(profile, { recursive: true, maxRetries: 5 });
    },
  };
}
