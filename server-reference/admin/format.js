// Numbers, sizes, durations and times as people read them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

// 7, 12.5, 1,234, 123K
export function count(value) {
  if (value >= 100_000) return short.format(value);
  return value < 100 ? exact.format(value) : whole.format(value);
}

export const full = (value) => whole.format(value);

// 512 B, 1.5 KiB
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${value < 10 && at > 0 ? exact.format(value) : whole.format(value)} ${units[at]}`;
}

// From microseconds: 85 µs, 1.2 ms, 3.4 s
export function latency(micros) {
  if (micros < 1000) return `${whole.format(micros)} µs`;
  if (micros < 1_000_000) return `${exact.format(micros / 1000)} ms`;
  return `${exact.format(micros / 1_000_000)} s`;
}

// From seconds: 45 s, 12 min, 3 h 20 min, 5 d
export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const hours = Math.floor(seconds / 3600);
  if (hours < 24) return `${hours} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(hours / 24)} d`;
}

const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const date = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const two = (number) => String(number).padStart(2, "0");

// From milliseconds since the Unix epoch: 22:31:05
export const time = (ms) => clock.format(ms);
export const moment = (ms) => date.format(ms);

// The time alone if it is today's.
export const recently = (ms) => (new Date(ms).toDateString() === new Date().toDateString() ? time(ms) : moment(ms));

// 22:31:05.042; there are many of them each second.
export function preciseTime(ms) {
  const at = new Date(ms);
  const seconds = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${seconds}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}

// What is not there has no number.
export const maybe = (format, value) => (value === null || value === undefined ? "–" : format(value));
