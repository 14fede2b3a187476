// A page that shows a collection, and counts what it receives.
import { connect } from "@tidings/client";

const url = new URLSearchParams(location.search).get("server");
const client = connect(url, { reconnect: { minDelay: 20, maxDelay: 200 } });
const todos = client.collection("todos");
const received = [];
const missed = [];

client.status.subscribe(({ state }) => {
  const status = document.querySelector("#status");
  status.textContent = state;
  status.className = state;
});
todos.view({ sortBy: "title" }).subscribe((entries) => {
  const items = entries.map(({ value, pending }) => {
    const item = document.createElement("li");
    item.textContent = `${value.title}: ${value.votes} votes`;
    item.className = pending ? "pending" : "";
    return item;
  });
  document.querySelector("#todos").replaceChildren(...items);
});
todos.conflicts.subscribe((conflicts) => {
  const told = conflicts.map(({ mine, theirs }) => `${theirs.title} had become ${mine.title}`);
  document.querySelector("#conflicts").textContent = told.join(", ");
});
const numbers = client.subscribe("numbers.**", ({ name, payload }) => received.push([name, payload]), {
  onMissed: (what) => missed.push(what),
});

const published = [];
const voted = [];

Object.assign(globalThis, {
  client,
  todos,
  received,
  missed,
  // Publishes numbers, a few at a time, and does not wait for them.
  async publish(name, count) {
    for (let n = 0; n < count; n += 1) {
      published.push(client.publish(`numbers.${name}`, n));
      if (n % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  },
  // Votes, one after the other, and does not wait for them.
  async vote(key, count) {
    for (let n = 0; n < count; n += 1) {
      voted.push(todos.increment(key, "votes").seen);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  },
  voted: () => Promise.all(voted.splice(0)).then((writes) => writes.length),
  acknowledged: () => Promise.all(published.splice(0)).then((positions) => positions.length),
  state: (state) =>
    new Promise((resolve) => client.status.subscribe((now) => now.state === state && resolve())),
});

await Promise.all([numbers.ready(), todos.loaded()]);
globalThis.ready = true;
