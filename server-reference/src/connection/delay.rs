//! Events that wait for others, to be one message with them.

use std::time::Duration;

use tokio::time::Instant;

/// How long the client wants events to wait for others, and until when those do that are queued.
#[derive(Debug, Default)]
pub(super) struct BatchDelay {
    delay: Duration,
    until: Option<Instant>,
}

/// What an event that was queued means for whoever has queued it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// It is to be written.
    No,
    /// It waits, as others do.
    WithOthers,
    /// It is the first that waits: somebody has to see to it that it is written in time.
    First,
}

impl BatchDelay {
    pub(super) const fn new(delay: Duration) -> Self {
        Self { delay, until: None }
    }

    /// An event was queued. `may_wait` tells whether all that is queued may: few want to know.
    pub(super) fn queued(&mut self, may_wait: impl FnOnce() -> bool) -> Waits {
        if self.delay.is_zero() || !may_wait() {
            return Waits::No;
        }
        if self.until.is_some() {
            return Waits::WithOthers;
        }
        self.until = Some(Instant::now() + self.delay);
        Waits::First
    }

    /// Nothing waits longer, whatever is queued before it is written.
    pub(super) fn end(&mut self) {
        self.until = Some(Instant::now());
    }

    /// Until when nothing is to be written; `None` if all that is queued is.
    pub(super) fn until(&mut self, may_wait: impl FnOnce() -> bool) -> Option<Instant> {
        self.until = self.until.filter(|until| may_wait() && Instant::now() < *until);
        self.until
    }
}
