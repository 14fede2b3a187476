// What the tests have a tab do.
import { connect } from "/index.js";

let client;
const received = [];
const acknowledged = [];
const failures = [];
let published = 0;
let publishing;

globalThis.tab = {
  open(url, name, options) {
    client = connect(url, { tabs: true, reconnect: { minDelay: 20, maxDelay: 200 }, ...options });
    globalThis.client = client;
    globalThis.statuses = [];
    client.status.subscribe((status) => globalThis.statuses.push(status));
    globalThis.name = name;
  },
  ready: () => client.ready(),
  status: () => client.status.get(),
  statuses: () => globalThis.statuses,
  stats: () => client.stats(),
  async subscribe(pattern) {
    const subscription = client.subscribe(
      pattern,
      (event) => received.push([event.name, event.payload]),
      { onMissed: (missed) => received.push(["missed", missed]) },
    );
    await subscription.ready();
  },
  received: () => received,
  count: () => received.length,
  async publish(name, payload) {
    return client.publish(name, payload);
  },
  async fails(name, payload) {
    try {
      await client.request(name, payload);
    } catch ({ code, message }) {
      return { code, message };
    }
    return undefined;
  },
  // Publishes numbers, one after the other without waiting, until it is told to stop.
  start(name, every) {
    // A worker's clock is not slower in a hidden tab.
    const tick = `setInterval(() => postMessage(0), ${every})`;
    publishing = new Worker(URL.createObjectURL(new Blob([tick])));
    publishing.onmessage = () => {
      const number = published++;
      client.publish(name, number).then(
        () => acknowledged.push(number),
        (error) => failures.push(`${number}: ${error.code}: ${error.message}`),
      );
    };
  },
  stop: () => publishing?.terminate(),
  // Does nothing else for so long.
  hang(time) {
    const end = Date.now() + time;
    while (Date.now() < end);
  },
  published: () => published,
  acknowledged: () => acknowledged,
  failures: () => failures,
  close: () => client.close(),

  // A collection that the browser keeps.
  async collect(name) {
    globalThis.collection = client.collection(name, { storage: "indexeddb" });
    await globalThis.collection.ready();
  },
  all: () => globalThis.collection.all().map(({ key, value }) => [key, value]),
  collectionStatus: () => globalThis.collection.status.get(),
  // Makes a write, and waits until it has come so far.
  async write(until, what, ...args) {
    await globalThis.collection[what](...args)[until];
  },
  settled: () => globalThis.collection.settled(),
  // All that is kept, by place: text of it.
  async kept() {
    const db = await new Promise((resolve) => {
      const request = indexedDB.open("tidings");
      request.onsuccess = () => resolve(request.result);
    });
    const store = db.transaction("kept").objectStore("kept");
    const [keys, values] = await Promise.all(
      [store.getAllKeys(), store.getAll()].map(
        (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result))),
      ),
    );
    db.close();
    const kept = {};
    keys.forEach(([place], at) => {
      kept[place] = (kept[place] ?? "") + new TextDecoder().decode(values[at]);
    });
    return kept;
  },
  async spoil(place) {
    const db = await new Promise((resolve) => {
      const request = indexedDB.open("tidings");
      request.onsuccess = () => resolve(request.result);
    });
    const transaction = db.transaction("kept", "readwrite");
    transaction.objectStore("kept").put(new TextEncoder().encode("no JSON\n"), [place, 0]);
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    db.close();
  },
};
