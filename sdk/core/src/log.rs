//! The log of a lane: append once, keep for a while, read from anywhere.
//!
//! The memory backplane is made of these; the Redis backplane keeps its recent tail in them. Both
//! therefore have the same offsets, duplicates, retention and gaps.

mod copy;
pub mod shared;
mod tears;

pub use copy::{Copied, Entry};

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::event::Event;
use crate::lane::{Epoch, Lane, Offset, Place};
use crate::link::Framed;
use crate::message::{Delivery, Gap, Position};
use tears::Tears;

/// How much a lane keeps. Whichever limit is reached first lets the oldest events go.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Events older than this may go. Default 5 minutes.
    pub max_age: Duration,
    /// At most this many events. Default 10,000.
    pub max_events: usize,
    /// At most this many bytes of names, payloads and headers. Default 8 MiB.
    pub max_bytes: usize,
    /// A producer that has published nothing for this long is forgotten: what it sends again after
    /// that counts as new. Default 10 minutes.
    pub producer_ttl: Duration,
    /// At most this many producers are remembered per lane; the one silent for longest goes first.
    /// Default 100,000.
    pub max_producers: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            max_events: 10_000,
            max_bytes: 8 << 20,
            producer_ttl: Duration::from_secs(600),
            max_producers: 100_000,
        }
    }
}

/// An event in the log, with its finished frames.
#[derive(Debug)]
pub struct LoggedEvent {
    framed: Framed,
    lane: Lane,
    offset: Offset,
    previous: Offset,
    producer: Option<(Arc<str>, u64)>,
    /// The last place before this one at which it is here, too.
    again_after: Option<Offset>,
}

impl LoggedEvent {
    fn new(
        lane: Lane,
        offset: Offset,
        previous: Offset,
        event: Event,
        producer: Option<(Arc<str>, u64)>,
    ) -> Self {
        let position = Some(Position { lane, offset });
        let framed = Framed::new(Delivery { event, position, replay_for: None });
        Self { framed, lane, offset, previous, producer, again_after: None }
    }

    /// The lane it is in.
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Its place in the lane.
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// The offset of the event before it in the lane (or the start of the log).
    pub const fn previous(&self) -> Offset {
        self.previous
    }

    /// Whether it is in this log at an earlier place, too: a failover has lost it there, and it was put
    /// back too late for that place. Only a [copy](LaneLog::copy_of) has such events.
    pub const fn is_again(&self) -> bool {
        self.again_after.is_some()
    }

    /// Whether somebody who follows the log from after `began` on has had it at an earlier place.
    pub fn was_read_from(&self, began: Offset) -> bool {
        self.again_after.is_some_and(|place| began <= place)
    }

    /// The event.
    pub const fn event(&self) -> &Event {
        &self.framed.delivery().event
    }

    /// Who published it, if that is known.
    pub fn producer(&self) -> Option<&str> {
        self.producer.as_ref().map(|(producer, _)| &**producer)
    }

    /// What is delivered to clients, with its finished frames.
    pub const fn framed(&self) -> &Framed {
        &self.framed
    }

    fn weight(&self) -> usize {
        let event = self.event();
        let headers: usize = event.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        event.name.len() + event.id.len() + event.payload.len() + headers
    }
}

/// What became of an append.
#[derive(Debug, Clone)]
pub enum Appended {
    /// The event is in the log.
    Fresh(Arc<LoggedEvent>),
    /// It had been appended before; nothing has changed. The offset is zero when the original is
    /// no longer retained.
    Duplicate(Position),
}

impl Appended {
    /// Where the event stands.
    pub fn position(&self) -> Position {
        match self {
            Self::Fresh(logged) => Position { lane: logged.lane, offset: logged.offset },
            Self::Duplicate(position) => *position,
        }
    }
}

/// What became of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Read {
    /// What is there was read. The gap is what is no longer there of what was asked for.
    Done(Option<Gap>),
    /// What follows the place is not in memory yet; nothing was read. Ask again when it is.
    Later,
}

/// A read that goes on: from after which place, up to which one, and what is lost before it.
struct Reading {
    from: Offset,
    until: Option<Offset>,
    gap: Option<(Offset, Offset)>,
}

/// What is known of a producer in one lane.
#[derive(Debug, Clone, Copy)]
struct Producer {
    /// The largest sequence number appended.
    last_seq: u64,
    /// The largest sequence number among those that are no longer retained.
    trimmed_seq: u64,
    /// Milliseconds since the Unix epoch.
    last_time: u64,
}

