//! Registering listeners.

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::deliver::{Call, Emission, Outcome, Trail};
use super::listener::{Callback, ListenerHandle, NoticeEntry};
use super::notice::{ListenerInfo, Notice};
use super::wait_for::{WaitFor, Waiting};
use super::{Core, EventBus};
use crate::event::Event;
use crate::name::NameError;
use crate::pattern::Pattern;
use crate::time::Time;

/// A listener about to be registered: which events, how often, in which place. Made by
/// [`EventBus::listen`]; [`call`](Self::call) or [`call_async`](Self::call_async) registers it.
///
/// ```
/// use std::num::NonZeroU32;
/// use tidings_core::EventBus;
/// let bus = EventBus::default();
/// let audit = bus.listen("orders.**").priority(10).call(|event| println!("{}", event.name))?;
/// let twice = NonZeroU32::new(2).unwrap();
/// bus.listen("orders.*.created").times(twice).prepend().call(|_| ())?.detach();
/// # Ok::<(), tidings_core::NameError>(())
/// ```
#[must_use = "a listener is registered by `call` or `call_async`"]
pub struct Listen<'a> {
    bus: &'a Arc<Core>,
    /// `None`: everything.
    pattern: Option<Result<Pattern, NameError>>,
    priority: i32,
    times: Option<NonZeroU32>,
    prepend: bool,
}

impl fmt::Debug for Listen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl Listen<'_> {
    /// Listeners of higher priority are called before those of lower; the default is 0.
    pub const fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// After this many calls the listener is removed (before the last of them runs). A pattern
    /// counts the calls of all names it matches together.
    pub const fn times(mut self, times: NonZeroU32) -> Self {
        self.times = Some(times);
        self
    }

    /// Puts the listener before all of its priority that are registered now, whatever their
    /// patterns.
    pub const fn prepend(mut self) -> Self {
        self.prepend = true;
        self
    }

    /// Registers a function that is called with each event.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn call(
        self,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError> {
        self.register(plain(listener))
    }

    /// Registers a function that makes a future for each event. It is called and its future is
    /// run when the event is emitted with [`emit_async`](EventBus::emit_async), or if the bus has
    /// a [spawner](super::BusConfig::spawner); otherwise the listener is skipped and that is
    /// [told](Notice::Skipped).
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn call_async<F>(
        self,
        listener: impl Fn(Event) -> F + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.register(Box::new(move |call| {
            if !call.can_run() {
                return Outcome::Skipped;
            }
            if !call.claim() {
                return Outcome::Passed;
            }
            call.run(Box::pin(listener(call.event().clone())));
            Outcome::Called
        }))
    }

    pub(super) fn register(mut self, callback: Callback) -> Result<ListenerHandle, NameError> {
        let pattern = self.pattern.take().transpose()?;
        Ok(self.register_for(pattern, callback))
    }

    fn register_for(self, pattern: Option<Pattern>, callback: Callback) -> ListenerHandle {
        let id = self.bus.next_id();
        let info = ListenerInfo { id, pattern, priority: self.priority, times: self.times };
        self.bus.tell(|| Notice::NewListener(info.clone()));
        let limit = self.bus.max_listeners.load(Ordering::Relaxed);
        let warning = self.bus.change(|registry| registry.add(info, self.prepend, callback, limit));
        if let Some(warning) = warning {
            self.bus.tell(|| warning);
        }
        ListenerHandle::new(id, Arc::downgrade(self.bus))
    }

    /// Registers a listener that takes one event and gives it to the returned future.
    pub(super) fn wait<T: Send + 'static>(
        self,
        deadline: Option<Time>,
        pick: impl Fn(&Call<'_>) -> Result<Option<T>, Outcome> + Send + Sync + 'static,
    ) -> Result<WaitFor<T>, NameError> {
        let bus = self.bus;
        let (waiting, callback) = Waiting::new(pick);
        let handle = self.times(NonZeroU32::MIN).register(callback)?;
        Ok(waiting.registered(bus, handle, deadline))
    }
}

