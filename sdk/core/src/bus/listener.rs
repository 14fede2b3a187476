//! Listeners as the bus keeps them, and the handles that own them.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Weak;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Core;
use super::deliver::{Call, Outcome};
use super::notice::{ListenerId, ListenerInfo, Notice};

/// Where a listener stands among those called for an event: the highest priority first, then the
/// order of registration (prepended ones count backwards).
pub(super) type Order = (Reverse<i32>, i64);

/// What a listener does with an event.
pub(super) type Callback = Box<dyn Fn(&Call<'_>) -> Outcome + Send + Sync>;

/// What is done with a notice.
pub(super) type NoticeCallback = Box<dyn Fn(&Notice) + Send + Sync>;

/// A registered listener.
pub(super) struct Entry {
    pub(super) info: ListenerInfo,
    pub(super) order: Order,
    /// How many calls are left, if they are limited.
    remaining: Option<AtomicU32>,
    pub(super) callback: Callback,
}

impl Entry {
    pub(super) fn new(info: ListenerInfo, order: Order, callback: Callback) -> Self {
        let remaining = info.times.map(|times| AtomicU32::new(times.get()));
        Self { info, order, remaining, callback }
    }

    /// Takes one of the calls that are left.
    pub(super) fn claim(&self) -> Claim {
        let Some(remaining) = &self.remaining else { return Claim::Granted };
        let taken =
            remaining.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        match taken {
            Ok(1) => Claim::Last,
            Ok(_) => Claim::Granted,
            Err(_) => Claim::Denied,
        }
    }
}

/// Whether a listener may be called once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It may.
    Granted,
    /// It may, for the last time.
    Last,
    /// It has had all its calls.
    Denied,
}

/// Someone who wants notices.
pub(super) struct NoticeEntry {
    pub(super) id: ListenerId,
    pub(super) callback: NoticeCallback,
}

/// Keeps a listener on the bus: dropping it takes the listener off.
///
/// An emission that has begun on another thread may still call the listener once after that,
/// since the set of listeners is a snapshot while an event is emitted.
#[must_use = "dropping the handle takes the listener off the bus; use `detach` to leave it there"]
pub struct ListenerHandle {
    id: ListenerId,
    bus: Weak<Core>,
}

impl ListenerHandle {
    pub(super) const fn new(id: ListenerId, bus: Weak<Core>) -> Self {
        Self { id, bus }
    }

    /// The listener's id.
    pub const fn id(&self) -> ListenerId {
        self.id
    }

    /// Takes the listener off the bus; false if it was not there any more.
    pub fn off(self) -> bool {
        self.remove()
    }

    /// Leaves the listener on the bus for as long as the bus lives;
    /// [`EventBus::off`](super::EventBus::off) can still remove it.
    pub fn detach(mut self) -> ListenerId {
        self.bus = Weak::new();
        self.id
    }

    fn remove(&self) -> bool {
        self.bus.upgrade().is_some_and(|bus| bus.remove(self.id))
    }
}

impl Drop for ListenerHandle {
    fn drop(&mut self) {
        self.remove();
    }
}

impl fmt::Debug for ListenerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListenerHandle").field(&self.id).finish()
    }
}
