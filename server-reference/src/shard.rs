//! Shards: each has a part of the connections and hands them events, on its own core.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::lane::{Lane, Place};
use tidings_core::link::Framed;
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::Delivery;
use tidings_core::server::Hub;
use tidings_core::{Event, Pattern, Priority};

use crate::backplane::{Backplane, Signal};
use crate::clock::unix_micros;
use crate::connection::{Connection, Offered};
use crate::stats::{Live, ShardStats};

/// How many events are handed out before connections are written to and more urgent lanes are
/// looked at again. Also how long, in events, a subscription may wait for the hub.
const BATCH: usize = 128;

/// A part of the connections, with the task that hands them events.
pub(crate) struct Shard {
    pub(crate) hub: Mutex<Hub<Arc<Connection>>>,
    pub(crate) signal: Arc<Signal>,
    pub(crate) stats: ShardStats,
}

impl Shard {
    pub(crate) fn new(backplane: &dyn Backplane, max_volatile: usize) -> Self {
        let partitioning = backplane.partitioning();
        let signal = Arc::new(Signal::new(partitioning, max_volatile));
        backplane.attach(Arc::clone(&signal));
        Self {
            hub: Mutex::new(Hub::new(partitioning.clone())),
            signal,
            stats: ShardStats::default(),
        }
    }

    /// Makes the signal want exactly the partitions the hub's subscriptions need. A partition that
    /// was not wanted before starts at the head of its lanes: what came earlier was not asked for.
    pub(crate) fn update_interest(
        &self,
        hub: &mut Hub<Arc<Connection>>,
        backplane: &dyn Backplane,
    ) {
        for partition in 0..backplane.partitioning().count() {
            let wanted = hub.is_interested(partition);
            if wanted == self.signal.is_interested(partition) {
                continue;
            }
            self.signal.set_interest(partition, wanted);
            if wanted {
                for priority in Priority::URGENT_FIRST {
                    let lane = Lane::new(partition, priority);
                    hub.set_place(lane, backplane.head(lane));
                }
            }
        }
    }

    /// A connection of the hub has subscribed to `pattern`. Its lanes begin where they end as far as can be
    /// read, not where a clock has put them that is fast.
    pub(crate) fn subscribed(
        &self,
        hub: &mut Hub<Arc<Connection>>,
        pattern: &Pattern,
        backplane: &dyn Backplane,
    ) {
        self.update_interest(hub, backplane);
        let mut touched = Vec::new();
        for lane in hub.lanes_of(pattern) {
            catch_up_with(hub, lane, backplane, &mut touched);
        }
        flush(&mut touched);
    }

    /// The connections.
    pub(crate) fn connections(&self) -> Vec<Arc<Connection>> {
        self.hub.lock().handles().cloned().collect()
    }

    /// How old the oldest event is that the shard has still to hand out; zero if there is none.
    pub(crate) fn lag(&self, backplane: &dyn Backplane) -> Duration {
        let interested = (0..backplane.partitioning().count())
            .filter(|partition| self.signal.is_interested(*partition));
        let lanes = interested.flat_map(|partition| {
            Priority::URGENT_FIRST.map(|priority| Lane::new(partition, priority))
        });
        let mut next = Vec::new();
        for lane in lanes {
            let place = self.hub.lock().place(lane);
            if place.offset < backplane.head(lane).offset {
                // A gap is none of its making.
                let _ = backplane.read(lane, place, 1, &mut next);
            }
        }
        let oldest = next.iter().map(|logged| logged.offset().0).min();
        let micros = oldest.map_or(0, |oldest| unix_micros().saturating_sub(oldest));
        Duration::from_micros(micros)
    }

    /// What the connections are like now, and what they and those before them have been through.
    pub(crate) fn live(&self) -> Live {
        let mut live = Live { totals: self.stats.departed(), ..Live::default() };
        for connection in self.connections() {
            live += Live::of(&connection);
        }
        live
    }

    /// Hands out events for as long as the server lives.
    pub(crate) async fn forward(self: Arc<Self>, backplane: Arc<dyn Backplane>) {
        let mut round = Round::default();
        loop {
            self.signal.raised().await;
            loop {
                self.forward_volatile(&mut round);
                self.continue_reading(&*backplane, &mut round);
                self.signal.take_lanes(&mut round.lanes);
                if round.lanes.is_empty() {
                    break;
                }
                self.forward_lanes(&*backplane, &mut round);
                tokio::task::consume_budget().await;
            }
        }
    }

