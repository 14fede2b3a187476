//! Waiting for one event.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use super::deliver::{Call, Outcome};
use super::listener::{Callback, ListenerHandle};
use super::notice::ListenerId;
use super::{Core, lock};
use crate::time::Time;

/// Resolves to the first event that was waited for; see
/// [`EventBus::wait_for`](super::EventBus::wait_for). Dropping it stops waiting.
#[must_use = "nothing is waited for unless this is awaited"]
pub struct WaitFor<T> {
    shared: Arc<Shared<T>>,
    /// Where the bus keeps the deadline.
    deadline: Option<(Time, ListenerId)>,
    bus: Weak<Core>,
    _handle: ListenerHandle,
}

/// Why an awaited event did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// The deadline has passed.
    #[error("the event did not come in time")]
    TimedOut,
    /// The bus is gone, or the listener was removed from it.
    #[error("the event cannot come any more: the bus is gone or was cleared")]
    Cancelled,
}

/// What the future and the listener have in common.
struct Shared<T>(Mutex<State<T>>);

struct State<T> {
    outcome: Option<Result<T, WaitError>>,
    waker: Option<Waker>,
}

impl<T> Shared<T> {
    /// Ends the waiting, unless it has ended.
    fn finish(&self, outcome: Result<T, WaitError>) {
        let waker = {
            let mut state = lock(&self.0);
            if state.outcome.is_none() {
                state.outcome = Some(outcome);
            }
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The listener's side: when it is dropped, nothing can come any more.
struct Sender<T>(Arc<Shared<T>>);

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.finish(Err(WaitError::Cancelled));
    }
}

/// What waits for a deadline.
pub(super) trait Expire: Send + Sync {
    /// The deadline has passed.
    fn expire(&self);
}

impl<T: Send> Expire for Shared<T> {
    fn expire(&self) {
        self.finish(Err(WaitError::TimedOut));
    }
}

/// The deadlines of all who wait, earliest first.
pub(super) type Deadlines = BTreeMap<(Time, ListenerId), Arc<dyn Expire>>;

/// A listener for one event, before it is registered.
pub(super) struct Waiting<T>(Arc<Shared<T>>);

impl<T: Send + 'static> Waiting<T> {
    /// A listener that takes the first event of which `pick` makes something.
    pub(super) fn new(
        pick: impl Fn(&Call<'_>) -> Result<Option<T>, Outcome> + Send + Sync + 'static,
    ) -> (Self, Callback) {
        let shared = Arc::new(Shared(Mutex::new(State { outcome: None, waker: None })));
        let sender = Sender(shared.clone());
        let callback = move |call: &Call<'_>| match pick(call) {
            Ok(Some(value)) if call.claim() => {
                sender.0.finish(Ok(value));
                Outcome::Called
            }
            Ok(_) => Outcome::Passed,
            Err(outcome) => outcome,
        };
        (Self(shared), Box::new(callback))
    }

    /// The future for it, once it is registered.
    pub(super) fn registered(
        self,
        bus: &Arc<Core>,
        handle: ListenerHandle,
        deadline: Option<Time>,
    ) -> WaitFor<T> {
        let deadline = deadline.map(|time| (time, handle.id()));
        if let Some(key) = deadline {
            lock(&bus.deadlines).insert(key, self.0.clone());
        }
        WaitFor { shared: self.0, deadline, bus: Arc::downgrade(bus), _handle: handle }
    }
}

impl<T> Future for WaitFor<T> {
    type Output = Result<T, WaitError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.shared.0);
        match state.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for WaitFor<T> {
    fn drop(&mut self) {
        if let Some(key) = self.deadline
            && let Some(bus) = self.bus.upgrade()
        {
            lock(&bus.deadlines).remove(&key);
        }
    }
}

impl<T> fmt::Debug for WaitFor<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitFor").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
