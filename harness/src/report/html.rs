//! The report as one HTML page that needs nothing else.

use std::fmt::Write;

use super::plot::{Flag, Line, Plot, Tick, escape};
use super::table;
use super::{Bound, LatencySummary, MarkKind, Point, Report, SlaResult};
use super::{attacks, edits};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(crate) fn page(report: &Report) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let c = &report.config;
    let title = format!("{} — Tidings harness", escape(&report.scenario));
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>"
    );
    let (class, verdict) = match report.sla.iter().filter(|sla| !sla.pass).count() {
        0 => ("good", "all SLAs hold".to_owned()),
        missed => {
            let disturbed =
                if report.disturbances.is_empty() { "" } else { "; measurement disturbed" };
            ("bad", format!("{missed} of {} SLAs missed{disturbed}", report.sla.len()))
        }
    };
    let _ = write!(
        out,
        "<header><h1>{} <span class=\"badge {class}\">{verdict}</span></h1><p>{}</p>\
         <p class=\"facts\">{} connections · {} · client {} · {:.0} events/s of {} bytes for {:.0} s \
         · {} server{} · {} cores · started <time datetime=\"{iso}\">{iso}</time> · version {}</p>",
        escape(&report.scenario),
        escape(&c.about),
        c.connections,
        escape(&c.transport),
        escape(&c.client),
        c.rate,
        c.payload_bytes,
        c.duration_s,
        c.instances,
        if c.instances == 1 { "" } else { "s" },
        c.cores,
        escape(&c.version),
        iso = utc(c.started_at),
    );
    if let Some(machine) = &report.machine {
        let _ = write!(out, "<p class=\"facts\">machine: {}</p>", table::machine(machine));
    }
    if !report.disturbances.is_empty() {
        let _ = write!(
            out,
            "<p>The measurement itself was disturbed: {}. Its latencies certify nothing, for the \
             server or against it.</p>",
            escape(&report.disturbances.join("; "))
        );
    }
    out.push_str("</header>");
    tiles(&mut out, report);
    slas(&mut out, &report.sla);
    plots(&mut out, report);
    out.push_str("<div class=\"column\">");
    latencies(&mut out, report);
    processes(&mut out, report);
    if let Some(edits) = &report.edits {
        edits::section(&mut out, edits);
    }
    if !report.attacks.is_empty() {
        attacks::section(&mut out, &report.attacks);
    }
    marks(&mut out, report);
    out.push_str("</div>");
    balance(&mut out, report);
    out.push_str("</main></body></html>\n");
    out
}

fn tiles(out: &mut String, report: &Report) {
    out.push_str("<section class=\"tiles\">");
    let d = &report.delivery;
    let ratio = (d.ratio * 1e6).floor() / 1e4;
    let mut tiles = vec![
        ("delivered", format!("{ratio} %")),
        ("lost", (d.lost + d.told_by_gap).to_string()),
        ("duplicated", d.duplicated.to_string()),
        ("out of order", d.out_of_order.to_string()),
        ("emission p99", time(report.emission_us.p99)),
        ("delivery p99", time(report.latency_us.p99)),
    ];
    if let Some(backplane) = &report.backplane {
        tiles.push(("put back into Redis", backplane.put_back.to_string()));
    }
    if report.server_cpu_us_per_delivery > 0.0 {
        let cpu = format!("{:.2} µs", report.server_cpu_us_per_delivery);
        tiles.push(("server CPU per delivery", cpu));
    }
    for (name, value) in tiles {
        let _ = write!(out, "<div><b>{value}</b><span>{name}</span></div>");
    }
    out.push_str("</section>");
}

fn slas(out: &mut String, slas: &[SlaResult]) {
    out.push_str(
        "<section><h2>SLAs</h2><div class=\"scroll\"><table><thead><tr><th>limit on</th><th>limit</th>\
         <th>measured</th><th></th></tr></thead><tbody>",
    );
    for sla in slas {
        let sign = match sla.bound {
            Bound::Max => "≤",
            Bound::Min => "≥",
        };
        let unit = if sla.unit == "ms" { " ms" } else { "" };
        let measured =
            sla.measured.map_or("nothing".to_owned(), |m| format!("{}{unit}", figure(m)));
        let (class, verdict) = if sla.pass { ("good", "holds") } else { ("bad", "missed") };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{sign} {}{unit}</td><td class=\"n\">{measured}</td>\
             <td><span class=\"badge {class}\">{verdict}</span></td></tr>",
            escape(&sla.name),
            figure(sla.limit)
        );
    }
    out.push_str("</tbody></table></div></section>");
}

