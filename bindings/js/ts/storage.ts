import type { Core } from "./core.js";
import type { Storage } from "./types.js";

/** What the module asks of a storage: the question, what to do, with which name, where the bytes are. */
export type StorageQuestion = [question: number, what: string, name: string, place?: number];

/** Has a storage do what the module asks, and tells it what has become of that. */
export async function answerStorage(
  core: Core,
  storage: Storage,
  [question, what, name, place]: StorageQuestion,
  binary: (place: number) => Uint8Array,
): Promise<void> {
  // The bytes are there only now.
  const content = place === undefined ? new Uint8Array() : binary(place);
  try {
    if (what === "read") {
      const kept = await storage.read(name);
      if (kept) core.answer_binary(question, kept);
      else core.answer(question, undefined);
    } else if (what === "setAside") {
      core.answer(question, JSON.stringify(await storage.setAside(name)));
    } else {
      await storage[what as "write" | "append"](name, content);
      core.answer(question, undefined);
    }
  } catch (error) {
    core.answer_failed(question, error instanceof Error ? error.message : String(error), true);
  }
}
