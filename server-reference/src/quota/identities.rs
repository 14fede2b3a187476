//! What one subject may take, over all of its connections to this instance.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tidings_core::Time;
use tidings_core::message::{ErrorCode, Refusal};

use crate::config::Limits;
use crate::rate::Bucket;

/// With how many subjects those that have gone are looked for the first time.
const SWEEP: usize = 1024;

/// Who is connected, by the claim `sub`.
#[derive(Debug)]
pub(crate) struct Subjects {
    limits: Arc<Limits>,
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    subjects: HashMap<Arc<str>, Arc<Taken>>,
    sweep_at: usize,
}

/// What the connections of a subject have taken together.
#[derive(Debug)]
struct Taken {
    connections: AtomicUsize,
    subscriptions: AtomicUsize,
    requests: AtomicUsize,
    publishes: Mutex<Bucket>,
    /// Of history.
    reads: Mutex<Bucket>,
}

impl Taken {
    fn publish(&self, now: Time, limits: &Limits) -> Result<(), Refusal> {
        if self.publishes.lock().take(now) {
            return Ok(());
        }
        let rate = limits.publish_rate_per_subject;
        let message = format!(
            "more than {rate} publishes per second of one subject (publish_rate_per_subject)"
        );
        Err(Refusal::new(ErrorCode::TOO_MANY, message))
    }
}

impl Subjects {
    pub(crate) fn new(limits: &Limits) -> Self {
        let table = Table { subjects: HashMap::new(), sweep_at: SWEEP };
        Self { limits: Arc::new(limits.clone()), table: Mutex::new(table) }
    }

    fn taken(&self, now: Time, subject: &Arc<str>) -> Arc<Taken> {
        let mut table = self.table.lock();
        if let Some(taken) = table.subjects.get(subject) {
            return Arc::clone(taken);
        }
        if table.subjects.len() >= table.sweep_at {
            let is_here = |taken: &Arc<Taken>| Arc::strong_count(taken) > 1;
            let is_silent = |taken: &Taken| {
                taken.publishes.lock().is_full(now) && taken.reads.lock().is_full(now)
            };
            table.subjects.retain(|_, taken| is_here(taken) || !is_silent(taken));
            table.sweep_at = (table.subjects.len() * 2).max(SWEEP);
        }
        let (rate, burst) =
            (self.limits.publish_rate_per_subject, self.limits.publish_burst_per_subject);
        let taken = Arc::new(Taken {
            connections: AtomicUsize::new(0),
            subscriptions: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            publishes: Mutex::new(Bucket::new(rate, burst, now)),
            reads: Mutex::new(Bucket::new(
                self.limits.history_rate,
                self.limits.history_burst,
                now,
            )),
        });
        table.subjects.insert(Arc::clone(subject), Arc::clone(&taken));
        taken
    }

    /// Whether this subject may publish now, on no connection of its own; it counts.
    ///
    /// # Errors
    /// When it publishes too much.
    pub(crate) fn publish(&self, now: Time, subject: &Arc<str>) -> Result<(), Refusal> {
        self.taken(now, subject).publish(now, &self.limits)
    }

    /// Whether this subject may read history now; it counts.
    pub(crate) fn read(&self, now: Time, subject: &Arc<str>) -> bool {
        self.taken(now, subject).reads.lock().take(now)
    }

    /// One more connection of this subject, unless it has too many.
    pub(crate) fn enter(&self, now: Time, subject: &Arc<str>) -> Option<Share> {
        let taken = self.taken(now, subject);
        let max = self.limits.connections_per_subject;
        let room = |connections| (connections < max).then_some(connections + 1);
        taken.connections.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).ok()?;
        Some(Share {
            limits: Arc::clone(&self.limits),
            taken,
            subscriptions: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
        })
    }
}

fn too_many(code: ErrorCode, max: usize, what: &str, setting: &str) -> Refusal {
    let message = format!("one subject may have {max} {what} at an instance ({setting})");
    Refusal::new(code, message)
}

/// What one connection of a subject has of what that may take; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    limits: Arc<Limits>,
    taken: Arc<Taken>,
    subscriptions: AtomicUsize,
    requests: AtomicUsize,
}

