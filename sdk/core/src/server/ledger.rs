//! What was sent to one client, for when it comes back and tells what it has seen last.

use std::collections::VecDeque;
use std::fmt;

use crate::lane::{Cursor, Lane, Offset, Place};

/// Names something that was sent to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// An event of the log.
    Event(Lane, Offset),
    /// A packet of the application, by the number the application has given it.
    Application(u64),
}

impl Mark {
    /// Reads the mark of an event of the log, as [`Display`](fmt::Display) writes it.
    pub fn parse_event(text: &str) -> Option<Self> {
        let (lane, offset) = text.split_once('-')?;
        let lane = Lane::from_number(lane.parse().ok()?)?;
        Some(Self::Event(lane, Offset(offset.parse().ok()?)))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(lane, offset) => write!(f, "{}-{}", lane.number(), offset.0),
            Self::Application(number) => write!(f, "{number}"),
        }
    }
}

/// What a client has seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The events of the log, up to here.
    pub cursor: Cursor,
    /// The packets of the application, up to this number.
    pub application: u64,
}

/// The last things that were sent to one client, in the order in which they were written.
///
/// A client of Socket.IO can tell one offset only, that of the last thing it has seen. What it has
/// seen of every lane follows from what had been written before that.
#[derive(Debug, Clone)]
pub struct Ledger {
    max: usize,
    sent: VecDeque<Mark>,
    /// What it had seen before all that is in `sent`.
    before: Seen,
    /// What it has told when it came back; `None` once that is not what precedes `sent`.
    begin: Option<Mark>,
}

impl Ledger {
    /// The ledger of a client that has seen so much, and nothing since `begin`, which it has told.
    /// It remembers up to `max` things.
    pub fn new(max: usize, seen: Seen, begin: Option<Mark>) -> Self {
        Self { max, sent: VecDeque::new(), before: seen, begin }
    }

    /// A lane is delivered to the client from here on.
    pub(super) fn watch(&mut self, lane: Lane, place: Place) {
        if self.before.cursor.get(lane).is_none_or(|known| known.offset < place.offset) {
            self.before.cursor.set(lane, place);
        }
    }

    /// The packets of the application up to this one are none of the client's business.
    pub fn begin_application(&mut self, number: u64) {
        self.before.application = self.before.application.max(number);
    }

    /// Something was written.
    pub(super) fn written(&mut self, mark: Mark) {
        self.sent.push_back(mark);
        if self.sent.len() > self.max
            && let Some(oldest) = self.sent.pop_front()
        {
            self.begin = Some(oldest);
            advance(&mut self.before, oldest);
        }
    }

    /// What a client has seen that has seen this last; `None` if that is not known any more.
    pub fn seen(&self, last: Mark) -> Option<Seen> {
        let mut seen = self.before.clone();
        if self.begin != Some(last) || self.sent.contains(&last) {
            let at = self.sent.iter().rposition(|mark| *mark == last)?;
            self.sent.range(..=at).for_each(|mark| advance(&mut seen, *mark));
        }
        Some(seen)
    }
}

fn advance(seen: &mut Seen, mark: Mark) {
    match mark {
        Mark::Application(number) => seen.application = seen.application.max(number),
        Mark::Event(lane, offset) => {
            let place = seen.cursor.get(lane).unwrap_or_default();
            if place.offset < offset {
                seen.cursor.set(lane, Place { offset, ..place });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Priority;
    use crate::lane::Epoch;

    fn lane(partition: u16) -> Lane {
        Lane::new(partition, Priority::Normal)
    }

    fn at(offset: u64) -> Place {
        Place { epoch: Epoch(7), offset: Offset(offset) }
    }

    fn event(partition: u16, offset: u64) -> Mark {
        Mark::Event(lane(partition), Offset(offset))
    }

    #[test]
    fn what_was_written_before_the_last_thing_seen_was_seen() {
        let mut ledger = Ledger::new(10, Seen::default(), None);
        ledger.watch(lane(1), at(10));
        ledger.watch(lane(2), at(20));
        ledger.begin_application(3);
        for mark in [event(1, 11), Mark::Application(5), event(2, 25), event(1, 14)] {
            ledger.written(mark);
        }
        let seen = |last| {
            let seen = ledger.seen(last)?;
            let place = |partition| seen.cursor.get(lane(partition));
            Some((place(1)?.offset.0, place(2)?.offset.0, seen.application))
        };
        assert_eq!(seen(event(1, 11)), Some((11, 20, 3)));
        assert_eq!(seen(Mark::Application(5)), Some((11, 20, 5)));
        assert_eq!(seen(event(2, 25)), Some((11, 25, 5)));
        assert_eq!(seen(event(1, 14)), Some((14, 25, 5)));
        assert_eq!(seen(event(1, 12)), None, "it was never sent");
        let seen = ledger.seen(event(1, 14)).expect("it was sent");
        assert_eq!(seen.cursor.get(lane(1)), Some(at(14)), "the epoch stays");
    }

    #[test]
    fn it_forgets_what_is_too_old() {
        let begin = event(1, 5);
        let mut ledger = Ledger::new(2, Seen::default(), Some(begin));
        ledger.watch(lane(1), at(5));
        let offset = |ledger: &Ledger, last| {
            ledger.seen(last).and_then(|seen| seen.cursor.get(lane(1))).map(|place| place.offset.0)
        };
        assert_eq!(offset(&ledger, begin), Some(5), "it has seen nothing new");
        for n in 6..=9 {
            ledger.written(event(1, n));
        }
        assert_eq!(offset(&ledger, begin), None);
        assert_eq!(offset(&ledger, event(1, 6)), None);
        assert_eq!(offset(&ledger, event(1, 7)), Some(7), "what follows it is all there");
        assert_eq!(offset(&ledger, event(1, 9)), Some(9));
    }

    #[test]
    fn marks_are_read_as_they_are_written() {
        let mark = event(3, 1 << 53);
        assert_eq!(Mark::parse_event(&mark.to_string()), Some(mark));
        assert_eq!(Mark::parse_event("x-1"), None);
        assert_eq!(Mark::parse_event("12"), None);
    }
}
