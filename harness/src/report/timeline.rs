//! The run in time, as text: what was delivered and who was connected, with a mark for each thing that
//! happened.

use std::fmt::Write;

use super::table::Paint;
use super::{Point, Report};

/// Columns of the timeline.
const COLUMNS: usize = 72;

/// From nothing to the highest value.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// How marks are numbered; later ones begin again.
const NUMBERS: &[u8] = b"123456789abcdefghijklmnopqrstuvwxyz";

/// Where two marks are in one column.
const SEVERAL: char = '+';

/// The timeline; nothing if nothing happened.
pub(super) fn timeline(out: &mut String, report: &Report, paint: Paint) {
    let end_ms = report.timeline.last().map_or(0, |point| point.at_ms);
    if report.marks.is_empty() || end_ms == 0 {
        return;
    }
    let column = |at_ms: u64| (at_ms as usize * COLUMNS / (end_ms as usize + 1)).min(COLUMNS - 1);
    let mut flags = [' '; COLUMNS];
    for (n, mark) in report.marks.iter().enumerate() {
        let flag = &mut flags[column(mark.at_ms)];
        *flag = if *flag == ' ' { number(n) } else { SEVERAL };
    }
    let delivered = columns(report, column, |point, seconds| point.delivered as f64 / seconds);
    let connected = columns(report, column, |point, _| point.connected as f64);
    let slowest = columns(report, column, |point, _| (1.0 + point.p99_us as f64).ln());
    let width = COLUMNS - 2;
    let end = format!("{:.0} s", end_ms as f64 / 1000.0);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "\n{:<18}0 {end:>width$}", "timeline");
    for (name, values) in
        [("deliveries", delivered), ("connected", connected), ("p99, logarithmic", slowest)]
    {
        let _ = writeln!(out, "{name:<18}{}", bars(&values));
    }
    let _ = writeln!(out, "{:<18}{}", "", paint.bold(&flags.iter().collect::<String>()));
    for (n, mark) in report.marks.iter().enumerate() {
        let at = mark.at_ms as f64 / 1000.0;
        let _ = writeln!(out, "{:>16}  {at:>6.1} s  {}", number(n), paint.mark(mark));
    }
}

fn number(mark: usize) -> char {
    char::from(NUMBERS[mark % NUMBERS.len()])
}

/// The mean of a value for each column. A column between two points has that of the one before.
fn columns(
    report: &Report,
    column: impl Fn(u64) -> usize,
    value: impl Fn(&Point, f64) -> f64,
) -> [f64; COLUMNS] {
    let mut sums = [(0.0, 0.0); COLUMNS];
    let mut before = 0;
    for point in &report.timeline {
        let seconds = point.at_ms.saturating_sub(before).max(1) as f64 / 1000.0;
        before = point.at_ms;
        let (sum, count) = &mut sums[column(point.at_ms)];
        *sum += value(point, seconds);
        *count += 1.0;
    }
    let mut last = 0.0;
    sums.map(|(sum, count)| {
        if count > 0.0 {
            last = sum / count;
        }
        last
    })
}

fn bars(values: &[f64; COLUMNS]) -> String {
    let top = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let bar = |value: &f64| {
        let height = (value / top * (BARS.len() - 1) as f64).ceil() as usize;
        BARS[height.min(BARS.len() - 1)]
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Mark, MarkKind};
    use super::*;

    #[test]
    fn each_thing_that_happened_is_marked_where_it_happened() {
        let point = |at_ms, delivered| Point { at_ms, delivered, ..Point::default() };
        let mark = |at_ms, text: &str| Mark { at_ms, kind: MarkKind::Step, text: text.to_owned() };
        let mut report = Report {
            timeline: vec![point(0, 0), point(5000, 100), point(10_000, 0)],
            ..Report::default()
        };
        let mut out = String::new();
        timeline(&mut out, &report, Paint::for_terminal(false));
        assert_eq!(out, "", "nothing happened");
        report.marks = vec![mark(5000, "kill-server 0"), mark(9999, "back")];
        timeline(&mut out, &report, Paint::for_terminal(false));
        let line = |start: &str| out.lines().find(|line| line.starts_with(start)).unwrap();
        let deliveries: Vec<char> = line("deliveries").chars().skip(18).collect();
        assert_eq!((deliveries[0], deliveries[COLUMNS / 2]), (' ', '█'));
        let flags: Vec<char> = out.lines().nth(5).unwrap().chars().skip(18).collect();
        assert_eq!((flags[35], flags[71]), ('1', '2'), "{out}");
        assert!(out.contains("1     5.0 s  kill-server 0"), "{out}");
    }
}
