//! Publishes on their way: queued by priority, numbered when sent, kept until acknowledged.
//!
//! A publish gets its sequence number when it is first sent and keeps it however often it is sent
//! again, after a reconnect or a passing refusal: whichever copies arrive, late ones from an old
//! connection included, the server recognises them and lets one have an effect.

use std::collections::VecDeque;
use std::time::Duration;

use crate::event::Priority;
use crate::map::Map;
use crate::message::{Advice, Close, Publish, Refusal};
use crate::time::Time;

use super::config::QueueLimits;
use super::error::PublishError;
use super::io::Ticket;

/// What an event takes beside name and payload.
const OVERHEAD: usize = 128;

/// Publishes that are neither acknowledged nor given up.
#[derive(Debug)]
pub(super) struct Publishing {
    limits: QueueLimits,
    /// Never sent, by priority.
    queues: [VecDeque<Pending>; Priority::COUNT],
    /// Sent on a connection that is gone, or refused in passing: to be sent again before others.
    resend: Map<u64, Sent>,
    /// Sent on the connection that is used now.
    sent: Map<u64, Sent>,
    held: [Held; Priority::COUNT],
    next_seq: u64,
    /// How often one was sent again.
    resent: u64,
    /// No deadline is earlier than this; when it has passed all are looked at.
    check_at: Option<Time>,
}

/// How much of a queue is taken, sent or not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    publish: Publish,
    /// The time-out the caller gave.
    timeout: Option<Duration>,
    deadline: Time,
}

#[derive(Debug)]
struct Sent {
    pending: Pending,
    at: Time,
}

/// What a refusal led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    /// The publish is given up.
    Failed(Ticket, PublishError),
    /// It waits to be sent again.
    Requeued,
    /// There is no such publish any more.
    Unknown,
}

