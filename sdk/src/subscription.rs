//! Subscriptions: callbacks in the driver, and streams beside it.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tidings_core::message::{Delivery, Gap, Position, SubId};
use tidings_core::{Headers, Payload, Priority};

use crate::error::{EventError, Misfit};
use crate::orders::{Handle, Order};

/// Called with each item, in the driver's task.
pub(crate) type Callback = Box<dyn FnMut(Result<&Delivery, &EventError>) + Send>;

/// Where the driver puts the events of a subscription.
pub(crate) enum Sink {
    Callback(Callback),
    Stream(Arc<Buffer>),
}

/// What to do when a stream's buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The oldest event goes; the stream says how many went by an
    /// [`EventError::Lagged`].
    #[default]
    DropOldest,
    /// Nothing more is read from the connection until there is room, so nothing is lost here: what
    /// is not read waits at the server, as it does for any slow connection. Everything else on
    /// the connection waits too, acknowledgements and heartbeats included: a pause longer than
    /// the server's patience ends in a reconnect, after which what was missed is recovered.
    Pause,
}

/// Events between the driver and the application.
pub(crate) struct Buffer {
    inner: Mutex<Inner>,
    capacity: usize,
    overflow: Overflow,
    /// How many buffers of the client wait for the application.
    pauses: Arc<AtomicUsize>,
}

struct Inner {
    items: VecDeque<Item>,
    missed: u64,
    waker: Option<Waker>,
    /// Whether this one is counted in `pauses`.
    pausing: bool,
    ended: bool,
}

enum Item {
    Event(Delivery),
    Gap(Gap),
    End(EventError),
}

impl Buffer {
    pub(crate) fn new(capacity: usize, overflow: Overflow, pauses: Arc<AtomicUsize>) -> Self {
        let inner =
            Inner { items: VecDeque::new(), missed: 0, waker: None, pausing: false, ended: false };
        Self { inner: Mutex::new(inner), capacity: capacity.max(1), overflow, pauses }
    }

    pub(crate) fn event(&self, delivery: Delivery) {
        self.push(Item::Event(delivery));
    }

    pub(crate) fn gap(&self, gap: Gap) {
        self.push(Item::Gap(gap));
    }

    /// Nothing comes after `error`.
    pub(crate) fn end(&self, error: EventError) {
        self.push(Item::End(error));
    }

