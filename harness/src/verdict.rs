//! Makes the report of a run from what was measured.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use tidings_core::Priority;

use crate::disturbance::disturbances;
use crate::latency::LatencySummary;
use crate::report::{Delivery, Floor, Report, RunConfig};
use crate::run::{Options, Outcome};
use crate::scenario::Mix;
use crate::sla;

/// The report of a run, with that of the bare write loop if it was run beside it.
pub(crate) fn report(options: &Options, outcome: Outcome, floor: Option<Outcome>) -> Report {
    let scenario = &options.scenario;
    let all = outcome.delivery_of(|_| true);
    let latency = all.summary();
    let floor = floor.map(|floor| beside(&latency, &floor));
    let sla = sla::judge(scenario, &outcome, floor.as_ref());
    let by_group = scenario.group.iter().enumerate().map(|(n, group)| {
        (group.name.clone(), outcome.delivery_of(|class| class.group == n).summary())
    });
    let by_priority = Priority::URGENT_FIRST.map(|priority| {
        let latencies = outcome.delivery_of(|class| class.priority == priority);
        (priority.to_string(), latencies.summary())
    });
    let audit = &outcome.audit;
    Report {
        scenario: scenario.name.clone(),
        pass: sla.iter().all(|sla| sla.pass),
        config: config(options, &outcome),
        emission_us: outcome.emission(),
        latency_us: latency,
        latency_by_group_us: measured(by_group),
        latency_by_priority_us: measured(by_priority),
        delivery: Delivery {
            expected: audit.expected,
            delivered: audit.delivered(),
            lost: audit.lost,
            lost_acknowledged: audit.lost_accepted,
            told_by_gap: audit.told,
            duplicated: outcome.duplicated,
            out_of_order: outcome.out_of_order,
            unexpected: outcome.unexpected,
            corrupt: outcome.corrupt,
            ratio: ratio(audit.delivered(), audit.expected),
            losses: outcome.losses.clone(),
        },
        server_cpu_us_per_delivery: outcome.server_cpu_us_per_delivery(),
        latency_curve: all.curve(),
        publishes: outcome.publishes,
        edits: outcome.edits,
        attacks: outcome.attacks,
        connections: outcome.connections,
        recovery: outcome.recovery,
        processes: outcome.processes,
        backplane: outcome.backplane,
        redis: outcome.redis,
        harness_lag_us: outcome.lag,
        disturbances: disturbances(&sla, &outcome.lag, outcome.machine.as_ref()),
        machine: outcome.machine,
        floor,
        sla,
        marks: outcome.marks,
        timeline: outcome.timeline,
    }
}

fn measured(
    all: impl IntoIterator<Item = (String, LatencySummary)>,
) -> BTreeMap<String, LatencySummary> {
    all.into_iter().filter(|(_, summary)| summary.count > 0).collect()
}

fn config(options: &Options, outcome: &Outcome) -> RunConfig {
    let scenario = &options.scenario;
    let transports: Vec<&str> =
        outcome.connections.by_transport.keys().map(String::as_str).collect();
    let transport = match transports.as_slice() {
        [one] => one,
        _ => Mix::Mixed.as_str(),
    };
    RunConfig {
        about: scenario.about.clone(),
        connections: scenario.connections,
        duration_s: scenario.duration.as_secs_f64(),
        rate: scenario.rate(),
        transport: transport.to_owned(),
        client: options.stack.as_str().to_owned(),
        instances: outcome.urls.len(),
        seed: scenario.seed(),
        targets: options.targets.clone(),
        payload_bytes: scenario.payload_bytes,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
            - outcome.timeline.last().map_or(0, |point| point.at_ms / 1000),
    }
}

fn beside(latency: &LatencySummary, floor: &Outcome) -> Floor {
    let there = floor.delivery_of(|_| true).summary();
    let times = |ours: u64, floor: u64| ours as f64 / floor.max(1) as f64;
    Floor {
        ratio_p50: times(latency.p50, there.p50),
        ratio_p99: times(latency.p99, there.p99),
        latency_us: there,
        emission_us: floor.emission(),
        delivered_ratio: ratio(floor.audit.delivered(), floor.audit.expected),
        cpu_us_per_delivery: floor.server_cpu_us_per_delivery(),
    }
}

fn ratio(delivered: u64, expected: u64) -> f64 {
    if expected == 0 { 0.0 } else { delivered as f64 / expected as f64 }
}
