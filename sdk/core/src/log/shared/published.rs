//! What was published here last, in case a failover loses it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::lane::{Epoch, Offset, Place};
use crate::time::Time;

/// How many of the events published here last are kept, and how many bytes of them.
const KEPT: usize = 4096;
const KEPT_BYTES: usize = 4 << 20;

/// An event as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The producer's id.
    pub producer: Arc<str>,
    /// The number it gave the event.
    pub number: u64,
    /// The event, [encoded](super::encode).
    pub event: Arc<[u8]>,
}

/// Something that a step has stored and that is no event, such as what became of a mutation that was
/// rejected: a failover can lose it as well. What it says is the store's own affair; to store it once more,
/// or late, must do no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it belongs, such as the name of a collection.
    pub of: Arc<str>,
    /// About whom it is.
    pub about: Arc<str>,
    /// Which of the notes about them it is.
    pub number: u64,
    /// What it says.
    pub says: Arc<[u8]>,
}

/// The last events published here, and the last notes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// In order of their offsets, all of one epoch.
    events: VecDeque<(Offset, Published)>,
    bytes: usize,
    epoch: Epoch,
    notes: VecDeque<(Epoch, Time, Note)>,
    note_bytes: usize,
}

impl Kept {
    pub(super) fn keep(&mut self, place: Place, published: Published) {
        if self.epoch != place.epoch {
            self.events.clear();
            (self.epoch, self.bytes) = (place.epoch, 0);
        }
        self.bytes += published.event.len();
        // Answers to requests that were on their way together may come in another order.
        let earlier = self.events.iter().rposition(|(offset, _)| *offset < place.offset);
        self.events.insert(earlier.map_or(0, |at| at + 1), (place.offset, published));
        while self.events.len() > KEPT || self.bytes > KEPT_BYTES {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= oldest.event.len();
        }
    }

    pub(super) fn keep_note(&mut self, epoch: Epoch, now: Time, note: Note) {
        self.note_bytes += note.says.len();
        self.notes.push_back((epoch, now, note));
        while self.notes.len() > KEPT || self.note_bytes > KEPT_BYTES {
            let Some((.., oldest)) = self.notes.pop_front() else { break };
            self.note_bytes -= oldest.says.len();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.notes.is_empty()
    }

    /// The notes since `since` in this epoch.
    pub(super) fn recent_notes(&self, epoch: Epoch, since: Time) -> VecDeque<Note> {
        let newer = self.notes.iter().filter(|(of, at, _)| *of == epoch && *at >= since);
        newer.map(|(.., note)| note.clone()).collect()
    }

    /// The last of this epoch.
    pub(super) fn last(&self, epoch: Epoch) -> Option<Offset> {
        self.events.back().filter(|_| epoch == self.epoch).map(|(offset, _)| *offset)
    }

    /// What was published here since `since` in this epoch.
    pub(super) fn recent(&self, epoch: Epoch, since: Offset) -> BTreeMap<Offset, Published> {
        if epoch != self.epoch {
            return BTreeMap::new();
        }
        let newer = self.events.iter().rev().take_while(|(offset, _)| *offset >= since);
        newer.map(|(offset, published)| (*offset, published.clone())).collect()
    }
}
