//! The log that all servers share, and what was ever in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::redis::CLOCKS_DIFFER;
use tidings_core::lane::{Lane, Partitioning, Place};
use tidings_core::log::{Appended, LaneLog, LoggedEvent, Read, Retention};
use tidings_core::message::Position;
use tidings_core::rng::Rng;
use tidings_core::server::LogReader;
use tidings_core::{Cursor, Epoch, Event, Offset, Pattern, Priority, Time};

/// Microseconds since the Unix epoch at which every world begins.
pub(crate) const BEGINNING: u64 = 1_700_000_000_000_000;

/// An event that was appended.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    pub(crate) event: Event,
    pub(crate) producer: Arc<str>,
    pub(crate) seq: u64,
    /// The place it had before it was put back elsewhere.
    pub(crate) moved_from: Option<Offset>,
    /// A failover has lost it, and nobody has put it back at this place.
    pub(crate) lost: bool,
    /// A failover has lost it; it may have been put back.
    pub(crate) was_lost: bool,
    /// It was lost together with all of its lane.
    pub(crate) is_forgotten: bool,
    /// Whether it was appended while another node, which was cut off, took events as well.
    pub(crate) beside: bool,
    /// Whoever published it is still alive.
    pub(crate) publisher_lives: bool,
    /// Which server published it.
    pub(crate) server: usize,
}

/// For a while a server did not reach a partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CutOff {
    pub(crate) server: usize,
    pub(crate) partition: usize,
    pub(crate) from: Time,
    pub(crate) to: Time,
}

impl CutOff {
    /// Whether an event was appended then, as far as a node's clock tells.
    fn lasts_at(&self, offset: Offset) -> bool {
        let micros = |at: Time| BEGINNING + at.since_start().as_micros() as u64;
        (micros(self.from)..=micros(self.to) + CLOCKS_DIFFER).contains(&offset.0)
    }
}

impl Entry {
    /// Whether it is the same event, maybe at another place.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.producer == other.producer && self.seq == other.seq
    }
}

/// The lanes, as every instance on one backplane reads them.
pub(crate) struct Log {
    pub(crate) partitioning: Partitioning,
    lanes: Vec<LaneLog>,
    /// Everything appended, retained or not.
    pub(crate) history: BTreeMap<Lane, Vec<Entry>>,
    /// When lanes were lost as a whole, by the clock of their Redis.
    pub(crate) forgot: BTreeMap<Lane, Vec<Offset>>,
    /// When servers did not reach what others reached.
    pub(crate) cut_offs: Vec<CutOff>,
    /// Something was appended that servers have not been told of yet.
    pub(crate) grown: bool,
    /// Publishes that were in the log already.
    pub(crate) repeated: u64,
}

impl Log {
    pub(crate) fn new(max_events: usize) -> Self {
        let partitioning = Partitioning::new(3).with_depth("rooms", 2);
        let retention = retention(max_events);
        let lanes = (0..u32::from(partitioning.count()) * Priority::COUNT as u32)
            .filter_map(Lane::from_number)
            .map(|lane| LaneLog::new(lane, Epoch(1), retention.clone(), BEGINNING))
            .collect();
        let (history, forgot, cut_offs) = Default::default();
        Self { partitioning, lanes, history, forgot, cut_offs, grown: false, repeated: 0 }
    }

    pub(crate) fn append(
        &mut self,
        now: Time,
        event: Event,
        producer: Arc<str>,
        seq: u64,
    ) -> Position {
        let micros = u64::try_from(now.since_start().as_micros()).expect("a short life");
        let lane = Lane::new(self.partitioning.of_name(&event.name), event.priority);
        let key = Some((Arc::clone(&producer), seq));
        match self.lanes[lane.number() as usize].append(BEGINNING + micros, event, key) {
            Appended::Fresh(logged) => {
                let event = logged.event().clone();
                let entry = Entry {
                    offset: logged.offset(),
                    event,
                    producer,
                    seq,
                    moved_from: None,
                    lost: false,
                    was_lost: false,
                    is_forgotten: false,
                    beside: false,
                    publisher_lives: true,
                    server: 0,
                };
                self.history.entry(lane).or_default().push(entry);
                self.grown = true;
                Position { lane, offset: logged.offset() }
            }
            Appended::Duplicate(position) => {
                self.repeated += 1;
                position
            }
        }
    }

