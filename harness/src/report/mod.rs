//! What comes out of a run: one JSON object, and the views of it.

mod attacks;
mod edits;
mod html;
mod plot;
mod table;
mod timeline;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::attacks::AttackReport;
pub use self::edits::{ConflictCounts, Edits};
pub use crate::latency::LatencySummary;
pub use crate::process::{BackplaneCounts, ProcessReport};
pub(crate) use html::page;
pub(crate) use table::{Paint, table};

/// The result of a run. docs/harness.md describes the fields; the JSON form is a contract.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Whether every SLA holds.
    pub pass: bool,
    /// How the run was set up.
    pub config: RunConfig,
    /// Each limit with what was measured.
    pub sla: Vec<SlaResult>,
    /// From when an event was due until its publisher had the acknowledgement, in microseconds.
    pub emission_us: LatencySummary,
    /// From when an event was due until a receiver's callback had it, in microseconds.
    pub latency_us: LatencySummary,
    /// The same by group.
    pub latency_by_group_us: BTreeMap<String, LatencySummary>,
    /// The same by priority.
    pub latency_by_priority_us: BTreeMap<String, LatencySummary>,
    /// Whether everybody got everything.
    pub delivery: Delivery,
    /// What became of the publishes.
    pub publishes: Publishes,
    /// What became of edits of shared records; absent in scenarios without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edits: Option<Edits>,
    /// What became of attacks; absent in scenarios without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attacks: Vec<AttackReport>,
    /// Who was connected.
    pub connections: Connections,
    /// What became of clients that lost their connection.
    pub recovery: Recovery,
    /// What each process used.
    pub processes: Vec<ProcessReport>,
    /// The servers' CPU time divided by the deliveries, in microseconds.
    pub server_cpu_us_per_delivery: f64,
    /// What the servers counted of their work with Redis, all together; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backplane: Option<BackplaneCounts>,
    /// What Redis did; absent if the run has not started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisReport>,
    /// How late the harness itself was, in microseconds.
    pub harness_lag_us: HarnessLag,
    /// What the machine did meanwhile; absent where the system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    /// If latencies were missed: what speaks for the measurement itself having been disturbed, in
    /// words.
    #[serde(default)]
    pub disturbances: Vec<String>,
    /// The same scenario against the bare write loop, with `--floor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<Floor>,
    /// What happened when.
    pub marks: Vec<Mark>,
    /// The run in time.
    pub timeline: Vec<Point>,
    /// The distribution of delivery latencies: part of all deliveries, and the microseconds it
    /// stayed within.
    pub latency_curve: Vec<(f64, u64)>,
}

/// How a run was set up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunConfig {
    /// What the scenario shows.
    pub about: String,
    /// How many connections.
    pub connections: usize,
    /// How long was published, in seconds.
    pub duration_s: f64,
    /// How many events were due per second.
    pub rate: f64,
    /// `socketio`, `ws` or `mixed`.
    pub transport: String,
    /// `tidings` or `rust-socketio`.
    pub client: String,
    /// How many servers.
    pub instances: usize,
    /// What random faults were drawn from, if there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Where the servers were, if the run did not start them.
    pub targets: Vec<String>,
    /// Size of a payload in bytes.
    pub payload_bytes: usize,
    /// Processors of the machine.
    pub cores: usize,
    /// The harness's version.
    pub version: String,
    /// When it began, in seconds since the Unix epoch.
    pub started_at: u64,
}

/// A limit and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlaResult {
    /// Which limit, as the key in the scenario.
    pub name: String,
    /// `max` if the measured value may not exceed the limit, `min` if it may not fall below.
    pub bound: Bound,
    /// The limit.
    pub limit: f64,
    /// What was measured; null when there was nothing to measure, which is a failure.
    pub measured: Option<f64>,
    /// In which unit both are.
    pub unit: String,
    /// Whether it holds.
    pub pass: bool,
}

/// Which side of a limit is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// At most the limit.
    Max,
    /// At least the limit.
    Min,
}

/// Whether everybody got everything. Every event counts once for each client that is subscribed
/// to it, whether or not the server accepted it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Delivery {
    /// Events times subscribers.
    pub expected: u64,
    /// Arrived, each counted once.
    pub delivered: u64,
    /// Did not arrive, and the client was not told.
    pub lost: u64,
    /// The part of `lost` whose publish the server had acknowledged.
    pub lost_acknowledged: u64,
    /// Did not arrive, and the client was told by a gap.
    pub told_by_gap: u64,
    /// Arrived once more.
    pub duplicated: u64,
    /// Arrived after a later one of the same publisher, name and priority.
    pub out_of_order: u64,
    /// Arrived at somebody who was not subscribed.
    pub unexpected: u64,
    /// Arrived with another payload than was published.
    pub corrupt: u64,
    /// Delivered divided by expected.
    pub ratio: f64,
    /// The first losses, to see what they have in common.
    pub losses: Vec<LossReport>,
}

