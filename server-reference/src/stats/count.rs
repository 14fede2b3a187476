//! Counters.

use std::ops::Index;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tidings_core::Priority;

/// Over how many cache lines a counter is spread.
const STRIPES: usize = 16;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

/// A number that only grows, spread so that threads rarely touch the same cache line.
#[derive(Debug, Default)]
pub(crate) struct Counter([Stripe; STRIPES]);

thread_local! {
    /// Which stripe this thread counts in.
    static STRIPE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        STRIPE.with(|stripe| self.0[*stripe].0.fetch_add(n, Ordering::Relaxed));
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).sum()
    }
}

/// How often something went wrong.
#[derive(Debug, Default)]
pub(crate) struct Mishaps(AtomicU64);

impl Mishaps {
    /// One more; `log` is called with their number, the more seldom the more there are.
    pub(crate) fn add(&self, log: impl FnOnce(u64)) {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if number.is_power_of_two() {
            log(number);
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of something for each priority.
#[derive(Debug, Default)]
pub(crate) struct ByPriority<T>([T; Priority::COUNT]);

impl<T> Index<Priority> for ByPriority<T> {
    type Output = T;

    fn index(&self, priority: Priority) -> &T {
        &self.0[priority as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..100).for_each(|_| counter.add(2)));
            }
        });
        assert_eq!(counter.get(), 2 * STRIPES as u64 * 200);
    }
}
