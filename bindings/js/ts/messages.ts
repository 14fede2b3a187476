/**
 * The numbers by which the page and the module speak of the same things, and what the module says
 * of them.
 */
import { TidingsError, type ErrorCode, type ErrorDetails } from "./error.js";
import { load, type Core, type WasmSource } from "./core.js";
import { report } from "./report.js";

/** Told what has become of the thing with a number. */
export type Receiver = (what: string, value: any) => void;

const receivers = new Map<number, Receiver>();
let last = 0;
let core: Core;

/** A number for something, of which `receiver` is told until it is forgotten. */
export function receive(receiver: Receiver): number {
  last += 1;
  receivers.set(last, receiver);
  return last;
}

export function forget(number: number): void {
  receivers.delete(number);
}

/** How many are told of something: for tests that look for leaks. */
export function receiving(): number {
  return receivers.size;
}

/** The module; it begins to speak when it is there. */
export async function loaded(source: WasmSource): Promise<Core> {
  core = await load(source, () => queueMicrotask(hear));
  return core;
}

/** Hears what the module has to say: in one text, which the browser reads at once. */
function hear(): void {
  const text = core.take();
  if (!text) return;
  const said = JSON.parse(text);
  for (let at = 0; at < said.length; at += 3) {
    try {
      receivers.get(said[at])?.(said[at + 1], said[at + 2]);
    } catch (error) {
      report(error);
    }
  }
}

/** The bytes of which the text that is being heard speaks. */
export function binary(place: number): Uint8Array {
  return core.binary(place);
}

/** An error as the module has told it. */
export function failure(told: { code: ErrorCode; message: string } & ErrorDetails): TidingsError {
  return new TidingsError(told.code, told.message, told);
}

/** What a function of the module has thrown: an error as text, unless something is broken. */
export function thrown(error: unknown): unknown {
  if (typeof error === "string") return failure(JSON.parse(error));
  return error instanceof TidingsError
    ? error
    : new TidingsError("internal", String(error), { cause: error });
}
