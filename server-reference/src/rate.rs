//! How much a client may do.

use tidings_core::Time;

/// A token bucket: `rate` per second in the long run, up to `burst` at once.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: u32,
    burst: u32,
    tokens: f64,
    filled: Time,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(rate: u32, burst: u32, now: Time) -> Self {
        Self { rate, burst, tokens: f64::from(burst), filled: now }
    }

    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, now: Time) -> bool {
        let taken = self.has(now);
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// Whether there is a token.
    pub(crate) fn has(&mut self, now: Time) -> bool {
        let refill = now.saturating_since(self.filled).as_secs_f64() * f64::from(self.rate);
        self.tokens = (self.tokens + refill).min(f64::from(self.burst));
        self.filled = now;
        self.tokens >= 1.0
    }

    /// Whether nothing was taken lately.
    pub(crate) fn is_full(&mut self, now: Time) -> bool {
        self.has(now) && self.tokens >= f64::from(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let mut bucket = Bucket::new(10, 5, at(0));
        assert_eq!((0..10).filter(|_| bucket.take(at(1))).count(), 5);
        assert!(!bucket.take(at(50)));
        assert!(bucket.take(at(101)));
        assert_eq!((0..100).filter(|_| bucket.take(at(60_000))).count(), 5);
    }
}
