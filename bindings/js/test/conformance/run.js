// Runs scenarios of tests/conformance, whose README.md says what each step does. Nothing of Node or of pages is
// used here.
import { collections } from "./collections.js";
import { connection } from "./connection.js";
import { events } from "./events.js";
import { presence } from "./presence.js";
import { World, fail, nothing } from "./world.js";

const steps = { ...connection, ...events, ...collections, ...presence };

async function take(world, list) {
  if (!(list?.length > 0)) fail("it has no steps");
  for (const step of list) {
    const { do: what, ...members } = step;
    try {
      if (what === "repeat") await repeat(world, members);
      else if (Object.hasOwn(steps, what)) await steps[what](world, members);
      else fail(`nobody knows the step ${what}`);
    } catch (error) {
      error.message += `\n  in ${JSON.stringify(step).slice(0, 300)}`;
      throw error;
    }
  }
}

async function repeat(world, { times, steps, ...others }) {
  nothing(others);
  for (let time = 0; time < times; time += 1) await take(world, steps);
}

/** All names of steps, to see that each is used. */
export const known = [...Object.keys(steps), "repeat"];

/**
 * Runs a scenario by a transport; `please` does to the server and its networks what a page cannot, and the
 * server is a fresh one.
 */
export async function run({ connect }, please, scenario, by) {
  const { name, steps: list, by: all, wrong, ...others } = scenario;
  nothing(others);
  const world = new World(connect, please, by);
  try {
    await take(world, list);
    await world.ends();
  } finally {
    await world.close();
  }
}
