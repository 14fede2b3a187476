//! Publishing to a lane: what waits goes out together, one request at a time, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::message::{ErrorCode, Refusal};
use crate::time::Time;

use super::{Outcome, Pause, Published};

/// How many events one request appends at most, and how many bytes of them. The store does nothing
/// else meanwhile.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 1 << 20;

/// Pause after a failure, before the next attempt: the first, and the longest.
const PAUSE: Pause = Pause::new(Duration::from_millis(10), Duration::from_millis(250));

/// How long what a producer published after something that was refused is refused, too: longer than
/// what it sent before it heard of the refusal is on its way.
const HELD_OFF: Duration = Duration::from_secs(10);

/// How many refused publishes of one producer are told apart; the order of more may be lost.
const REFUSED: usize = 4096;

/// A publish that waits for the store.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) published: Published,
    /// Whether its producer publishes it again when it is refused.
    pub(super) sends_again: bool,
    pub(super) until: Time,
    pub(super) token: T,
}

/// What of a producer was refused and has not come again: what comes after that is refused, too. So the
/// producer's order stays, which sends again in order.
#[derive(Debug, Default)]
struct Refused(BTreeMap<u64, Awaited>);

#[derive(Debug)]
struct Awaited {
    until: Time,
    /// It was refused when it came, because of what comes before it.
    is_behind: bool,
}

impl Refused {
    fn note(&mut self, now: Time, number: u64, is_behind: bool) {
        if self.0.len() < REFUSED {
            self.0.insert(number, Awaited { until: now + HELD_OFF, is_behind });
        }
    }

    /// Whether this has to come again, since something before it does.
    fn refuses(&mut self, now: Time, number: u64) -> bool {
        self.forget(now);
        let comes_again = self.0.get(&number).is_some_and(|awaited| awaited.is_behind);
        let refuses = self.first().is_some_and(|first| first < number) && !comes_again;
        if refuses {
            self.note(now, number, true);
        } else {
            // What was awaited before it does not come any more: it would have come first. It went
            // elsewhere, or was given up.
            self.0 = self.0.split_off(&number.saturating_add(1));
        }
        refuses
    }

    fn first(&self) -> Option<u64> {
        self.0.first_key_value().map(|(number, _)| *number)
    }

    fn forget(&mut self, now: Time) {
        self.0.retain(|_, awaited| now < awaited.until);
    }
}

/// What is going on with the publishes of a lane.
#[derive(Debug)]
pub(super) struct Writing<T> {
    queue: VecDeque<Waiting<T>>,
    /// What goes out together, until all of it is answered.
    pub(super) batch: VecDeque<Waiting<T>>,
    /// A request for the batch is on its way.
    pub(super) busy: bool,
    /// What became of the batch, while a replica is waited for.
    pub(super) outcomes: Vec<Outcome>,
    /// Not before this is the batch sent again.
    not_before: Option<Time>,
    pause: Pause,
    why: String,
    /// By producer that sends again: what was refused, and is to come again before anything later.
    refused: BTreeMap<Arc<str>, Refused>,
    /// The takeover that has been waited out.
    pub(super) settled: Option<Time>,
}

impl<T> Default for Writing<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            batch: VecDeque::new(),
            busy: false,
            outcomes: Vec::new(),
            not_before: None,
            pause: PAUSE,
            why: "no answer in time".to_owned(),
            refused: BTreeMap::new(),
            settled: None,
        }
    }
}

impl<T> Writing<T> {
    /// Takes a publish.
    ///
    /// # Errors
    /// The publish, if one before it was refused and has not come again.
    pub(super) fn push(&mut self, now: Time, waiting: Waiting<T>) -> Result<(), Waiting<T>> {
        let Published { producer, number, .. } = &waiting.published;
        if let Some(refused) = self.refused.get_mut(producer) {
            if refused.refuses(now, *number) {
                return Err(waiting);
            }
            if refused.0.is_empty() {
                self.refused.remove(producer);
            }
        }
        self.queue.push_back(waiting);
        Ok(())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.queue.is_empty()
    }

    /// Makes the next batch of what waits, if there is none.
    pub(super) fn fill_batch(&mut self) {
        if !self.batch.is_empty() {
            return;
        }
        let mut bytes = 0;
        let fits = |waiting: &&Waiting<T>| {
            bytes += waiting.published.event.len();
            bytes <= BATCH_BYTES
        };
        let count = self.queue.iter().take(BATCH).take_while(fits).count().max(1);
        self.batch.extend(self.queue.drain(..count.min(self.queue.len())));
    }

    /// Takes out what has waited too long, and, if their producers send it again, what these have
    /// published after it or, by another connection, once more: they still wait for that, and have to
    /// hear of it.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Waiting<T>> {
        let mut late = Vec::new();
        for queue in [&mut self.batch, &mut self.queue] {
            while queue.front().is_some_and(|waiting| waiting.until <= now) {
                late.extend(queue.pop_front());
            }
            if !queue.is_empty() {
                break;
            }
        }
        if late.is_empty() {
            return late;
        }
        self.refused.retain(|_, refused| {
            refused.forget(now);
            !refused.0.is_empty()
        });
        for waiting in late.iter().filter(|waiting| waiting.sends_again) {
            let Published { producer, number, .. } = &waiting.published;
            self.refused.entry(Arc::clone(producer)).or_default().note(now, *number, false);
        }
        for queue in [&mut self.batch, &mut self.queue] {
            for waiting in std::mem::take(queue) {
                let Published { producer, number, .. } = &waiting.published;
                let refused = self.refused.get_mut(producer);
                let behind =
                    refused.filter(|refused| refused.first().is_some_and(|first| first <= *number));
                match behind {
                    Some(refused) => {
                        refused.note(now, *number, false);
                        late.push(waiting);
                    }
                    None => queue.push_back(waiting),
                }
            }
        }
        late
    }

    /// Why it is refused what has waited too long.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::new(ErrorCode::UNAVAILABLE, format!("the log cannot be reached: {}", self.why))
    }

    /// The batch could not be appended, or nobody knows whether it was.
    pub(super) fn failed(&mut self, now: Time, why: String) {
        self.busy = false;
        self.outcomes.clear();
        self.not_before = Some(now + self.pause.after_failure());
        self.why = why;
    }

    /// The batch has been answered.
    pub(super) fn done(&mut self) {
        self.busy = false;
        self.not_before = None;
        self.pause.reset();
    }

    /// Something has changed: what failed may work now.
    pub(super) fn hurry(&mut self) {
        self.not_before = None;
    }

    /// When the batch may be sent, if there is something to send. `takeover`: until when nothing
    /// new may be appended.
    pub(super) fn send_at(&self, takeover: Option<Time>) -> Option<Time> {
        if self.busy || self.is_idle() {
            return None;
        }
        Some(self.not_before.max(takeover).unwrap_or(Time::ZERO))
    }

    /// When the first of what waits has waited too long.
    pub(super) fn expires_at(&self) -> Option<Time> {
        if self.busy {
            return None;
        }
        self.batch.front().or(self.queue.front()).map(|waiting| waiting.until)
    }
}