fn plots(out: &mut String, report: &Report) {
    let limit = |name: &str| report.sla.iter().find(|s| s.name == name).map(|s| s.limit);
    let distribution = Plot {
        title: "Delivery latency by part of all deliveries",
        lines: vec![Line {
            name: "delivery",
            class: "a",
            points: report
                .latency_curve
                .iter()
                .map(|(part, us)| (nines(*part), *us as f64 / 1000.0))
                .collect(),
        }],
        ticks: [("0", 0.0), ("50 %", 0.5), ("90 %", 0.9), ("99 %", 0.99), ("99.9 %", 0.999)]
            .into_iter()
            .chain([("99.99 %", 0.9999)])
            .map(|(label, part)| Tick { at: nines(part), label: label.to_owned() })
            .collect(),
        flags: Vec::new(),
        limit: limit("delivery_p99_ms"),
        log: true,
    };
    figure_of(
        out,
        "Delivery latency in ms, distribution",
        "Milliseconds within which this part of all deliveries arrived; each further nine takes the same room.",
        &distribution,
    );
    let over_time = |title, log, lines, limit| Plot {
        title,
        lines,
        ticks: seconds(&report.timeline),
        flags: flags(report),
        limit,
        log,
    };
    let measured = |name, class, value: fn(&Point) -> u64| Line {
        name,
        class,
        points: report
            .timeline
            .iter()
            .filter(|point| value(point) > 0)
            .map(|point| (point.at_ms as f64 / 1000.0, value(point) as f64 / 1000.0))
            .collect(),
    };
    let counted = |name, class, value: &dyn Fn(&Point, f64) -> f64| {
        let mut before = 0;
        let points = report.timeline.iter().map(|point| {
            let seconds = (point.at_ms.saturating_sub(before)).max(1) as f64 / 1000.0;
            before = point.at_ms;
            (point.at_ms as f64 / 1000.0, value(point, seconds))
        });
        Line { name, class, points: points.collect() }
    };
    figure_of(
        out,
        "Latency in ms over time",
        "Seconds after the first event; each point stands for what arrived since the one before.",
        &over_time(
            "Latency over time",
            true,
            vec![
                measured("delivery max", "c", |p| p.max_us),
                measured("delivery p99", "a", |p| p.p99_us),
                measured("delivery p50", "b", |p| p.p50_us),
            ],
            limit("delivery_p99_ms"),
        ),
    );
    figure_of(
        out,
        "Deliveries per second",
        "",
        &over_time(
            "Deliveries per second",
            false,
            vec![counted("deliveries", "a", &|p, seconds| p.delivered as f64 / seconds)],
            None,
        ),
    );
    figure_of(
        out,
        "Connections",
        "",
        &over_time(
            "Connected clients over time",
            false,
            vec![counted("connected", "a", &|p, _| p.connected as f64)],
            None,
        ),
    );
    figure_of(
        out,
        "Processors in use",
        "",
        &over_time(
            "Processors in use over time",
            false,
            vec![
                counted("servers", "a", &|p, _| p.server_cpu),
                counted("harness", "b", &|p, _| p.harness_cpu),
                counted("Redis", "c", &|p, _| p.redis_cpu),
            ],
            None,
        ),
    );
}

fn figure_of(out: &mut String, heading: &str, note: &str, plot: &Plot) {
    let _ = write!(out, "<figure><h2>{heading}</h2>{}", plot.svg());
    if !note.is_empty() {
        let _ = write!(out, "<figcaption>{note}</figcaption>");
    }
    out.push_str("</figure>");
}

/// Every further nine takes the same room.
fn nines(part: f64) -> f64 {
    -(1.0 - part.min(0.9999)).log10()
}

