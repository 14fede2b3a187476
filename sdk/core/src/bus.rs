//! The bus: how the parts of one process talk to each other without knowing each other.
//!
//! # Shape
//! The listeners of a bus are an immutable set that emissions read without a lock
//! ([`ArcSwap`]); adding or removing one makes a new set under a short lock, which is cheap
//! because [`PatternIndex`](crate::PatternIndex) shares all but the changed path between copies.
//! So emitting scales with threads, no lock is held while a listener runs, and each emission sees
//! the set as it was when it began.
//!
//! Listeners get `&Event`: a name and bytes, so that the bus can carry what a network delivers,
//! and whoever forwards to the network needs no types. [`TypedBus`] adds types on top: it encodes
//! once on emission and hands a reference to the very value to typed listeners in the process;
//! they decode only what came as bytes.
//!
//! `docs/event-bus.md` states the semantics and compares them with EventEmitter2's.

mod deliver;
mod emit_async;
mod listen;
mod listener;
mod notice;
mod posted;
mod registry;
mod stats;
mod typed_bus;
mod wait_for;

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use arc_swap::ArcSwap;

use crate::event::{Event, Headers, Payload, Priority};
use crate::name::{Name, NameError};
use crate::pattern::Pattern;
use crate::time::Time;
use deliver::{Emission, Trail};
pub use emit_async::{BoxFuture, EmitAsync};
pub use listen::Listen;
pub use listener::ListenerHandle;
pub use notice::{ListenerId, ListenerInfo, Notice};
pub use posted::PostError;
use posted::Posted;
use registry::{Listeners, Registry, Removed};
pub use stats::BusStats;
use stats::Counters;
pub use typed_bus::{TypedBus, TypedEmitError, TypedListen};
use wait_for::Deadlines;
pub use wait_for::{WaitError, WaitFor};

/// Runs a future to its end in the background, for instance `|f| { tokio::spawn(f); }`.
pub type Spawner = Arc<dyn Fn(BoxFuture) + Send + Sync>;

/// How a bus behaves.
#[derive(Clone)]
pub struct BusConfig {
    /// With more listeners to one pattern than this a [notice](Notice::TooManyListeners) is
    /// given; 0 means any number. Default: 10, as in Node and EventEmitter2.
    pub max_listeners: usize,
    /// How many [posted](EventBus::post) events may wait. Default: 10,000.
    pub max_posted: usize,
    /// What the ids of events [made](EventBus::event) by this bus begin with. Choose one that no
    /// other process has if events leave the process. Default: empty.
    pub event_id_prefix: String,
    /// Runs async listeners of events emitted with [`emit`](EventBus::emit). Default: none, they
    /// are then only run by [`emit_async`](EventBus::emit_async).
    pub spawner: Option<Spawner>,
}

impl Default for BusConfig {
    fn default() -> Self {
        Self {
            max_listeners: 10,
            max_posted: 10_000,
            event_id_prefix: String::new(),
            spawner: None,
        }
    }
}

/// An in-process event emitter with wildcard patterns.
///
/// A clone is another handle to the same bus. It may be used from any number of threads.
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::sync::Arc;
/// use tidings_core::{EventBus, Payload};
///
/// let bus = EventBus::default();
/// let orders = Arc::new(AtomicU32::new(0));
/// let counter = orders.clone();
/// let handle = bus.on("orders.*.created", move |event| {
///     assert_eq!(&*event.name, "orders.eu.created");
///     counter.fetch_add(1, Ordering::Relaxed);
/// })?;
/// assert_eq!(bus.emit(&bus.event("orders.eu.created", Payload::NULL)?), 1);
/// drop(handle);
/// assert_eq!(bus.emit(&bus.event("orders.eu.created", Payload::NULL)?), 0);
/// assert_eq!(orders.load(Ordering::Relaxed), 1);
/// # Ok::<(), tidings_core::NameError>(())
/// ```
///
/// A listener that captures a clone of its own bus keeps the bus alive for ever; let it capture
/// the result of [`downgrade`](Self::downgrade) instead.
#[derive(Clone)]
pub struct EventBus {
    core: Arc<Core>,
}

/// A handle that does not keep the bus alive.
#[derive(Clone)]
pub struct WeakEventBus {
    core: Weak<Core>,
}

/// What all handles share.
struct Core {
    config: BusConfig,
    max_listeners: AtomicUsize,
    listeners: ArcSwap<Listeners>,
    registry: Mutex<Registry>,
    deadlines: Mutex<Deadlines>,
    posted: Mutex<Posted>,
    counters: Counters,
    next_listener: AtomicU64,
    next_event: AtomicU64,
}

