//! How long acknowledgements take.

use std::time::Duration;

/// Buckets per doubling: a value is told to within one eighth.
const STEPS: u32 = 8;
/// Values up to 2^27 µs, more than two minutes, are told apart.
const BUCKETS: usize = (STEPS * 26) as usize;

/// A histogram of durations from 1 µs to two minutes, precise to 12 %, of fixed size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// Made when there is something to count: most clients of a crowd only listen.
    counts: Option<Box<[u32; BUCKETS]>>,
    total: u64,
    max: Duration,
}

impl RoundTrips {
    pub(super) fn record(&mut self, value: Duration) {
        let counts = self.counts.get_or_insert_with(|| Box::new([0; BUCKETS]));
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = counts.get_mut(bucket(micros)) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The longest.
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// The duration that `share` of all (0.99 for the 99th percentile) did not exceed, rounded up
    /// by at most 12 %; `None` when there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let counts = self.counts.as_ref()?;
        let rank = (share.clamp(0.0, 1.0) * self.total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let index = counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some(Duration::from_micros(upper(index)).min(self.max))
    }
}

/// The bucket of a value. Values below [`STEPS`] have one each; from there every doubling has
/// [`STEPS`].
fn bucket(micros: u64) -> usize {
    if micros < u64::from(STEPS) {
        return micros as usize;
    }
    let exponent = micros.ilog2() - STEPS.ilog2();
    let step = (micros >> exponent) as usize;
    (exponent as usize * STEPS as usize + step).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let steps = STEPS as usize;
    if index < 2 * steps {
        return index as u64;
    }
    let exponent = index / steps - 1;
    let step = (index % steps + steps) as u64;
    ((step + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_within_its_bucket() {
        for micros in (0..100_000).chain([1_000_000, 99_999_999]) {
            let index = bucket(micros);
            assert!(micros <= upper(index));
            assert!(index == 0 || micros > upper(index - 1));
            assert!(upper(index) - micros <= micros / 8, "{micros} is rounded to {}", upper(index));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut trips = RoundTrips::default();
        assert_eq!(trips.quantile(0.5), None);
        for ms in 1..=1000 {
            trips.record(Duration::from_millis(ms));
        }
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let told = trips.quantile(share).unwrap().as_secs_f64() * 1000.0;
            assert!((ms..ms * 1.125).contains(&told), "{share}: {told} ms");
        }
        assert_eq!(trips.max(), Duration::from_secs(1));
        trips.record(Duration::from_secs(1_000_000));
        assert_eq!(trips.count(), 1001);
    }
}
