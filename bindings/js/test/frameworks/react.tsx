import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "@tidings/client";
import { TidingsProvider } from "@tidings/client/react";
import { App } from "./react-app.js";
import type { Events, Mounted } from "./todo.js";

export function mount(element: HTMLElement, url: string): Mounted {
  const root = createRoot(element);
  root.render(
    <StrictMode>
      <TidingsProvider client={() => connect<Events>(url)}>
        <App />
      </TidingsProvider>
    </StrictMode>,
  );
  return { unmount: () => root.unmount() };
}
