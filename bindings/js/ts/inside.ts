/**
 * What files that are loaded later, each by itself, have of the scripts that were there before: numbers
 * and receivers, of which there is one set in a page.
 */
type Messages = Pick<typeof import("./messages.js"), "binary" | "forget" | "receive">;

export let binary: Messages["binary"];
export let forget: Messages["forget"];
export let receive: Messages["receive"];

/** The first thing that such a file is told. */
export function begin(messages: Messages): void {
  ({ binary, forget, receive } = messages);
}

export type { Messages };