fn seconds(timeline: &[Point]) -> Vec<Tick> {
    let end = timeline.last().map_or(1.0, |point| point.at_ms as f64 / 1000.0).max(1.0);
    let step = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0]
        .into_iter()
        .find(|step| end / step <= 10.0)
        .unwrap_or(end / 5.0);
    (0..=(end / step).ceil() as usize)
        .map(|n| Tick { at: n as f64 * step, label: format!("{} s", n as f64 * step) })
        .collect()
}

fn flags(report: &Report) -> Vec<Flag> {
    report
        .marks
        .iter()
        .map(|mark| Flag {
            at: mark.at_ms as f64 / 1000.0,
            text: mark.text.clone(),
            fault: mark.kind == MarkKind::Fault,
        })
        .collect()
}

fn latencies(out: &mut String, report: &Report) {
    out.push_str(
        "<section><h2>Latencies in ms</h2><div class=\"scroll\"><table><thead><tr><th></th><th>p50</th>\
         <th>p90</th><th>p99</th><th>p99.9</th><th>max</th><th>count</th></tr></thead><tbody>",
    );
    let mut rows: Vec<(String, &LatencySummary)> =
        vec![("emission".into(), &report.emission_us), ("delivery".into(), &report.latency_us)];
    if report.latency_by_group_us.len() > 1 {
        let groups = report.latency_by_group_us.iter();
        rows.extend(groups.map(|(group, summary)| (format!("delivery to {group}"), summary)));
    }
    if report.latency_by_priority_us.len() > 1 {
        let priorities = report.latency_by_priority_us.iter();
        rows.extend(priorities.map(|(name, summary)| (format!("delivery, {name}"), summary)));
    }
    if let Some(floor) = &report.floor {
        rows.push(("delivery by the bare write loop".into(), &floor.latency_us));
    }
    rows.push(("connecting and subscribing".into(), &report.connections.connect_us));
    if report.recovery.recovered > 0 {
        rows.push(("away until back".into(), &report.recovery.time_us));
        rows.push(("away until caught up".into(), &report.recovery.caught_up_us));
    }
    rows.push(("harness: publishing late".into(), &report.harness_lag_us.publish));
    rows.push(("harness: tasks late".into(), &report.harness_lag_us.task));
    for (name, l) in rows {
        let _ = write!(out, "<tr><td>{}</td>", escape(&name));
        for us in [l.p50, l.p90, l.p99, l.p999, l.max] {
            let _ = write!(out, "<td class=\"n\">{:.2}</td>", us as f64 / 1000.0);
        }
        let _ = write!(out, "<td class=\"n\">{}</td></tr>", l.count);
    }
    out.push_str("</tbody></table></div>");
    if let Some(floor) = &report.floor {
        let _ = write!(
            out,
            "<p>The median is {:.2} times, the 99th percentile {:.2} times that of the bare write \
             loop, which needs {:.2} µs of CPU per delivery.</p>",
            floor.ratio_p50, floor.ratio_p99, floor.cpu_us_per_delivery
        );
    }
    out.push_str("</section>");
}