impl EventBus {
    /// A listener to the names that match `pattern`, to be described further.
    pub fn listen<P>(&self, pattern: P) -> Listen<'_>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.listen_with(Some(pattern.try_into().map_err(Into::into)))
    }

    /// A listener to everything, to be described further.
    pub fn listen_any(&self) -> Listen<'_> {
        self.listen_with(None)
    }

    const fn listen_with(&self, pattern: Option<Result<Pattern, NameError>>) -> Listen<'_> {
        Listen { bus: &self.core, pattern, priority: 0, times: None, prepend: false }
    }

    /// Calls `listener` with every event whose name matches `pattern`.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn on<P>(
        &self,
        pattern: P,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.listen(pattern).call(listener)
    }

    /// Calls `listener` with the next such event only.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn once<P>(
        &self,
        pattern: P,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.many(pattern, NonZeroU32::MIN, listener)
    }

    /// Calls `listener` with the next `times` such events.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn many<P>(
        &self,
        pattern: P,
        times: NonZeroU32,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.listen(pattern).times(times).call(listener)
    }

    /// Like [`on`](Self::on), before the listeners registered so far.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn prepend<P>(
        &self,
        pattern: P,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.listen(pattern).prepend().call(listener)
    }

    /// Like [`once`](Self::once), before the listeners registered so far.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn prepend_once<P>(
        &self,
        pattern: P,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.prepend_many(pattern, NonZeroU32::MIN, listener)
    }

    /// Like [`many`](Self::many), before the listeners registered so far.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn prepend_many<P>(
        &self,
        pattern: P,
        times: NonZeroU32,
        listener: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.listen(pattern).prepend().times(times).call(listener)
    }

    /// Calls `listener` with every event, before the listeners of patterns: what it does, for
    /// instance appending the event to a log, has happened before they react.
    pub fn on_any(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> ListenerHandle {
        self.listen_any().register_for(None, plain(listener))
    }

    /// Like [`on_any`](Self::on_any), before those registered so far.
    pub fn prepend_any(&self, listener: impl Fn(&Event) + Send + Sync + 'static) -> ListenerHandle {
        self.listen_any().prepend().register_for(None, plain(listener))
    }

    /// Calls `listener` with what the bus tells about itself. It must be quick: whoever causes a
    /// notice waits for it.
    pub fn on_notice(&self, listener: impl Fn(&Notice) + Send + Sync + 'static) -> ListenerHandle {
        let id = self.core.next_id();
        let entry = NoticeEntry { id, callback: Box::new(listener) };
        self.core.change(|registry| registry.add_notices(entry));
        ListenerHandle::new(id, Arc::downgrade(&self.core))
    }

    /// Waits for the first event that matches `pattern` and that `filter` wants, from now on. The
    /// bus has no clock: a `deadline` passes when [`advance`](Self::advance) says so.
    ///
    /// # Errors
    /// If the pattern is not one. What the future resolves to when no event comes is a
    /// [`WaitError`](super::WaitError).
    pub fn wait_for<P>(
        &self,
        pattern: P,
        deadline: Option<Time>,
        filter: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Result<WaitFor<Event>, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        self.listen(pattern)
            .wait(deadline, move |call| Ok(filter(call.event()).then(|| call.event().clone())))
    }

    /// Emits on this bus what is emitted on `other` and matches `pattern`, as `map` makes it;
    /// `None` from `map` leaves the event out. Each forwarding counts as one listener of `other`.
    ///
    /// Buses may listen to each other in circles: an event does not come to the same bus twice on
    /// one way. The listener does not keep this bus alive.
    ///
    /// # Errors
    /// If the pattern is not one.
    pub fn listen_to<P>(
        &self,
        other: &Self,
        pattern: P,
        map: impl Fn(&Event) -> Option<Event> + Send + Sync + 'static,
    ) -> Result<ListenerHandle, NameError>
    where
        P: TryInto<Pattern, Error: Into<NameError>>,
    {
        let target = Arc::downgrade(&self.core);
        other.listen(pattern).register(Box::new(move |call| {
            let Some(target) = target.upgrade() else { return Outcome::Passed };
            let before = &call.emission.trail;
            if before.contains(Arc::as_ptr(&target)) {
                return Outcome::Passed;
            }
            let Some(event) = map(call.event()) else { return Outcome::Passed };
            target.deliver(&Emission {
                event: &event,
                value: None,
                trail: Trail { bus: Arc::as_ptr(&target), before: Some(before) },
                futures: call.emission.futures,
            });
            Outcome::Called
        }))
    }
}

/// What a function of the application does as a listener.
fn plain(listener: impl Fn(&Event) + Send + Sync + 'static) -> Callback {
    Box::new(move |call| {
        if !call.claim() {
            return Outcome::Passed;
        }
        listener(call.event());
        Outcome::Called
    })
}
