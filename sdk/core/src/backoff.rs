//! Reconnect delays: exponential with full jitter.

use std::time::Duration;

use crate::rng::Rng;

/// How long to wait before the next connection attempt.
///
/// The ceiling doubles with every failure from `min` up to `max`; the delay is drawn evenly
/// from zero to the ceiling ("full jitter"), so that clients cut off together come back spread out.
#[derive(Debug, Clone)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    attempt: u32,
}

impl Backoff {
    /// A backoff whose first ceiling is `min` and whose last is `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, attempt: 0 }
    }

    /// How many delays were drawn since the last [`reset`](Self::reset).
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Forgets past failures: a connection was established.
    pub const fn reset(&mut self) {
        self.attempt = 0;
    }

    /// Draws the next delay and counts the attempt.
    pub fn next_delay(&mut self, rng: &mut Rng) -> Duration {
        let ceiling = self.min.saturating_mul(1 << self.attempt.min(20)).min(self.max);
        self.attempt = self.attempt.saturating_add(1);
        let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(rng.below(micros.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_double_up_to_the_maximum() {
        let mut rng = Rng::new(7);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        for ceiling in [100, 200, 400, 800, 1600, 2000, 2000] {
            let drawn: Vec<_> =
                (0..200).map(|_| backoff.clone().next_delay(&mut rng).as_millis()).collect();
            assert!(drawn.iter().all(|d| *d <= ceiling));
            assert!(drawn.iter().any(|d| *d > ceiling / 2), "jitter covers the whole range");
            backoff.next_delay(&mut rng);
        }
        backoff.reset();
        assert_eq!(backoff.attempt(), 0);
    }
}
