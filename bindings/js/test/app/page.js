// Checks in the page itself, and in a worker of its own.
import { run } from "./run.js";

globalThis.check = run;

const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });

globalThis.checkInWorker = (name, url) =>
  new Promise((resolve, reject) => {
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }) => (data.error ? reject(new Error(data.error)) : resolve());
    worker.postMessage({ name, url });
  });

globalThis.ready = true;
