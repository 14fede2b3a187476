//! One lane as a Redis has it, and what the scripts of the server do with it: line by line what
//! `publish.lua`, `open.lua` and `read.lua` say. A test of the server runs the same steps against
//! this and against a real Redis (`server-reference/src/backplane/redis/model.rs`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidings_core::lane::{Epoch, Lane, Offset, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{
    Append, AppendAnswer, Chunk, Direction, Outcome, Published, Standing, entry_of,
};

/// What is kept of a lane after its last event has expired, in microseconds.
const STREAM_EXTRA: u64 = 60_000_000;

/// An event in the stream.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) published: Published,
    pub(crate) moved_from: Option<u64>,
}

#[derive(Debug, Clone)]
struct Meta {
    epoch: Epoch,
    head: u64,
    floor: u64,
    bytes: usize,
    generation: usize,
    since: u64,
    swept: u64,
}

/// What is remembered of producers in one generation: the last number, and the last trimmed.
#[derive(Debug, Clone, Default)]
struct Seen {
    producers: HashMap<Arc<str>, (u64, u64)>,
    expires: Option<u64>,
}

/// One lane. All times are microseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(crate) struct LaneStore {
    lane: Lane,
    meta: Option<Meta>,
    /// There may be one without events.
    stream: Option<BTreeMap<u64, Stored>>,
    stream_expires: u64,
    seen: [Seen; 2],
}

impl LaneStore {
    pub(crate) fn new(lane: Lane) -> Self {
        Self { lane, meta: None, stream: None, stream_expires: 0, seen: Default::default() }
    }

    pub(crate) const fn lane(&self) -> Lane {
        self.lane
    }

    /// Where it stands, if it has begun.
    pub(crate) fn head(&self) -> Option<Place> {
        self.meta.as_ref().map(|meta| Place { epoch: meta.epoch, offset: Offset(meta.head) })
    }

