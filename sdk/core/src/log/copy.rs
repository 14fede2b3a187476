//! The copy of a log that is kept elsewhere: its tail, which grows at both ends.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::tears::Tears;
use super::{LaneLog, LoggedEvent, Retention};
use crate::event::Event;
use crate::lane::{Lane, Offset, Place};

/// An event of the log that is copied, as it stands there.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its place.
    pub offset: Offset,
    /// The event; its time is set.
    pub event: Event,
    /// Who published it and under which number, if that is known.
    pub producer: Option<(Arc<str>, u64)>,
    /// The place it had before a failover lost it there; it was then put back at `offset`.
    pub moved_from: Option<Offset>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// It was not here. As the new head it is to be handed out: to everybody, unless it
    /// [is here again](LoggedEvent::is_again).
    New,
    /// It is here already.
    Known,
}

impl LaneLog {
    /// The copy of a log whose head is at `head`. What comes after is [added](Self::copy); what
    /// lies before can be [put in front](Self::put_in_front) when somebody wants to read it.
    pub fn copy_of(lane: Lane, head: Place, retention: Retention) -> Self {
        Self {
            lane,
            epoch: head.epoch,
            retention,
            events: VecDeque::new(),
            bytes: 0,
            start: head.offset,
            floor: head.offset,
            whole: false,
            head: head.offset,
            tears: Tears::default(),
            producers: HashMap::new(),
            swept: 0,
        }
    }

    /// Adds the entry that follows the head. Entries must come in order; one that is not after the
    /// head is known.
    pub fn copy(&mut self, now_ms: u64, entry: Entry) -> Copied {
        if entry.offset <= self.head {
            return Copied::Known;
        }
        let previous = std::mem::replace(&mut self.head, entry.offset);
        self.tears.mend(entry.offset);
        let again_after = entry.moved_from.and_then(|place| self.place_of(place, &entry));
        let Entry { offset, event, producer, .. } = entry;
        let logged = LoggedEvent::new(self.lane, offset, previous, event, producer);
        let logged = Arc::new(LoggedEvent { again_after, ..logged });
        self.bytes += logged.weight();
        self.events.push_back(logged);
        self.trim(now_ms);
        Copied::New
    }

    /// Takes in an entry that lies between the [floor](Self::floor) and the head and did not come in its
    /// turn: the log that is copied is not the one any more of which this was a copy, and had gone on.
    /// Who has passed it does not get it, nor does anybody if another event has its place here; see
    /// [`missed`](Self::missed).
    pub fn take_in(&mut self, now_ms: u64, entry: Entry) -> Copied {
        let at = self.events.partition_point(|logged| logged.offset < entry.offset);
        if entry.offset <= self.floor || entry.offset > self.head {
            return Copied::Known;
        }
        if let Some(there) = self.events.get(at).filter(|logged| logged.offset == entry.offset) {
            // Two masters may have given a place to two events; this log has room for one of them.
            return if there.producer == entry.producer { Copied::Known } else { Copied::New };
        }
        let here = self.place_of(entry.moved_from.unwrap_or(entry.offset), &entry);
        if here.is_some() {
            return Copied::Known;
        }
        let previous = at.checked_sub(1).map_or(self.floor, |before| self.events[before].offset);
        let Entry { offset, event, producer, .. } = entry;
        let logged = Arc::new(LoggedEvent::new(self.lane, offset, previous, event, producer));
        self.bytes += logged.weight();
        self.events.insert(at, logged);
        self.trim(now_ms);
        Copied::New
    }

    /// The last place at which an event is here that was at `place` before it was moved. Another event may
    /// have that place: it is known by its publisher, if it has one.
    fn place_of(&self, place: Offset, entry: &Entry) -> Option<Offset> {
        let is_it = |logged: &&Arc<LoggedEvent>| match &entry.producer {
            None => logged.offset == place && logged.producer.is_none(),
            publisher => logged.producer == *publisher,
        };
        self.events.iter().rev().find(is_it).map(|logged| logged.offset)
    }