    pub(crate) fn head(&self, lane: Lane) -> Place {
        self.lanes[lane.number() as usize].head()
    }

    /// A place in each lane, at or before its head.
    pub(crate) fn somewhere(&self, rng: &mut Rng) -> Cursor {
        let mut cursor = Cursor::new();
        for lane in self.lanes() {
            let entries = self.history.get(&lane).map(Vec::as_slice).unwrap_or_default();
            let at = rng.below(entries.len() as u64 + 1) as usize;
            let offset = if at == 0 { Offset(BEGINNING) } else { entries[at - 1].offset };
            cursor.set(lane, Place { epoch: Epoch(1), offset });
        }
        cursor
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        (0..self.lanes.len() as u32).filter_map(Lane::from_number)
    }

    /// The entry at a place.
    pub(crate) fn entry(&self, lane: Lane, offset: Offset) -> Option<&Entry> {
        let lane = self.history.get(&lane)?;
        lane.binary_search_by_key(&offset, |entry| entry.offset).ok().map(|at| &lane[at])
    }

    /// Whether a server was cut off when an event of this lane was appended there.
    pub(crate) fn was_cut_off(&self, server: usize, lane: Lane, offset: Offset) -> bool {
        let partition = usize::from(lane.partition());
        let mut own =
            self.cut_offs.iter().filter(|cut| (cut.server, cut.partition) == (server, partition));
        own.any(|cut| cut.lasts_at(offset))
    }

    /// All places at which an event ever was, to be told.
    pub(crate) fn places_of(&self, lane: Lane, entry: &Entry) -> Vec<String> {
        let same = self.history[&lane].iter().filter(|other| other.is_same(entry));
        let place = |other: &Entry| {
            let Entry { offset, moved_from, lost, server, .. } = other;
            format!("{} by server {server} (moved from {moved_from:?}, lost: {lost})", offset.0)
        };
        same.map(place).collect()
    }

    /// Acknowledged or not, what was appended and is nowhere any more.
    pub(crate) fn gone(&self) -> impl Iterator<Item = (Lane, &Entry)> {
        self.history.iter().flat_map(|(lane, entries)| {
            let there: BTreeSet<_> = entries
                .iter()
                .filter(|entry| !entry.lost)
                .map(|entry| (Arc::clone(&entry.producer), entry.seq))
                .collect();
            let mut told = BTreeSet::new();
            entries
                .iter()
                .filter(|entry| entry.lost)
                .filter(move |entry| {
                    let key = (Arc::clone(&entry.producer), entry.seq);
                    !there.contains(&key) && told.insert(key)
                })
                .map(|entry| (*lane, entry))
        })
    }

    /// What was ever appended that a pattern matches, and is there or was lost with its whole lane.
    pub(crate) fn matching(&self, pattern: &Pattern) -> impl Iterator<Item = (Lane, &Entry)> {
        let is_known = |entry: &Entry| !entry.lost || entry.is_forgotten;
        self.history
            .iter()
            .flat_map(|(lane, entries)| entries.iter().map(|entry| (*lane, entry)))
            .filter(move |(_, entry)| is_known(entry) && pattern.matches(&entry.event.name))
    }
}

/// What worlds keep of their logs.
pub(crate) fn retention(max_events: usize) -> Retention {
    Retention { max_events, max_age: Duration::from_secs(3600), ..Retention::default() }
}

impl LogReader for Log {
    fn read(
        &self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        self.lanes[lane.number() as usize].read(after, limit, out)
    }
}
