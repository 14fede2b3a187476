//! Judges what was measured by the limits of the scenario.

use tidings_core::Priority;

use crate::latency::LatencySummary;
use crate::report::{Bound, Floor, SlaResult};
use crate::run::Outcome;
use crate::scenario::{Scenario, Scoped};

/// The name of the limit on the harness's own lateness.
pub(crate) const HARNESS_LAG: &str = "harness_lag";

/// Every limit of the scenario with what was measured; always also that all clients connected,
/// that nobody got what was not meant for them, that no server ended by itself, that every step
/// was carried out, that no edit was lost and all agree, and that the harness was on time.
pub(crate) fn judge(
    scenario: &Scenario,
    outcome: &Outcome,
    floor: Option<&Floor>,
) -> Vec<SlaResult> {
    let sla = &scenario.sla;
    let emission = outcome.emission();
    let delivery = outcome.delivery_of(|_| true).summary();
    let recovery = outcome.recovery.time_us;
    let visible = outcome.edits.as_ref().map(|edits| edits.visible_us).unwrap_or_default();
    let mut results = Vec::new();
    for (name, limit, of, part) in [
        ("emission_p50_ms", sla.emission_p50_ms, emission, Part::P50),
        ("emission_p99_ms", sla.emission_p99_ms, emission, Part::P99),
        ("delivery_p50_ms", sla.delivery_p50_ms, delivery, Part::P50),
        ("delivery_p99_ms", sla.delivery_p99_ms, delivery, Part::P99),
        ("delivery_p999_ms", sla.delivery_p999_ms, delivery, Part::P999),
        ("delivery_max_ms", sla.delivery_max_ms, delivery, Part::Max),
        ("recovery_p50_ms", sla.recovery_p50_ms, recovery, Part::P50),
        ("recovery_p99_ms", sla.recovery_p99_ms, recovery, Part::P99),
        ("visible_p50_ms", sla.visible_p50_ms, visible, Part::P50),
        ("visible_p99_ms", sla.visible_p99_ms, visible, Part::P99),
    ] {
        results.extend(limit.map(|limit| at_most(name, limit, of_latency(of, part), "ms")));
    }
    for (name, limits) in &sla.group {
        let group = scenario.group.iter().position(|group| group.name == *name);
        let latencies = outcome.delivery_of(|class| Some(class.group) == group).summary();
        let audit = group.and_then(|group| outcome.audit_by_group.get(group));
        let missing = audit.map(|audit| audit.lost + audit.told);
        scoped(&mut results, &format!("group.{name}"), limits, latencies, missing);
    }
    for (name, limits) in &sla.priority {
        let priority: Option<Priority> = name.parse().ok();
        let latencies = outcome.delivery_of(|class| Some(class.priority) == priority).summary();
        let audit = priority.map(|priority| &outcome.audit_by_priority[priority as usize]);
        let missing = audit.map(|audit| audit.lost + audit.told);
        scoped(&mut results, &format!("priority.{name}"), limits, latencies, missing);
    }
    if let Some(limit) = sla.delivered_ratio {
        let audit = &outcome.audit;
        let ratio = (audit.expected > 0).then(|| audit.delivered() as f64 / audit.expected as f64);
        results.push(result("delivered_ratio", Bound::Min, limit, ratio, "ratio"));
    }
    let connections = &outcome.connections;
    for (name, limit, measured) in [
        ("lost", sla.lost, outcome.audit.lost),
        ("duplicated", sla.duplicated, outcome.duplicated),
        ("out_of_order", sla.out_of_order, outcome.out_of_order),
        ("unexpected", 0, outcome.unexpected + outcome.corrupt),
        ("not_connected", 0, connections.requested - connections.established),
        ("server_crashes", 0, outcome.crashes),
        ("failed_steps", 0, outcome.failed_steps),
    ] {
        results.push(at_most(name, limit as f64, Some(measured as f64), "count"));
    }
    if let Some(limit) = sla.server_memory_mb {
        let servers = outcome.processes.iter().filter(|p| p.role.starts_with("server"));
        let most = servers.map(|server| server.rss_peak_bytes as f64 / 1e6).reduce(f64::max);
        results.push(at_most("server_memory_mb", limit, most, "MB"));
    }
    if !scenario.attack.is_empty() {
        let made = outcome.attacks.iter().filter(|a| a.attempts > 0 && a.connections > 0).count();
        let all = scenario.attack.len() as f64;
        results.push(result("attacks_made", Bound::Min, all, Some(made as f64), "count"));
    }
    if let Some(edits) = &outcome.edits {
        for (name, measured) in [
            ("lost_edits", edits.lost),
            ("repeated_edits", edits.repeated),
            ("unanswered_edits", edits.unanswered),
            ("diverged", edits.diverged),
        ] {
            results.push(at_most(name, 0.0, Some(measured as f64), "count"));
        }
        let compared = Some(edits.compared as f64);
        results.push(result("compared", Bound::Min, 1.0, compared, "count"));
    }
    if let (Some(limit), Some(floor)) = (sla.floor_ratio_p99, floor) {
        let ratio =
            (floor.ratio_p99 > 0.0 && floor.delivered_ratio >= 1.0).then_some(floor.ratio_p99);
        results.push(at_most("floor_ratio_p99", limit, ratio, "ratio"));
    }
    let lag = [outcome.lag.publish, outcome.lag.task].map(|lag| of_latency(lag, Part::P99));
    let worst = lag.into_iter().flatten().reduce(f64::max);
    results.push(at_most(HARNESS_LAG, sla.harness_lag_p99_ms, worst, "ms"));
    results
}