    /// Puts entries that lie before the [floor](Self::floor), oldest first, in front of those that
    /// are here. They must be all there are between the first of them and the floor. `start` is
    /// where the log that is copied begins, if they reach so far: all after it is retained there.
    pub fn put_in_front(&mut self, now_ms: u64, entries: Vec<Entry>, start: Option<Offset>) {
        if let Some(first) = entries.first() {
            self.floor = Offset(first.offset.0.saturating_sub(1));
        }
        for entry in entries.into_iter().rev() {
            let Entry { offset, event, producer, .. } = entry;
            let previous = Offset(offset.0.saturating_sub(1));
            let logged = Arc::new(LoggedEvent::new(self.lane, offset, previous, event, producer));
            self.bytes += logged.weight();
            self.events.push_front(logged);
        }
        if let Some(start) = start {
            self.floor = self.floor.min(start);
            self.whole = true;
        }
        self.trim(now_ms);
    }

    /// Whether what is not here is retained nowhere.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Where the last event stands that came here first.
    pub fn last(&self) -> Option<Offset> {
        self.events.iter().rev().find(|logged| !logged.is_again()).map(|logged| logged.offset)
    }

    /// The events that are here and not older than `since_ms` (milliseconds since the Unix
    /// epoch), oldest first, each at the place at which it came first, with its producer's id and
    /// number.
    pub fn recent(&self, since_ms: u64) -> impl Iterator<Item = &Arc<LoggedEvent>> {
        let newer = self.events.iter().rev().take_while(|logged| logged.event().time >= since_ms);
        let count = newer.count();
        self.events.iter().skip(self.events.len() - count).filter(|logged| !logged.is_again())
    }
}

impl LoggedEvent {
    /// Who published it and under which number, if that is known.
    pub const fn publisher(&self) -> Option<&(Arc<str>, u64)> {
        self.producer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Headers, Payload, Priority};
    use crate::lane::Epoch;
    use crate::log::Read;

    const NOW: u64 = 1_700_000_000_000;

    fn entry(offset: u64) -> Entry {
        let event = Event {
            name: "a".into(),
            payload: Payload::NULL,
            id: offset.to_string().into(),
            priority: Priority::Normal,
            time: NOW,
            headers: Headers::NONE,
        };
        Entry { offset: Offset(offset), event, producer: None, moved_from: None }
    }

    fn of(number: u64, entry: Entry) -> Entry {
        Entry { producer: Some(("p".into(), number)), ..entry }
    }

    fn place(offset: u64) -> Place {
        Place { epoch: Epoch(3), offset: Offset(offset) }
    }

    fn copy(head: u64, retention: Retention) -> LaneLog {
        LaneLog::copy_of(Lane::new(0, Priority::Normal), place(head), retention)
    }

    fn read(log: &LaneLog, after: Place) -> Option<(Vec<u64>, bool)> {
        let mut out = Vec::new();
        match log.read(after, 100, &mut out) {
            Read::Done(gap) => {
                Some((out.iter().map(|logged| logged.offset.0).collect(), gap.is_some()))
            }
            Read::Later => None,
        }
    }

    #[test]
    fn what_lies_before_is_read_later() {
        let mut log = copy(100, Retention::default());
        assert_eq!(log.copy(NOW, entry(110)), Copied::New);
        assert_eq!(log.copy(NOW, entry(110)), Copied::Known);
        assert_eq!(read(&log, place(100)), Some((vec![110], false)));
        assert_eq!(read(&log, place(90)), None);
        assert_eq!(read(&log, Place::default()), None);
        log.put_in_front(NOW, vec![entry(80), entry(95)], None);
        assert_eq!(read(&log, place(90)), Some((vec![95, 110], false)));
        assert_eq!(read(&log, place(70)), None);
        log.put_in_front(NOW, vec![entry(70)], Some(Offset(60)));
        assert_eq!(read(&log, place(60)), Some((vec![70, 80, 95, 110], false)));
        assert_eq!(read(&log, place(50)), Some((vec![70, 80, 95, 110], true)));
        assert_eq!(read(&log, Place::default()), Some((vec![70, 80, 95, 110], false)));
    }

