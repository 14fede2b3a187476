//! Latencies of the last seconds.

use std::fmt;
use std::ops::AddAssign;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

/// The longest latency told apart from longer ones, in microseconds.
const MAX_MICROS: u64 = 60_000_000;

/// Values are kept to two significant digits: 1 % off at most.
const DIGITS: u8 = 2;

/// How many ticks a window lasts.
const WINDOW_TICKS: u32 = 10;

/// The upper bounds, in microseconds, by which latencies are counted since the start.
pub(super) const BUCKETS: [u64; 15] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// All latencies since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cumulative {
    /// How many were at most as long as the bucket's bound, and longer than the one before.
    pub(super) counts: [u64; BUCKETS.len()],
    /// How many were longer than all bounds.
    longer: u64,
    /// All together, in microseconds.
    pub(super) sum: u64,
}

impl Cumulative {
    pub(super) fn record(&mut self, micros: u64) {
        let bucket = BUCKETS.partition_point(|bound| *bound < micros);
        *self.counts.get_mut(bucket).unwrap_or(&mut self.longer) += 1;
        self.sum = self.sum.saturating_add(micros);
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.longer
    }
}

impl AddAssign for Cumulative {
    fn add_assign(&mut self, other: Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.longer += other.longer;
        self.sum = self.sum.saturating_add(other.sum);
    }
}

/// Records latencies, and forgets them after one to two windows of 10 seconds.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    /// The running second.
    second: Option<Histogram<u32>>,
    /// The second before.
    last_second: Option<Histogram<u32>>,
    /// All of this window before the running second.
    current: Option<Histogram<u32>>,
    previous: Option<Histogram<u32>>,
    ticks: u32,
    cumulative: Cumulative,
}

impl Recorder {
    /// Records latencies in microseconds.
    pub(crate) fn record(&self, latencies: impl Iterator<Item = u64>) {
        let mut windows = self.0.lock();
        if windows.second.is_none() {
            windows.second = Histogram::new_with_max(MAX_MICROS, DIGITS).ok();
        }
        let Windows { second, cumulative, .. } = &mut *windows;
        for micros in latencies {
            cumulative.record(micros);
            if let Some(second) = second {
                second.saturating_record(micros.min(MAX_MICROS));
            }
        }
    }

    /// All that were ever recorded.
    pub(super) fn cumulative(&self) -> Cumulative {
        self.0.lock().cumulative
    }

    /// A second has passed.
    pub(crate) fn tick(&self) {
        let mut windows = self.0.lock();
        let second = windows.second.take();
        match (&mut windows.current, &second) {
            (Some(current), Some(second)) => {
                // They have the same bounds, so that it cannot fail.
                let _ = current.add(second);
            }
            (current @ None, second) => current.clone_from(second),
            (Some(_), None) => {}
        }
        windows.last_second = second;
        windows.ticks += 1;
        if windows.ticks >= WINDOW_TICKS {
            windows.ticks = 0;
            windows.previous = windows.current.take();
        }
    }

    fn add_to(&self, sum: &mut Histogram<u64>) {
        let Windows { second, current, previous, .. } = &*self.0.lock();
        [second, current, previous].into_iter().flatten().for_each(|part| add(sum, part));
    }

    fn add_last_second_to(&self, sum: &mut Histogram<u64>) {
        self.0.lock().last_second.iter().for_each(|part| add(sum, part));
    }
}

fn add(sum: &mut Histogram<u64>, part: &Histogram<u32>) {
    for step in part.iter_recorded() {
        sum.saturating_record_n(step.value_iterated_to(), step.count_since_last_iteration());
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Latency::of([self]).fmt(f)
    }
}

/// How latencies were distributed, in microseconds, to within 1 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Latency {
    /// Half were at most this.
    pub p50: u64,
    /// 9 of 10 were at most this.
    pub p90: u64,
    /// 99 of 100 were at most this.
    pub p99: u64,
    /// 999 of 1000 were at most this.
    pub p999: u64,
    /// The longest one.
    pub max: u64,
    /// How many were recorded.
    pub count: u64,
}

impl Latency {
    /// What these recorders hold together.
    pub(crate) fn of<'a>(recorders: impl IntoIterator<Item = &'a Recorder>) -> Self {
        Self::sum(|sum| recorders.into_iter().for_each(|recorder| recorder.add_to(sum)))
    }

    /// What these recorders recorded between the last two ticks.
    pub(crate) fn of_last_second<'a>(recorders: impl IntoIterator<Item = &'a Recorder>) -> Self {
        Self::sum(|sum| recorders.into_iter().for_each(|recorder| recorder.add_last_second_to(sum)))
    }

    fn sum(fill: impl FnOnce(&mut Histogram<u64>)) -> Self {
        let Ok(mut sum) = Histogram::<u64>::new_with_max(MAX_MICROS, DIGITS) else {
            return Self::default();
        };
        fill(&mut sum);
        if sum.is_empty() {
            return Self::default();
        }
        Self {
            p50: sum.value_at_quantile(0.5),
            p90: sum.value_at_quantile(0.9),
            p99: sum.value_at_quantile(0.99),
            p999: sum.value_at_quantile(0.999),
            max: sum.max(),
            count: sum.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_several_recorders_are_of_all_they_recorded() {
        let recorders = [Recorder::default(), Recorder::default()];
        recorders[0].record((1..=500).map(|millis| millis * 1000));
        recorders[1].record((501..=1000).map(|millis| millis * 1000));
        recorders[0].record([u64::MAX].into_iter());
        let latency = Latency::of(&recorders);
        let near = |value: u64, micros: u64| value.abs_diff(micros) * 100 <= micros;
        assert!(near(latency.p50, 500_000), "{latency:?}");
        assert!(near(latency.p99, 990_000), "{latency:?}");
        assert!(near(latency.max, MAX_MICROS), "{latency:?}");
        assert_eq!(latency.count, 1001);
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let recorder = Recorder::default();
        recorder.record([1].into_iter());
        recorder.tick();
        assert_eq!(Latency::of_last_second([&recorder]).count, 1);
        (1..WINDOW_TICKS).for_each(|_| recorder.tick());
        assert_eq!(Latency::of_last_second([&recorder]), Latency::default());
        assert_eq!(Latency::of([&recorder]).count, 1, "the last window still counts");
        (0..WINDOW_TICKS).for_each(|_| recorder.tick());
        assert_eq!(Latency::of([&recorder]), Latency::default());
    }
}