    /// The events, by their place.
    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &Stored)> {
        self.stream.iter().flatten().map(|(offset, stored)| (*offset, stored))
    }

    /// The last number that a producer has used, if that is remembered.
    pub(crate) fn last_number(&self, producer: &str) -> Option<u64> {
        Some(self.remembered(self.meta.as_ref()?, producer)?.0)
    }

    /// Forgets which numbers producers have used.
    pub(crate) fn forget_producers(&mut self) {
        self.seen = Default::default();
    }

    /// When the stream and what is remembered of producers expire.
    pub(crate) fn expiries(&self) -> [Option<u64>; 3] {
        let stream = self.stream.as_ref().map(|_| self.stream_expires);
        [stream, self.seen[0].expires, self.seen[1].expires]
    }

    /// What has expired goes.
    fn expire(&mut self, now: u64) {
        if self.stream_expires <= now {
            self.stream = None;
        }
        for seen in &mut self.seen {
            if seen.expires.is_some_and(|at| at <= now) {
                *seen = Seen::default();
            }
        }
    }

    /// `open.lua`, for this lane.
    pub(crate) fn look(&mut self, now: u64, new_epoch: Epoch) -> Standing {
        self.expire(now);
        let exists = self.stream.is_some();
        let meta = self.meta.get_or_insert(Meta {
            epoch: new_epoch,
            head: now,
            floor: now,
            bytes: 0,
            generation: 0,
            since: now,
            swept: 0,
        });
        let floor = if exists { meta.floor } else { meta.head };
        Standing {
            head: Place { epoch: meta.epoch, offset: Offset(meta.head) },
            floor: Offset(floor),
        }
    }

    /// `read.lua`.
    pub(crate) fn read(
        &mut self,
        now: u64,
        direction: Direction,
        from: Offset,
        limit: usize,
    ) -> Chunk {
        self.expire(now);
        let (mut head, mut floor, mut there) = (Place::default(), 0, false);
        let mut found: Vec<(u64, &Stored)> = Vec::new();
        if let Some(meta) = &self.meta {
            head = Place { epoch: meta.epoch, offset: Offset(meta.head) };
            floor = if self.stream.is_some() { meta.floor } else { meta.head };
        }
        if let (Some(_), Some(stream)) = (&self.meta, &self.stream) {
            there = stream.contains_key(&from.0);
            let pair = |(offset, stored): (&u64, _)| (*offset, stored);
            found = match direction {
                Direction::After => stream.range(from.0 + 1..).map(pair).take(limit).collect(),
                Direction::UpTo => stream.range(..=from.0).rev().map(pair).take(limit).collect(),
            };
        }
        let entry = |(offset, stored): (u64, &Stored)| {
            let Published { producer, number, event } = &stored.published;
            let entry =
                entry_of(self.lane, offset, producer.as_bytes(), *number, event, stored.moved_from);
            (Offset(offset), entry)
        };
        Chunk {
            head,
            floor: Offset(floor),
            there,
            is_full: found.len() >= limit,
            entries: found.into_iter().map(entry).collect(),
        }
    }

    /// `publish.lua`. Returns the notice, too, if there is one.
    pub(crate) fn append(
        &mut self,
        now: u64,
        retention: &Retention,
        append: &Append,
    ) -> (AppendAnswer, Option<Vec<u8>>) {
        self.expire(now);
        let given = append.given.0;
        let mut meta = self.meta.clone().unwrap_or_else(|| {
            let head = (now - 1).max(append.known.offset.0).max(given);
            Meta {
                epoch: append.new_epoch,
                head,
                floor: head,
                bytes: 0,
                generation: 0,
                since: now,
                swept: 0,
            }
        });
        // Keys that are made now have no expiry yet.
        let mut renewed = self.stream.as_ref().is_none_or(BTreeMap::is_empty);
        if renewed {
            meta.floor = meta.head;
            meta.bytes = 0;
        }
        let Place { epoch, offset } = append.known;
        if meta.epoch == epoch && meta.head < offset.0 && !append.putting_back {
            let place = Place { epoch: meta.epoch, offset: Offset(meta.head) };
            return (AppendAnswer::Behind(place), None);
        }
        let ttl = retention.producer_ttl.as_micros() as u64;
        let full = self.seen[meta.generation].producers.len() >= retention.max_producers;
        if now.saturating_sub(meta.since) > ttl || full {
            meta.generation = 1 - meta.generation;
            self.seen[meta.generation] = Seen::default();
            meta.since = now;
            renewed = true;
        }
        let mut outcomes = Vec::new();
        let mut notice = format!("E{}{}:", append.lane.priority() as u8, meta.epoch.0).into_bytes();
        let mut news = false;
        for (published, place) in &append.events {
            let place = place.map(|place| place.0);
            let (original, known) = self.original(&meta, published, place);
            if let Some(original) = original {
                if let Some(known) = known {
                    self.remember(&meta, &published.producer, known);
                }
                outcomes.push(Outcome::Known(Offset(original)));
                continue;
            }
            let at_place = place.filter(|place| *place > meta.head);
            let offset = at_place.unwrap_or(now.max(meta.head + 1).max(given + 1));
            let moved_from = if at_place.is_some() { None } else { place };
            let Published { producer, number, event } = published;
            let moved = moved_from.map(|place| place.to_string()).unwrap_or_default();
            let (before, sizes) = (meta.head, (producer.len(), event.len()));
            let fields = format!("{offset}:{before}:{moved}:{}:{number}:{}:", sizes.0, sizes.1);
            notice.extend(fields.into_bytes());
            notice.extend(producer.as_bytes());
            notice.extend(&**event);
            news = true;
            let stored = Stored { published: published.clone(), moved_from };
            self.stream.get_or_insert_default().insert(offset, stored);
            meta.head = offset;
            meta.bytes += event.len();
            if !producer.is_empty() {
                let (last, trimmed) = known.unwrap_or_default();
                self.remember(&meta, producer, (last.max(*number), trimmed));
            }
            outcomes.push(Outcome::Fresh(Offset(offset)));
        }
        let count = self.stream.as_ref().map_or(0, BTreeMap::len);
        let heavy = meta.bytes as f64 > retention.max_bytes as f64 * 17.0 / 16.0;
        let slack = 16.max(retention.max_events / 16);
        let aged = now.saturating_sub(meta.swept) > 1_000_000;
        if renewed || aged || heavy || count > retention.max_events + slack {
            meta.swept = now;
            self.trim(&mut meta, now, retention);
            self.stream_expires = now + retention.max_age.as_micros() as u64 + STREAM_EXTRA;
            let current = &mut self.seen[meta.generation];
            if !current.producers.is_empty() {
                current.expires = Some(now + ttl * 2);
            }
        }
        let head = Place { epoch: meta.epoch, offset: Offset(meta.head) };
        self.meta = Some(meta);
        (AppendAnswer::Done { head, outcomes }, news.then_some(notice))
    }

    /// Where the event is if it is there already, and what is remembered of its producer if that
    /// was looked for.
    fn original(
        &self,
        meta: &Meta,
        published: &Published,
        place: Option<u64>,
    ) -> (Option<u64>, Option<(u64, u64)>) {
        let Published { producer, number, .. } = published;
        let same = |stored: &Stored| {
            stored.published.producer == *producer && stored.published.number == *number
        };
        let stream = self.stream.as_ref();
        if let Some(place) = place.filter(|place| *place <= meta.head) {
            if place <= meta.floor {
                return (Some(0), None);
            }
            if stream.and_then(|stream| stream.get(&place)).is_some_and(same) {
                return (Some(place), None);
            }
        }
        let Some((last, trimmed)) = self.remembered(meta, producer) else { return (None, None) };
        let mut original = None;
        if *number <= last {
            let mut newest_first = stream.into_iter().flatten().rev();
            original = newest_first.find(|(_, stored)| same(stored)).map(|(offset, _)| *offset);
            if original.is_none() && *number <= trimmed {
                original = Some(0);
            }
        }
        (original, Some((last, trimmed)))
    }

    fn remembered(&self, meta: &Meta, producer: &str) -> Option<(u64, u64)> {
        let generations = [meta.generation, 1 - meta.generation];
        generations.iter().find_map(|n| self.seen[*n].producers.get(producer).copied())
    }

    fn remember(&mut self, meta: &Meta, producer: &Arc<str>, known: (u64, u64)) {
        self.seen[meta.generation].producers.insert(Arc::clone(producer), known);
    }

    fn trim(&mut self, meta: &mut Meta, now: u64, retention: &Retention) {
        let Some(stream) = &mut self.stream else { return };
        let oldest = now.saturating_sub(retention.max_age.as_micros() as u64);
        let mut gone: HashMap<Arc<str>, u64> = HashMap::new();
        while let Some(first) = stream.first_entry() {
            let kept = first.get().published.event.len();
            if meta.bytes <= retention.max_bytes
                && *first.key() >= oldest
                && stream.len() <= retention.max_events
            {
                break;
            }
            let Some((offset, stored)) = stream.pop_first() else { break };
            meta.bytes -= kept;
            meta.floor = offset;
            let number = gone.entry(stored.published.producer).or_default();
            *number = (*number).max(stored.published.number);
        }
        for (producer, number) in gone {
            if let Some((last, trimmed)) = self.remembered(meta, &producer)
                && number > trimmed
            {
                self.remember(meta, &producer, (last, number));
            }
        }
    }
}
