/** The WebAssembly module: what it can do, and how it is loaded. `src/` says what each function does. */
import init, * as module from "#module";
import { TidingsError } from "./error.js";
import type { ConnectOptions } from "./types.js";

export type Core = Omit<typeof module, "default" | "initSync">;

/** The file beside the package's scripts that the module is in: `build` puts its name in. */
declare const MODULE_FILE: string;

export type WasmSource = ConnectOptions["wasm"];

let loading: Promise<Core> | undefined;

/** Loads the module, once for all clients. What fails is tried again the next time. */
export function load(source: WasmSource, wake: () => void): Promise<Core> {
  loading ??= instantiate(source).then(
    () => {
      module.start(wake);
      return module;
    },
    (cause: unknown) => {
      loading = undefined;
      throw new TidingsError(
        "load-failed",
        `the module could not be loaded (${text(cause)}): ${MODULE_FILE} has to be beside ` +
          "index.js, or option `wasm` say where",
        { cause, retryable: true },
      );
    },
  );
  return loading;
}

async function instantiate(source: WasmSource): Promise<void> {
  source ??= new URL(MODULE_FILE, import.meta.url);
  if (typeof source === "string") source = new URL(source, import.meta.url);
  // Node fetches no files.
  if (source instanceof URL && source.protocol === "file:") source = await file(source);
  await init({ module_or_path: source });
}

async function file(url: URL): Promise<BufferSource> {
  // Bundlers for browsers are not to look for it.
  const name = ["node:fs", "promises"].join("/");
  const { readFile } = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
  return readFile(url);
}

function text(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
