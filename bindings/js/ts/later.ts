/** Parts of the package in files of their own, which are loaded when somebody needs them. */
import { TidingsError } from "./error.js";

/** Browsers try a file that has failed again the next time it is imported. */
export function later<Part>(file: string, loading: Promise<Part>): Promise<Part> {
  return loading.catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TidingsError(
      "load-failed",
      `a part of the package could not be loaded (${why}): ${file} has to be beside its index.js`,
      { cause, retryable: true },
    );
  });
}
