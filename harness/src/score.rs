//! Everything that is measured while a run goes on, shared by publishers and receivers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use tidings_core::Priority;

use crate::clock::Clock;
use crate::latency::{Latencies, Recorder};
use crate::ledger::{Arrival, Audit, Book, Entry, Span, StreamLog};
use crate::population::Population;
use crate::stamp::Stamp;

/// Losses listed in a report.
const LISTED_LOSSES: usize = 20;

/// What can be counted without a lock.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Events that were due.
    pub(crate) published: AtomicU64,
    /// Publishes acknowledged.
    pub(crate) accepted: AtomicU64,
    /// Publishes refused, timed out or given up.
    pub(crate) failed: AtomicU64,
    /// Deliveries that have to happen for what was published so far.
    pub(crate) expected: AtomicU64,
    /// Deliveries that happened, each counted once.
    pub(crate) delivered: AtomicU64,
    /// Deliveries that happened again.
    pub(crate) duplicated: AtomicU64,
    /// Deliveries after a later one of their stream.
    pub(crate) out_of_order: AtomicU64,
    /// Deliveries to somebody who was not subscribed.
    pub(crate) unexpected: AtomicU64,
    /// Deliveries whose payload is not what was published.
    pub(crate) corrupt: AtomicU64,
    /// Gaps that clients were told of.
    pub(crate) gaps: AtomicU64,
    /// Clients that are connected now.
    pub(crate) connected: AtomicU64,
    /// Times that a client lost its connection.
    pub(crate) interrupted: AtomicU64,
    /// Times that an interrupted client came back.
    pub(crate) recovered: AtomicU64,
}

impl Counters {
    /// The value of one of them.
    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Relaxed)
    }
}

/// The measurements of a run.
pub(crate) struct Score {
    /// The run's clock.
    pub(crate) clock: Clock,
    /// Counted as it happens.
    pub(crate) counters: Counters,
    /// How late publishes went out against the plan.
    pub(crate) publish_lag: Recorder,
    /// How late the harness's own tasks run.
    pub(crate) task_lag: Recorder,
    /// How long interrupted clients were away.
    pub(crate) recovery: Recorder,
    /// From the loss of a client's connection until it had everything published before it was back.
    pub(crate) caught_up: Recorder,
    /// How long connecting took.
    pub(crate) connecting: Recorder,
    /// Emission latencies by priority.
    pub(crate) emission: [Recorder; Priority::COUNT],
    population: Population,
    payload_bytes: usize,
    /// Delivery latencies by group and priority.
    delivery: Vec<Recorder>,
    streams: Vec<Mutex<StreamLog>>,
    books: Vec<Mutex<Book>>,
    /// Zero while connected, else since when not, in microseconds on the clock.
    away_since: Vec<AtomicU64>,
    /// When each client was back the last time, in microseconds on the clock; zero without.
    back_at: Vec<AtomicU64>,
    /// How often each client has lost its connection.
    interruptions: Vec<AtomicU64>,
    /// Latencies of events due before this are not counted.
    count_from_us: AtomicU64,
}

/// One part of the deliveries: to a group, of a priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    /// The receivers' group, by number.
    pub(crate) group: usize,
    /// The events' priority.
    pub(crate) priority: Priority,
}

impl Class {
    fn index(self) -> usize {
        self.group * Priority::COUNT + self.priority as usize
    }
}

impl Score {
    /// Nothing measured yet.
    pub(crate) fn new(population: Population, payload_bytes: usize, groups: usize) -> Self {
        Self {
            clock: Clock::start(),
            counters: Counters::default(),
            publish_lag: Recorder::default(),
            task_lag: Recorder::default(),
            recovery: Recorder::default(),
            caught_up: Recorder::default(),
            connecting: Recorder::default(),
            emission: Default::default(),
            payload_bytes,
            delivery: (0..groups * Priority::COUNT).map(|_| Recorder::default()).collect(),
            streams: population.streams.iter().map(|_| Mutex::default()).collect(),
            books: population
                .clients
                .iter()
                .map(|client| Mutex::new(Book::new(client.expects.clone())))
                .collect(),
            away_since: population.clients.iter().map(|_| AtomicU64::new(0)).collect(),
            back_at: population.clients.iter().map(|_| AtomicU64::new(0)).collect(),
            interruptions: population.clients.iter().map(|_| AtomicU64::new(0)).collect(),
            count_from_us: AtomicU64::new(u64::MAX),
            population,
        }
    }

    /// Who is connected and what is published.
    pub(crate) fn population(&self) -> &Population {
        &self.population
    }

    /// From now on latencies of events due at or after `us` count.
    pub(crate) fn count_from(&self, us: u64) {
        self.count_from_us.store(us, Relaxed);
    }

