//! Requests: the client asks the server, and the other way round.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::client::Ticket;
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::{Payload, client};
use tokio::sync::oneshot;

use crate::error::RequestError;
use crate::orders::{Handle, Order, Shared, gone};
use crate::runtime::BoxFuture;
use crate::subscription::decode;

/// Answers requests of the server.
pub(crate) type Handler = Arc<dyn Fn(Request) -> BoxFuture<Result<Payload, Refusal>> + Send + Sync>;

/// A request of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub name: Arc<str>,
    /// With what.
    pub payload: Payload,
}

impl Request {
    /// The payload as a value.
    ///
    /// # Errors
    /// A refusal that says where the payload is not a `T`; to be returned to the server by `?`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        decode(&self.name, &self.payload)
            .map_err(|misfit| Refusal::new(ErrorCode::BAD_REQUEST, misfit.to_string()))
    }
}

/// A request to be sent; await it to send it. Dropping the future withdraws the request.
#[must_use = "a request is sent when it is awaited"]
pub struct RequestBuilder<R> {
    handle: Arc<Handle>,
    name: Arc<str>,
    payload: Result<Payload, RequestError>,
    timeout: Option<Duration>,
    reply: PhantomData<fn() -> R>,
}

impl<R> RequestBuilder<R> {
    pub(crate) fn new(
        handle: Arc<Handle>,
        name: impl Into<Arc<str>>,
        payload: Result<Payload, RequestError>,
    ) -> Self {
        Self { handle, name: name.into(), payload, timeout: None, reply: PhantomData }
    }

    /// How long to wait for the reply, time without a connection included. Default: as the client
    /// was built, 10 s if that does not say.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it, and gives back the reply as it is.
    ///
    /// # Errors
    /// If there is no reply.
    pub async fn raw(self) -> Result<Payload, RequestError> {
        self.ask().await.map(|(_, payload)| payload)
    }

    async fn ask(self) -> Result<(Arc<str>, Payload), RequestError> {
        let payload = self.payload?;
        let (done, reply) = oneshot::channel();
        let (name, timeout) = (self.name.clone(), self.timeout);
        let mut withdrawal = Withdrawal { shared: &self.handle.shared, ticket: None };
        let ticket = &mut withdrawal.ticket;
        self.handle
            .shared
            .give_numbered(|id| {
                let given = *ticket.insert(Ticket(id));
                Order::Request { ticket: given, name, payload, timeout, done }
            })
            .map_err(client::RequestError::Closed)?;
        let reply = reply.await;
        withdrawal.ticket = None;
        let reply =
            reply.unwrap_or_else(|_| Err(client::RequestError::Closed(gone(&self.handle.shared))));
        Ok((self.name, reply?))
    }
}

/// Withdraws a request that nobody waits for any more.
struct Withdrawal<'a> {
    shared: &'a Shared,
    ticket: Option<Ticket>,
}

impl Drop for Withdrawal<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            // Without a driver there is nothing to withdraw.
            let _ = self.shared.give(Order::CancelRequest(ticket));
        }
    }
}

impl<R: DeserializeOwned + 'static> IntoFuture for RequestBuilder<R> {
    type Output = Result<R, RequestError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (name, payload) = self.ask().await?;
            decode(&name, &payload).map_err(RequestError::Reply)
        })
    }
}

/// A value as the payload of a publish, a request or a reply.
pub(crate) fn encode(value: &(impl Serialize + ?Sized)) -> Result<Payload, String> {
    match serde_json::to_vec(value) {
        Ok(json) => Ok(Payload::Json(json.into())),
        Err(error) => Err(error.to_string()),
    }
}
