//! What a bus tells about itself.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::name::NameError;
use crate::pattern::Pattern;

/// Names a listener of one bus; never used twice there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(super) u64);

/// A listener as lists and notices show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerInfo {
    /// Its id, with which it can be removed.
    pub id: ListenerId,
    /// What it listens to; `None` for listeners to everything ([`on_any`](super::EventBus::on_any)).
    pub pattern: Option<Pattern>,
    /// Listeners of higher priority are called first.
    pub priority: i32,
    /// How many calls it was registered for; `None` if that is unlimited.
    pub times: Option<NonZeroU32>,
}

/// Something that happened on the bus itself, for whoever [asked](super::EventBus::on_notice).
///
/// Notices are not events: no pattern matches them, and they have no name that could collide with
/// an application's. (EventEmitter2 emits `newListener` and `removeListener` as events.)
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A listener is about to be added.
    NewListener(ListenerInfo),
    /// A listener was removed.
    RemoveListener(ListenerInfo),
    /// A pattern has more listeners than [`max_listeners`](super::BusConfig::max_listeners)
    /// allows, which is often a leak. Told once per pattern, until it has no listeners any more.
    TooManyListeners {
        /// Which pattern.
        pattern: Pattern,
        /// How many listeners it has now.
        count: usize,
        /// How many it should have at most.
        limit: usize,
    },
    /// A listener panicked. The others were called all the same.
    Panicked {
        /// Which listener.
        listener: ListenerInfo,
        /// The name of the event it was called with.
        event: Arc<str>,
        /// What the panic said.
        message: String,
    },
    /// An async listener was not run, because the event was not emitted with
    /// [`emit_async`](super::EventBus::emit_async) and no spawner is configured.
    Skipped {
        /// Which listener.
        listener: ListenerInfo,
        /// The name of the event it has missed.
        event: Arc<str>,
    },
    /// The payload of an event does not fit the type a listener wants; it was not called.
    Undecodable {
        /// Which listener.
        listener: ListenerInfo,
        /// The name of the event.
        event: Arc<str>,
        /// What does not fit, and where.
        problem: String,
    },
    /// An event was refused because its name is not one; nobody was called.
    Refused {
        /// The name.
        event: Arc<str>,
        /// What is wrong with it.
        error: NameError,
    },
}
