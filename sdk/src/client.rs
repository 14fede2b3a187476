//! The handle that applications hold.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_signals::signal::{Signal, SignalExt};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::client::{State, Stats, Status, SwitchError, Transport};
use tidings_core::message::{Close, Delivery, ErrorCode, Refusal, SubId, Subscribe};
use tidings_core::{Cursor, Payload, TypedEvent};
use tokio::sync::oneshot;

use crate::buffer::{Buffer, Overflow};
use crate::builder::ClientBuilder;
use crate::collection::{CollectionBuilder, JoinError, Presence};
use crate::error::{Closed, EventError, PublishError, RequestError, SubscribeError};
use crate::orders::{Handle, Order, Shared, gone};
use crate::publish::PublishBuilder;
use crate::request::{Request, RequestBuilder, encode};
use crate::runtime::MaybeSend;
use crate::signal::watch;
use crate::subscription::{RawSubscription, Sink, Subscribed, Subscription};

/// How long [`Client::close`] waits for what is queued.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the system that heals itself: subscriptions, publishes and requests go through
/// it.
///
/// Clones are handles to the same client and cost next to nothing. The client is closed by
/// [`close`](Self::close), or some time after its last handle and its last subscription were
/// dropped.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    pauses: Arc<AtomicUsize>,
    buffer: usize,
    overflow: Overflow,
}

impl Client {
    /// A client of the server at `url`, its base URL: `http`, `https`, `ws` or `wss`, a host, and
    /// perhaps a path.
    pub fn builder(url: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    pub(crate) fn new(
        shared: Arc<Shared>,
        pauses: Arc<AtomicUsize>,
        buffer: usize,
        overflow: Overflow,
    ) -> Self {
        Self { handle: Arc::new(Handle { shared }), pauses, buffer, overflow }
    }

    /// Waits until there is a connection.
    ///
    /// # Errors
    /// If the client is closed, or closes before it was connected.
    pub async fn connected(&self) -> Result<(), Closed> {
        let mut states = watch(&self.handle.shared.status).to_stream();
        while let Some(status) = states.next().await {
            match status.state {
                State::Connected => return Ok(()),
                State::Closed => return Err(Closed(Close::new(status.code, &*status.reason))),
                State::Connecting | State::Reconnecting => {}
            }
        }
        Err(Closed(gone(&self.handle.shared)))
    }

    /// Subscribes to a pattern and waits until the server has it: every event published from then
    /// on, connected or not, is an item of the stream.
    ///
    /// # Errors
    /// If the server refuses, or the client is closed. Without a connection it waits for one.
    pub async fn subscribe<T: DeserializeOwned>(
        &self,
        pattern: impl Into<String>,
    ) -> Result<Subscription<T>, SubscribeError> {
        self.subscribe_raw(pattern, None).await.map(Subscription::new)
    }

    /// Like [`subscribe`](Self::subscribe), but begins with what the log has after `since`.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_since<T: DeserializeOwned>(
        &self,
        pattern: impl Into<String>,
        since: Cursor,
    ) -> Result<Subscription<T>, SubscribeError> {
        self.subscribe_raw(pattern, Some(since)).await.map(Subscription::new)
    }

    /// Subscribes without looking into payloads, as for binary ones; `since` as in
    /// [`subscribe_since`](Self::subscribe_since).
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_raw(
        &self,
        pattern: impl Into<String>,
        since: Option<Cursor>,
    ) -> Result<RawSubscription, SubscribeError> {
        let buffer = Arc::new(Buffer::new(self.buffer, self.overflow, self.pauses.clone()));
        let subscribed = self.add(pattern, since, Sink::Stream(buffer.clone())).await?;
        Ok(RawSubscription::new(buffer, subscribed))
    }

