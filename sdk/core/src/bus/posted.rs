//! Events that wait to be delivered, most urgent first.

use std::collections::VecDeque;
use std::task::Waker;

use crate::event::{Event, Priority};

/// A queue per priority, bounded together.
#[derive(Default)]
pub(super) struct Posted {
    queues: [VecDeque<Event>; Priority::COUNT],
    len: usize,
    /// Whoever delivers them, asleep.
    pub(super) waker: Option<Waker>,
}

/// The queue of posted events is full; carries the event that did not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{limit} posted events are waiting already, so {:?} was not added", event.name)]
pub struct PostError {
    /// The event, to try again.
    pub event: Box<Event>,
    /// How many may wait ([`BusConfig::max_posted`](super::BusConfig::max_posted)).
    pub limit: usize,
}

impl Posted {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, event: Event, limit: usize) -> Result<(), PostError> {
        if self.len >= limit {
            return Err(PostError { event: Box::new(event), limit });
        }
        self.len += 1;
        self.queues[event.priority as usize].push_back(event);
        Ok(())
    }

    /// The oldest of the most urgent ones.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.queues.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.len -= 1;
        Some(event)
    }
}
