//! What servers tell of their work with Redis.

use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::http;

/// Where servers tell their statistics.
const STATS: &str = "/api/websocket/stats";

/// What servers have counted of their work with Redis, all of a run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackplaneCounts {
    /// Events appended to the log.
    pub appended: u64,
    /// Calls that appended them: several events share one under load.
    pub append_calls: u64,
    /// Publishes that had been appended before, and were recognised.
    pub duplicates: u64,
    /// Publishes refused because Redis was away too long, or too many waited. Clients send them
    /// again.
    pub refused: u64,
    /// Events that came by notification, to each server that reads their partition.
    pub notified: u64,
    /// Reads of the log.
    pub reads: u64,
    /// Events put back because a failover had lost them. Several servers may put back the same one.
    pub put_back: u64,
}

/// The part of the statistics that is of interest here.
#[derive(Deserialize)]
struct Stats {
    backplane: Backplane,
}

#[derive(Deserialize)]
struct Backplane {
    redis: Option<BackplaneCounts>,
}

impl BackplaneCounts {
    /// What the server at `addr` has counted since it started; nothing if it has no Redis.
    pub(super) async fn of(addr: SocketAddr, patience: Duration) -> Result<Self, String> {
        let body = http::get(addr, STATS, patience).await?;
        let stats: Stats = serde_json::from_str(&body)
            .map_err(|error| format!("http://{addr}{STATS} is not understood: {error}"))?;
        Ok(stats.backplane.redis.unwrap_or_default())
    }

    fn merged(self, other: Self, merge: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            appended: merge(self.appended, other.appended),
            append_calls: merge(self.append_calls, other.append_calls),
            duplicates: merge(self.duplicates, other.duplicates),
            refused: merge(self.refused, other.refused),
            notified: merge(self.notified, other.notified),
            reads: merge(self.reads, other.reads),
            put_back: merge(self.put_back, other.put_back),
        }
    }
}

impl Add for BackplaneCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.merged(other, u64::saturating_add)
    }
}

impl Sub for BackplaneCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.merged(other, u64::saturating_sub)
    }
}