fn balance(out: &mut String, report: &Report) {
    let (d, p, r) = (&report.delivery, &report.publishes, &report.recovery);
    let c = &report.connections;
    out.push_str("<section><h2>Balance</h2><div class=\"scroll\"><table><tbody>");
    let mut rows = vec![
        ("events due", p.due),
        ("acknowledged", p.acknowledged),
        ("failed", p.failed),
        ("unanswered", p.unanswered),
        ("deliveries expected", d.expected),
        ("delivered", d.delivered),
        ("lost without a word", d.lost),
        ("of these acknowledged to the publisher", d.lost_acknowledged),
        ("missing, told by a gap", d.told_by_gap),
        ("duplicated", d.duplicated),
        ("out of order", d.out_of_order),
        ("to somebody not subscribed", d.unexpected),
        ("with a wrong payload", d.corrupt),
        ("connections asked for", c.requested),
        ("connections established", c.established),
        ("connections at the end", c.at_end),
        ("clients that lost their connection", r.clients),
        ("connections lost on the way", r.interrupted),
        ("connections that came back", r.recovered),
        ("gaps told", r.gaps),
    ];
    if let Some(b) = &report.backplane {
        rows.extend([
            ("appended to the log in Redis", b.appended),
            ("calls that did so", b.append_calls),
            ("sent again and recognised", b.duplicates),
            ("refused, to be sent again", b.refused),
            ("events that came by notice", b.notified),
            ("reads of the log", b.reads),
            ("events put back after a failover", b.put_back),
        ]);
    }
    if let Some(redis) = &report.redis {
        rows.extend([
            ("calls of scripts in Redis", redis.script_calls),
            ("commands in Redis", redis.commands),
        ]);
    }
    for (name, value) in rows {
        let _ = write!(out, "<tr><td>{name}</td><td class=\"n\">{value}</td></tr>");
    }
    out.push_str("</tbody></table></div>");
    if !d.losses.is_empty() {
        out.push_str(
            "<h3>First losses</h3><div class=\"scroll\"><table><thead><tr><th>receiver</th><th>event</th>\
             <th>priority</th><th>publisher</th><th>numbers</th><th>acknowledged</th></tr></thead>\
             <tbody>",
        );
        for loss in &d.losses {
            let _ = write!(
                out,
                "<tr><td>{} {}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{} to {}</td><td class=\"n\">{}</td></tr>",
                escape(&loss.group),
                loss.receiver,
                escape(&loss.name),
                escape(&loss.priority),
                loss.publisher,
                loss.first,
                loss.last,
                loss.acknowledged
            );
        }
        out.push_str("</tbody></table></div>");
    }
    out.push_str("</section>");
}

fn processes(out: &mut String, report: &Report) {
    out.push_str(
        "<section><h2>Processes</h2><div class=\"scroll\"><table><thead><tr><th></th><th>CPU</th>\
         <th>memory peak</th><th>per idle connection</th></tr></thead><tbody>",
    );
    for process in &report.processes {
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{:.2} s</td><td class=\"n\">{:.1} MB</td>\
             <td class=\"n\">{:.1} KiB</td></tr>",
            escape(&process.role),
            process.cpu_seconds,
            process.rss_peak_bytes as f64 / 1e6,
            process.rss_per_connection_bytes as f64 / 1024.0
        );
    }
    out.push_str("</tbody></table></div></section>");
}

fn marks(out: &mut String, report: &Report) {
    if report.marks.is_empty() {
        return;
    }
    out.push_str("<section><h2>What happened</h2><div class=\"scroll\"><table><tbody>");
    for (n, mark) in report.marks.iter().enumerate() {
        let class = match mark.kind {
            MarkKind::Step => "",
            MarkKind::Fault => " class=\"fault\"",
        };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"n\">{:.2} s</td><td{class}>{}</td></tr>",
            n + 1,
            mark.at_ms as f64 / 1000.0,
            escape(&mark.text).replace('\n', "<br>")
        );
    }
    out.push_str("</tbody></table></div></section>");
}

fn time(us: u64) -> String {
    if us < 1_000_000 {
        format!("{:.2} ms", us as f64 / 1e3)
    } else {
        format!("{:.2} s", us as f64 / 1e6)
    }
}

fn figure(value: f64) -> String {
    if value == value.trunc() {
        format!("{value:.0}")
    } else {
        format!("{:.5}", value).trim_end_matches('0').to_owned()
    }
}

/// Seconds since the Unix epoch as a date and time in UTC (civil calendar from days, by counting
/// from the first of March of year 0).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{of_month:02}T{:02}:{:02}:{:02}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_478_400), "2026-11-24T00:00:00Z");
    }

    #[test]
    fn the_time_axis_covers_the_run() {
        for end in [1_u64, 12_000, 95_000, 1_800_000] {
            let ticks = seconds(&[Point { at_ms: end, ..Point::default() }]);
            assert!((2..=12).contains(&ticks.len()), "{end}: {}", ticks.len());
            assert!(ticks.last().unwrap().at * 1000.0 >= end as f64);
        }
    }
}