impl Share {
    /// Whether the subject may publish now; it counts.
    ///
    /// # Errors
    /// When it publishes too much.
    pub(crate) fn publish(&self, now: Time) -> Result<(), Refusal> {
        self.taken.publish(now, &self.limits)
    }

    /// Whether the subject may have one more subscription, while this connection has `now`.
    ///
    /// # Errors
    /// When it has too many.
    pub(crate) fn subscribe(&self, now: usize) -> Result<(), Refusal> {
        let max = self.limits.subscriptions_per_subject;
        let all = agree(&self.taken.subscriptions, &self.subscriptions, now);
        let code = ErrorCode::TOO_MANY_SUBSCRIPTIONS;
        if all < max {
            return Ok(());
        }
        Err(too_many(code, max, "subscriptions", "subscriptions_per_subject"))
    }

    /// Whether the subject may ask one thing more, while `now` requests of this connection are
    /// unanswered.
    ///
    /// # Errors
    /// When too many are.
    pub(crate) fn request(&self, now: usize) -> Result<(), Refusal> {
        let max = self.limits.requests_per_subject;
        let all = agree(&self.taken.requests, &self.requests, now);
        if all < max {
            return Ok(());
        }
        Err(too_many(ErrorCode::TOO_MANY, max, "unanswered requests", "requests_per_subject"))
    }

    /// This connection has so many subscriptions and unanswered requests now.
    pub(crate) fn has(&self, subscriptions: usize, requests: usize) {
        agree(&self.taken.subscriptions, &self.subscriptions, subscriptions);
        agree(&self.taken.requests, &self.requests, requests);
    }
}

/// Brings what was told of one connection to `now`. Returns what there is of all.
fn agree(all: &AtomicUsize, told: &AtomicUsize, now: usize) -> usize {
    let before = told.swap(now, Ordering::AcqRel);
    if now >= before {
        all.fetch_add(now - before, Ordering::AcqRel) + (now - before)
    } else {
        all.fetch_sub(before - now, Ordering::AcqRel) - (before - now)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.has(0, 0);
        self.taken.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_start(Duration::from_millis(ms))
    }

    fn subjects() -> Subjects {
        Subjects::new(&Limits {
            connections_per_subject: 2,
            subscriptions_per_subject: 3,
            requests_per_subject: 2,
            publish_rate_per_subject: 1,
            publish_burst_per_subject: 2,
            ..Limits::default()
        })
    }

    #[test]
    fn connections_of_a_subject_share_what_it_may_have() {
        let (subjects, ann, ben) = (subjects(), Arc::from("ann"), Arc::from("ben"));
        let first = subjects.enter(at(0), &ann).expect("room");
        let second = subjects.enter(at(0), &ann).expect("room");
        assert!(subjects.enter(at(0), &ann).is_none());
        let other = subjects.enter(at(0), &ben).expect("room of its own");

        first.subscribe(0).expect("room");
        first.has(2, 0);
        second.subscribe(0).expect("room");
        second.has(1, 0);
        let refused = first.subscribe(2).expect_err("too many");
        assert_eq!(refused.code, ErrorCode::TOO_MANY_SUBSCRIPTIONS);
        other.subscribe(0).expect("its own");
        first.subscribe(1).expect("one was ended");

        first.request(0).expect("room");
        first.has(1, 2);
        assert_eq!(second.request(0).expect_err("too many").code, ErrorCode::TOO_MANY);
        drop(first);
        second.request(0).expect("what a connection had goes with it");
        second.subscribe(1).expect("and its subscriptions");

        assert!(second.publish(at(1)).is_ok() && second.publish(at(1)).is_ok());
        assert!(second.publish(at(1)).is_err());
        assert!(other.publish(at(1)).is_ok());
        let third = subjects.enter(at(2), &ann).expect("room again");
        assert!(third.publish(at(2)).is_err(), "a new connection is no way around it");
        assert!(third.publish(at(1500)).is_ok());
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let subjects = subjects();
        for n in 0..3 * SWEEP {
            drop(subjects.enter(at(0), &format!("{n}").into()).expect("room"));
        }
        assert!(subjects.table.lock().subjects.len() <= SWEEP);
    }
}
