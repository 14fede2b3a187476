//! Reads from the log what is to be kept, like a connection: by cursor, at its own pace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::{Lane, Pattern, PatternSet, Place, Priority};

use super::queue::{Queue, Waiting};
use crate::backplane::{Backplane, Signal};

/// How many events of a lane are read before others are looked at.
const BATCH: usize = 256;

/// Where the store is in each lane that it reads.
pub(super) struct Follower {
    backplane: Arc<dyn Backplane>,
    signal: Arc<Signal>,
    keep: PatternSet,
    /// The partitions in which there can be something to keep.
    partitions: BTreeSet<u16>,
    places: Mutex<BTreeMap<Lane, Place>>,
    /// How often events were gone before they were read.
    gaps: AtomicU64,
}

impl Follower {
    /// One that reads nothing yet.
    pub(super) fn new(backplane: Arc<dyn Backplane>, keep: &[String]) -> Self {
        let partitioning = backplane.partitioning();
        // Volatile events are not kept: one may wait, for nothing.
        let signal = Arc::new(Signal::new(partitioning, 1));
        backplane.attach(Arc::clone(&signal));
        let patterns = keep.iter().filter_map(|text| Pattern::new(text.as_str()).ok());
        let keep: PatternSet = patterns.collect();
        let of_pattern = |pattern: &Pattern| match partitioning.of_pattern(pattern.as_str()) {
            Some(partition) => partition..partition + 1,
            None => 0..partitioning.count(),
        };
        let partitions = keep.iter().flat_map(of_pattern).collect();
        let (places, gaps) = Default::default();
        Self { backplane, signal, keep, partitions, places, gaps }
    }

    /// The partitions in which there can be something to keep.
    pub(super) const fn partitions(&self) -> &BTreeSet<u16> {
        &self.partitions
    }

    /// Those that are read.
    pub(super) fn followed(&self) -> BTreeSet<u16> {
        self.places.lock().keys().map(|lane| lane.partition()).collect()
    }

    /// Reads these partitions from where their lanes stand now.
    pub(super) fn follow_from_here(&self) {
        for partition in &self.partitions {
            self.signal.set_interest(*partition, true);
            for lane in lanes(*partition) {
                self.places.lock().insert(lane, self.backplane.head(lane));
            }
        }
    }

    /// Reads a partition, each lane from its place, or from the oldest event that there is.
    pub(super) async fn follow(&self, partition: u16, from: &BTreeMap<Lane, Place>) {
        if let Some(prepared) = self.backplane.prepare(&mut std::iter::once(partition)) {
            prepared.await;
        }
        self.signal.set_interest(partition, true);
        for lane in lanes(partition) {
            self.places.lock().insert(lane, from.get(&lane).copied().unwrap_or_default());
            self.signal.raise(lane);
        }
    }

    /// Does not read a partition any more.
    pub(super) fn let_go(&self, partition: u16) {
        self.signal.set_interest(partition, false);
        self.places.lock().retain(|lane, _| lane.partition() != partition);
    }

    /// Puts what is new into `queue`.
    pub(super) fn collect(&self, queue: &Mutex<Queue>) {
        let (mut lanes, mut loaded, mut events) = (Vec::new(), Vec::new(), Vec::new());
        self.signal.take_volatile();
        self.signal.take_lanes(&mut lanes);
        self.signal.take_loaded(&mut loaded);
        lanes.append(&mut loaded);
        for lane in lanes {
            while self.read(lane, &mut events, queue) {}
        }
    }

    /// Puts a batch of a lane into `queue`. Returns whether there may be more.
    fn read(&self, lane: Lane, events: &mut Vec<Arc<LoggedEvent>>, queue: &Mutex<Queue>) -> bool {
        let mut places = self.places.lock();
        let Some(place) = places.get_mut(&lane) else { return false };
        match self.backplane.read(lane, *place, BATCH, events) {
            Read::Done(None) if place.epoch == Default::default() => {
                // From the oldest event on: the epoch is that of the lane.
                place.epoch = self.backplane.head(lane).epoch;
            }
            Read::Done(None) => {}
            Read::Done(Some(gap)) => {
                self.gaps.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    %lane, from = gap.from.0, to = gap.to.0,
                    "the store has missed events: the log did not reach back to them (retention)"
                );
                *place = Place { epoch: gap.epoch, offset: gap.to };
            }
            // Goes on when it is told that they are in memory.
            Read::Later => return false,
        }
        let more = events.len() == BATCH;
        let mut queue = queue.lock();
        for event in events.drain(..) {
            place.offset = event.offset();
            if !event.is_again() && self.keep.matches(&event.event().name) {
                queue.push(Waiting { event, epoch: place.epoch });
            }
        }
        more
    }

    /// How often events were gone before they were read, since the start.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }
}

fn lanes(partition: u16) -> impl Iterator<Item = Lane> {
    Priority::URGENT_FIRST.into_iter().map(move |priority| Lane::new(partition, priority))
}
