// Checks in a web worker. What has to be done to the server the page does.
import { run } from "./run.js";

let done;

const please = (what) =>
  new Promise((resolve) => {
    done = resolve;
    postMessage({ please: what });
  });

onmessage = async ({ data }) => {
  if (!data.name) return done();
  try {
    await run(data.name, data.url, please);
    postMessage({});
  } catch (error) {
    postMessage({ error: error.stack ?? String(error) });
  }
};
