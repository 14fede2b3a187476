//! Subscriptions: callbacks in the driver, and streams beside it.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::de::DeserializeOwned;
use tidings_core::message::{Delivery, Gap, Position, SubId};
use tidings_core::{Cursor, Headers, Payload, Priority};
use tokio::sync::oneshot;

use crate::buffer::{Buffer, Next};
use crate::error::{EventError, Misfit};
use crate::orders::{Handle, Order};

/// Called with each item, in the driver's task.
pub(crate) type Callback = Box<dyn FnMut(Result<&Delivery, &EventError>) + Send>;

/// Where the driver puts the events of a subscription.
pub(crate) enum Sink {
    Callback(Callback),
    Stream(Arc<Buffer<Item>>),
}

/// What a stream of a subscription brings.
pub(crate) enum Item {
    Event(Delivery),
    Gap(Gap),
    End(EventError),
}

impl Buffer<Item> {
    pub(crate) fn event(&self, delivery: Delivery) {
        self.push(Item::Event(delivery));
    }

    pub(crate) fn gap(&self, gap: Gap) {
        self.push(Item::Gap(gap));
    }

    /// Nothing comes after `error`.
    pub(crate) fn fail(&self, error: EventError) {
        self.end(Some(Item::End(error)));
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

    /// Up to where it has been given what it asked for: who subscribes to the same pattern
    /// [since](crate::Client::subscribe_since) then gets what comes after that, in a later process, too.
    /// `None` if the server does not have it yet, or it has ended. What is in the buffer of a stream
    /// counts as given.
    pub async fn cursor(&self) -> Option<Cursor> {
        let (done, cursor) = oneshot::channel();
        self.handle.shared.give(Order::Reached { id: self.id, done }).ok()?;
        cursor.await.ok()?
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
    buffer: Arc<Buffer<Item>>,
    subscribed: Subscribed,
}

impl RawSubscription {
    pub(crate) const fn new(buffer: Arc<Buffer<Item>>, subscribed: Subscribed) -> Self {
        Self { buffer, subscribed }
    }

    /// As [`Subscribed::cursor`].
    pub async fn cursor(&self) -> Option<Cursor> {
        self.subscribed.cursor().await
    }
}

impl Stream for RawSubscription {
    type Item = Result<Delivery, EventError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (item, resume) = self.buffer.poll(cx);
        if resume {
            self.subscribed.handle.shared.wake();
        }
        item.map(|next| {
            Some(match next? {
                Next::Item(Item::Event(delivery)) => Ok(delivery),
                Next::Item(Item::Gap(gap)) => Err(EventError::Gap(gap)),
                Next::Item(Item::End(error)) => Err(error),
                Next::Missed(missed) => Err(EventError::Lagged { missed }),
            })
        })
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

    /// As [`Subscribed::cursor`].
    pub async fn cursor(&self) -> Option<Cursor> {
        self.raw.cursor().await
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