/// Locks, also when another thread panicked while it held the lock: all that is done under the
/// locks here leaves them in order.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl EventBus {
    /// A bus without listeners.
    pub fn new(config: BusConfig) -> Self {
        let core = Core {
            max_listeners: AtomicUsize::new(config.max_listeners),
            config,
            listeners: ArcSwap::default(),
            registry: Mutex::default(),
            deadlines: Mutex::default(),
            posted: Mutex::default(),
            counters: Counters::default(),
            next_listener: AtomicU64::new(0),
            next_event: AtomicU64::new(0),
        };
        Self { core: Arc::new(core) }
    }

    /// A handle that does not keep the bus alive.
    pub fn downgrade(&self) -> WeakEventBus {
        WeakEventBus { core: Arc::downgrade(&self.core) }
    }

    // ---- emitting ----

    /// An event of normal priority without headers, ready to be emitted. Its id is the configured
    /// prefix and a number.
    ///
    /// # Errors
    /// If `name` is not a name.
    pub fn event(&self, name: impl Into<Arc<str>>, payload: Payload) -> Result<Event, NameError> {
        let number = self.core.next_event.fetch_add(1, Ordering::Relaxed);
        Ok(Event {
            name: Name::new(name)?.into(),
            payload,
            id: format!("{}{number}", self.core.config.event_id_prefix).into(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        })
    }

    /// Calls every listener that wants the event, one after the other in this thread, and returns
    /// how many were called: first those of [`on_any`](Self::on_any), then those of matching
    /// patterns; among each, higher priority first and then in order of registration. A listener
    /// that panics is counted and [told](Notice::Panicked), and does not stop the others.
    ///
    /// Listeners added meanwhile are not called for this event; those removed meanwhile still are.
    ///
    /// An event whose name is not a [`Name`] reaches nobody and is [told](Notice::Refused).
    pub fn emit(&self, event: &Event) -> usize {
        self.core.deliver(&self.emission(event, None, None))
    }

    /// Like [`emit`](Self::emit), and runs the async listeners while the returned future is
    /// awaited.
    pub fn emit_async(&self, event: &Event) -> EmitAsync {
        self.emit_async_with(event, None)
    }

    fn emit_async_with(&self, event: &Event, value: Option<&dyn Any>) -> EmitAsync {
        let futures = RefCell::default();
        let called = self.core.deliver(&self.emission(event, value, Some(&futures)));
        EmitAsync::new(called, futures.into_inner())
    }

    fn emission<'a>(
        &self,
        event: &'a Event,
        value: Option<&'a dyn Any>,
        futures: Option<&'a RefCell<Vec<BoxFuture>>>,
    ) -> Emission<'a> {
        let trail = Trail { bus: Arc::as_ptr(&self.core), before: None };
        Emission { event, value, trail, futures }
    }

    /// Puts an event into the queue of its priority, to be emitted by
    /// [`deliver_posted`](Self::deliver_posted).
    ///
    /// # Errors
    /// If [`max_posted`](BusConfig::max_posted) events are waiting already; gives the event back.
    pub fn post(&self, event: Event) -> Result<(), PostError> {
        let waker = {
            let mut posted = lock(&self.core.posted);
            posted.push(event, self.core.config.max_posted)?;
            posted.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Emits up to `limit` posted events, the most urgent first and the oldest of those first, and
    /// returns how many there were. An event posted meanwhile takes its place among them.
    pub fn deliver_posted(&self, limit: usize) -> usize {
        let mut delivered = 0;
        while delivered < limit {
            let Some(event) = lock(&self.core.posted).pop() else { break };
            self.emit(&event);
            delivered += 1;
        }
        delivered
    }

    /// Ready when posted events wait; otherwise wakes the task when one is posted. One task is
    /// remembered: the last that asked.
    pub fn poll_posted(&self, cx: &Context<'_>) -> Poll<()> {
        let mut posted = lock(&self.core.posted);
        if posted.len() > 0 {
            return Poll::Ready(());
        }
        posted.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    // ---- removing ----

    /// Removes a listener, or a listener to notices; false if it was not there any more.
    pub fn off(&self, id: ListenerId) -> bool {
        self.core.remove(id)
    }

    /// Removes the listeners registered with exactly this pattern, and returns how many there
    /// were. (Those of other patterns stay, whatever they match.)
    pub fn off_pattern(&self, pattern: &Pattern) -> usize {
        let ids = lock(&self.core.registry).ids(Some(pattern));
        ids.into_iter().filter(|id| self.off(*id)).count()
    }

    /// Removes all listeners except those to notices, and returns how many there were.
    pub fn off_all(&self) -> usize {
        let ids = lock(&self.core.registry).ids(None);
        ids.into_iter().filter(|id| self.off(*id)).count()
    }

    // ---- looking ----

    /// The listeners that an event of this name would be offered to, in the order of their calls.
    pub fn listeners(&self, name: &str) -> Vec<ListenerInfo> {
        let listeners = self.core.listeners.load();
        let named = listeners.matching(name);
        listeners.any.iter().chain(named).map(|entry| entry.info.clone()).collect()
    }

    /// Whether an event of this name would be offered to anybody.
    pub fn has_listeners(&self, name: &str) -> bool {
        let listeners = self.core.listeners.load();
        !listeners.any.is_empty() || !listeners.matching(name).is_empty()
    }

    /// How many listeners there are, except those to notices.
    pub fn listener_count(&self) -> usize {
        let listeners = self.core.listeners.load();
        listeners.named.len() + listeners.any.len()
    }

    /// The patterns somebody listens to, in the order in which they were first registered.
    pub fn patterns(&self) -> Vec<Pattern> {
        lock(&self.core.registry).patterns()
    }

    /// How many listeners a pattern should have at most (0: any number); see [`BusConfig`].
    pub fn max_listeners(&self) -> usize {
        self.core.max_listeners.load(Ordering::Relaxed)
    }

    /// Changes it for listeners added from now on.
    pub fn set_max_listeners(&self, limit: usize) {
        self.core.max_listeners.store(limit, Ordering::Relaxed);
    }

    /// What the bus has done so far. The counters are read one after the other while others may
    /// emit, so they need not fit each other exactly.
    pub fn stats(&self) -> BusStats {
        BusStats {
            listeners: self.listener_count(),
            patterns: lock(&self.core.registry).pattern_count(),
            posted: lock(&self.core.posted).len(),
            ..self.core.counters.read()
        }
    }

    // ---- time ----

    /// The next deadline of a [`wait_for`](Self::wait_for): when to call
    /// [`advance`](Self::advance) at the latest.
    pub fn next_timeout(&self) -> Option<Time> {
        lock(&self.core.deadlines).first_key_value().map(|((time, _), _)| *time)
    }

    /// Tells the bus the time: everyone who waits with a deadline up to `now` is told that it has
    /// passed.
    pub fn advance(&self, now: Time) {
        let passed = {
            let mut deadlines = lock(&self.core.deadlines);
            let later = deadlines.split_off(&(now, ListenerId(u64::MAX)));
            std::mem::replace(&mut *deadlines, later)
        };
        for ((_, id), waiting) in passed {
            waiting.expire();
            self.off(id);
        }
    }
}

impl WeakEventBus {
    /// The bus, if it still lives.
    pub fn upgrade(&self) -> Option<EventBus> {
        self.core.upgrade().map(|core| EventBus { core })
    }
}

impl Default for EventBus {
    fn default() -> Self {
        Self::new(BusConfig::default())
    }
}

impl fmt::Debug for EventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBus").field("listeners", &self.listener_count()).finish()
    }
}

