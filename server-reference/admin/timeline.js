// The last minutes of all instances, as the server tells them.

// How many seconds are kept here.
export const KEPT = 600;

// For how many seconds the last value of an instance stands for the next: it looks every five when it has very
// many connections.
const STANDS = 7;

class Instance {
  at = [];
  columns = new Map();
  // What it was like last.
  now = undefined;

  take(stats) {
    this.now = stats;
    const { at, ...columns } = stats.history;
    const last = this.at.at(-1) ?? 0;
    const from = at.findIndex((second) => second > last);
    if (from < 0) return;
    this.at.push(...at.slice(from));
    for (const [name, values] of Object.entries(columns)) {
      const added = Array.isArray(values) ? values.slice(from) : Array(at.length - from).fill(values);
      const kept = this.columns.get(name) ?? Array(this.at.length - added.length).fill(0);
      kept.push(...added);
      this.columns.set(name, kept);
    }
    const extra = this.at.length - KEPT;
    if (extra > 0) {
      this.at.splice(0, extra);
      for (const values of this.columns.values()) values.splice(0, extra);
    }
  }

  // Which moment stands for each second from `from` to `to`; -1: none.
  rows(from, to) {
    const rows = [];
    let row = -1;
    for (let second = from; second <= to; second += 1) {
      while (row + 1 < this.at.length && this.at[row + 1] <= second) row += 1;
      rows.push(row >= 0 && second - this.at[row] <= STANDS ? row : -1);
    }
    return rows;
  }
}

const combine = {
  sum: (a, b) => a + b,
  max: Math.max,
};

export class Timeline {
  instances = new Map();
  missing = [];
  marks = [];
  // The last second of which anybody has told.
  last = 0;

  // What `GET /api/websocket/stats?scope=cluster` has answered.
  take({ instances, missing }) {
    const marks = new Map();
    for (const stats of instances) {
      const known = this.instances.get(stats.instance) ?? new Instance();
      // One that has started again under its name begins anew.
      const restarted = known.now && stats.uptime_s < known.now.uptime_s;
      const instance = restarted ? new Instance() : known;
      instance.take(stats);
      this.instances.set(stats.instance, instance);
      // One that has just started has nothing to tell yet.
      this.last = Math.max(this.last, instance.at.at(-1) ?? Math.floor(stats.now_ms / 1000) - 1);
      for (const mark of stats.marks) marks.set(`${mark.at_ms} ${mark.text}`, mark);
      const started = stats.now_ms - stats.uptime_s * 1000;
      marks.set(stats.instance, { at_ms: started, text: `${stats.instance} started`, quiet: true });
    }
    this.missing = missing;
    for (const [name, instance] of this.instances) {
      const gone = !instances.some((stats) => stats.instance === name) && !missing.includes(name);
      // What it has counted is shown as long as it is in the picture.
      if (gone) instance.now = undefined;
      if (gone && (instance.at.at(-1) ?? 0) < this.last - KEPT) this.instances.delete(name);
    }
    this.marks = [...marks.values()].sort((a, b) => a.at_ms - b.at_ms);
  }

  names() {
    return [...this.instances].filter(([, { now }]) => now).map(([name]) => name).sort();
  }

  chosen(instance) {
    const all = [...this.instances.entries()];
    return (instance ? all.filter(([name]) => name === instance) : all).map(([, one]) => one);
  }

  // The values of `column` for each second: of all instances together, or of one. `null` where nobody has told.
  series(column, { from, to, instance, by = "sum" }) {
    const values = Array(to - from + 1).fill(null);
    for (const one of this.chosen(instance)) {
      const kept = one.columns.get(column);
      if (!kept) continue;
      one.rows(from, to).forEach((row, at) => {
        if (row < 0) return;
        values[at] = values[at] === null ? kept[row] : combine[by](values[at], kept[row]);
      });
    }
    return values;
  }

  // The last value of `column`, or the mean of the last seconds.
  latest(column, { instance, by = "sum", over = 1 } = {}) {
    const window = { from: this.last - over + 1, to: this.last, instance, by };
    const values = this.series(column, window).filter((value) => value !== null);
    if (values.length === 0) return null;
    return by === "max" ? Math.max(...values) : values.reduce((a, b) => a + b) / values.length;
  }

  // The names with the most events, over all instances or of one.
  busiest(instance) {
    const sums = new Map();
    for (const { now } of this.chosen(instance)) {
      for (const { name, per_s, error_per_s } of now?.names ?? []) {
        const sum = sums.get(name) ?? { name, rate: 0, error: 0 };
        sum.rate += per_s;
        sum.error += error_per_s;
        sums.set(name, sum);
      }
    }
    return [...sums.values()].sort((a, b) => b.rate - a.rate);
  }
}
