//! How costs grow with the number of servers and of partitions.
//!
//! The scenario `growth` runs once for each number of servers and once for each number of
//! partitions, each time with servers and a Redis Cluster of its own. What is used at rest is
//! measured before the first event, and taken off what the events have cost.

use std::fmt::Write;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::Partitioning;
use tokio::runtime::Handle;

use crate::client::Stack;
use crate::latency::LatencySummary;
use crate::live::Progress;
use crate::process::Program;
use crate::run::{AtRest, Options, Outcome, RunError, drive};
use crate::scenario::Scenario;

/// How long is looked at what is used at rest.
const REST: Duration = Duration::from_secs(4);

/// Between two measurements: the machine comes to rest.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a measurement is begun that does not come about.
const ATTEMPTS: usize = 2;

/// What one number of servers and of partitions costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// How many servers.
    pub instances: usize,
    /// How many partitions.
    pub partitions: u16,
    /// Events published.
    pub events: u64,
    /// Deliveries of them.
    pub deliveries: u64,
    /// How many of those were lost, duplicated or out of order, which must be none.
    pub faults: u64,
    /// CPU time of all servers for each delivery, in microseconds, beyond what they use at rest.
    pub server_cpu_us_per_delivery: f64,
    /// CPU time of all nodes of Redis for each event, in microseconds, beyond what they use at
    /// rest.
    pub redis_cpu_us_per_event: f64,
    /// Calls of scripts for each event, beyond those at rest.
    pub script_calls_per_event: f64,
    /// Commands of Redis for each event, also those within scripts and on replicas, beyond those at
    /// rest.
    pub commands_per_event: f64,
    /// To how many servers each event came by a notice.
    pub notices_per_event: f64,
    /// From when an event was due until its publisher had the acknowledgement, in microseconds.
    pub emission_us: LatencySummary,
    /// From when an event was due until a receiver's callback had it, in microseconds.
    pub latency_us: LatencySummary,
    /// Processors in use by all servers at rest.
    pub rest_server_cpu: f64,
    /// Processors in use by all nodes of Redis at rest.
    pub rest_redis_cpu: f64,
    /// Calls of scripts each second at rest.
    pub rest_script_calls: f64,
    /// Commands of Redis each second at rest.
    pub rest_commands: f64,
    /// The part of the processors' time that the hypervisor and other programs took, in percent;
    /// null where the system does not tell.
    pub disturbed_percent: Option<f64>,
}

/// What is to be measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What runs each time.
    pub(crate) scenario: Scenario,
    /// The numbers of servers, each with [`Partitioning::DEFAULT_COUNT`] partitions.
    pub(crate) instances: Vec<usize>,
    /// The numbers of partitions, each with as many servers as the scenario has.
    pub(crate) partitions: Vec<u16>,
}

impl Plan {
    /// Servers and partitions of each measurement: what is asked for twice is measured once.
    fn pairs(&self) -> Vec<(usize, u16)> {
        let by_instances = self.instances.iter().map(|k| (*k, Partitioning::DEFAULT_COUNT));
        let by_partitions = self.partitions.iter().map(|n| (self.scenario.instances, *n));
        let mut pairs: Vec<_> = by_instances.collect();
        for pair in by_partitions {
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        pairs
    }

    fn options(&self, instances: usize, partitions: u16) -> Options {
        let mut scenario = self.scenario.clone();
        scenario.instances = instances;
        let section = scenario.server.entry("partitions");
        let section = section.or_insert_with(|| toml::Table::new().into());
        if let Some(section) = section.as_table_mut() {
            section.insert("count".to_owned(), i64::from(partitions).into());
        }
        Options {
            scenario,
            stack: Stack::Tidings,
            targets: Vec::new(),
            program: Program::Serve,
            rest: Some(REST),
        }
    }
}

/// Measures everything, one after the other.
///
/// # Errors
/// If a measurement does not come about, not even the second time.
pub(crate) async fn measure(
    plan: &Plan,
    publishers: &Handle,
    progress: &Progress,
) -> Result<Vec<Row>, RunError> {
    let pairs = plan.pairs();
    let mut rows = Vec::with_capacity(pairs.len());
    for (n, (instances, partitions)) in pairs.iter().copied().enumerate() {
        let options = plan.options(instances, partitions);
        let mut attempt = 1;
        let outcome = loop {
            progress.phase(&format!(
                "{} of {}: {instances} servers, {partitions} partitions",
                n + 1,
                pairs.len()
            ));
            match drive(&options, publishers, progress).await {
                Ok(outcome) => break outcome,
                Err(error) if attempt < ATTEMPTS => progress.phase(&format!("again: {error}")),
                Err(error) => return Err(error),
            }
            attempt += 1;
        };
        rows.push(Row::of(instances, partitions, &outcome));
        tokio::time::sleep(PAUSE).await;
    }
    Ok(rows)
}

impl Row {
    /// Whether something was lost, duplicated or out of order.
    pub(crate) fn has_faults(&self) -> bool {
        self.faults > 0
    }

