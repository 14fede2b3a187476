import { useState } from "react";
import {
  hooks,
  useCollection,
  useConflicts,
  usePending,
  useRecord,
  useStatus,
  useView,
} from "@tidings/client/react";
import { isOpen } from "./todo.js";
import type { Events, Todo } from "./todo.js";

const { useLatest, useRecent } = hooks<Events>();

export function App() {
  const [shown, show] = useState(true);
  return (
    <>
      <p id="status">{useStatus().state}</p>
      <button id="toggle" onClick={() => show(!shown)} />
      {shown && <Todos />}
    </>
  );
}

function Todos() {
  const todos = useCollection<Todo>("todos");
  const open = useView(todos, { where: isOpen, sortBy: "title" });
  const tea = useRecord(todos, "tea");
  const news = useRecent("news.*", { limit: 2 });
  const latest = useLatest("news.*");
  return (
    <>
      <ul id="todos">
        {open.map(({ key, value }) => (
          <li key={key}>
            <button id={key} onClick={() => todos?.update(key, { done: true })}>
              {value.title}
            </button>
          </li>
        ))}
      </ul>
      <p id="one">{tea?.value.title}</p>
      <p id="latest">{latest?.payload}</p>
      <p id="news">{news.map((event) => event.payload).join(" ")}</p>
      <p id="pending">{usePending(todos)}</p>
      <p id="conflicts">{useConflicts(todos).length}</p>
    </>
  );
}