    /// Calls `callback` with every event that matches `pattern`, in the client's own task: it has
    /// to be quick, and everything else on this client waits for it. It may publish.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn on(
        &self,
        pattern: impl Into<String>,
        mut callback: impl FnMut(&Delivery) + Send + 'static,
    ) -> Result<Subscribed, SubscribeError> {
        self.on_each(pattern, None, move |item| {
            if let Ok(delivery) = item {
                callback(delivery);
            }
        })
        .await
    }

    /// Like [`on`](Self::on), and also told what is not an event, as the items of a stream are:
    /// that events are missing ([`EventError::Gap`]), or why the subscription has ended. `since` as in
    /// [`subscribe_since`](Self::subscribe_since).
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn on_each(
        &self,
        pattern: impl Into<String>,
        since: Option<Cursor>,
        callback: impl FnMut(Result<&Delivery, &EventError>) + Send + 'static,
    ) -> Result<Subscribed, SubscribeError> {
        self.add(pattern, since, Sink::Callback(Box::new(callback))).await
    }

    /// Reads nothing more from the connection until the result is dropped: for callbacks that pass
    /// events on to somebody who is slow, as [`Overflow::Pause`] is for streams.
    pub fn pause(&self) -> Pause {
        self.pauses.fetch_add(1, Ordering::AcqRel);
        Pause { pauses: self.pauses.clone(), shared: self.handle.shared.clone() }
    }

    async fn add(
        &self,
        pattern: impl Into<String>,
        since: Option<Cursor>,
        sink: Sink,
    ) -> Result<Subscribed, SubscribeError> {
        let (done, result) = oneshot::channel();
        let pattern = pattern.into();
        let mut given = None;
        let order = |id: u64| {
            // A client would need years to run out of them.
            let id = *given.insert(SubId(u32::try_from(id).unwrap_or(u32::MAX)));
            Order::Subscribe { subscribe: Subscribe { id, pattern, since }, sink, done }
        };
        let closed = |close| SubscribeError::Closed(Closed(close));
        self.handle.shared.give_numbered(order).map_err(closed)?;
        // Dropping this while it waits ends the subscription, too.
        let subscribed = given.map(|id| Subscribed::new(id, self.handle.clone()));
        let answer = result.await.unwrap_or_else(|_| Err(closed(gone(&self.handle.shared))));
        answer?;
        subscribed.ok_or_else(|| closed(gone(&self.handle.shared)))
    }

    /// Publishes `payload` as JSON. Await the result to publish and to learn the position.
    pub fn publish(
        &self,
        name: impl Into<Arc<str>>,
        payload: &(impl Serialize + ?Sized),
    ) -> PublishBuilder {
        let payload = encode(payload).map_err(PublishError::Payload);
        PublishBuilder::new(self.handle.clone(), name, payload)
    }

    /// Subscribes to all events of a type, see [`Event`](tidings_macros::Event).
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    pub async fn subscribe_to<E: TypedEvent + DeserializeOwned>(
        &self,
    ) -> Result<Subscription<E>, SubscribeError> {
        self.subscribe(E::PATTERN).await
    }

    /// Publishes a typed event under its own name, with the priority of its type.
    pub fn emit<E: TypedEvent + Serialize>(&self, event: &E) -> PublishBuilder {
        let payload = encode(event).map_err(PublishError::Payload);
        match event.name() {
            Ok(name) => PublishBuilder::new(self.handle.clone(), name.as_str(), payload)
                .priority(E::PRIORITY),
            Err(error) => PublishBuilder::new(self.handle.clone(), E::PATTERN, Err(error.into())),
        }
    }

    /// Publishes a payload as it is. JSON has to be well-formed.
    pub fn publish_raw(&self, name: impl Into<Arc<str>>, payload: Payload) -> PublishBuilder {
        PublishBuilder::new(self.handle.clone(), name, Ok(payload))
    }

    /// Asks whoever handles `name` on the server. Await the result to send it and to get the
    /// reply.
    pub fn request<R: DeserializeOwned>(
        &self,
        name: impl Into<Arc<str>>,
        payload: &(impl Serialize + ?Sized),
    ) -> RequestBuilder<R> {
        let payload = encode(payload).map_err(RequestError::Payload);
        RequestBuilder::new(self.handle.clone(), name, payload)
    }

    /// Asks with a payload as it is, as for a binary one; [`raw`](RequestBuilder::raw) gives back the
    /// reply as it is. JSON has to be well-formed.
    pub fn request_raw(
        &self,
        name: impl Into<Arc<str>>,
        payload: Payload,
    ) -> RequestBuilder<Payload> {
        RequestBuilder::new(self.handle.clone(), name, Ok(payload))
    }

    /// A collection of the server's: records that are kept in step with it. Await the result to
    /// open it; see [`collection`](crate::collection).
    pub fn collection<T>(&self, name: impl Into<String>) -> CollectionBuilder<T> {
        CollectionBuilder::new(self.clone(), name.into())
    }

    /// This client is there, for others to see in a collection whose records end with their sessions:
    /// `record` is what they see, under the id of this client's session. It is there until the
    /// result is dropped, the client is closed, or nothing was heard of it for the collection's
    /// time-out.
    ///
    /// # Errors
    /// If the server is not reached, has no such collection, or rejects the record.
    pub async fn join(
        &self,
        collection: impl Into<String>,
        record: &impl Serialize,
    ) -> Result<Presence, JoinError> {
        Presence::begin(self.clone(), collection.into(), record).await
    }

    /// Answers the server's requests of this name, each in a task of its own; the latest handler
    /// of a name counts.
    ///
    /// # Errors
    /// If the client is closed.
    pub fn handle<F, A, R>(&self, name: impl Into<Arc<str>>, handler: F) -> Result<(), Closed>
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<R, Refusal>> + MaybeSend + 'static,
        R: Serialize,
    {
        self.handle_raw(name, move |request| {
            let answer = handler(request);
            async move {
                let value = answer.await?;
                encode(&value).map_err(|problem| Refusal::new(ErrorCode::HANDLER, problem))
            }
        })
    }

    /// Like [`handle`](Self::handle), with the answer's payload as it is. JSON has to be well-formed.
    ///
    /// # Errors
    /// If the client is closed.
    pub fn handle_raw<F, A>(&self, name: impl Into<Arc<str>>, handler: F) -> Result<(), Closed>
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Payload, Refusal>> + MaybeSend + 'static,
    {
        let handler: crate::request::Handler = Arc::new(move |request| Box::pin(handler(request)));
        let order = Order::Handle { name: name.into(), handler: Some(handler) };
        self.handle.shared.give(order).map_err(Closed)
    }

    /// Answers the server's requests of this name no more.
    pub fn unhandle(&self, name: impl Into<Arc<str>>) {
        // A client that is closed answers nothing anyway.
        let _ = self.handle.shared.give(Order::Handle { name: name.into(), handler: None });
    }

    /// How the connection is doing now.
    pub fn status(&self) -> Status {
        self.handle.shared.status.get_cloned()
    }

    /// How the connection is doing, now and whenever that changes.
    pub fn status_signal(&self) -> impl Signal<Item = Status> + Send + Sync + use<> {
        watch(&self.handle.shared.status)
    }

    /// What was counted so far.
    pub async fn stats(&self) -> Stats {
        let (done, stats) = oneshot::channel();
        // Without a driver there is what the last one counted.
        let _ = self.handle.shared.give(Order::Stats { done });
        match stats.await {
            Ok(stats) => stats,
            Err(_) => self.handle.shared.last_stats().unwrap_or_default(),
        }
    }

    /// Carries the session on by another transport, without loss or pause, and waits until it
    /// does. Returns the transport in use.
    ///
    /// # Errors
    /// If the new transport does not come up: the session then goes on by the old one.
    pub async fn switch_transport(&self, transport: Transport) -> Result<Transport, SwitchError> {
        let (done, result) = oneshot::channel();
        let closed = SwitchError::Closed;
        self.handle.shared.give(Order::Switch { transport, done }).map_err(closed)?;
        result.await.unwrap_or_else(|_| Err(closed(gone(&self.handle.shared))))
    }

    /// Asks for a fresh token and presents it to the server, without reconnecting. The client
    /// does so by itself when the server says that a token has expired.
    ///
    /// # Errors
    /// If there is no token, or the server does not take it.
    pub async fn refresh_token(&self) -> Result<(), Refusal> {
        let (done, result) = oneshot::channel();
        let closed = |close: Close| Refusal::new(ErrorCode::DISCONNECTED, close.reason);
        self.handle.shared.give(Order::RefreshToken { done }).map_err(closed)?;
        result.await.unwrap_or_else(|_| Err(closed(gone(&self.handle.shared))))
    }

    /// Publishes what is queued, says goodbye, and closes; 10 s are given for that. All handles of
    /// this client are closed with it.
    pub async fn close(&self) {
        self.close_within(CLOSE_TIMEOUT).await;
    }

    /// Like [`close`](Self::close) within another time.
    pub async fn close_within(&self, timeout: Duration) {
        // A client that is closed need not be closed.
        let _ = self.handle.shared.give(Order::Close { timeout });
        let mut states = watch(&self.handle.shared.status).to_stream();
        while let Some(status) = states.next().await {
            if status.state == State::Closed {
                return;
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// Nothing is read from the connection for as long as this is there; see [`Client::pause`].
#[must_use = "reading goes on when this is dropped"]
pub struct Pause {
    pauses: Arc<AtomicUsize>,
    shared: Arc<Shared>,
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.pauses.fetch_sub(1, Ordering::AcqRel);
        self.shared.wake();
    }
}

impl fmt::Debug for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pause")
    }
}
