//! What all processes of a run have used, at one moment and between two.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::Mutex;

use super::fleet::Fleet;
use super::outcome::AtRest;
use crate::process::redis_cluster::NodeUsage;
use crate::process::{BackplaneCounts, ProcessReport, Usage};
use crate::report::RedisReport;

/// Resource use of all processes at one moment.
pub(super) struct Snapshot {
    taken: Instant,
    servers: Vec<(String, Usage)>,
    backplane: BackplaneCounts,
    redis: Option<Vec<NodeUsage>>,
    harness: Usage,
}

impl Snapshot {
    /// Looks at all processes.
    pub(super) async fn take(fleet: &Mutex<Fleet>) -> Self {
        let mut fleet = fleet.lock().await;
        let redis = match fleet.redis() {
            Some(redis) => Some(redis.usage().await),
            None => None,
        };
        Self {
            taken: Instant::now(),
            backplane: fleet.backplane().await,
            servers: fleet.usage(),
            redis,
            harness: Usage::of(std::process::id()).unwrap_or_default(),
        }
    }

    /// The time between the two.
    pub(super) fn seconds_since(&self, before: &Self) -> f64 {
        (self.taken - before.taken).as_secs_f64()
    }

    /// What was used each second since `before`.
    pub(super) fn at_rest_since(&self, before: &Self) -> AtRest {
        let seconds = self.seconds_since(before);
        let cpu = |servers: &[(String, Usage)]| {
            servers.iter().map(|(_, usage)| usage.cpu_seconds).sum::<f64>()
        };
        let redis = self.redis_since(before, 0).unwrap_or_default();
        AtRest {
            server_cpu: (cpu(&self.servers) - cpu(&before.servers)) / seconds,
            redis_cpu: redis.cpu_seconds / seconds,
            script_calls: redis.script_calls as f64 / seconds,
            commands: redis.commands as f64 / seconds,
        }
    }

    /// What the servers have counted of their work with Redis since `before`.
    pub(super) fn backplane_since(&self, before: &Self) -> BackplaneCounts {
        self.backplane - before.backplane
    }

    /// What Redis has done since `before`, for so many events; `None` if the run has not started
    /// it.
    pub(super) fn redis_since(&self, before: &Self, events: u64) -> Option<RedisReport> {
        let (now, before) = (self.redis.as_ref()?, before.redis.as_ref()?);
        let cpu_seconds = |nodes: &[NodeUsage]| nodes.iter().map(|n| n.cpu_seconds).sum::<f64>();
        let calls = |nodes: &[NodeUsage], command: &str| {
            nodes.iter().filter_map(|node| node.commands.get(command)).sum::<u64>()
        };
        let names = now.iter().flat_map(|node| node.commands.keys());
        let by_command: BTreeMap<String, u64> = names
            .map(|name| (name.clone(), calls(now, name).saturating_sub(calls(before, name))))
            .filter(|(_, calls)| *calls > 0)
            .collect();
        let of = |commands: &[&str]| commands.iter().filter_map(|c| by_command.get(*c)).sum();
        let per_event = |count: u64| count as f64 / events.max(1) as f64;
        let cpu_seconds = cpu_seconds(now) - cpu_seconds(before);
        let (script_calls, commands) = (of(&["evalsha", "eval"]), by_command.values().sum());
        Some(RedisReport {
            cpu_seconds,
            cpu_us_per_event: cpu_seconds * 1e6 / events.max(1) as f64,
            script_calls,
            script_calls_per_event: per_event(script_calls),
            commands,
            commands_per_event: per_event(commands),
            by_command,
        })
    }
}

/// What each process has used between `idle` and `busy`; memory of `connections` is what was added
/// between `bare` and `idle`.
pub(super) fn processes(
    bare: &Snapshot,
    idle: &Snapshot,
    busy: &Snapshot,
    connections: u64,
) -> Vec<ProcessReport> {
    let shares = busy.servers.len().max(1) as u64;
    let report = |role: &str, [bare, idle, busy]: [&Usage; 3], connections: u64| ProcessReport {
        role: role.to_owned(),
        cpu_seconds: busy.cpu_seconds - idle.cpu_seconds,
        rss_peak_bytes: busy.rss_peak_bytes,
        rss_per_connection_bytes: idle.rss_bytes.saturating_sub(bare.rss_bytes)
            / connections.max(1),
    };
    let servers = bare.servers.iter().zip(&idle.servers).zip(&busy.servers);
    let mut all: Vec<_> = servers
        .map(|(((role, bare), (_, idle)), (_, busy))| {
            report(role, [bare, idle, busy], connections / shares)
        })
        .collect();
    let nodes = idle.redis.iter().flatten().zip(busy.redis.iter().flatten()).enumerate();
    all.extend(nodes.map(|(n, (idle, busy))| ProcessReport {
        role: format!("redis {n}"),
        cpu_seconds: busy.cpu_seconds - idle.cpu_seconds,
        rss_peak_bytes: busy.rss_peak_bytes,
        rss_per_connection_bytes: 0,
    }));
    all.push(report("harness", [&bare.harness, &idle.harness, &busy.harness], connections));
    all
}
