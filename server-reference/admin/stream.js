// Events as they come, by Server-Sent Events. `EventSource` cannot send a token, so they are read by `fetch`.
import { request } from "./api.js";

const RETRY = { least: 500, most: 10_000 };

const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

// Reads until `signal` aborts, and connects again when the stream ends, from the event that came last.
// `take` gets the kind and the data (a text) of each message; `status` gets `open`, or an error and whether
// it is final.
export async function follow(path, query, { take, status, signal }) {
  const place = { last: "" };
  let wait = RETRY.least;
  while (!signal.aborted) {
    let failed;
    try {
      const headers = { Accept: "text/event-stream" };
      if (place.last) headers["Last-Event-ID"] = place.last;
      const response = await request(path, { query, headers, signal });
      status("open");
      wait = RETRY.least;
      await read(response.body, place, take);
      failed = new Error("the stream has ended");
    } catch (error) {
      failed = error;
    }
    if (signal.aborted) return;
    // What the server has understood and refused, it will refuse again.
    const final = failed.status >= 400 && failed.status < 500 && failed.status !== 429;
    status(failed, final);
    if (final) return;
    await pause(wait * (0.5 + Math.random()), signal);
    wait = Math.min(wait * 2, RETRY.most);
  }
}

async function read(body, place, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let message = { kind: "message", data: [] };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line !== "") {
        addLine(line, message);
        continue;
      }
      if (message.id !== undefined) place.last = message.id;
      if (message.data.length > 0) take(message.kind, message.data.join("\n"));
      message = { kind: "message", data: [] };
    }
  }
}

function addLine(line, message) {
  const colon = line.indexOf(":");
  if (colon === 0) return;
  const field = colon < 0 ? line : line.slice(0, colon);
  const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
  if (field === "data") message.data.push(value);
  else if (field === "event") message.kind = value;
  else if (field === "id") message.id = value;
}
