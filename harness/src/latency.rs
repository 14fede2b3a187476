//! Latencies: recorded by many threads, summed up without keeping samples.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer latencies count as this long: ten minutes, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// Three significant digits: a value is known to one part in a thousand.
const DIGITS: u8 = 3;

/// Threads are spread over this many histograms, so that they rarely meet at one lock.
const SHARDS: usize = 8;

const SAME_BOUNDS: &str = "all histograms here have the same bounds";

static NEXT_SHARD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<usize> = Cell::new(NEXT_SHARD.fetch_add(1, Ordering::Relaxed) % SHARDS);
}

/// Takes latencies from any thread.
pub(crate) struct Recorder {
    /// Made when first needed: an empty histogram of this range takes 170 kB.
    shards: Vec<Mutex<Option<Histogram<u64>>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(None)).collect() }
    }
}

impl Recorder {
    /// Notes one latency.
    pub(crate) fn record(&self, us: u64) {
        if let Some(shard) = self.shards.get(SHARD.get()) {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.get_or_insert_with(empty).saturating_record(us.max(1));
        }
    }

    /// Everything noted since the last call.
    pub(crate) fn take(&self) -> Latencies {
        let mut taken = Latencies::default();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(histogram) = shard.as_mut().filter(|histogram| !histogram.is_empty()) {
                taken.0.add(&*histogram).expect(SAME_BOUNDS);
                histogram.reset();
            }
        }
        taken
    }
}

/// A distribution of latencies.
#[derive(Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(empty())
    }
}

impl Latencies {
    /// Adds another distribution.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect(SAME_BOUNDS);
    }

    /// The latency that this part (0 to 1) stayed within, in microseconds; 0 if there is none.
    pub(crate) fn quantile_us(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile).min(self.0.max()) }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The figures of a report.
    pub(crate) fn summary(&self) -> LatencySummary {
        LatencySummary {
            p50: self.quantile_us(0.5),
            p90: self.quantile_us(0.9),
            p99: self.quantile_us(0.99),
            p999: self.quantile_us(0.999),
            max: if self.0.is_empty() { 0 } else { self.0.max() },
            count: self.count(),
        }
    }

    /// The distribution as (part of all, microseconds), denser towards the end, for a plot.
    pub(crate) fn curve(&self) -> Vec<(f64, u64)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        const PARTS: [f64; 25] = [
            0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97,
            0.98, 0.99, 0.993, 0.995, 0.998, 0.999, 0.9995, 0.9999, 1.0,
        ];
        PARTS.iter().map(|part| (*part, self.quantile_us(*part))).collect()
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, DIGITS)
        .expect("the bounds and digits are constants that hdrhistogram accepts")
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LatencySummary {
    /// Half stayed within this.
    pub p50: u64,
    /// Nine of ten stayed within this.
    pub p90: u64,
    /// 99 of 100 stayed within this.
    pub p99: u64,
    /// 999 of 1000 stayed within this.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// How many were measured.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let recorder = Recorder::default();
        for us in 1..=100_000 {
            recorder.record(us);
        }
        let summary = recorder.take().summary();
        for (measured, exact) in
            [(summary.p50, 50_000.0), (summary.p99, 99_000.0), (summary.max, 100_000.0)]
        {
            assert!((measured as f64 / exact - 1.0).abs() < 0.002, "{measured} is not {exact}");
        }
        assert_eq!(summary.count, 100_000);
    }

    #[test]
    fn what_was_taken_is_not_there_twice_and_threads_add_up() {
        let recorder = Recorder::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| recorder.record(10)));
            }
        });
        assert_eq!(recorder.take().count(), 4000);
        assert_eq!(recorder.take().count(), 0);
    }

    #[test]
    fn no_samples_are_zero_and_endless_ones_saturate() {
        assert_eq!(Latencies::default().summary(), LatencySummary::default());
        let recorder = Recorder::default();
        recorder.record(u64::MAX);
        assert!(recorder.take().summary().max >= LONGEST_US);
    }
}
