//! The run's clock: microseconds since it started, on this machine's monotonic clock.

use std::time::{Duration, Instant};

/// Reads the time of a run. Publishers and receivers share it, so that no skew can enter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Microseconds since the start.
    pub(crate) fn now_us(self) -> u64 {
        as_us(self.start.elapsed())
    }

    /// The instant `us` after the start.
    pub(crate) fn instant(self, us: u64) -> Instant {
        self.start + Duration::from_micros(us)
    }
}

/// A duration in whole microseconds.
pub(crate) fn as_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
