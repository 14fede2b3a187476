// Scenarios in a page: whoever opens it gives it `please`.
import * as tidings from "@tidings/client";
import { run } from "./run.js";

globalThis.run = (scenario, by) => run(tidings, globalThis.please, scenario, by);
globalThis.ready = true;
