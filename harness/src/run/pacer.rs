//! The thread that publishes by the plan, whatever the servers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::connect::Seated;
use crate::clock::as_us;
use crate::schedule::{Due, Schedule};
use crate::score::Score;

/// The harness measures this often how late its own tasks run.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// Publishes the events of a schedule.
pub(super) struct Pacer {
    /// The measurements.
    pub(super) score: Arc<Score>,
    /// The clients by number; `None` for those that could not connect.
    pub(super) clients: Arc<[Option<Seated>]>,
    /// What is due when.
    pub(super) schedule: Schedule,
    /// When the schedule starts, on the run's clock.
    pub(super) start_us: u64,
    /// How long it lasts, from the start.
    pub(super) end_us: u64,
    /// Where the receivers live.
    pub(super) runtime: Handle,
    /// Set to end early.
    pub(super) stop: Arc<AtomicBool>,
}

impl Pacer {
    /// Runs to the end of the schedule. Blocks: for a thread of its own, which wakes up to a few
    /// microseconds' precision where an asynchronous timer has a millisecond's.
    pub(super) fn run(mut self) {
        let mut probe = Instant::now();
        while let Some(due) = self.schedule.next() {
            if !self.wait(due.at_us, &mut probe) {
                return;
            }
            self.publish(due);
        }
        self.wait(self.end_us, &mut probe);
    }

    /// Waits until so long after the start, and probes meanwhile; false if it is to end early.
    fn wait(&self, at_us: u64, probe: &mut Instant) -> bool {
        let at = self.score.clock.instant(self.start_us + at_us);
        loop {
            let now = Instant::now();
            if self.stop.load(Relaxed) {
                return false;
            }
            if now >= *probe {
                self.probe(now - *probe);
                *probe = now + PROBE_INTERVAL;
            }
            if now >= at {
                return true;
            }
            std::thread::sleep(at.min(*probe).saturating_duration_since(now));
        }
    }

    /// Hands the event to its client at once, here: tasks of their own could overtake one another
    /// and change the order in which a client publishes.
    fn publish(&self, due: Due) {
        let Due { stream, .. } = due;
        let due_us = self.start_us + due.at_us;
        let Some(plan) = self.score.population().streams.get(stream as usize) else { return };
        let (seq, payload) = self.score.publishing(stream, due_us);
        if self.score.counts(due_us) {
            self.score.publish_lag.record(self.score.clock.now_us().saturating_sub(due_us));
        }
        let score = self.score.clone();
        let Some(Some(Seated { client, runtime })) = self.clients.get(plan.publisher) else {
            score.answered(stream, seq, due_us, Err(()));
            return;
        };
        let _runtime = runtime.enter();
        let mut publishing = client.publish(plan.name.clone(), payload, plan.priority);
        match publishing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => score.answered(stream, seq, due_us, answer.map_err(drop)),
            Poll::Pending => {
                runtime.spawn(async move {
                    let answer = publishing.await;
                    score.answered(stream, seq, due_us, answer.map_err(drop));
                });
            }
        }
    }

    /// Notes how late this thread was woken, and has a task note how late it is.
    fn probe(&self, late: Duration) {
        let score = self.score.clone();
        let asked = score.clock.now_us();
        if score.counts(asked) {
            score.publish_lag.record(as_us(late));
            self.runtime.spawn(async move {
                score.task_lag.record(score.clock.now_us().saturating_sub(asked));
            });
        }
    }
}