impl Publishing {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            queues: Default::default(),
            resend: Map::new(),
            sent: Map::new(),
            held: Default::default(),
            next_seq: 1,
            resent: 0,
            check_at: None,
        }
    }

    /// Takes a publish into the queue of its priority, or refuses it when that is full.
    pub(super) fn enqueue(
        &mut self,
        now: Time,
        ticket: Ticket,
        publish: Publish,
        timeout: Option<Duration>,
    ) -> Result<(), PublishError> {
        let priority = publish.priority;
        let held = &mut self.held[priority as usize];
        let bytes = held.bytes + size(&publish);
        // An empty queue takes an event of any size: the server says what is too large.
        if held.count >= self.limits.count || (bytes > self.limits.bytes && held.count > 0) {
            let Held { count, bytes } = *held;
            return Err(PublishError::QueueFull { priority, count, bytes });
        }
        *held = Held { count: held.count + 1, bytes };
        let deadline = now + timeout.unwrap_or(self.limits.age);
        self.check_by(deadline);
        self.queues[priority as usize].push_back(Pending { ticket, publish, timeout, deadline });
        Ok(())
    }

    /// The next one to write, if fewer than `window` are unacknowledged: first what was sent
    /// before, then the queues, most urgent first.
    pub(super) fn next(&mut self, now: Time, window: usize) -> Option<&Publish> {
        if self.sent.len() >= window {
            return None;
        }
        let (seq, pending) = if let Some((seq, sent)) = self.resend.pop_first() {
            self.resent += 1;
            (seq, sent.pending)
        } else {
            let mut pending = Priority::URGENT_FIRST
                .into_iter()
                .find_map(|priority| self.queues[priority as usize].pop_front())?;
            let seq = self.next_seq;
            self.next_seq += 1;
            pending.publish.seq = seq;
            if pending.timeout.is_none() {
                pending.deadline = now + self.limits.ack_timeout;
                self.check_by(pending.deadline);
            }
            (seq, pending)
        };
        let sent = self.sent.get_or_insert_with(seq, || Sent { pending, at: now });
        Some(&sent.pending.publish)
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.held.iter().all(|held| held.count == 0)
    }

    /// What was sent has to be sent again, on another connection.
    pub(super) fn connection_lost(&mut self) {
        self.resend.extend(std::mem::take(&mut self.sent));
    }

    /// The server has it. Returns whose it was, and how long after it was last sent.
    pub(super) fn acknowledged(&mut self, now: Time, seq: u64) -> Option<(Ticket, Duration)> {
        let sent = self.take_sent(seq)?;
        self.release(&sent.pending);
        Some((sent.pending.ticket, now - sent.at))
    }

    /// The server has refused it, without any effect. It is sent `again`, unless the refusal says
    /// that this cannot help.
    pub(super) fn refused(&mut self, seq: u64, refusal: Refusal, again: bool) -> AfterRefusal {
        let Some(sent) = self.take_sent(seq) else { return AfterRefusal::Unknown };
        if !again || refusal.code.advice() == Advice::GiveUp {
            self.release(&sent.pending);
            return AfterRefusal::Failed(sent.pending.ticket, PublishError::Refused(refusal));
        }
        self.resend.insert(seq, sent);
        AfterRefusal::Requeued
    }

    /// Gives up what was numbered `seq`: it cannot be sent at all.
    pub(super) fn withdraw(&mut self, seq: u64) -> Option<Ticket> {
        let sent = self.take_sent(seq)?;
        self.release(&sent.pending);
        Some(sent.pending.ticket)
    }

    /// When [`expire`](Self::expire) has to be called.
    pub(super) const fn next_timeout(&self) -> Option<Time> {
        self.check_at
    }

    /// Gives up what has waited for too long.
    pub(super) fn expire(&mut self, now: Time, expired: &mut Vec<(Ticket, PublishError)>) {
        if self.check_at.is_none_or(|at| at > now) {
            return;
        }
        let mut earliest: Option<Time> = None;
        let mut keep = |deadline: Time| {
            let keep = deadline > now;
            if keep {
                earliest = Some(earliest.map_or(deadline, |e| e.min(deadline)));
            }
            keep
        };
        let first = expired.len();
        let limits = self.limits;
        for (priority, queue) in self.queues.iter_mut().enumerate() {
            let held = &mut self.held[priority];
            queue.retain(|pending| {
                let keep = keep(pending.deadline);
                if !keep {
                    held.release(&pending.publish);
                    let waited = pending.timeout.unwrap_or(limits.age);
                    expired.push((pending.ticket, PublishError::Expired(waited)));
                }
                keep
            });
        }
        for sent in [&mut self.resend, &mut self.sent] {
            sent.retain(|_, Sent { pending, .. }| {
                let keep = keep(pending.deadline);
                if !keep {
                    self.held[pending.publish.priority as usize].release(&pending.publish);
                    let waited = pending.timeout.unwrap_or(limits.ack_timeout);
                    expired.push((pending.ticket, PublishError::TimedOut(waited)));
                }
                keep
            });
        }
        expired[first..].sort_unstable_by_key(|(ticket, _)| *ticket);
        self.check_at = earliest;
    }

    /// Gives everything up.
    pub(super) fn close(&mut self, close: &Close) -> Vec<(Ticket, PublishError)> {
        let queued = self.queues.iter_mut().flat_map(std::mem::take);
        let sent = [&mut self.resend, &mut self.sent]
            .into_iter()
            .flat_map(std::mem::take)
            .map(|(_, sent)| sent.pending);
        let mut failed: Vec<_> = queued
            .chain(sent)
            .map(|pending| (pending.ticket, PublishError::Closed(close.clone())))
            .collect();
        failed.sort_unstable_by_key(|(ticket, _)| *ticket);
        self.held = Default::default();
        self.check_at = None;
        failed
    }

    /// How much of the queue of each priority is taken.
    pub(super) const fn held(&self) -> &[Held; Priority::COUNT] {
        &self.held
    }

    /// How often one was sent again.
    pub(super) const fn resent(&self) -> u64 {
        self.resent
    }

    /// How many were sent and are not acknowledged.
    pub(super) fn in_flight(&self) -> usize {
        self.sent.len()
    }

    fn take_sent(&mut self, seq: u64) -> Option<Sent> {
        self.sent.remove(&seq).or_else(|| self.resend.remove(&seq))
    }

    fn release(&mut self, pending: &Pending) {
        self.held[pending.publish.priority as usize].release(&pending.publish);
    }

    fn check_by(&mut self, deadline: Time) {
        self.check_at = Some(self.check_at.map_or(deadline, |at| at.min(deadline)));
    }
}

impl Held {
    fn release(&mut self, publish: &Publish) {
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size(publish));
    }
}

/// What `publish` takes in its queue.
fn size(publish: &Publish) -> usize {
    let headers: usize = publish.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
    OVERHEAD + publish.name.len() + publish.payload.len() + headers
}