/// The recent events of one lane.
#[derive(Debug)]
pub struct LaneLog {
    lane: Lane,
    epoch: Epoch,
    retention: Retention,
    events: VecDeque<Arc<LoggedEvent>>,
    bytes: usize,
    start: Offset,
    /// Everything after this offset is retained.
    floor: Offset,
    /// Whether what is not retained here is retained nowhere.
    whole: bool,
    head: Offset,
    /// What is lost before the head, of a [copy](Self::copy_of).
    tears: Tears,
    producers: HashMap<Arc<str>, Producer>,
    /// When producers were last swept, in milliseconds since the Unix epoch.
    swept: u64,
}

impl LaneLog {
    /// An empty log that begins now.
    ///
    /// `epoch` must differ from that of any earlier log of this lane; `now_us` is the time in
    /// microseconds since the Unix epoch.
    pub fn new(lane: Lane, epoch: Epoch, retention: Retention, now_us: u64) -> Self {
        let start = Offset(now_us);
        Self {
            lane,
            epoch,
            retention,
            events: VecDeque::new(),
            bytes: 0,
            start,
            floor: start,
            whole: true,
            head: start,
            tears: Tears::default(),
            producers: HashMap::new(),
            swept: now_us / 1000,
        }
    }

    /// The lane it is the log of.
    pub const fn lane(&self) -> Lane {
        self.lane
    }

    /// Where the log began: the head until something is appended.
    pub const fn start(&self) -> Offset {
        self.start
    }

    /// The last place given out.
    pub const fn head(&self) -> Place {
        Place { epoch: self.epoch, offset: self.head }
    }

    /// Everything after this place can still be read.
    pub const fn floor(&self) -> Place {
        Place { epoch: self.epoch, offset: self.floor }
    }

    /// How many events are retained.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is retained.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// How many bytes of events are retained.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends `event`, unless `producer` has appended this sequence number before.
    ///
    /// A number smaller than one appended before is not a duplicate for that reason: an event that
    /// was refused in passing comes again after those that were not. What comes so late that its
    /// original might have been trimmed is taken for a duplicate.
    ///
    /// `now_us` is the time in microseconds since the Unix epoch; it becomes the event's time and,
    /// as far as it grows, its offset. An event without an id gets one that follows from its
    /// position.
    pub fn append(
        &mut self,
        now_us: u64,
        mut event: Event,
        producer: Option<(Arc<str>, u64)>,
    ) -> Appended {
        let now_ms = now_us / 1000;
        if let Some((id, seq)) = &producer {
            if let Some(known) = self.producers.get_mut(id) {
                known.last_time = now_ms;
                if *seq <= known.last_seq {
                    let trimmed = (*seq <= known.trimmed_seq).then_some(Offset(0));
                    if let Some(offset) = self.find(id, *seq).or(trimmed) {
                        return Appended::Duplicate(Position { lane: self.lane, offset });
                    }
                } else {
                    known.last_seq = *seq;
                }
            } else {
                self.sweep_producers(now_ms);
                let known = Producer { last_seq: *seq, trimmed_seq: 0, last_time: now_ms };
                self.producers.insert(Arc::clone(id), known);
            }
        }
        let previous = self.head;
        self.head = Offset(now_us.max(previous.0 + 1));
        event.time = now_ms;
        if event.id.is_empty() {
            event.id = format!("{}-{}", self.lane.number(), self.head.0).into();
        }
        let logged = Arc::new(LoggedEvent::new(self.lane, self.head, previous, event, producer));
        self.bytes += logged.weight();
        self.events.push_back(Arc::clone(&logged));
        self.trim(now_ms);
        Appended::Fresh(logged)
    }

    /// Lets go what the retention does not cover any more.
    pub fn trim(&mut self, now_ms: u64) {
        let oldest = now_ms.saturating_sub(millis(self.retention.max_age));
        while let Some(first) = self.events.front() {
            let over = self.events.len() > self.retention.max_events
                || self.bytes > self.retention.max_bytes
                || first.event().time < oldest;
            if !over {
                break;
            }
            self.floor = first.offset;
            self.whole = true;
            self.bytes -= first.weight();
            if let Some((id, seq)) = &first.producer
                && let Some(known) = self.producers.get_mut(id)
            {
                known.trimmed_seq = known.trimmed_seq.max(*seq);
            }
            self.events.pop_front();
        }
        self.tears.end_by(self.floor);
    }

