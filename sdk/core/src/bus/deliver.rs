//! Offering an event to the listeners that want it.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use smallvec::SmallVec;

use super::Core;
use super::emit_async::{BoxFuture, Guarded};
use super::listener::{Claim, Entry};
use super::notice::{ListenerInfo, Notice};
use super::registry::Listeners;
use super::stats::Count;
use crate::event::Event;
use crate::name::Name;

/// What came of offering an event to a listener.
pub(super) enum Outcome {
    /// It was called.
    Called,
    /// It did not want the event, or has had all its calls.
    Passed,
    /// It is async and nobody would run it.
    Skipped,
    /// The payload did not fit its type.
    Undecodable(String),
}

/// One event on its way to the listeners of one bus.
pub(super) struct Emission<'a> {
    pub(super) event: &'a Event,
    /// The value the event was made from, if it was emitted as a Rust type.
    pub(super) value: Option<&'a dyn Any>,
    pub(super) trail: Trail<'a>,
    /// Takes the futures of async listeners, if someone is going to await them.
    pub(super) futures: Option<&'a RefCell<Vec<BoxFuture>>>,
}

/// The buses an event has come through by forwarding; the last one is the one it is on.
pub(super) struct Trail<'a> {
    pub(super) bus: *const Core,
    pub(super) before: Option<&'a Self>,
}

impl Trail<'_> {
    /// Whether the event has been on this bus.
    pub(super) fn contains(&self, bus: *const Core) -> bool {
        self.bus == bus || self.before.is_some_and(|before| before.contains(bus))
    }
}

/// An event offered to a listener.
pub(super) struct Call<'a> {
    pub(super) emission: &'a Emission<'a>,
    pub(super) entry: &'a Arc<Entry>,
    pub(super) bus: &'a Arc<Core>,
}

impl Call<'_> {
    pub(super) const fn event(&self) -> &Event {
        self.emission.event
    }

    /// Takes one of the listener's calls; false if it has had them all. Before the last one runs
    /// the listener is off the bus, so that emitting from within it does not call it again.
    pub(super) fn claim(&self) -> bool {
        let claim = self.entry.claim();
        if claim == Claim::Last {
            self.bus.remove(self.entry.info.id);
        }
        claim != Claim::Denied
    }

    /// Whether a future given to [`run`](Self::run) would be run.
    pub(super) fn can_run(&self) -> bool {
        self.emission.futures.is_some() || self.bus.config.spawner.is_some()
    }

    /// Hands over the future of an async listener: to whoever awaits the emission, or else to the
    /// spawner.
    pub(super) fn run(&self, future: BoxFuture) {
        let guarded = Guarded::new(future, self);
        if let Some(futures) = self.emission.futures {
            futures.borrow_mut().push(Box::pin(guarded));
        } else if let Some(spawner) = &self.bus.config.spawner {
            spawner(Box::pin(guarded));
        }
    }
}

impl Listeners {
    /// Those whose pattern matches `name`, in the order of their calls.
    pub(super) fn matching(&self, name: &str) -> SmallVec<[&Arc<Entry>; 16]> {
        let mut found = SmallVec::<[&Arc<Entry>; 16]>::new();
        self.named.for_each_match(name, |entry| found.push(entry));
        found.sort_unstable_by_key(|entry| entry.order);
        found
    }
}

impl Core {
    pub(super) fn deliver(self: &Arc<Self>, emission: &Emission<'_>) -> usize {
        if let Err(error) = Name::check(&emission.event.name) {
            self.counters.add(Count::Refused, 1);
            self.tell(|| Notice::Refused { event: emission.event.name.clone(), error });
            return 0;
        }
        self.counters.add(Count::Emitted(emission.event.priority), 1);
        let listeners = self.listeners.load();
        let mut called = 0;
        for entry in listeners.any.iter() {
            called += usize::from(self.offer(entry, emission));
        }
        for entry in &listeners.matching(&emission.event.name) {
            called += usize::from(self.offer(entry, emission));
        }
        match called {
            0 => self.counters.add(Count::Unheard, 1),
            1 => {}
            more => self.counters.add(Count::CalledMore, more as u64 - 1),
        }
        called
    }

    /// Offers the event to one listener; says whether it was called.
    fn offer(self: &Arc<Self>, entry: &Arc<Entry>, emission: &Emission<'_>) -> bool {
        let call = Call { emission, entry, bus: self };
        let event = || emission.event.name.clone();
        let listener = || entry.info.clone();
        match catch_unwind(AssertUnwindSafe(|| (entry.callback)(&call))) {
            Ok(Outcome::Called) => return true,
            Ok(Outcome::Passed) => {}
            Ok(Outcome::Skipped) => {
                self.counters.add(Count::Skipped, 1);
                self.tell(|| Notice::Skipped { listener: listener(), event: event() });
            }
            Ok(Outcome::Undecodable(problem)) => {
                self.counters.add(Count::Undecodable, 1);
                self.tell(|| Notice::Undecodable { listener: listener(), event: event(), problem });
            }
            Err(panic) => {
                self.panicked(&entry.info, &emission.event.name, &*panic);
                return true;
            }
        }
        false
    }

    /// Counts and tells a panic.
    pub(super) fn panicked(
        &self,
        listener: &ListenerInfo,
        event: &Arc<str>,
        panic: &(dyn Any + Send),
    ) {
        self.counters.add(Count::Panicked, 1);
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        self.tell(|| Notice::Panicked {
            listener: listener.clone(),
            event: event.clone(),
            message: text.unwrap_or("(no text)").to_owned(),
        });
    }

    /// Tells whoever wants notices.
    pub(super) fn tell(&self, notice: impl FnOnce() -> Notice) {
        let listeners = self.listeners.load();
        if listeners.notices.is_empty() {
            return;
        }
        let notice = notice();
        for entry in listeners.notices.iter() {
            if catch_unwind(AssertUnwindSafe(|| (entry.callback)(&notice))).is_err() {
                self.counters.add(Count::Panicked, 1);
            }
        }
    }
}
