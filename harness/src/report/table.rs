//! The result as text for people.

use std::fmt::Write;

use crate::disturbance::is_of_time;

use super::timeline::timeline;
use super::{Bound, LatencySummary, Machine, Mark, MarkKind, Report, SlaResult};
use super::{attacks, edits};

/// Colours, where they are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// Colours on a terminal, unless NO_COLOR is set (<https://no-color.org>).
    pub(crate) fn for_terminal(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: terminal && !refused }
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// For what is beside the point.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// For headings.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// For what holds.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// For what does not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31;1", text)
    }

    /// Something that happened.
    pub(crate) fn mark(self, mark: &Mark) -> String {
        match mark.kind {
            MarkKind::Step => self.bold(&mark.text),
            MarkKind::Fault => self.bad(&mark.text),
        }
    }
}

/// The whole result.
pub(crate) fn table(report: &Report, paint: Paint) -> String {
    let mut out = String::new();
    let c = &report.config;
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "\n{}  {} connections ({}, {}), {:.0} events/s for {:.0} s, {} server{}",
        paint.bold(&report.scenario),
        c.connections,
        c.transport,
        c.client,
        c.rate,
        c.duration_s,
        c.instances,
        if c.instances == 1 { "" } else { "s" },
    );
    if let Some(seed) = c.seed {
        let _ = writeln!(out, "random faults of --seed {seed}");
    }
    let _ = writeln!(out, "\n{:<34}{:>12} {:>14} {:<7}", "SLA", "limit", "measured", "");
    for sla in &report.sla {
        let verdict = if sla.pass { paint.good("holds") } else { paint.bad("MISSED") };
        let _ = writeln!(
            out,
            "{:<34}{:>12} {:>14} {:<6} {verdict}",
            sla.name,
            limit(sla),
            sla.measured.map_or_else(|| "nothing".to_owned(), |value| figure(value, &sla.unit)),
            unit(&sla.unit),
        );
    }
    latencies(&mut out, report);
    delivery(&mut out, report);
    resources(&mut out, report, paint);
    losses(&mut out, report, paint);
    timeline(&mut out, report, paint);
    verdict(&mut out, report, paint);
    out
}

fn verdict(out: &mut String, report: &Report, paint: Paint) {
    let missed: Vec<_> = report.sla.iter().filter(|sla| !sla.pass).collect();
    if missed.is_empty() {
        let _ = writeln!(out, "\n{}", paint.good("All SLAs hold."));
        return;
    }
    let count = format!("{} of {} SLAs missed", missed.len(), report.sla.len());
    if report.disturbances.is_empty() {
        let _ = writeln!(out, "\n{}", paint.bad(&format!("{count}.")));
        return;
    }
    let line = format!("{count}, and the measurement itself was disturbed:");
    let _ = writeln!(out, "\n{}", paint.bad(&line));
    for reason in &report.disturbances {
        let _ = writeln!(out, "  {reason}");
    }
    out.push_str(
        "These latencies certify nothing, for the server or against it. Try a machine with less \
         to do,\na lower --rate or fewer --connections.\n",
    );
    let others = missed.iter().filter(|sla| !is_of_time(sla)).map(|sla| &*sla.name);
    let others = others.collect::<Vec<_>>().join(", ");
    if !others.is_empty() {
        let _ = writeln!(out, "That explains no fault in {others}.");
    }
}

