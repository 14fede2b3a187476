// Checks in the page itself, and in a worker of its own.
import { run } from "./run.js";

globalThis.check = (name, url) => run(name, url, globalThis.please);

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });

globalThis.checkInWorker = (name, url) =>
  new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = async ({ data }) => {
      if (data.please) worker.postMessage({ done: await globalThis.please(data.please) });
      else if (data.error) reject(new Error(data.error));
      else resolve();
    };
    worker.postMessage({ name, url });
  });

globalThis.ready = true;