    #[test]
    fn a_log_without_anything_older_is_whole() {
        let mut log = copy(100, Retention::default());
        log.put_in_front(NOW, Vec::new(), Some(Offset(40)));
        assert_eq!(read(&log, place(40)), Some((vec![], false)));
        assert_eq!(read(&log, place(39)), Some((vec![], true)));
    }

    #[test]
    fn the_retention_bounds_what_is_put_in_front() {
        let mut log = copy(100, Retention { max_events: 2, ..Retention::default() });
        log.put_in_front(NOW, vec![entry(70), entry(80), entry(90)], None);
        assert!(log.is_whole(), "older ones would go at once");
        assert_eq!(read(&log, place(60)), Some((vec![80, 90], true)));
    }

    #[test]
    fn what_was_put_back_elsewhere_is_for_those_who_came_after_its_first_place() {
        let mut log = copy(100, Retention::default());
        log.copy(NOW, of(1, entry(110)));
        log.copy(NOW, of(2, entry(115)));
        let back = |from, to| Entry { moved_from: Some(Offset(from)), ..of(1, entry(to)) };
        assert_eq!(log.copy(NOW, back(110, 120)), Copied::New);
        assert_eq!(log.copy(NOW, back(110, 130)), Copied::New, "and lost there once more");
        let elsewhere = Entry { moved_from: Some(Offset(117)), ..of(3, entry(140)) };
        assert_eq!(log.copy(NOW, elsewhere), Copied::New);
        let other = Entry { moved_from: Some(Offset(110)), ..of(4, entry(145)) };
        assert_eq!(log.copy(NOW, other), Copied::New, "two had the place");
        assert_eq!(read(&log, place(100)), Some((vec![110, 115, 120, 130, 140, 145], false)));
        let for_who_began_at = |began| -> Vec<u64> {
            let got = log.events.iter().filter(|logged| logged.offset > Offset(began));
            let got = got.filter(|logged| !logged.was_read_from(Offset(began)));
            got.map(|logged| logged.offset.0).collect()
        };
        assert_eq!(for_who_began_at(100), [110, 115, 140, 145]);
        assert_eq!(for_who_began_at(110), [115, 140, 145]);
        assert_eq!(for_who_began_at(115), [120, 140, 145]);
        assert_eq!(for_who_began_at(120), [140, 145]);
        assert_eq!(for_who_began_at(125), [130, 140, 145]);
        let recent: Vec<_> = log.recent(0).map(|logged| logged.offset.0).collect();
        assert_eq!(recent, [110, 115, 140, 145]);
        assert_eq!(log.last(), Some(Offset(145)));
    }

    #[test]
    fn what_did_not_come_in_its_turn_is_taken_in_at_its_place() {
        let mut log = copy(100, Retention::default());
        log.copy(NOW, of(1, entry(110)));
        log.copy(NOW, of(2, entry(150)));
        assert_eq!(log.take_in(NOW, of(3, entry(130))), Copied::New);
        for known in [of(3, entry(130)), of(2, entry(140)), entry(100), entry(160)] {
            assert_eq!(log.take_in(NOW, known), Copied::Known);
        }
        assert_eq!(log.take_in(NOW, of(4, entry(130))), Copied::New, "but there is no room for it");
        let moved = Entry { moved_from: Some(Offset(110)), ..of(1, entry(120)) };
        assert_eq!(log.take_in(NOW, moved), Copied::Known, "it is here at another place");
        assert_eq!(read(&log, place(100)), Some((vec![110, 130, 150], false)));
        assert_eq!(log.bytes(), 3 * log.events[0].weight());
    }

    #[test]
    fn recent_events_are_those_since_a_time() {
        let mut log = copy(100, Retention::default());
        let mut old = entry(110);
        old.event.time = NOW - 1000;
        log.copy(NOW, old);
        log.copy(NOW, entry(120));
        let offsets: Vec<_> = log.recent(NOW - 10).map(|logged| logged.offset.0).collect();
        assert_eq!(offsets, [120]);
    }
}
