import "@angular/compiler"; // components are compiled in the page
import { Component, inject, provideZonelessChangeDetection, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";
import { connect } from "@tidings/client";
import { provideTidings, Tidings } from "@tidings/client/angular";
import { isOpen } from "./todo.js";
import type { Events, Mounted, Todo } from "./todo.js";

@Component({
  selector: "app-todos",
  template: `
    <ul id="todos">
      @for (todo of open(); track todo.key) {
        <li>
          <button [id]="todo.key" (click)="todos?.update(todo.key, { done: true })">{{ todo.value.title }}</button>
        </li>
      }
    </ul>
    <p id="one">{{ tea()?.value?.title }}</p>
    <p id="latest">{{ latest()?.payload }}</p>
    <p id="news">{{ texts() }}</p>
    <p id="pending">{{ pending() }}</p>
    <p id="conflicts">{{ conflicts().length }}</p>
  `,
})
class Todos {
  tidings = inject(Tidings<Events>);
  todos = this.tidings.collection<Todo>("todos");
  open = this.tidings.view(this.todos, () => ({ where: isOpen, sortBy: "title" }));
  tea = this.tidings.record(this.todos, signal("tea"));
  news = this.tidings.recent("news.*", { limit: 2 });
  latest = this.tidings.latest("news.*");
  pending = this.tidings.pending(this.todos);
  conflicts = this.tidings.conflicts(this.todos);
  texts() {
    return this.news()
      .map((event) => event.payload)
      .join(" ");
  }
}

@Component({
  selector: "app-root",
  imports: [Todos],
  template: `
    <p id="status">{{ tidings.status().state }}</p>
    <button id="toggle" (click)="shown.set(!shown())"></button>
    @if (shown()) {
      <app-todos />
    }
  `,
})
class App {
  tidings = inject(Tidings<Events>);
  shown = signal(true);
}

export async function mount(element: HTMLElement, url: string): Promise<Mounted> {
  element.append(document.createElement("app-root"));
  const application = await bootstrapApplication(App, {
    providers: [provideZonelessChangeDetection(), provideTidings(() => connect<Events>(url))],
  });
  return { unmount: () => application.destroy() };
}
