//! Where a copy knows that something is lost to its readers.

use super::{LaneLog, Reading};
use crate::lane::{Offset, Place};

/// How many tears are told apart; each takes a failover, and everybody who knew what it lost.
const TEARS: usize = 16;

/// Something after `after`, and up to `to`, is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tear {
    after: Offset,
    to: Offset,
    /// Who comes to `after` may lack something since this place.
    since: Option<Offset>,
}

/// The tears of a copy, in order.
#[derive(Debug, Default)]
pub(super) struct Tears(Vec<Tear>);

impl Tears {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The event at this place is there, and with it all that there is before it.
    pub(super) fn mend(&mut self, offset: Offset) {
        let is_in =
            |tear: &&mut Tear| tear.since.is_none() && tear.after < offset && offset <= tear.to;
        for tear in self.0.iter_mut().filter(is_in) {
            tear.after = offset;
        }
        self.0.retain(|tear| tear.after < tear.to);
    }

    /// Nothing up to this place is retained any more: that is told instead.
    pub(super) fn end_by(&mut self, floor: Offset) {
        if !self.0.is_empty() {
            self.0.retain(|tear| tear.to > floor);
        }
    }
}

impl LaneLog {
    /// Something after `after`, and up to `to`, is lost where this log is copied from, and nobody
    /// knows any more what it was. Who reads past it is told by a gap.
    pub fn tear(&mut self, after: Offset, to: Offset) {
        self.add_tear(Tear { after, to, since: None });
    }

    /// Readers have come to the head, and lack something that lies after `since`: it was
    /// [taken in](Self::take_in) too late for them. Who reads on from the head is told by a gap. It ends
    /// one place after the head, for it has to lie before them: an event that came there would be lost in it.
    /// Places go by the clock, so that none does, unless one has gone back.
    pub fn missed(&mut self, since: Offset) {
        let after = self.end().offset;
        self.add_tear(Tear { after, to: Offset(after.0.saturating_add(1)), since: Some(since) });
    }

    /// Where those are who have read everything: at the head, or behind what is lost after it.
    pub fn end(&self) -> Place {
        let torn = self.tears.0.last().map(|tear| tear.to);
        Place { epoch: self.epoch, offset: self.head.max(torn.unwrap_or_default()) }
    }

    fn add_tear(&mut self, tear: Tear) {
        let tears = &mut self.tears.0;
        let at = tears.partition_point(|other| other.to <= tear.to);
        tears.insert(at, tear);
        if tears.len() > TEARS {
            // What lies between them counts as lost, too.
            let first = tears.remove(0);
            tears[0].after = first.after;
            tears[0].since = first.since.into_iter().chain(tears[0].since).min();
        }
    }

