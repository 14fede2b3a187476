import { mount as mountComponent, unmount } from "svelte";
import { connect } from "@tidings/client";
import App from "./App.svelte";
import type { Events, Mounted } from "./todo.js";

export function mount(target: HTMLElement, url: string): Mounted {
  const client = connect<Events>(url);
  const app = mountComponent(App, { target, props: { client } });
  return {
    unmount() {
      void unmount(app);
      void client.close();
    },
  };
}
