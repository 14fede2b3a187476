// Samples of what an emit costs in eventemitter2 (wildcard mode), in nanoseconds, with the workloads
// of ../workloads/mod.rs. `run` beside it installs the package and calls it.
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.cwd(), 'package.json'));
const { EventEmitter2 } = require('eventemitter2');

const range = (size, pattern) => Array.from({ length: size }, (_, i) => pattern(i));
const literal = (size) => range(size, (i) => `app.e${i}.k${i}`);
const mixed = (i) => [`app.*.k${i}`, `app.e${i}.**`, `app.e${i}.k${i}`][i % 3];
const middle = (size) => `app.e${size / 2}.k${size / 2}`;
const workloads = [
  ['literal', literal, middle, 1],
  ['app.*.k', (size) => range(size, (i) => `app.*.k${i}`), middle, 1],
  ['app.e.**', (size) => range(size, (i) => `app.e${i}.**`), middle, 1],
  ['mixed', (size) => range(size, mixed), middle, 1],
  ['four matching', (size) => {
    const i = size / 2;
    return [...literal(size - 3), `app.*.k${i}`, `app.e${i}.**`, `**.k${i}`];
  }, middle, 4],
  ['rooms.N.*', (size) => range(size, (i) => `rooms.${i}.*`), (size) => `rooms.${size / 2}.message`, 1],
];

const results = {};
for (const [title, patterns, name, matching] of workloads) {
  for (const size of [10, 1_000, 10_000]) {
    const emitter = new EventEmitter2({ wildcard: true, maxListeners: 0 });
    let calls = 0;
    for (const pattern of patterns(size)) emitter.on(pattern, () => { calls += 1; });
    const event = name(size);
    const payload = {};
    emitter.emit(event, payload);
    if (calls !== matching) throw new Error(`${title}: ${calls} calls instead of ${matching}`);
    for (let i = 0; i < 200_000; i += 1) emitter.emit(event, payload);
    const rounds = 2_000;
    const times = [];
    for (let sample = 0; sample < 500; sample += 1) {
      const start = process.hrtime.bigint();
      for (let i = 0; i < rounds; i += 1) emitter.emit(event, payload);
      times.push(Number(process.hrtime.bigint() - start) / rounds);
    }
    results[`${title}/${size}`] = times;
  }
}
console.log(JSON.stringify(results));
