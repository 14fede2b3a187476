// Prints eventemitter2's samples beside criterion's: compare.mjs SAMPLES.json CRITERION_HOME
import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';

const [, , samples, criterion] = process.argv;
const theirs = JSON.parse(readFileSync(samples, 'utf8'));

/** Criterion's samples by the benchmark's full id. */
const ours = {};
for (const file of readdirSync(criterion, { recursive: true })) {
  if (!file.endsWith(path.join('new', 'benchmark.json'))) continue;
  const folder = path.join(criterion, path.dirname(file));
  const { full_id: id } = JSON.parse(readFileSync(path.join(folder, 'benchmark.json'), 'utf8'));
  const { iters, times } = JSON.parse(readFileSync(path.join(folder, 'sample.json'), 'utf8'));
  ours[id] = times.map((time, i) => time / iters[i]);
}

const row = (...cells) => console.log(cells.map((cell) => String(cell).padStart(14)).join(' '));
const fastest = (times) => Math.min(...times);
const median = (times) => [...times].sort((a, b) => a - b)[Math.floor(times.length / 2)];
console.log('ns per emit, fastest sample and median');
row('', 'listeners', 'eventemitter2', 'median', 'bus', 'median', 'ratio', 'of medians');
for (const [id, them] of Object.entries(theirs)) {
  const us = ours[`bus_emit/${id}`];
  const [title, size] = id.split('/');
  const cells = [fastest(them), median(them), fastest(us), median(us)].map((ns) => ns.toFixed(0));
  const ratios = [fastest(them) / fastest(us), median(them) / median(us)];
  row(title, size, ...cells, ...ratios.map((ratio) => ratio.toFixed(1)));
}
