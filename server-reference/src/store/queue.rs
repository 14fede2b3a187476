//! Events that wait for the database, bounded in bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use tidings_core::log::LoggedEvent;
use tidings_core::{Epoch, Event};

/// What an event takes beside its texts: its row and the index entries, about.
const ROW: usize = 128;

/// Bytes that an event takes, about, here and in the database.
pub(super) fn weight(event: &Event) -> usize {
    let headers: usize = event.headers.iter().map(|(key, value)| key.len() + value.len()).sum();
    event.name.len() + event.id.len() + event.payload.len() + headers + ROW
}

/// An event that waits.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) event: Arc<LoggedEvent>,
    /// The history of its lane in which its offset counts.
    pub(super) epoch: Epoch,
}

/// Events in the order in which they were read from their lanes.
pub(super) struct Queue {
    events: VecDeque<Waiting>,
    bytes: usize,
    max_bytes: usize,
    /// How many were not let in because it was full.
    refused: u64,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, max_bytes, refused: 0 }
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        let bytes = weight(waiting.event.event());
        if self.bytes + bytes > self.max_bytes {
            self.refused += 1;
            return;
        }
        self.bytes += bytes;
        self.events.push_back(waiting);
    }

    /// The oldest ones, which stay until they are [taken off](Self::written).
    pub(super) fn oldest(&self, limit: usize) -> Vec<Waiting> {
        self.events.iter().take(limit).cloned().collect()
    }

    /// So many of the oldest are in the database.
    pub(super) fn written(&mut self, count: usize) {
        for waiting in self.events.drain(..count.min(self.events.len())) {
            self.bytes -= weight(waiting.event.event());
        }
        if self.events.is_empty() {
            // A burst is not to be paid for ever.
            self.events.shrink_to(1024);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many there was no room for, since the start.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether it is so full that the database must be slower than what comes.
    pub(super) const fn is_crowded(&self) -> bool {
        self.bytes > self.max_bytes / 2
    }
}