fn latencies(out: &mut String, report: &Report) {
    let _ = writeln!(
        out,
        "\n{:<34}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "latency in ms", "p50", "p90", "p99", "p99.9", "max"
    );
    if report.publishes.due > 0 {
        latency_row(out, "emission", &report.emission_us);
        latency_row(out, "delivery", &report.latency_us);
    }
    if let Some(edits) = &report.edits {
        edits::latency_rows(out, edits);
    }
    if report.latency_by_group_us.len() > 1 {
        for (group, summary) in &report.latency_by_group_us {
            latency_row(out, &format!("  to {group}"), summary);
        }
    }
    if report.latency_by_priority_us.len() > 1 {
        for (priority, summary) in &report.latency_by_priority_us {
            latency_row(out, &format!("  {priority}"), summary);
        }
    }
    if let Some(floor) = &report.floor {
        latency_row(out, "delivery by the bare write loop", &floor.latency_us);
        let _ = writeln!(
            out,
            "{:<34}{:>8.2}x{:>18.2}x",
            "  ratio to it", floor.ratio_p50, floor.ratio_p99
        );
    }
    if report.recovery.recovered > 0 {
        latency_row(out, "away until back", &report.recovery.time_us);
        latency_row(out, "away until caught up", &report.recovery.caught_up_us);
    }
    latency_row(out, "harness: publishing late", &report.harness_lag_us.publish);
    latency_row(out, "harness: tasks late", &report.harness_lag_us.task);
}

pub(super) fn latency_row(out: &mut String, name: &str, l: &LatencySummary) {
    let ms = |us: u64| us as f64 / 1000.0;
    let _ = writeln!(
        out,
        "{name:<34}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>9.2}",
        ms(l.p50),
        ms(l.p90),
        ms(l.p99),
        ms(l.p999),
        ms(l.max)
    );
}

fn delivery(out: &mut String, report: &Report) {
    if let Some(edits) = &report.edits {
        edits::balance(out, edits);
    }
    attacks::balance(out, &report.attacks);
    if report.publishes.due > 0 {
        published(out, report);
    }
    let r = &report.recovery;
    if r.interrupted > 0 {
        let _ = writeln!(
            out,
            "connections lost {} by {} clients   back {}   gaps told {}",
            r.interrupted, r.clients, r.recovered, r.gaps
        );
    }
    if let Some(b) = &report.backplane {
        let _ = writeln!(
            out,
            "log in Redis: appended {} in {} calls   sent again {}   refused {}   read {} times   \
             put back {}",
            b.appended, b.append_calls, b.duplicates, b.refused, b.reads, b.put_back
        );
    }
}

fn published(out: &mut String, report: &Report) {
    let d = &report.delivery;
    let _ = writeln!(
        out,
        "\ndelivered {} of {} ({:.4} %)   lost {}   told by a gap {}   duplicated {}   \
         out of order {}",
        d.delivered,
        d.expected,
        d.ratio * 100.0,
        d.lost,
        d.told_by_gap,
        d.duplicated,
        d.out_of_order,
    );
    let p = &report.publishes;
    let _ = writeln!(
        out,
        "published {}   acknowledged {}   failed {}   unanswered {}",
        p.due, p.acknowledged, p.failed, p.unanswered
    );
}

fn resources(out: &mut String, report: &Report, paint: Paint) {
    for process in &report.processes {
        let _ = writeln!(
            out,
            "{:<10} CPU {:>6.2} s   memory peak {:>6.1} MB{}",
            process.role,
            process.cpu_seconds,
            process.rss_peak_bytes as f64 / 1e6,
            match process.rss_per_connection_bytes {
                0 => String::new(),
                bytes => format!("   {:>6.1} KiB per idle connection", bytes as f64 / 1024.0),
            }
        );
    }
    if let Some(redis) = &report.redis {
        let _ = writeln!(
            out,
            "Redis      {:.0} µs of CPU, {:.2} calls of scripts and {:.1} commands for each event",
            redis.cpu_us_per_event, redis.script_calls_per_event, redis.commands_per_event
        );
    }
    if let Some(seen) = &report.machine {
        let _ = writeln!(out, "{:<10} {}", "machine", machine(seen));
    }
    if report.server_cpu_us_per_delivery > 0.0 {
        let mut line =
            format!("CPU per delivery: {:.2} µs by the servers", report.server_cpu_us_per_delivery);
        if let Some(floor) = &report.floor {
            line.push_str(&format!(", {:.2} µs by the bare write loop", floor.cpu_us_per_delivery));
        }
        let _ = writeln!(out, "{}", paint.dim(&line));
    }
}