    /// Reads up to `limit` events after `after` into `out`, oldest first, and tells the gap if some
    /// events after that place are no longer there: it lies before all that was read. A place with
    /// epoch and offset zero stands for the oldest event retained. Only a [copy](Self::copy_of) ever
    /// answers [`Read::Later`], or ends a read before a [tear](Self::tear); the next read tells that.
    pub fn read(&self, after: Place, limit: usize, out: &mut Vec<Arc<LoggedEvent>>) -> Read {
        let continues = after.epoch == self.epoch;
        let here = continues && after.offset >= self.floor;
        if !self.whole && !here {
            return Read::Later;
        }
        let is_lost = if continues { !here } else { after != Place::default() };
        let mut reading = Reading {
            from: if here { after.offset } else { self.floor },
            until: None,
            gap: is_lost.then_some((after.offset, self.floor)),
        };
        if !self.tears.is_empty() {
            self.cross_tears(&mut reading);
        }
        let first = self.first_after(reading.from);
        let wanted =
            |logged: &&Arc<LoggedEvent>| reading.until.is_none_or(|until| logged.offset <= until);
        out.extend(self.events.iter().skip(first).take(limit).take_while(wanted).cloned());
        let (lane, epoch) = (self.lane, self.epoch);
        Read::Done(reading.gap.map(|(from, to)| Gap { lane, from, to, epoch, replay_for: None }))
    }

    /// Which event is the first after `from`. Readers are mostly at the end: it is looked for there
    /// first, among events that are still in the processor's caches.
    fn first_after(&self, from: Offset) -> usize {
        const NEAR: usize = 4;
        let newer = self.events.iter().rev().take_while(|logged| logged.offset > from);
        let near = newer.take(NEAR).count();
        if near < NEAR {
            return self.events.len() - near;
        }
        self.events.partition_point(|logged| logged.offset <= from)
    }

    /// Where the event with this number stands, if it is retained.
    fn find(&self, producer: &str, seq: u64) -> Option<Offset> {
        let original = self.events.iter().rev().find(
            |logged| matches!(&logged.producer, Some((p, s)) if *s == seq && **p == *producer),
        );
        original.map(|logged| logged.offset)
    }

