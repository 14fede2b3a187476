//! Joins the bus and the log: what services emit is published, what clients publish is emitted.
//!
//! The bus is read from the log like a connection: in order per lane, and at its own pace, so that
//! slow listeners make no client wait. Every instance's bus gets every event once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::bus::{BusConfig, ListenerHandle, Notice};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::{Event, EventBus, Lane, Pattern, Place, Priority};
use tokio::runtime::Handle;

use crate::app::App;
use crate::backplane::{Backplane, Producer, Published, Signal};
use crate::ids::random_id;
use crate::schemas::EventSchemas;

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
    interest: Arc<Interest>,
    _forward: ListenerHandle,
    _watch: Option<ListenerHandle>,
}

/// Which partitions the bus wants, and up to where their lanes have been emitted.
struct Interest {
    backplane: Arc<dyn Backplane>,
    signal: Arc<Signal>,
    places: Mutex<BTreeMap<Lane, Place>>,
    runtime: Handle,
}

impl Interest {
    /// Partitions are wanted: their events are emitted from when they can be read.
    fn want(self: &Arc<Self>, partitions: impl Iterator<Item = u16>) {
        let new: Vec<u16> = partitions.filter(|n| !self.signal.is_interested(*n)).collect();
        if new.is_empty() {
            return;
        }
        match self.backplane.prepare(&mut new.iter().copied()) {
            None => self.begin(&new),
            Some(prepared) => {
                let interest = Arc::clone(self);
                self.runtime.spawn(async move {
                    prepared.await;
                    interest.begin(&new);
                });
            }
        }
    }

    fn begin(&self, partitions: &[u16]) {
        for partition in partitions {
            self.signal.set_interest(*partition, true);
            for priority in Priority::URGENT_FIRST {
                let lane = Lane::new(*partition, priority);
                let head = self.backplane.head(lane);
                self.places.lock().entry(lane).or_insert(head);
            }
        }
    }

    /// What a listener to `pattern` wants; one to everything has none.
    fn want_pattern(self: &Arc<Self>, pattern: Option<&Pattern>) {
        let partitioning = self.backplane.partitioning();
        match pattern.and_then(|pattern| partitioning.of_pattern(pattern.as_str())) {
            Some(partition) => self.want(std::iter::once(partition)),
            None => self.want(0..partitioning.count()),
        }
    }
}

impl Bridge {
    /// From now on, what is emitted on the bus is published. What is published from now on is
    /// emitted once [`run`](Self::run) is; up to `max_volatile` volatile events wait until then.
    ///
    /// Reading a shared log costs something: there only what somebody listens to is read, from when
    /// the first such listener is there and its partition can be read.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(crate) fn new(
        bus: EventBus,
        backplane: Arc<dyn Backplane>,
        schemas: Arc<EventSchemas>,
        max_volatile: usize,
    ) -> Self {
        let producer: Arc<str> = random_id().into();
        let signal = Arc::new(Signal::new(backplane.partitioning(), max_volatile));
        backplane.attach(Arc::clone(&signal));
        let interest = Arc::new(Interest {
            backplane: Arc::clone(&backplane),
            signal,
            places: Mutex::default(),
            runtime: Handle::current(),
        });
        let forward = forward(&bus, Arc::clone(&backplane), schemas, Arc::clone(&producer));
        let watch = if backplane.is_shared() {
            Some(watch(&bus, &interest))
        } else {
            interest.want(0..backplane.partitioning().count());
            None
        };
        Self { backplane, bus, producer, interest, _forward: forward, _watch: watch }
    }

    /// Emits what comes, and keeps the bus's time.
    pub(crate) async fn run(self, app: &App) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let signal = Arc::clone(&self.interest.signal);
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

    async fn emit_all(&self) {
        let mut lanes = Vec::new();
        let mut loaded = Vec::new();
        let mut events = Vec::new();
        let signal = &self.interest.signal;
        loop {
            for event in signal.take_volatile() {
                emit(&self.bus, &event);
            }
            signal.take_loaded(&mut loaded);
            signal.take_lanes(&mut lanes);
            lanes.append(&mut loaded);
            if lanes.is_empty() {
                return;
            }
            for lane in lanes.drain(..) {
                self.emit_lane(lane, &mut events);
                tokio::task::consume_budget().await;
            }
        }
    }

    fn emit_lane(&self, lane: Lane, events: &mut Vec<Arc<LoggedEvent>>) {
        let Some(mut place) = self.interest.places.lock().get(&lane).copied() else { return };
        match self.backplane.read(lane, place, BATCH, events) {
            Read::Done(None) => {}
            Read::Done(Some(gap)) => {
                tracing::warn!(%lane, from = gap.from.0, to = gap.to.0, "the bus has missed events");
                place = Place { epoch: gap.epoch, offset: gap.to };
            }
            // Goes on when it is told that they are in memory.
            Read::Later => return,
        }
        if events.len() == BATCH {
            self.interest.signal.raise(lane);
        }
        for logged in events.drain(..) {
            place.offset = logged.offset();
            if !logged.is_again() && logged.producer() != Some(&*self.producer) {
                emit(&self.bus, logged.event());
            }
        }
        self.interest.places.lock().insert(lane, place);
    }
}

/// Notes what somebody listens to, now and from now on. The bridge listens already.
fn watch(bus: &EventBus, interest: &Arc<Interest>) -> ListenerHandle {
    let noted = Arc::clone(interest);
    let watch = bus.on_notice(move |notice| {
        if let Notice::NewListener(listener) = notice {
            noted.want_pattern(listener.pattern.as_ref());
        }
    });
    for pattern in bus.patterns() {
        interest.want_pattern(Some(&pattern));
    }
    // A listener to everything is offered any name; one is the bridge's own.
    let listeners = bus.listeners("x");
    if listeners.iter().filter(|listener| listener.pattern.is_none()).count() > 1 {
        interest.want_pattern(None);
    }
    watch
}

/// Publishes what is emitted on the bus, unless it comes from the log, or is not what its schema
/// says.
fn forward(
    bus: &EventBus,
    backplane: Arc<dyn Backplane>,
    schemas: Arc<EventSchemas>,
    producer: Arc<str>,
) -> ListenerHandle {
    // The lock makes the order of the numbers that of the appends.
    let last_seq = Mutex::new(0);
    bus.on_any(move |event| {
        if is_from_log(event) {
            return;
        }
        if let Err(violation) = schemas.check(&event.name, &event.payload) {
            tracing::error!(%violation, "an event of the bus was not published");
            return;
        }
        let published = {
            let mut seq = last_seq.lock();
            *seq += 1;
            let id = Arc::clone(&producer);
            let producer = Producer { id, number: *seq, sends_again: false };
            backplane.publish(event.clone(), Some(producer))
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
