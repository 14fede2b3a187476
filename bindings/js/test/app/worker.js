// Checks in a web worker.
import { run } from "./run.js";

onmessage = async ({ data }) => {
  try {
    await run(data.name, data.url);
    postMessage({});
  } catch (error) {
    postMessage({ error: error.stack ?? String(error) });
  }
};