    /// Whether the latency of an event due at `due_us` counts.
    pub(crate) fn counts(&self, due_us: u64) -> bool {
        due_us >= self.count_from_us.load(Relaxed)
    }

    /// Whether a client has lost its connection and is not back yet.
    pub(crate) fn is_away(&self, client: usize) -> bool {
        self.away_since.get(client).is_some_and(|since| since.load(Relaxed) > 0)
    }

    /// Whether a client was without its connection at any time since then.
    pub(crate) fn was_away_since(&self, client: usize, us: u64) -> bool {
        let was_back = self.back_at.get(client).is_some_and(|at| at.load(Relaxed) > us);
        was_back || self.is_away(client)
    }

    /// Numbers the next event of a stream and makes its payload.
    pub(crate) fn publishing(&self, stream: u32, due_us: u64) -> (u32, bytes::Bytes) {
        let seq = lock(&self.streams[stream as usize]).next_seq();
        self.counters.published.fetch_add(1, Relaxed);
        let receivers = self.population.streams[stream as usize].receivers;
        self.counters.expected.fetch_add(receivers, Relaxed);
        (seq, Stamp { stream, seq, due_us }.encode(self.payload_bytes))
    }

    /// The publisher has its answer.
    pub(crate) fn answered(
        &self,
        stream: u32,
        seq: u32,
        due_us: u64,
        accepted: Result<Option<(u32, u64)>, ()>,
    ) {
        let Ok(place) = accepted else {
            self.counters.failed.fetch_add(1, Relaxed);
            return;
        };
        if self.counts(due_us) {
            let priority = self.population.streams[stream as usize].priority;
            self.emission[priority as usize].record(self.clock.now_us().saturating_sub(due_us));
        }
        lock(&self.streams[stream as usize]).accepted(seq, place);
        self.counters.accepted.fetch_add(1, Relaxed);
    }

    /// A receiver's callback was called, for the subscription of this number if that is known.
    pub(crate) fn received(&self, receiver: usize, via: Option<u16>, payload: &[u8]) {
        let now = self.clock.now_us();
        let known = |stamp: &Stamp| (stamp.stream as usize) < self.population.streams.len();
        let Some(stamp) = Stamp::decode(payload, self.payload_bytes).filter(known) else {
            self.counters.corrupt.fetch_add(1, Relaxed);
            return;
        };
        let (entry, caught_up) = {
            let mut book = lock(&self.books[receiver]);
            (book.arrive(stamp.stream, stamp.seq, via), book.caught_up())
        };
        if let Some(since) = caught_up {
            self.caught_up.record(now.saturating_sub(since));
        }
        let arrival = match entry {
            Entry::Expected(arrival) => arrival,
            Entry::Elsewhere => return,
            Entry::Unexpected => {
                self.counters.unexpected.fetch_add(1, Relaxed);
                return;
            }
        };
        if arrival == Arrival::Duplicate {
            self.counters.duplicated.fetch_add(1, Relaxed);
            return;
        }
        if arrival == Arrival::Late {
            self.counters.out_of_order.fetch_add(1, Relaxed);
        }
        self.counters.delivered.fetch_add(1, Relaxed);
        if self.counts(stamp.due_us) {
            let class = Class {
                group: self.population.clients[receiver].group,
                priority: self.population.streams[stamp.stream as usize].priority,
            };
            self.delivery[class.index()].record(now.saturating_sub(stamp.due_us));
        }
    }

    /// A receiver was told that events of a lane may be missing.
    pub(crate) fn gap(&self, receiver: usize, lane: u32, span: Span) {
        self.counters.gaps.fetch_add(1, Relaxed);
        lock(&self.books[receiver]).gap(lane, span);
    }

    /// A client is connected, for the first time or again.
    pub(crate) fn up(&self, client: usize) {
        self.counters.connected.fetch_add(1, Relaxed);
        let since = self.away_since[client].swap(0, Relaxed);
        if since > 0 {
            self.counters.recovered.fetch_add(1, Relaxed);
            let now = self.clock.now_us();
            self.back_at[client].store(now, Relaxed);
            self.recovery.record(now.saturating_sub(since));
            self.catch_up(client, since);
        }
    }

    /// A client that was away since `since` is back: what was published until now is still to come.
    fn catch_up(&self, client: usize, since: u64) {
        let streams = self.population.clients[client].expects.iter();
        // Not with the book locked: whoever audits locks the streams first.
        let published =
            streams.map(|(stream, _)| lock(&self.streams[*stream as usize]).published()).collect();
        let mut book = lock(&self.books[client]);
        book.begin_catch_up(since, published);
        let caught_up = book.caught_up();
        drop(book);
        if let Some(since) = caught_up {
            self.caught_up.record(self.clock.now_us().saturating_sub(since));
        }
    }

