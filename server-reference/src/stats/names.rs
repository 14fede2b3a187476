//! Which names have the most events.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

/// How many names are counted at once. One that has more than a 64th of all events of a window is
/// among them for certain.
const COUNTED: usize = 64;

/// How many of them are told.
const TOLD: usize = 20;

/// How long a window is at least.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts events by name, those of the most frequent ones ("space saving" by Metwally, Agrawal and
/// El Abbadi): when all places are taken, a new name takes the place and the count of the rarest.
#[derive(Debug)]
pub(crate) struct Names(Mutex<Windows>);

#[derive(Debug)]
struct Windows {
    current: Window,
    previous: Window,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    lasted: Duration,
    counts: HashMap<Arc<str>, Count>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    events: u64,
    /// So many of them may be others'.
    error: u64,
}

/// How many events of a name there were lately.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct NameRate {
    /// The name.
    pub name: String,
    /// Events per second, at most.
    pub per_s: f64,
    /// By how much that may be too high: there are more names than are counted at once.
    pub error_per_s: f64,
}

impl Window {
    fn new() -> Self {
        Self { since: Instant::now(), lasted: Duration::ZERO, counts: HashMap::new() }
    }

    fn add(&mut self, name: &Arc<str>) {
        if let Some(count) = self.counts.get_mut(name) {
            count.events += 1;
            return;
        }
        let mut taken = Count::default();
        if self.counts.len() >= COUNTED {
            let rarest = self.counts.iter().min_by_key(|(_, count)| count.events);
            if let Some((rarest, count)) = rarest.map(|(name, count)| (Arc::clone(name), *count)) {
                self.counts.remove(&rarest);
                taken = count;
            }
        }
        let count = Count { events: taken.events + 1, error: taken.events };
        self.counts.insert(Arc::clone(name), count);
    }
}

impl Windows {
    /// What both have counted, and for how long.
    fn sums(&self) -> (HashMap<Arc<str>, Count>, Duration) {
        let mut sums: HashMap<Arc<str>, Count> = HashMap::new();
        for (name, count) in self.current.counts.iter().chain(&self.previous.counts) {
            let sum = sums.entry(Arc::clone(name)).or_default();
            sum.events += count.events;
            sum.error += count.error;
        }
        (sums, self.current.since.elapsed() + self.previous.lasted)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self(Mutex::new(Windows { current: Window::new(), previous: Window::new() }))
    }
}

impl Names {
    /// An event of this name.
    pub(crate) fn add(&self, name: &Arc<str>) {
        self.0.lock().current.add(name);
    }

    /// A second has passed, or so.
    pub(super) fn tick(&self) {
        let mut windows = self.0.lock();
        windows.current.lasted = windows.current.since.elapsed();
        if windows.current.lasted >= WINDOW {
            windows.previous = mem::replace(&mut windows.current, Window::new());
        }
    }

    /// The most frequent ones of the last 10 to 20 seconds, the most frequent first.
    pub(crate) fn rates(&self) -> Vec<NameRate> {
        let (sums, lasted) = self.0.lock().sums();
        let per_s = |events: u64| events as f64 / lasted.as_secs_f64().max(1.0);
        let mut rates: Vec<_> = sums
            .into_iter()
            .map(|(name, count)| NameRate {
                name: name.to_string(),
                per_s: per_s(count.events),
                error_per_s: per_s(count.error),
            })
            .collect();
        rates.sort_by(|a, b| b.per_s.total_cmp(&a.per_s).then_with(|| a.name.cmp(&b.name)));
        rates.truncate(TOLD);
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_names_are_found_among_more_than_are_counted() {
        let names = Names::default();
        let frequent: Arc<str> = "frequent".into();
        for n in 0..10_000 {
            let name = if n % 20 == 0 { Arc::clone(&frequent) } else { format!("n{n}").into() };
            names.add(&name);
        }
        assert_eq!(names.rates().len(), TOLD);
        let (sums, _) = names.0.lock().sums();
        assert_eq!(sums.len(), COUNTED);
        let count = sums["frequent"];
        assert!(count.events >= 500 && count.events - count.error <= 500, "{count:?}");
    }

    #[test]
    fn few_names_are_counted_exactly() {
        let names = Names::default();
        for n in 0..300 {
            names.add(&format!("n{}", n % 3).into());
        }
        let (sums, _) = names.0.lock().sums();
        assert_eq!(sums.len(), 3);
        assert!(sums.values().all(|count| (count.events, count.error) == (100, 0)), "{sums:?}");
    }
}
