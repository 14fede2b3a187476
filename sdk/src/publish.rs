//! Publishing.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tidings_core::message::{Identity, Position, Publish};
use tidings_core::{Headers, Payload, Priority, client};
use tokio::sync::oneshot;

use crate::error::PublishError;
use crate::orders::{Handle, gone};

/// An event to be published; await it to publish it and to learn its position, or
/// [`send`](Self::send) it and go on.
#[must_use = "an event is published when this is awaited or sent"]
pub struct PublishBuilder {
    handle: Arc<Handle>,
    publish: Result<Publish, PublishError>,
    timeout: Option<Duration>,
}

impl PublishBuilder {
    pub(crate) fn new(
        handle: Arc<Handle>,
        name: impl Into<Arc<str>>,
        payload: Result<Payload, PublishError>,
    ) -> Self {
        let name = name.into();
        let publish = payload.map(|payload| Publish {
            seq: 0,
            name,
            payload,
            priority: Priority::default(),
            volatile: false,
            headers: Headers::NONE,
            identity: None,
        });
        Self { handle, publish, timeout: None }
    }

    /// How urgent it is. Default [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        if let Ok(publish) = &mut self.publish {
            publish.priority = priority;
        }
        self
    }

    /// Key-value pairs that travel with it. Default none.
    pub fn headers<K: Into<String>, V: Into<String>>(
        mut self,
        headers: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        if let Ok(publish) = &mut self.publish {
            let pairs = headers.into_iter().map(|(key, value)| (key.into(), value.into()));
            publish.headers = Headers::new(pairs);
        }
        self
    }

    /// What it is recognised by: of all publishes with the same identity, by whichever client and in
    /// whichever process, one has an effect, as long as the server remembers the producer (its
    /// `producers.ttl`). For what is published again after a restart, from an outbox for instance.
    /// Default: the client's own, by which it sends again what was not acknowledged.
    pub fn identity(mut self, identity: Identity) -> Self {
        if let Ok(publish) = &mut self.publish {
            publish.identity = Some(Box::new(identity));
        }
        self
    }

    /// How long to try, time without a connection included. Default: as the client was built.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it at once or not at all, without a place in the log.
    pub fn volatile(mut self) -> VolatileBuilder {
        if let Ok(publish) = &mut self.publish {
            publish.volatile = true;
        }
        VolatileBuilder { handle: self.handle, publish: self.publish }
    }

    /// Publishes it and does not wait for the acknowledgement; the client still does, and sends
    /// it again if it must.
    ///
    /// # Errors
    /// If it cannot even be queued.
    pub fn send(self) -> Result<(), PublishError> {
        Ok(self.handle.shared.publish(self.publish?, self.timeout, None)?)
    }
}

impl IntoFuture for PublishBuilder {
    type Output = Result<Position, PublishError>;
    type IntoFuture = Publishing;

    fn into_future(self) -> Publishing {
        Publishing(Outcome::of(self.handle, self.publish, self.timeout))
    }
}

/// A volatile event to be sent; await it to send it and to learn whether it was, or
/// [`send`](Self::send) it and go on.
#[must_use = "an event is sent when this is awaited or sent"]
pub struct VolatileBuilder {
    handle: Arc<Handle>,
    publish: Result<Publish, PublishError>,
}

impl VolatileBuilder {
    /// Sends it if that can be done at once, and forgets it.
    ///
    /// # Errors
    /// If it cannot even be handed to the client.
    pub fn send(self) -> Result<(), PublishError> {
        Ok(self.handle.shared.publish(self.publish?, None, None)?)
    }
}

impl IntoFuture for VolatileBuilder {
    type Output = Result<(), PublishError>;
    type IntoFuture = VolatileSending;

    fn into_future(self) -> VolatileSending {
        VolatileSending(Outcome::of(self.handle, self.publish, None))
    }
}

/// The future of a [`PublishBuilder`]. The event is queued already: dropping this does not
/// withdraw it.
pub struct Publishing(Outcome);

impl Future for Publishing {
    type Output = Result<Position, PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let position = ready!(self.0.poll(cx))?;
        // The core answers every publish that is not volatile with a position.
        Poll::Ready(position.ok_or_else(|| client::PublishError::NotConnected.into()))
    }
}

/// The future of a [`VolatileBuilder`].
pub struct VolatileSending(Outcome);

impl Future for VolatileSending {
    type Output = Result<(), PublishError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx).map_ok(|_| ())
    }
}

enum Outcome {
    Refused(Option<PublishError>),
    Waiting {
        done: oneshot::Receiver<Result<Option<Position>, client::PublishError>>,
        handle: Arc<Handle>,
    },
}

impl Outcome {
    fn of(
        handle: Arc<Handle>,
        publish: Result<Publish, PublishError>,
        timeout: Option<Duration>,
    ) -> Self {
        let (sender, done) = oneshot::channel();
        let queued = publish
            .and_then(|publish| Ok(handle.shared.publish(publish, timeout, Some(sender))?));
        match queued {
            Ok(()) => Self::Waiting { done, handle },
            Err(error) => Self::Refused(Some(error)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Position>, PublishError>> {
        match self {
            Self::Refused(error) => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => Poll::Pending,
            },
            Self::Waiting { done, handle } => {
                let result = ready!(Pin::new(done).poll(cx))
                    .unwrap_or_else(|_| Err(client::PublishError::Closed(gone(&handle.shared))));
                Poll::Ready(result.map_err(PublishError::Client))
            }
        }
    }
}