    /// Forgets silent producers, at most once a second unless the table is full.
    fn sweep_producers(&mut self, now_ms: u64) {
        let full = self.producers.len() >= self.retention.max_producers.max(1);
        if !full && now_ms < self.swept + 1000 {
            return;
        }
        self.swept = now_ms;
        let oldest = now_ms.saturating_sub(millis(self.retention.producer_ttl));
        self.producers.retain(|_, producer| producer.last_time >= oldest);
        if self.producers.len() >= self.retention.max_producers.max(1) {
            let mut times: Vec<u64> = self.producers.values().map(|p| p.last_time).collect();
            let tenth = times.len() / 10;
            let (_, cut, _) = times.select_nth_unstable(tenth);
            let cut = *cut;
            self.producers.retain(|_, producer| producer.last_time > cut);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Headers, Payload, Priority};

    const START: u64 = 1_700_000_000_000_000;

    fn event(name: &str) -> Event {
        Event {
            name: name.into(),
            payload: Payload::NULL,
            id: name.into(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        }
    }

    fn log(retention: Retention) -> LaneLog {
        LaneLog::new(Lane::new(0, Priority::Normal), Epoch(7), retention, START)
    }

    fn gap(read: Read) -> Option<Gap> {
        match read {
            Read::Done(gap) => gap,
            Read::Later => panic!("a whole log has everything"),
        }
    }

    fn names(events: &[Arc<LoggedEvent>]) -> Vec<&str> {
        events.iter().map(|logged| &*logged.event().name).collect()
    }

    #[test]
    fn offsets_grow_even_when_the_clock_does_not() {
        let mut log = log(Retention::default());
        let offsets: Vec<u64> = [START + 5, START + 5, START - 100, START + 50]
            .into_iter()
            .map(|now| log.append(now, event("a"), None).position().offset.0)
            .collect();
        assert_eq!(offsets, [START + 5, START + 6, START + 7, START + 50]);
    }

    #[test]
    fn a_publish_sent_again_has_one_effect_and_the_same_position() {
        let mut log = log(Retention::default());
        let producer = || Some((Arc::from("p1"), 1));
        let first = log.append(START + 1, event("a"), producer()).position();
        let again = log.append(START + 2, event("a"), producer());
        assert!(matches!(again, Appended::Duplicate(p) if p == first));
        assert_eq!(log.len(), 1);
        let other = log.append(START + 3, event("a"), Some((Arc::from("p2"), 1)));
        assert!(matches!(other, Appended::Fresh(_)));
    }

    #[test]
    fn what_was_refused_in_passing_is_no_duplicate_when_it_comes_late() {
        let mut log = log(Retention::default());
        let producer = |seq| Some((Arc::from("p"), seq));
        for seq in [1, 3, 4] {
            assert!(matches!(log.append(100, event("a"), producer(seq)), Appended::Fresh(_)));
        }
        assert!(matches!(log.append(100, event("late"), producer(2)), Appended::Fresh(_)));
        for seq in 1..=4 {
            assert!(matches!(log.append(100, event("a"), producer(seq)), Appended::Duplicate(_)));
        }
        assert_eq!(log.len(), 4);
    }

    #[test]
    fn a_duplicate_of_a_trimmed_event_has_offset_zero() {
        let mut log = log(Retention { max_events: 1, ..Retention::default() });
        log.append(START + 1, event("a"), Some((Arc::from("p"), 1)));
        log.append(START + 2, event("b"), Some((Arc::from("p"), 2)));
        let again = log.append(START + 3, event("a"), Some((Arc::from("p"), 1)));
        assert_eq!(again.position().offset, Offset(0));
    }

    #[test]
    fn reading_resumes_after_a_place() {
        let mut log = log(Retention::default());
        let a = log.append(START + 1, event("a"), None).position().offset;
        log.append(START + 2, event("b"), None);
        log.append(START + 3, event("c"), None);
        let mut out = Vec::new();
        assert_eq!(log.read(Place { epoch: Epoch(7), offset: a }, 10, &mut out), Read::Done(None));
        assert_eq!(names(&out), ["b", "c"]);
        out.clear();
        assert_eq!(log.read(Place::default(), 2, &mut out), Read::Done(None), "from the oldest");
        assert_eq!(names(&out), ["a", "b"]);
    }

    #[test]
    fn what_is_gone_is_told_as_a_gap() {
        let mut log = log(Retention { max_events: 2, ..Retention::default() });
        let first = log.append(START + 1, event("a"), None).position().offset;
        let second = log.append(START + 2, event("b"), None).position().offset;
        let third = log.append(START + 3, event("c"), None).position().offset;
        log.append(START + 4, event("d"), None);
        let mut out = Vec::new();
        let gap = gap(log.read(Place { epoch: Epoch(7), offset: first }, 10, &mut out));
        assert_eq!(gap.map(|g| (g.from, g.to)), Some((first, second)));
        assert_eq!(names(&out), ["c", "d"]);
        out.clear();
        let place = Place { epoch: Epoch(7), offset: third };
        assert_eq!(log.read(place, 10, &mut out), Read::Done(None));
    }

    #[test]
    fn another_epoch_is_a_gap_and_starts_from_what_is_retained() {
        let mut log = log(Retention::default());
        log.append(START + 1, event("a"), None);
        let mut out = Vec::new();
        let place = Place { epoch: Epoch(6), offset: Offset(START + 9) };
        let gap = gap(log.read(place, 10, &mut out));
        assert_eq!(gap.map(|g| (g.epoch, g.to)), Some((Epoch(7), Offset(START))));
        assert_eq!(names(&out), ["a"]);
    }

    #[test]
    fn age_and_bytes_bound_the_log() {
        let retention = Retention { max_age: Duration::from_millis(10), ..Retention::default() };
        let mut aging = log(retention);
        aging.append(START, event("a"), None);
        aging.append(START + 20_000, event("b"), None);
        assert_eq!(aging.len(), 1);
        let mut small = log(Retention { max_bytes: 20, ..Retention::default() });
        for _ in 0..10 {
            small.append(START, event("a"), None);
        }
        assert!(small.bytes() <= 20 && small.len() == 3, "{} {}", small.bytes(), small.len());
    }

    #[test]
    fn producers_are_bounded_in_number_and_time() {
        let retention = Retention {
            max_producers: 10,
            producer_ttl: Duration::from_secs(1),
            ..Retention::default()
        };
        let mut log = log(retention);
        for i in 0..100 {
            log.append(START + i * 1000, event("a"), Some((format!("p{i}").into(), 1)));
            assert!(log.producers.len() <= 10);
        }
        log.append(START + 10_000_000, event("a"), Some((Arc::from("late"), 1)));
        assert_eq!(log.producers.len(), 1);
    }
}
