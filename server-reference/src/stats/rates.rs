//! How fast things went in the last seconds.

use std::collections::VecDeque;
use std::time::Instant;

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::Priority;

use crate::app::App;

/// How many samples are kept: rates are over this many seconds.
const SAMPLES: usize = 10;

/// The counters at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    at: Instant,
    accepted: u64,
    published: u64,
    delivered: u64,
    received_bytes: u64,
}

impl Sample {
    pub(super) fn of(app: &App) -> Self {
        let stats = &app.stats;
        let logged = Priority::URGENT_FIRST.map(|priority| stats.published[priority].get());
        Self {
            at: Instant::now(),
            accepted: app.connections.counts().accepted,
            published: stats.published_volatile.get() + logged.iter().sum::<u64>(),
            delivered: app.shard_stats().map(|shard| shard.delivered.get()).sum(),
            received_bytes: stats.received_bytes.get(),
        }
    }
}

/// The samples of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Samples(Mutex<VecDeque<Sample>>);

impl Samples {
    pub(super) fn push(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// How fast things went from the oldest sample until `now`.
    pub(super) fn rates(&self, now: Sample) -> Rates {
        let oldest = self.0.lock().front().copied();
        let Some(then) = oldest else { return Rates::default() };
        let seconds = now.at.duration_since(then.at).as_secs_f64();
        let rate = |now: u64, then: u64| {
            if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 }
        };
        Rates {
            over_s: seconds,
            connections_per_s: rate(now.accepted, then.accepted),
            published_per_s: rate(now.published, then.published),
            delivered_per_s: rate(now.delivered, then.delivered),
            received_bytes_per_s: rate(now.received_bytes, then.received_bytes),
        }
    }
}

/// How fast things went in the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Rates {
    /// Over how many seconds: 10, less at the start.
    pub over_s: f64,
    /// Connections accepted per second.
    pub connections_per_s: f64,
    /// Events taken from publishers per second, volatile ones included.
    pub published_per_s: f64,
    /// Events handed to clients per second as they came: not those read from the log again, nor
    /// volatile ones.
    pub delivered_per_s: f64,
    /// Bytes that came from clients per second.
    pub received_bytes_per_s: f64,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_over_the_samples_kept() {
        let start = Instant::now();
        let at = |second: u64| Sample {
            at: start + Duration::from_secs(second),
            accepted: second,
            published: second * second,
            delivered: 100 * second,
            received_bytes: 0,
        };
        let samples = Samples::default();
        assert_eq!(samples.rates(at(0)), Rates::default());
        (0..=20).for_each(|second| samples.push(at(second)));
        let rates = samples.rates(at(21));
        assert_eq!((rates.over_s, rates.connections_per_s), (10.0, 1.0));
        assert_eq!((rates.published_per_s, rates.delivered_per_s), (32.0, 100.0));
    }
}