impl fmt::Debug for WeakEventBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakEventBus")
    }
}

impl fmt::Debug for BusConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusConfig")
            .field("max_listeners", &self.max_listeners)
            .field("max_posted", &self.max_posted)
            .field("event_id_prefix", &self.event_id_prefix)
            .field("spawner", &self.spawner.is_some())
            .finish()
    }
}

impl Core {
    fn remove(&self, id: ListenerId) -> bool {
        let removed = self.change(|registry| registry.remove(id));
        if let Some(Removed::Listener(entry)) = &removed {
            self.tell(|| Notice::RemoveListener(entry.info.clone()));
        }
        removed.is_some()
    }

    /// Changes who is registered and lets emissions see it from now on.
    fn change<R>(&self, change: impl FnOnce(&mut Registry) -> R) -> R {
        let mut registry = lock(&self.registry);
        let result = change(&mut registry);
        let before = self.listeners.swap(Arc::new(registry.current.clone()));
        // What the old set held alone is dropped with it, which may run an application's code:
        // not under the lock.
        drop(registry);
        drop(before);
        result
    }

    fn next_id(&self) -> ListenerId {
        ListenerId(self.next_listener.fetch_add(1, Ordering::Relaxed))
    }
}

/// The examples of the guide are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/event-bus.md")]
struct Guide;
