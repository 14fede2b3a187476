//! What a run has measured, before it is judged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_core::Priority;

use crate::latency::{Latencies, LatencySummary};
use crate::ledger::Audit;
use crate::process::{BackplaneCounts, ProcessReport};
use crate::report::{
    AttackReport, Edits, HarnessLag, Machine, Mark, Point, Publishes, RedisReport,
};
use crate::score::Class;

/// Everything that was measured.
pub(crate) struct Outcome {
    /// Delivery latencies by receivers' group and priority.
    pub(crate) deliveries: BTreeMap<Class, Latencies>,
    /// Emission latencies by priority.
    pub(crate) emissions: [Latencies; Priority::COUNT],
    /// The balance of all deliveries.
    pub(crate) audit: Audit,
    /// The balance by group, in the scenario's order.
    pub(crate) audit_by_group: Vec<Audit>,
    /// The balance by priority.
    pub(crate) audit_by_priority: [Audit; Priority::COUNT],
    /// For each listed loss: who did not get what.
    pub(crate) losses: Vec<crate::report::LossReport>,
    /// Deliveries counted as they happened.
    pub(crate) duplicated: u64,
    /// Deliveries after a later one.
    pub(crate) out_of_order: u64,
    /// Deliveries to somebody not subscribed.
    pub(crate) unexpected: u64,
    /// Deliveries with another payload.
    pub(crate) corrupt: u64,
    /// What became of the publishes.
    pub(crate) publishes: Publishes,
    /// What became of edits of shared records, if there were any.
    pub(crate) edits: Option<Edits>,
    /// What became of attacks.
    pub(crate) attacks: Vec<AttackReport>,
    /// Who was connected.
    pub(crate) connections: crate::report::Connections,
    /// Who came back.
    pub(crate) recovery: crate::report::Recovery,
    /// What each process used.
    pub(crate) processes: Vec<ProcessReport>,
    /// What the servers counted of their work with Redis, if there is one.
    pub(crate) backplane: Option<BackplaneCounts>,
    /// What Redis did, if the run has started it.
    pub(crate) redis: Option<RedisReport>,
    /// What was used before the first event, if it was asked for.
    pub(crate) at_rest: Option<AtRest>,
    /// The time for which [`processes`](Self::processes), [`backplane`](Self::backplane) and
    /// [`redis`](Self::redis) count.
    pub(crate) seconds: f64,
    /// How late the harness was.
    pub(crate) lag: HarnessLag,
    /// What the machine did, where the system tells.
    pub(crate) machine: Option<Machine>,
    /// Servers that ended by themselves.
    pub(crate) crashes: u64,
    /// Steps of the scenario that could not be carried out.
    pub(crate) failed_steps: u64,
    /// What happened when.
    pub(crate) marks: Vec<Mark>,
    /// The run in time.
    pub(crate) timeline: Vec<Point>,
    /// Where the servers were.
    pub(crate) urls: Vec<String>,
}

/// What is used each second while everybody is connected and subscribed, and nothing is published.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct AtRest {
    /// Processors in use by the servers.
    pub(crate) server_cpu: f64,
    /// Processors in use by Redis.
    pub(crate) redis_cpu: f64,
    /// Calls of scripts each second.
    pub(crate) script_calls: f64,
    /// Commands each second, also those within scripts.
    pub(crate) commands: f64,
}

impl Outcome {
    /// Delivery latencies of the classes chosen.
    pub(crate) fn delivery_of(&self, chosen: impl Fn(Class) -> bool) -> Latencies {
        sum(self.deliveries.iter().filter(|(class, _)| chosen(**class)).map(|(_, l)| l))
    }

    /// All emission latencies.
    pub(crate) fn emission(&self) -> LatencySummary {
        sum(self.emissions.iter()).summary()
    }

    /// CPU time of the servers, in seconds.
    pub(crate) fn server_cpu_seconds(&self) -> f64 {
        let servers = self
            .processes
            .iter()
            .filter(|process| process.role != "harness" && !process.role.starts_with("redis"));
        servers.map(|process| process.cpu_seconds).fold(0.0, |sum, cpu| sum + cpu)
    }

    /// CPU time of the servers for each delivery, in microseconds; 0 if there was none.
    pub(crate) fn server_cpu_us_per_delivery(&self) -> f64 {
        if self.audit.delivered() == 0 {
            return 0.0;
        }
        self.server_cpu_seconds() * 1e6 / self.audit.delivered().max(1) as f64
    }
}

fn sum<'a>(parts: impl Iterator<Item = &'a Latencies>) -> Latencies {
    let mut all = Latencies::default();
    parts.for_each(|part| all.add(part));
    all
}