/// What the machine did, in a line.
pub(super) fn machine(machine: &Machine) -> String {
    let mut line = format!(
        "{} cores, {:.0} % busy, {:.1} % stolen by the hypervisor",
        machine.cores, machine.cpu_busy_percent, machine.steal_percent
    );
    if let Some(others) = machine.others_percent {
        let _ = write!(line, ", {others:.1} % used by other programs");
    }
    if let Some(waiting) = machine.pressure_percent {
        let _ = write!(line, "; tasks waited for a core {waiting:.0} % of the time");
    }
    line
}

fn losses(out: &mut String, report: &Report, paint: Paint) {
    let d = &report.delivery;
    if d.lost == 0 {
        return;
    }
    let _ = writeln!(
        out,
        "\n{} deliveries, {} of them of events that were acknowledged, among them:",
        paint.bad(&format!("lost {}", d.lost)),
        d.lost_acknowledged
    );
    for loss in d.losses.iter().take(8) {
        let _ = writeln!(
            out,
            "  {} {} missed {} ({}) {} to {} of publisher {}, {} acknowledged",
            loss.group,
            loss.receiver,
            loss.name,
            loss.priority,
            loss.first,
            loss.last,
            loss.publisher,
            loss.acknowledged
        );
    }
}

fn limit(sla: &SlaResult) -> String {
    let sign = match sla.bound {
        Bound::Max => "≤",
        Bound::Min => "≥",
    };
    format!("{sign} {}", figure(sla.limit, &sla.unit))
}

fn figure(value: f64, unit: &str) -> String {
    match unit {
        "count" => format!("{value:.0}"),
        "ratio" if value == value.trunc() => format!("{value:.0}"),
        // Rounded down, so that it never looks better than it is.
        "ratio" if value < 1.0 => format!("{:.5}", (value * 1e5).floor() / 1e5),
        _ => format!("{value:.2}"),
    }
}

fn unit(unit: &str) -> &str {
    match unit {
        "count" | "ratio" => "",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_just_below_one_does_not_look_like_one() {
        assert_eq!(figure(0.999_999_9, "ratio"), "0.99999");
        assert_eq!(figure(1.0, "ratio"), "1");
    }

    #[test]
    fn the_verdict_tells_a_disturbed_measurement_from_a_slow_server() {
        let sla = |name: &str, unit: &str, pass| SlaResult {
            name: name.to_owned(),
            bound: Bound::Max,
            limit: 0.0,
            measured: Some(1.0),
            unit: unit.to_owned(),
            pass,
        };
        let mut report = Report {
            sla: vec![sla("emission_p99_ms", "ms", false), sla("lost", "count", true)],
            ..Report::default()
        };
        let verdict = |report: &Report| {
            let mut out = String::new();
            super::verdict(&mut out, report, Paint { on: false });
            out
        };
        assert_eq!(verdict(&report), "\n1 of 2 SLAs missed.\n");
        report.disturbances.push("other programs took 55 %".to_owned());
        let text = verdict(&report);
        assert!(text.contains("1 of 2 SLAs missed, and the measurement itself was disturbed:"));
        assert!(text.contains("other programs took 55 %") && !text.contains("no fault in"));
        report.sla[1].pass = false;
        assert!(verdict(&report).contains("That explains no fault in lost."));
        report.sla.iter_mut().for_each(|sla| sla.pass = true);
        assert_eq!(verdict(&report), "\nAll SLAs hold.\n");
    }

    #[test]
    fn colours_only_where_wanted() {
        assert_eq!(Paint { on: false }.bad("x"), "x");
        assert_eq!(Paint { on: true }.good("x"), "\x1b[32mx\x1b[0m");
    }
}