    fn of(instances: usize, partitions: u16, outcome: &Outcome) -> Self {
        let AtRest { server_cpu, redis_cpu, script_calls, commands } =
            outcome.at_rest.unwrap_or_default();
        let redis = outcome.redis.clone().unwrap_or_default();
        let backplane = outcome.backplane.unwrap_or_default();
        let events = outcome.publishes.due;
        let deliveries = outcome.audit.delivered();
        // Each is what was used in all, less what would have been used without any event.
        let beyond = |used: f64, at_rest: f64, count: u64| {
            (used - at_rest * outcome.seconds) / count.max(1) as f64
        };
        Self {
            instances,
            partitions,
            events,
            deliveries,
            faults: outcome.audit.lost + outcome.duplicated + outcome.out_of_order,
            server_cpu_us_per_delivery: 1e6
                * beyond(outcome.server_cpu_seconds(), server_cpu, deliveries),
            redis_cpu_us_per_event: 1e6 * beyond(redis.cpu_seconds, redis_cpu, events),
            script_calls_per_event: beyond(redis.script_calls as f64, script_calls, events),
            commands_per_event: beyond(redis.commands as f64, commands, events),
            notices_per_event: backplane.notified as f64 / backplane.appended.max(1) as f64,
            emission_us: outcome.emission(),
            latency_us: outcome.delivery_of(|_| true).summary(),
            rest_server_cpu: server_cpu,
            rest_redis_cpu: redis_cpu,
            rest_script_calls: script_calls,
            rest_commands: commands,
            disturbed_percent: outcome
                .machine
                .map(|machine| machine.steal_percent + machine.others_percent.unwrap_or(0.0)),
        }
    }
}

/// All rows as a table of Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| servers | partitions | server CPU per delivery | Redis CPU per event \
         | scripts per event | commands per event | notices per event | emission p50 / p99 \
         | delivery p50 / p99 | at rest: servers | Redis | scripts | commands | faults \
         | disturbed |\n",
    );
    out.push_str(&"| --- ".repeat(15));
    out.push_str("|\n");
    for row in rows {
        let ms = |latency: &LatencySummary| {
            format!("{:.1} / {:.1} ms", latency.p50 as f64 / 1e3, latency.p99 as f64 / 1e3)
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "| {} | {} | {:.1} µs | {:.0} µs | {:.2} | {:.1} | {:.2} | {} | {} | {:.1} % | {:.1} % \
             | {:.0}/s | {:.0}/s | {} | {} |",
            row.instances,
            row.partitions,
            row.server_cpu_us_per_delivery,
            row.redis_cpu_us_per_event,
            row.script_calls_per_event,
            row.commands_per_event,
            row.notices_per_event,
            ms(&row.emission_us),
            ms(&row.latency_us),
            row.rest_server_cpu * 100.0,
            row.rest_redis_cpu * 100.0,
            row.rest_script_calls,
            row.rest_commands,
            row.faults,
            row.disturbed_percent.map_or("?".to_owned(), |percent| format!("{percent:.0} %")),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_servers_and_of_partitions_is_measured_once() {
        let scenario = Scenario::load("growth").unwrap();
        assert_eq!(scenario.instances, 4);
        let plan = Plan { scenario, instances: vec![1, 4], partitions: vec![1, 16, 64] };
        assert_eq!(plan.pairs(), [(1, 16), (4, 16), (4, 1), (4, 64)]);
        let options = plan.options(4, 64);
        assert_eq!(options.scenario.server["partitions"]["count"].as_integer(), Some(64));
        let depths = &options.scenario.server["partitions"]["depths"];
        assert_eq!(depths["rooms"].as_integer(), Some(2), "what the scenario sets stays");
    }
}