/// Consecutive events of one publisher that one receiver did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossReport {
    /// The receiver: its number, counted over all groups.
    pub receiver: usize,
    /// The receiver's group.
    pub group: String,
    /// The publisher: its number, counted over all groups.
    pub publisher: usize,
    /// The events' name.
    pub name: String,
    /// The events' priority.
    pub priority: String,
    /// The publisher's number of the first missing event, counted from 1 for this name.
    pub first: u32,
    /// The number of the last missing event.
    pub last: u32,
    /// How many of them the server had acknowledged.
    pub acknowledged: u64,
}

/// What became of the publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Publishes {
    /// Events that were due.
    pub due: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Refused, timed out or given up.
    pub failed: u64,
    /// Without an answer at the end of the run.
    pub unanswered: u64,
}

/// Who was connected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Connections {
    /// How many were asked for.
    pub requested: u64,
    /// How many were connected and subscribed when the first event was due.
    pub established: u64,
    /// The first reason why one was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<String>,
    /// How many were connected at the end.
    pub at_end: u64,
    /// How many began with each transport.
    pub by_transport: BTreeMap<String, u64>,
    /// How long connecting and subscribing took, in microseconds.
    pub connect_us: LatencySummary,
}

/// What became of clients that lost their connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recovery {
    /// Clients that lost their connection at least once.
    #[serde(default)]
    pub clients: u64,
    /// Connections lost.
    pub interrupted: u64,
    /// Connections that came back.
    pub recovered: u64,
    /// Gaps that clients were told of.
    pub gaps: u64,
    /// How long clients were away, in microseconds.
    pub time_us: LatencySummary,
    /// From the loss of the connection until the client had everything that was published before it
    /// was back, in microseconds. Who was told a gap instead does not count.
    #[serde(default)]
    pub caught_up_us: LatencySummary,
}

/// What Redis did from the first event until the end, all nodes together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RedisReport {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// That divided by the events due, in microseconds.
    pub cpu_us_per_event: f64,
    /// Calls of scripts: what servers ask of Redis.
    pub script_calls: u64,
    /// Those divided by the events due.
    pub script_calls_per_event: f64,
    /// Commands carried out, also those within scripts and those that replicas repeat.
    pub commands: u64,
    /// Those divided by the events due.
    pub commands_per_event: f64,
    /// The commands by name.
    pub by_command: BTreeMap<String, u64>,
}

/// How late the harness itself was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HarnessLag {
    /// Publishes against the plan.
    pub publish: LatencySummary,
    /// Its tasks, from being woken until they run.
    pub task: LatencySummary,
}

/// What the machine did while latencies were counted: from the end of the warm-up until the last
/// event was due.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Processors.
    pub cores: usize,
    /// The part of their time that the hypervisor gave to others, in percent.
    pub steal_percent: f64,
    /// The part in which they did something, in percent.
    pub cpu_busy_percent: f64,
    /// The part that went to processes which are not of the run, in percent; null if servers
    /// took part that the run has not started.
    pub others_percent: Option<f64>,
    /// The part of the time in which some task waited for a processor, in percent; null where
    /// there is no /proc/pressure/cpu.
    pub pressure_percent: Option<f64>,
}

/// The same scenario against the bare write loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Delivery latency there.
    pub latency_us: LatencySummary,
    /// Emission latency there.
    pub emission_us: LatencySummary,
    /// Whether everything was delivered there, without which the comparison means nothing.
    pub delivered_ratio: f64,
    /// CPU time of the loop divided by the deliveries, in microseconds.
    pub cpu_us_per_delivery: f64,
    /// The server's median divided by the loop's.
    pub ratio_p50: f64,
    /// The server's 99th percentile divided by the loop's.
    pub ratio_p99: f64,
}

/// Something that happened during a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When, in milliseconds after the first event was due.
    pub at_ms: u64,
    /// What sort of thing.
    pub kind: MarkKind,
    /// What.
    pub text: String,
}

/// What sort of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarkKind {
    /// A step of the scenario.
    Step,
    /// Something that should not have happened.
    Fault,
}

/// A moment of a run. Counts are since the previous one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// Milliseconds after the first event was due.
    pub at_ms: u64,
    /// Clients that were connected.
    pub connected: u64,
    /// Events that were due.
    pub published: u64,
    /// Deliveries.
    pub delivered: u64,
    /// Deliveries still to come, in all.
    pub outstanding: u64,
    /// Median delivery latency, in microseconds; 0 if nothing was counted.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
    /// 99th percentile of emission.
    pub emission_p99_us: u64,
    /// Processors in use by the servers.
    pub server_cpu: f64,
    /// Processors in use by the Redis that the run has started.
    #[serde(default)]
    pub redis_cpu: f64,
    /// Processors in use by the harness.
    pub harness_cpu: f64,
    /// Resident memory of the servers, in bytes.
    pub server_rss_bytes: u64,
}
