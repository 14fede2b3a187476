// Records which patterns of eventemitter2 (wildcard mode) match which names, for
// ../against_eventemitter2.rs. To record again, in an empty directory:
//   npm install eventemitter2@6.4.9 && node record-eventemitter2.mjs > eventemitter2.json
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.join(process.cwd(), 'package.json'));
const { EventEmitter2 } = require('eventemitter2');
const { version } = require('eventemitter2/package.json');

/** All sequences of 1 to `length` of these segments. */
function sequences(segments, length) {
  if (length === 0) return [];
  const shorter = sequences(segments, length - 1);
  const longest = shorter.filter((s) => s.split('.').length === length - 1);
  const base = length === 1 ? [''] : longest;
  return [...shorter, ...base.flatMap((s) => segments.map((x) => (s === '' ? x : `${s}.${x}`)))];
}

const names = sequences(['a', 'b'], 4);
const patterns = {};
for (const pattern of sequences(['a', 'b', '*', '**'], 4)) {
  const emitter = new EventEmitter2({ wildcard: true });
  let calls = 0;
  emitter.on(pattern, () => { calls += 1; });
  patterns[pattern] = names.map((name) => {
    calls = 0;
    emitter.emit(name);
    return calls;
  }).join('');
}
console.log(JSON.stringify({ version, names, patterns }, null, 0).replaceAll('","', '",\n"'));
