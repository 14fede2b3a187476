// How a script talks with the test that runs it.
import { createInterface } from "node:readline";

const lines = createInterface({ input: process.stdin });
const waiting = [];
lines.on("line", (line) => waiting.shift()?.(line));

// Asks the test to do something, and waits until it has.
export function please(what) {
  console.log(`please ${what}`);
  return new Promise((resolve) => waiting.push(resolve));
}

// The last words of a script that has succeeded.
export function farewell() {
  lines.close();
  process.stdin.destroy();
  console.log("done");
}
