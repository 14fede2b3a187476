//! Whether the store works, for health checks, statistics and the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use crate::backplane::Trouble;
use crate::clock::unix_micros;

/// How often the log is told of what could not be kept.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How the store is. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct StoreStatus {
    /// What it is: `sqlite` or `postgres`.
    pub kind: &'static str,
    /// What is wrong at the moment, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Trouble>,
    /// Events that wait for the database.
    pub waiting_events: usize,
    /// Bytes of those.
    pub waiting_bytes: usize,
    /// Beginnings and ends of sessions that wait for the database.
    pub waiting_sessions: usize,
    /// Events written. Those that another instance had written are among them.
    pub events: u64,
    /// Events that were not kept, because too many waited.
    pub events_not_kept: u64,
    /// How often events, nobody knows how many, were gone from the log before they were read.
    pub gaps: u64,
    /// Beginnings and ends of sessions that were not kept, because too many waited.
    pub sessions_not_kept: u64,
    /// Events deleted because of their age, or because there were too many.
    pub deleted: u64,
}

/// What does not work at the moment.
#[derive(Default)]
pub(super) struct Health {
    trouble: Mutex<Option<(u64, String)>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    not_kept: u64,
}

impl Health {
    pub(super) fn trouble(&self, why: String) {
        let mut trouble = self.trouble.lock();
        match &mut *trouble {
            Some((_, reason)) => *reason = why,
            None => {
                tracing::warn!(%why, "the store does not work; clients get their events all the same");
                *trouble = Some((unix_micros() / 1000, why));
            }
        }
    }

    pub(super) fn well(&self) {
        if self.trouble.lock().take().is_some() {
            tracing::info!("the store works again");
        }
    }

    pub(super) fn now(&self) -> Option<Trouble> {
        let (since_ms, reason) = self.trouble.lock().clone()?;
        let for_ms = (unix_micros() / 1000).saturating_sub(since_ms);
        Some(Trouble { since_ms, for_ms, reason })
    }

    /// So much could not be kept since the start: the log is told, not too often.
    pub(super) fn not_kept(&self, count: u64) {
        let mut told = self.told.lock();
        let is_time = told.at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if count > told.not_kept && is_time {
            let more = count - told.not_kept;
            tracing::warn!(
                events = more,
                since_the_start = count,
                "events were not kept: more waited for the database than store.queue allows"
            );
            *told = Told { at: Some(Instant::now()), not_kept: count };
        }
    }
}
