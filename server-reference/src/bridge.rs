//! Joins the bus and the log: what services emit is published, what clients publish is emitted.
//!
//! The bus is read from the log like a connection: in order per lane, and at its own pace, so that
//! slow listeners make no client wait. Every instance's bus gets every event once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::bus::{BusConfig, ListenerHandle};
use tidings_core::log::LoggedEvent;
use tidings_core::{Event, EventBus, Lane, Place, Priority};

use crate::app::App;
use crate::backplane::{Backplane, Published, Signal};
use crate::ids::random_id;

/// How many events are emitted before other lanes are looked at again.
const BATCH: usize = 128;

/// How often the bus is told the time, which is how exact its time-outs are.
const TICK: Duration = Duration::from_millis(50);

thread_local! {
    /// The event from the log that this thread is emitting: it is not published again.
    static FROM_LOG: RefCell<Option<Event>> = const { RefCell::new(None) };
}

/// A bus whose async listeners run as tasks.
pub(crate) fn new_bus() -> EventBus {
    EventBus::new(BusConfig {
        event_id_prefix: format!("{}-", random_id()),
        spawner: Some(Arc::new(|listener| drop(tokio::spawn(listener)))),
        ..BusConfig::default()
    })
}

/// The connection between a bus and a log; it ends when this is dropped.
pub(crate) struct Bridge {
    backplane: Arc<dyn Backplane>,
    bus: EventBus,
    /// Marks what came from the bus, so that it is not emitted again.
    producer: Arc<str>,
    signal: Arc<Signal>,
    places: BTreeMap<Lane, Place>,
    _forward: ListenerHandle,
}

impl Bridge {
    /// From now on, what is emitted on the bus is published. What is published from now on is
    /// emitted once [`run`](Self::run) is; up to `max_volatile` volatile events wait until then.
    pub(crate) fn new(bus: EventBus, backplane: Arc<dyn Backplane>, max_volatile: usize) -> Self {
        let producer: Arc<str> = random_id().into();
        let partitioning = backplane.partitioning();
        let signal = Arc::new(Signal::new(partitioning, max_volatile));
        backplane.attach(Arc::clone(&signal));
        let mut places = BTreeMap::new();
        for partition in 0..partitioning.count() {
            signal.set_interest(partition, true);
            for priority in Priority::URGENT_FIRST {
                let lane = Lane::new(partition, priority);
                places.insert(lane, backplane.head(lane));
            }
        }
        let forward = forward(&bus, Arc::clone(&backplane), Arc::clone(&producer));
        Self { backplane, bus, producer, signal, places, _forward: forward }
    }

    /// Emits what comes, and keeps the bus's time.
    pub(crate) async fn run(mut self, app: &App) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let signal = Arc::clone(&self.signal);
        let bus = self.bus.clone();
        loop {
            tokio::select! {
                () = signal.raised() => self.emit_all().await,
                () = std::future::poll_fn(|cx| bus.poll_posted(cx)) => {
                    bus.deliver_posted(BATCH);
                    tokio::task::consume_budget().await;
                }
                _ = ticks.tick() => bus.advance(app.now()),
            }
        }
    }

    async fn emit_all(&mut self) {
        let mut lanes = Vec::new();
        let mut events = Vec::new();
        loop {
            for event in self.signal.take_volatile() {
                emit(&self.bus, &event);
            }
            self.signal.take_lanes(&mut lanes);
            if lanes.is_empty() {
                return;
            }
            for lane in lanes.drain(..) {
                self.emit_lane(lane, &mut events);
                tokio::task::consume_budget().await;
            }
        }
    }

    fn emit_lane(&mut self, lane: Lane, events: &mut Vec<Arc<LoggedEvent>>) {
        let Some(place) = self.places.get_mut(&lane) else { return };
        if let Some(gap) = self.backplane.read(lane, *place, BATCH, events) {
            tracing::warn!(%lane, from = gap.from.0, to = gap.to.0, "the bus has missed events");
            *place = Place { epoch: gap.epoch, offset: gap.to };
        }
        if events.len() == BATCH {
            self.signal.raise(lane);
        }
        for logged in events.drain(..) {
            place.offset = logged.offset();
            if logged.producer() != Some(&*self.producer) {
                emit(&self.bus, logged.event());
            }
        }
    }
}

/// Publishes what is emitted on the bus, unless it comes from the log.
fn forward(bus: &EventBus, backplane: Arc<dyn Backplane>, producer: Arc<str>) -> ListenerHandle {
    // The lock makes the order of the numbers that of the appends.
    let last_seq = Mutex::new(0);
    bus.on_any(move |event| {
        if is_from_log(event) {
            return;
        }
        let published = {
            let mut seq = last_seq.lock();
            *seq += 1;
            backplane.publish(event.clone(), Some((Arc::clone(&producer), *seq)))
        };
        match published {
            Published::Now(Ok(_)) => {}
            Published::Now(Err(refusal)) => {
                tracing::error!(name = %event.name, %refusal, "an event of the bus was not published");
            }
            Published::Later(answer) => {
                let name = Arc::clone(&event.name);
                tokio::spawn(async move {
                    if let Err(refusal) = answer.await {
                        tracing::error!(%name, %refusal, "an event of the bus was not published");
                    }
                });
            }
        }
    })
}

fn emit(bus: &EventBus, event: &Event) {
    FROM_LOG.set(Some(event.clone()));
    bus.emit(event);
    FROM_LOG.set(None);
}

/// Whether this is the very event that is being emitted from the log. A listener that emits
/// another one in answer makes a new event.
fn is_from_log(event: &Event) -> bool {
    FROM_LOG.with_borrow(|current| {
        current.as_ref().is_some_and(|current| {
            Arc::ptr_eq(&current.name, &event.name) && Arc::ptr_eq(&current.id, &event.id)
        })
    })
}
