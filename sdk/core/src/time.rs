//! Time as the core sees it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on the driver's monotonic clock: the time since the driver started.
///
/// The core never reads a clock; drivers pass the current `Time` with every input. It is a
/// duration rather than [`std::time::Instant`] because the latter panics in browsers and cannot
/// be made up by a simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(Duration);

impl Time {
    /// The moment the driver started.
    pub const ZERO: Self = Self(Duration::ZERO);

    /// The moment `since_start` after the driver's start.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// How long after the driver's start this is.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long `earlier` lies before this moment; zero if it lies after it.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.saturating_since(rhs)
    }
}

/// A span of time in a message for people: in seconds if it has whole ones, otherwise in milliseconds,
/// rounded down.
///
/// [`Duration`]'s `Debug` shows all of any span, but takes more code for that: pages download it.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::time::Brief;
/// assert_eq!(Brief(Duration::from_secs(45)).to_string(), "45s");
/// assert_eq!(Brief(Duration::from_millis(1500)).to_string(), "1500ms");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief(pub Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(span) = self;
        if span.subsec_nanos() == 0 {
            return write!(f, "{}s", span.as_secs());
        }
        write!(f, "{}ms", u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The earlier of two optional deadlines.
pub fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
