// Runs a check where it is imported: in a page or in a worker, bundled or not.
import * as tidings from "@tidings/client";
import { checks } from "../checks.js";

const reported = [];
globalThis.addEventListener("error", (event) => {
  // Not told to the page by a worker, or to whoever drives the page.
  event.preventDefault();
  reported.push(event.error?.message);
});

async function until(is) {
  while (!is()) await new Promise((resolve) => setTimeout(resolve, 5));
}

export async function run(name, url) {
  await checks[name]({ ...tidings, url, until, reported: () => reported.splice(0) });
  if (reported.length > 0) throw new Error("reported: " + reported.join());
}
