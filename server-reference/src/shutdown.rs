//! Going away without a stampede.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidings_core::message::{Close, CloseCode};
use tokio::sync::watch;

/// How far the server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It is not.
    Running,
    /// New connections are not taken, open ones are told to go, queues are flushed.
    Draining,
    /// The time for that is over: what is still open is cut.
    Over,
}

/// Tells all connections when to go, and each one when to come back.
#[derive(Debug)]
pub(crate) struct Shutdown {
    phase: watch::Sender<Phase>,
    spread: Duration,
    told: AtomicU64,
}

impl Shutdown {
    pub(crate) fn new(spread: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Running), spread, told: AtomicU64::new(0) }
    }

    /// Goes on to a later phase.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until the server is at least this far.
    pub(crate) async fn reached(&self, phase: Phase) {
        let mut watcher = self.phase.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = watcher.wait_for(|now| *now >= phase).await;
    }

    /// What the next client is told: to go, and to come back after a delay. The delays of all
    /// clients lie evenly within the spread, in an order unrelated to that of the calls.
    pub(crate) fn close(&self) -> Close {
        // Multiples of the golden ratio fill the circle evenly, however many there are.
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let turn = self.told.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        let fraction = turn as f64 / u64::MAX as f64;
        let mut close = Close::new(CloseCode::GOING_AWAY, "the server is going away");
        close.delay = Some(self.spread.mul_f64(fraction));
        close
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_come_back_evenly_spread() {
        let shutdown = Shutdown::new(Duration::from_secs(10));
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            let delay = shutdown.close().delay.expect("a delay");
            assert!(delay <= Duration::from_secs(10));
            tenths[(delay.as_secs_f64() as usize).min(9)] += 1;
        }
        assert!(tenths.iter().all(|n| (90..=110).contains(n)), "{tenths:?}");
    }

    #[tokio::test]
    async fn phases_only_go_on() {
        let shutdown = Shutdown::new(Duration::ZERO);
        shutdown.enter(Phase::Draining);
        shutdown.reached(Phase::Draining).await;
        shutdown.enter(Phase::Over);
        shutdown.enter(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Over);
        shutdown.reached(Phase::Draining).await;
    }
}
