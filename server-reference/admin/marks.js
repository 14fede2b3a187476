// Marking a moment on all charts of everybody: a deploy.
import { call } from "./api.js";
import { byId, complain } from "./element.js";

let done = () => {};

export function askForMark(then) {
  done = then;
  const field = byId("mark-text");
  field.value = "";
  complain(field, undefined);
  byId("mark-dialog").showModal();
}

byId("mark-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("mark-text");
  if (field.value.trim() === "") return complain(field, "Say what happened, such as “v1.4.0”.");
  try {
    await call("websocket/marks", { method: "POST", body: JSON.stringify({ text: field.value }) });
    byId("mark-dialog").close();
    done();
  } catch (error) {
    complain(field, error.message);
  }
});

byId("mark-cancel").addEventListener("click", () => byId("mark-dialog").close());
