//! Two reports side by side.

use serde::Serialize;

use crate::report::Report;

/// Latencies that differ by less than this are never a regression: below it scheduling noise
/// decides.
const NOISE_MS: f64 = 0.25;

/// Which direction is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worse {
    /// More is worse, beyond the tolerance.
    Higher,
    /// Any more is worse.
    AnyHigher,
    /// Less is worse, beyond the tolerance.
    Lower,
}

/// One figure of both reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Which figure.
    pub name: String,
    /// In which unit.
    pub unit: &'static str,
    /// In the first report.
    pub a: f64,
    /// In the second.
    pub b: f64,
    /// The second divided by the first; null when the first is zero.
    pub ratio: Option<f64>,
    /// Whether the second is worse than the tolerance allows.
    pub regression: bool,
}

/// The comparison of two reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The scenarios' names.
    pub scenarios: [String; 2],
    /// How much worse a figure may be, as a part of the first one.
    pub tolerance: f64,
    /// What differs in how the runs were set up, which may explain everything else.
    pub different_setup: Vec<String>,
    /// The figures.
    pub differences: Vec<Difference>,
    /// Whether any of them is worse than the tolerance allows.
    pub regression: bool,
}

/// Compares the second report with the first; `tolerance` 0.2 allows a figure to be a fifth worse.
/// Losses, duplicates and inversions are allowed none.
pub fn compare(a: &Report, b: &Report, tolerance: f64) -> Comparison {
    let mut differences = Vec::new();
    let ms = |us: u64| us as f64 / 1000.0;
    for (name, of) in [
        ("emission p50", (|r: &Report| r.emission_us.p50) as fn(&Report) -> u64),
        ("emission p99", |r| r.emission_us.p99),
        ("delivery p50", |r| r.latency_us.p50),
        ("delivery p99", |r| r.latency_us.p99),
        ("delivery p99.9", |r| r.latency_us.p999),
        ("recovery p50", |r| r.recovery.time_us.p50),
        ("recovery p99", |r| r.recovery.time_us.p99),
    ] {
        let (a, b) = (ms(of(a)), ms(of(b)));
        if a > 0.0 || b > 0.0 {
            differences.push(difference(name, "ms", a, b, Worse::Higher, tolerance));
        }
    }
    for (name, of) in [
        ("lost", (|r: &Report| r.delivery.lost) as fn(&Report) -> u64),
        ("told by a gap", |r| r.delivery.told_by_gap),
        ("duplicated", |r| r.delivery.duplicated),
        ("out of order", |r| r.delivery.out_of_order),
    ] {
        let (a, b) = (of(a) as f64, of(b) as f64);
        differences.push(difference(name, "", a, b, Worse::AnyHigher, tolerance));
    }
    let ratio = |r: &Report| r.delivery.ratio;
    differences.push(difference("delivered ratio", "", ratio(a), ratio(b), Worse::Lower, 0.0));
    let cpu = |r: &Report| r.server_cpu_us_per_delivery;
    differences.push(difference(
        "server CPU per delivery",
        "µs",
        cpu(a),
        cpu(b),
        Worse::Higher,
        tolerance,
    ));
    let memory = |r: &Report| {
        let servers = r.processes.iter().filter(|process| process.role.starts_with("server"));
        servers.map(|process| process.rss_per_connection_bytes).max().unwrap_or(0) as f64 / 1024.0
    };
    let name = "server memory per connection";
    differences.push(difference(name, "KiB", memory(a), memory(b), Worse::Higher, tolerance));
    if let (Some(a), Some(b)) = (&a.floor, &b.floor) {
        let (a, b) = (a.ratio_p99, b.ratio_p99);
        differences.push(difference("ratio to the floor", "", a, b, Worse::Higher, tolerance));
    }
    Comparison {
        scenarios: [a.scenario.clone(), b.scenario.clone()],
        tolerance,
        different_setup: different_setup(a, b),
        regression: differences.iter().any(|difference| difference.regression),
        differences,
    }
}

fn difference(
    name: &str,
    unit: &'static str,
    a: f64,
    b: f64,
    worse: Worse,
    tolerance: f64,
) -> Difference {
    let noise = if unit == "ms" { NOISE_MS } else { 0.0 };
    let regression = match worse {
        Worse::Higher => b > a * (1.0 + tolerance) && b - a > noise,
        Worse::AnyHigher => b > a,
        Worse::Lower => b < a * (1.0 - tolerance),
    };
    let ratio = (a > 0.0).then(|| b / a);
    Difference { name: name.to_owned(), unit, a, b, ratio, regression }
}

fn different_setup(a: &Report, b: &Report) -> Vec<String> {
    let (one, two) = (&a.config, &b.config);
    let mut found = Vec::new();
    let mut note = |name: &str, a: String, b: String| {
        if a != b {
            found.push(format!("{name}: {a} and {b}"));
        }
    };
    note("scenario", a.scenario.clone(), b.scenario.clone());
    note("connections", one.connections.to_string(), two.connections.to_string());
    note("rate", one.rate.to_string(), two.rate.to_string());
    note("duration", one.duration_s.to_string(), two.duration_s.to_string());
    note("transport", one.transport.clone(), two.transport.clone());
    note("client", one.client.clone(), two.client.clone());
    note("instances", one.instances.to_string(), two.instances.to_string());
    note("payload", one.payload_bytes.to_string(), two.payload_bytes.to_string());
    note("cores", one.cores.to_string(), two.cores.to_string());
    found
}

/// The comparison as text.
pub fn table(comparison: &Comparison) -> String {
    let mut out = String::new();
    for setup in &comparison.different_setup {
        out.push_str(&format!("differs in {setup}\n"));
    }
    out.push_str(&format!("{:<30}{:>12}{:>12}{:>9}\n", "", "A", "B", "B / A"));
    for d in &comparison.differences {
        let ratio = d.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let name =
            if d.unit.is_empty() { d.name.clone() } else { format!("{} ({})", d.name, d.unit) };
        let verdict = if d.regression { "  REGRESSION" } else { "" };
        out.push_str(&format!("{name:<30}{:>12.3}{:>12.3}{ratio:>9}{verdict}\n", d.a, d.b));
    }
    let percent = comparison.tolerance * 100.0;
    out.push_str(&if comparison.regression {
        format!("B is worse than A beyond the tolerance of {percent:.0} %.\n")
    } else {
        format!("B is not worse than A beyond the tolerance of {percent:.0} %.\n")
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_may_be_worse_within_tolerance_and_noise() {
        let worse = |a, b| difference("delivery p99", "ms", a, b, Worse::Higher, 0.2).regression;
        assert!(!worse(2.0, 2.3));
        assert!(worse(2.0, 2.5));
        assert!(!worse(0.1, 0.3), "three times as much, but too little to matter");
        assert!(!worse(5.0, 1.0));
    }

    #[test]
    fn losses_have_no_tolerance() {
        assert!(difference("lost", "", 0.0, 1.0, Worse::AnyHigher, 0.5).regression);
        assert!(!difference("lost", "", 3.0, 3.0, Worse::AnyHigher, 0.5).regression);
        assert!(difference("delivered ratio", "", 1.0, 0.999, Worse::Lower, 0.0).regression);
    }
}
