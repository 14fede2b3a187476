//! What was published here last, in case a failover loses it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::lane::{Epoch, Offset, Place};

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

/// The last events published here.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// In order of their offsets, all of one epoch.
    events: VecDeque<(Offset, Published)>,
    bytes: usize,
    epoch: Epoch,
}

impl Kept {
    pub(super) fn keep(&mut self, place: Place, published: Published) {
        if self.epoch != place.epoch {
            *self = Self { epoch: place.epoch, ..Self::default() };
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

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
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
