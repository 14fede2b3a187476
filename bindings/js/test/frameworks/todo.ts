/** What all three applications show: the list of what is to do, the news, how the connection is. */
export interface Todo {
  title: string;
  done: boolean;
}

export interface Events {
  "news.*": string;
}

/** What a test calls in the page. */
export interface Mounted {
  unmount(): void;
}

export const isOpen = (todo: Readonly<Todo>) => !todo.done;
