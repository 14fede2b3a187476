/** Tells of an error that nobody can be given: as the browser tells of one that nobody has caught. */
export function report(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else console.error(error);
}