    /// Hands out a batch of events, most urgent lanes first, then writes to each connection once.
    fn forward_lanes(&self, backplane: &dyn Backplane, round: &mut Round) {
        let Round { lanes, events, touched } = round;
        let mut waiting = 0;
        {
            let mut hub = self.hub.lock();
            for lane in lanes.drain(..) {
                let before = events.len();
                if before == BATCH {
                    self.signal.raise(lane);
                    continue;
                }
                match backplane.read(lane, hub.place(lane), BATCH - before, events) {
                    Read::Done(None) if events.len() == before => {
                        catch_up_with(&mut hub, lane, backplane, touched);
                    }
                    Read::Done(None) => {}
                    Read::Done(Some(gap)) => {
                        let place = Place { epoch: gap.epoch, offset: gap.to };
                        leave_to_connections(&mut hub, lane, place, touched);
                    }
                    Read::Later => {
                        let place = backplane.head(lane);
                        leave_to_connections(&mut hub, lane, place, touched);
                    }
                }
                for logged in &events[before..] {
                    hub.forward(logged, |connection| match connection.offer(logged) {
                        Offered::ToBeFlushed => touched.push(Arc::clone(connection)),
                        Offered::Waits => waiting += 1,
                        Offered::Unwritten => {}
                    });
                }
                if events.len() == BATCH {
                    self.signal.raise(lane);
                }
            }
        }
        let deliveries = touched.len() as u64 + waiting;
        flush(touched);
        self.stats.forwarded(events.drain(..).map(|logged| logged.offset()), deliveries);
    }

    /// Tells connections that wait for older events of a lane that these have come into memory, or that
    /// the lane can be read from now on.
    fn continue_reading(&self, backplane: &dyn Backplane, round: &mut Round) {
        self.signal.take_loaded(&mut round.lanes);
        if round.lanes.is_empty() {
            return;
        }
        let mut hub = self.hub.lock();
        for lane in &round.lanes {
            catch_up_with(&mut hub, *lane, backplane, &mut round.touched);
        }
        flush(&mut round.touched);
        for connection in hub.handles() {
            let goes_on = connection.with_feed(|feed| {
                // All are told, not only as many as it takes to find one.
                round.lanes.iter().filter(|lane| feed.arrived(**lane)).count() > 0
            });
            if goes_on {
                connection.flush_from_outside();
            }
        }
    }

    fn forward_volatile(&self, round: &mut Round) {
        let volatile = self.signal.take_volatile();
        if volatile.is_empty() {
            return;
        }
        {
            let mut hub = self.hub.lock();
            for event in volatile {
                let event = Event::clone(&event);
                let framed = Framed::new(Delivery { event, position: None, replay_for: None });
                hub.for_each_match(&framed.delivery().event.name, |connection| {
                    if connection.offer_volatile(&framed) == Offered::ToBeFlushed {
                        round.touched.push(Arc::clone(connection));
                    }
                });
            }
        }
        flush(&mut round.touched);
    }
}

/// What one round works on; kept between rounds for its memory.
#[derive(Default)]
struct Round {
    lanes: Vec<Lane>,
    events: Vec<Arc<LoggedEvent>>,
    touched: Vec<Arc<Connection>>,
}

/// Writes to each connection once, in the order in which they were touched first.
fn flush(touched: &mut Vec<Arc<Connection>>) {
    for connection in touched.drain(..) {
        connection.flush_from_outside();
    }
}

/// Where a lane ends before the place from which it was handed out, each connection reads it by itself.
fn catch_up_with(
    hub: &mut Hub<Arc<Connection>>,
    lane: Lane,
    backplane: &dyn Backplane,
    touched: &mut Vec<Arc<Connection>>,
) {
    if hub.ends_at(lane, backplane.head(lane)) {
        let anywhere = Place::default();
        for connection in hub.handles() {
            if connection.with_feed(|feed| feed.fall_behind(lane, anywhere)) {
                touched.push(Arc::clone(connection));
            }
        }
    }
}

/// Events up to `place` are gone, or not in memory, before this shard came to hand them out. Each
/// connection reads the log itself and tells its client what is missing.
fn leave_to_connections(
    hub: &mut Hub<Arc<Connection>>,
    lane: Lane,
    place: Place,
    touched: &mut Vec<Arc<Connection>>,
) {
    let reached = hub.place(lane);
    for connection in hub.handles() {
        if connection.with_feed(|feed| feed.fall_behind(lane, reached)) {
            touched.push(Arc::clone(connection));
        }
    }
    hub.set_place(lane, place);
}