    /// How many clients have lost their connection at least once.
    pub(crate) fn interrupted_clients(&self) -> u64 {
        self.interruptions.iter().filter(|count| Counters::get(count) > 0).count() as u64
    }

    /// A client has lost its connection.
    pub(crate) fn down(&self, client: usize) {
        self.counters.connected.fetch_sub(1, Relaxed);
        self.counters.interrupted.fetch_add(1, Relaxed);
        self.interruptions[client].fetch_add(1, Relaxed);
        self.away_since[client].store(self.clock.now_us().max(1), Relaxed);
    }

    /// The delivery latencies noted since the last call, for each class that has any.
    pub(crate) fn take_deliveries(&self) -> Vec<(Class, Latencies)> {
        let groups = self.delivery.len() / Priority::COUNT;
        (0..groups)
            .flat_map(|group| Priority::URGENT_FIRST.map(|priority| Class { group, priority }))
            .map(|class| (class, self.delivery[class.index()].take()))
            .filter(|(_, latencies)| latencies.count() > 0)
            .collect()
    }

    /// The balance of what was published so far.
    pub(crate) fn audit(&self) -> Audit {
        self.audit_where(|_, _| true)
    }

    /// The balance of a part: receivers and streams chosen by number.
    pub(crate) fn audit_where(&self, part: impl Fn(usize, u32) -> bool) -> Audit {
        let streams: Vec<_> = self.streams.iter().map(lock).collect();
        let mut audit = Audit::default();
        for (receiver, book) in self.books.iter().enumerate() {
            let of_part = |stream| part(receiver, stream);
            audit.add(receiver, &lock(book), |s| &streams[s as usize], of_part, LISTED_LOSSES);
        }
        audit
    }
}

/// A panic elsewhere while counting must not hide what was counted.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    fn score() -> Score {
        let mut scenario = Scenario::load("fanout").unwrap();
        scenario.connections = 6;
        scenario.publish[0].publishers = Some(1);
        let population = Population::of(&scenario).unwrap();
        let score = Score::new(population, 185, 2);
        score.count_from(0);
        score
    }

    const AUDIENCE: [usize; 2] = [4, 5];

    #[test]
    fn every_delivery_is_counted_as_what_it_is() {
        let score = score();
        let (_, first) = score.publishing(0, 10);
        let (_, second) = score.publishing(0, 20);
        let [a, b] = AUDIENCE;
        for payload in [&second, &first, &first] {
            score.received(a, None, payload);
        }
        score.received(b, None, b"{}");
        score.received(0, None, &first);
        let c = &score.counters;
        let counted =
            [&c.expected, &c.delivered, &c.out_of_order, &c.duplicated, &c.corrupt, &c.unexpected]
                .map(Counters::get);
        assert_eq!(counted, [4, 2, 1, 1, 1, 1]);
        let audit = score.audit();
        assert_eq!((audit.expected, audit.delivered(), audit.lost), (4, 2, 2));
        assert!(audit.losses.iter().all(|loss| loss.receiver == b));
    }

    #[test]
    fn latency_counts_from_when_the_event_was_due_and_after_the_warm_up() {
        let score = score();
        score.count_from(1000);
        let (_, early) = score.publishing(0, 999);
        let (_, counted) = score.publishing(0, 1000);
        score.received(4, None, &early);
        score.received(4, None, &counted);
        let classes = score.take_deliveries();
        assert_eq!(classes.len(), 1);
        assert_eq!(classes[0].0, Class { group: 1, priority: Priority::Normal });
        assert_eq!(classes[0].1.count(), 1);
    }

    #[test]
    fn an_absence_is_measured_until_the_client_is_back() {
        let score = score();
        score.up(4);
        score.down(4);
        assert_eq!(Counters::get(&score.counters.connected), 0);
        score.up(4);
        assert_eq!(Counters::get(&score.counters.recovered), 1);
        assert_eq!(score.recovery.take().count(), 1);
        assert_eq!(score.caught_up.take().count(), 1, "it has missed nothing");
        score.down(4);
        let (_, missed) = score.publishing(0, 0);
        score.up(4);
        assert_eq!(score.caught_up.take().count(), 0);
        score.received(4, None, &missed);
        assert_eq!(score.caught_up.take().count(), 1);
        assert_eq!(score.interrupted_clients(), 1);
    }

    #[test]
    fn parts_are_audited_apart() {
        let score = score();
        let (_, event) = score.publishing(0, 0);
        score.received(4, None, &event);
        assert_eq!(score.audit_where(|receiver, _| receiver == 4).lost, 0);
        assert_eq!(score.audit_where(|receiver, _| receiver == 5).lost, 1);
    }
}