    fn push(&self, item: Item) {
        let mut inner = self.lock();
        if inner.ended {
            return;
        }
        inner.ended = matches!(item, Item::End(_));
        if inner.items.len() >= self.capacity && !inner.ended {
            match self.overflow {
                Overflow::DropOldest => {
                    inner.items.pop_front();
                    inner.missed += 1;
                }
                Overflow::Pause if !inner.pausing => {
                    inner.pausing = true;
                    self.pauses.fetch_add(1, Ordering::AcqRel);
                }
                Overflow::Pause => {}
            }
        }
        inner.items.push_back(item);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next item. The second value says that the driver may read again.
    fn poll(&self, cx: &Context<'_>) -> (Poll<Option<Result<Delivery, EventError>>>, bool) {
        let mut inner = self.lock();
        let missed = std::mem::take(&mut inner.missed);
        if missed > 0 {
            return (Poll::Ready(Some(Err(EventError::Lagged { missed }))), false);
        }
        let item = match inner.items.pop_front() {
            Some(Item::Event(delivery)) => Poll::Ready(Some(Ok(delivery))),
            Some(Item::Gap(gap)) => Poll::Ready(Some(Err(EventError::Gap(gap)))),
            Some(Item::End(error)) => Poll::Ready(Some(Err(error))),
            None if inner.ended => Poll::Ready(None),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        let resume = inner.pausing && inner.items.len() <= self.capacity / 2;
        if resume {
            self.resume(&mut inner);
        }
        (item, resume)
    }

    fn resume(&self, inner: &mut Inner) {
        inner.pausing = false;
        self.pauses.fetch_sub(1, Ordering::AcqRel);
    }

    /// The application takes nothing any more.
    fn abandon(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.items = VecDeque::new();
        if inner.pausing {
            self.resume(&mut inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event as a subscription yields it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received<T> {
    /// The payload.
    pub value: T,
    /// All the rest.
    pub meta: Meta,
}

/// What is known about an event beside its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Its name.
    pub name: Arc<str>,
    /// Unique.
    pub id: Arc<str>,
    /// How urgent it is.
    pub priority: Priority,
    /// When the server accepted it, in milliseconds since the Unix epoch.
    pub time: u64,
    /// Key-value pairs the publisher gave it.
    pub headers: Headers,
    /// Where it stands in the log; `None` for a volatile event.
    pub position: Option<Position>,
    /// Whether it comes from the past this subscription asked for.
    pub replayed: bool,
}

/// Keeps a subscription alive: it ends when this is dropped.
#[must_use = "the subscription ends when this is dropped; `detach` keeps it"]
pub struct Subscribed {
    id: SubId,
    handle: Arc<Handle>,
    detached: bool,
}

impl Subscribed {
    pub(crate) const fn new(id: SubId, handle: Arc<Handle>) -> Self {
        Self { id, handle, detached: false }
    }

    /// Keeps the subscription for as long as the client lives.
    pub fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        if !self.detached {
            // A client that is closed has no subscriptions.
            let _ = self.handle.shared.give(Order::Unsubscribe(self.id));
        }
    }
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscribed").field(&self.id.0).finish()
    }
}

/// The events of a subscription as they were published: a stream of [`Delivery`].
///
/// The subscription ends when this is dropped.
#[must_use = "streams do nothing unless polled; the subscription ends when this is dropped"]
pub struct RawSubscription {
    buffer: Arc<Buffer>,
    subscribed: Subscribed,
}

impl RawSubscription {
    pub(crate) const fn new(buffer: Arc<Buffer>, subscribed: Subscribed) -> Self {
        Self { buffer, subscribed }
    }
}

impl Stream for RawSubscription {
    type Item = Result<Delivery, EventError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (item, resume) = self.buffer.poll(cx);
        if resume {
            self.subscribed.handle.shared.wake();
        }
        item
    }
}

impl Drop for RawSubscription {
    fn drop(&mut self) {
        self.buffer.abandon();
        self.subscribed.handle.shared.wake();
    }
}

impl fmt::Debug for RawSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawSubscription").field(&self.subscribed).finish()
    }
}

/// The events of a subscription as values: a stream of [`Received`].
///
/// A payload that is not a `T` is an item [`EventError::Payload`], after which the stream goes
/// on. The subscription ends when this is dropped.
#[must_use = "streams do nothing unless polled; the subscription ends when this is dropped"]
pub struct Subscription<T> {
    raw: RawSubscription,
    value: PhantomData<fn() -> T>,
}

impl<T> Subscription<T> {
    pub(crate) const fn new(raw: RawSubscription) -> Self {
        Self { raw, value: PhantomData }
    }
}

impl<T: DeserializeOwned> Stream for Subscription<T> {
    type Item = Result<Received<T>, EventError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.raw).poll_next(cx).map(|item| {
            Some(item?.and_then(|delivery| {
                let value = decode(&delivery.event.name, &delivery.event.payload)
                    .map_err(EventError::Payload)?;
                Ok(Received { value, meta: Meta::from(delivery) })
            }))
        })
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.raw.subscribed).finish()
    }
}

impl From<Delivery> for Meta {
    fn from(delivery: Delivery) -> Self {
        let Delivery { event, position, replay_for } = delivery;
        Self {
            name: event.name,
            id: event.id,
            priority: event.priority,
            time: event.time,
            headers: event.headers,
            position,
            replayed: replay_for.is_some(),
        }
    }
}

/// The value of a payload, or where it is not a `T`.
pub(crate) fn decode<T: DeserializeOwned>(name: &Arc<str>, payload: &Payload) -> Result<T, Misfit> {
    let misfit = |path: String, problem: String| Misfit { name: name.clone(), path, problem };
    match payload {
        Payload::Json(json) => {
            let mut deserializer = serde_json::Deserializer::from_slice(json);
            serde_path_to_error::deserialize(&mut deserializer)
                .map_err(|error| misfit(error.path().to_string(), error.inner().to_string()))
        }
        Payload::Binary(bytes) => {
            let problem = format!("{} bytes of binary, not JSON", bytes.len());
            Err(misfit(".".to_owned(), problem))
        }
    }
}
