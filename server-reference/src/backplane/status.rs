//! How a backplane is, for health checks and statistics.

use schemars::JsonSchema;
use serde::Serialize;

/// How a backplane is.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BackplaneStatus {
    /// What it is: `memory` or `redis`.
    pub kind: &'static str,
    /// Whether it has been reached at all since the start: before that nobody can be served.
    pub ready: bool,
    /// What is wrong at the moment, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Figures of the Redis backplane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStatus>,
}

/// Something that does not work at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Trouble {
    /// Since when, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// What, in words.
    pub reason: String,
}

/// Figures of the Redis backplane. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RedisStatus {
    /// The masters that hold the log, as HOST:PORT.
    pub masters: Vec<String>,
    /// How many partitions are read here.
    pub partitions_read: usize,
    /// Publishes that wait for Redis now.
    pub waiting: usize,
    /// Bytes of those.
    pub waiting_bytes: usize,
    /// Events appended.
    pub appended: u64,
    /// Publishes that had been appended before.
    pub duplicates: u64,
    /// Calls that appended them: several events share one under load.
    pub append_calls: u64,
    /// Publishes refused because Redis was away too long, or too many waited.
    pub refused: u64,
    /// Events that came by notification.
    pub notified: u64,
    /// Reads of the log, for holes and for clients whose place is older than what is in memory.
    pub reads: u64,
    /// Events put back because a failover had lost them.
    pub put_back: u64,
    /// How often a lane here lacked what another master had taken while the one that was read here was cut
    /// off. Clients that had read past it are told by a gap.
    pub missed: u64,
    /// The instances that are alive, this one included.
    pub instances: Vec<InstanceInfo>,
}

/// What an instance tells the others of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
pub struct InstanceInfo {
    /// Its name.
    pub instance: String,
    /// The server's version.
    pub version: String,
    /// Since when it has been up, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When it last said so, in milliseconds since the Unix epoch.
    pub seen_ms: u64,
    /// Sessions that are connected to it.
    pub sessions: u64,
    /// Connections that are open there.
    pub connections: u64,
}