#[derive(Debug, Clone, Copy)]
enum Part {
    P50,
    P99,
    P999,
    Max,
}

fn of_latency(summary: LatencySummary, part: Part) -> Option<f64> {
    let us = match part {
        Part::P50 => summary.p50,
        Part::P99 => summary.p99,
        Part::P999 => summary.p999,
        Part::Max => summary.max,
    };
    (summary.count > 0).then_some(us as f64 / 1000.0)
}

fn scoped(
    results: &mut Vec<SlaResult>,
    scope: &str,
    limits: &Scoped,
    latencies: LatencySummary,
    missing: Option<u64>,
) {
    for (name, limit, part) in [
        ("delivery_p50_ms", limits.delivery_p50_ms, Part::P50),
        ("delivery_p99_ms", limits.delivery_p99_ms, Part::P99),
    ] {
        let measured = of_latency(latencies, part);
        results.extend(limit.map(|l| at_most(&format!("{scope}.{name}"), l, measured, "ms")));
    }
    if let Some(limit) = limits.missing {
        let missing = missing.map(|missing| missing as f64);
        results.push(at_most(&format!("{scope}.missing"), limit as f64, missing, "count"));
    }
}

fn at_most(name: &str, limit: f64, measured: Option<f64>, unit: &str) -> SlaResult {
    result(name, Bound::Max, limit, measured, unit)
}

fn result(name: &str, bound: Bound, limit: f64, measured: Option<f64>, unit: &str) -> SlaResult {
    let pass = measured.is_some_and(|measured| match bound {
        Bound::Max => measured <= limit,
        Bound::Min => measured >= limit,
    });
    SlaResult { name: name.to_owned(), bound, limit, measured, unit: unit.to_owned(), pass }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_up_to_and_including_themselves() {
        assert!(at_most("lost", 0.0, Some(0.0), "count").pass);
        assert!(!at_most("lost", 0.0, Some(1.0), "count").pass);
        assert!(result("delivered_ratio", Bound::Min, 1.0, Some(1.0), "ratio").pass);
        assert!(!result("delivered_ratio", Bound::Min, 1.0, Some(0.999_999), "ratio").pass);
    }

    #[test]
    fn what_could_not_be_measured_does_not_pass() {
        assert!(!at_most("emission_p99_ms", 5.0, None, "ms").pass);
        assert_eq!(of_latency(LatencySummary::default(), Part::P99), None);
    }
}
