/** Arguments as they should be; what they are instead is told. */
import { TidingsError } from "./error.js";

function bad(what: string, should: string, is: unknown): TidingsError {
  return new TidingsError("bad-argument", `${what} should be ${should}, not ${shown(is)}`);
}

function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (value === null || typeof value !== "object") return String(value);
  return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "Object"})`;
}

export function text(what: string, value: unknown): string {
  if (typeof value !== "string" || value === "") throw bad(what, "a text that is not empty", value);
  return value;
}

export function callback(what: string, value: unknown): void {
  if (typeof value !== "function") throw bad(what, "a function", value);
}

/** A whole number that is not less than `least`, if it is there. */
export function count(what: string, value: unknown, least = 0): number | undefined {
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    throw bad(what, `a whole number, ${least} or more`, value);
  }
  return value as number;
}

/** Milliseconds, if they are there. */
export function time(what: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  // As many as a timer can wait for.
  if (typeof value !== "number" || !(value >= 0 && value < 2 ** 31)) {
    throw bad(what, "milliseconds, 0 to 2,147,483,647", value);
  }
  return Math.ceil(value);
}

export function oneOf<W extends string>(
  what: string,
  value: unknown,
  words: readonly W[],
): W | undefined {
  if (value === undefined) return undefined;
  if (!words.includes(value as W)) {
    throw bad(what, words.map((word) => JSON.stringify(word)).join(" or "), value);
  }
  return value as W;
}

export function options(what: string, value: unknown): void {
  if (value !== undefined && (value === null || typeof value !== "object")) {
    throw bad(what, "an object", value);
  }
}

export function signal(value: unknown): void {
  if (value !== undefined && !(value instanceof AbortSignal)) {
    throw bad("signal", "an AbortSignal", value);
  }
}

/** The JSON of a value that has one. */
export function json(what: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TidingsError("bad-argument", `${what} cannot be written as JSON: ${why}`, { cause });
  }
  if (text === undefined) throw bad(what, "something that JSON can say (null for nothing)", value);
  return text;
}

export function bytes(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  return undefined;
}

/** The base URL of a server, from what a page may have written. */
export function serverUrl(value: unknown): string {
  const base = typeof location === "undefined" ? undefined : location.href;
  let url: URL;
  try {
    url = new URL(value as string, base);
  } catch {
    throw bad("the URL", "that of a server, as https://example.com", value);
  }
  if (!/^(https?|wss?):$/.test(url.protocol) || url.host === "") {
    throw bad("the URL", "that of a server: http, https, ws or wss, and a host", value);
  }
  return url.href;
}

export function header(key: string, value: unknown): void {
  if (typeof value !== "string") throw bad(`the header ${JSON.stringify(key)}`, "a text", value);
}