    /// A read tells the tears it begins with, and ends before the next.
    pub(super) fn cross_tears(&self, reading: &mut Reading) {
        let began = reading.from;
        for tear in self.tears.0.iter().filter(|tear| tear.to > began) {
            let next = self.events.get(self.first_after(reading.from));
            if next.is_some_and(|logged| logged.offset <= tear.after) {
                reading.until = Some(tear.after);
                return;
            }
            let from = tear.since.map_or(reading.from, |since| since.min(reading.from));
            let from = reading.gap.map_or(from, |(earlier, _)| earlier.min(from));
            reading.gap = Some((from, tear.to));
            reading.from = tear.to;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Event, Headers, Payload, Priority};
    use crate::lane::{Epoch, Lane, Place};
    use crate::log::{Copied, Entry, Read, Retention};

    fn entry(offset: u64) -> Entry {
        let event = Event {
            name: "a".into(),
            payload: Payload::NULL,
            id: Arc::default(),
            priority: Priority::Normal,
            time: 1000,
            headers: Headers::NONE,
        };
        Entry { offset: Offset(offset), event, producer: None, moved_from: None }
    }

    fn place(offset: u64) -> Place {
        Place { epoch: Epoch(3), offset: Offset(offset) }
    }

    /// A copy that has come to `head`.
    fn copy(head: u64, events: &[u64], retention: Retention) -> LaneLog {
        let mut log = LaneLog::copy_of(Lane::new(0, Priority::Normal), place(head), retention);
        for offset in events {
            log.copy(1000, entry(*offset));
        }
        log
    }

    /// The offsets read after a place, and the gap before them.
    fn read(log: &LaneLog, after: u64) -> (Vec<u64>, Option<(u64, u64)>) {
        let mut out = Vec::new();
        let Read::Done(gap) = log.read(place(after), 100, &mut out) else { panic!("it is here") };
        let offsets = out.iter().map(|logged| logged.offset.0).collect();
        (offsets, gap.map(|gap| (gap.from.0, gap.to.0)))
    }

    #[test]
    fn who_reads_past_a_tear_is_told_where_it_is() {
        let mut log = copy(10, &[20, 30], Retention::default());
        log.tear(Offset(30), Offset(40));
        log.copy(1000, entry(50));
        assert_eq!(read(&log, 10), (vec![20, 30], None), "first what is there");
        assert_eq!(read(&log, 30), (vec![50], Some((30, 40))));
        assert_eq!(read(&log, 35), (vec![50], Some((35, 40))));
        assert_eq!(read(&log, 40), (vec![50], None));
    }

    #[test]
    fn a_tear_at_the_end_is_told_before_anything_comes() {
        let mut log = copy(10, &[], Retention::default());
        log.tear(Offset(10), Offset(20));
        log.tear(Offset(20), Offset(30));
        assert_eq!(read(&log, 10), (vec![], Some((10, 30))), "two of them are one gap");
        assert_eq!(read(&log, 30), (vec![], None));
    }

    #[test]
    fn what_comes_after_all_mends_it() {
        let mut log = copy(10, &[], Retention::default());
        log.tear(Offset(10), Offset(20));
        log.copy(1000, entry(20));
        assert_eq!(read(&log, 10), (vec![20], None));
        assert!(log.tears.is_empty());
    }

    #[test]
    fn who_has_passed_what_is_taken_in_late_is_told_since_where() {
        let mut log = copy(10, &[20, 40], Retention::default());
        assert_eq!(log.take_in(1000, entry(30)), Copied::New);
        log.missed(Offset(29));
        assert_eq!(log.end(), place(41));
        assert_eq!(read(&log, 40), (vec![], Some((29, 41))), "who waits at the end");
        assert_eq!(read(&log, 41), (vec![], None), "once");
        assert_eq!(read(&log, 20), (vec![30, 40], None), "who has not come to it gets it");
        log.copy(1000, entry(41));
        assert_eq!(read(&log, 40), (vec![], Some((29, 41))), "an event at that place is told, too");
        log.copy(1000, entry(50));
        assert_eq!(read(&log, 41), (vec![50], None));
        assert_eq!(log.end(), place(50));
        log.missed(Offset(15));
        assert_eq!(read(&log, 41), (vec![50], None));
        assert_eq!(read(&log, 50), (vec![], Some((15, 51))));
        log.missed(Offset(12));
        assert_eq!(read(&log, 50), (vec![], Some((12, 52))));
        assert_eq!(read(&log, 51), (vec![], Some((12, 52))), "also who was told of another one");
    }

    #[test]
    fn what_is_not_retained_is_told_instead_and_their_number_is_bounded() {
        let mut log = copy(10, &[], Retention { max_events: 1, ..Retention::default() });
        log.tear(Offset(10), Offset(20));
        log.copy(1000, entry(30));
        log.copy(1000, entry(40));
        assert!(log.tears.is_empty());
        assert_eq!(read(&log, 10), (vec![40], Some((10, 30))));
        for to in 1..100 {
            log.tear(Offset(40 + 10 * to), Offset(45 + 10 * to));
        }
        assert_eq!(log.tears.0.len(), TEARS);
        assert_eq!(log.tears.0[0].after, Offset(50), "the oldest became one");
    }
}
