//! The Tidings SDK, as applications use it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use tidings::error::EventError;
use tidings::{Client, State, Subscribed, Transport};
use tidings_core::{Payload, Priority};
use tokio::task::JoinHandle;

use super::{Board, ClientError, Ears, LoadClient, PATIENCE, Place, Target};
use crate::ledger::Span;
use crate::population::Wire;

/// One client.
struct Sdk {
    client: Client,
    ears: Ears,
    /// Subscriptions end when their handles are dropped.
    subscriptions: Mutex<Vec<Subscribed>>,
    watching: JoinHandle<()>,
}

impl Drop for Sdk {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Connects.
pub(super) async fn connect(
    target: Target,
    ears: Ears,
) -> Result<Arc<dyn LoadClient>, ClientError> {
    let client = Client::builder(target.url)
        .transport(transport(target.wire))
        .build()
        .map_err(|error| ClientError(error.to_string()))?;
    let watching = tokio::spawn(watch(client.clone(), ears.clone()));
    client.connected().await.map_err(|error| ClientError(error.to_string()))?;
    Ok(Arc::new(Sdk { client, ears, subscriptions: Mutex::default(), watching }))
}

fn transport(wire: Wire) -> Transport {
    match wire {
        Wire::SocketIo => Transport::SocketIo,
        Wire::Ws => Transport::Ws,
    }
}

/// Tells when the connection comes and goes.
async fn watch(client: Client, ears: Ears) {
    let mut states = futures_signals::signal::SignalExt::to_stream(client.status_signal());
    let mut up = false;
    while let Some(status) = states.next().await {
        let now_up = status.state == State::Connected;
        if now_up != up {
            if now_up {
                ears.up()
            } else {
                ears.down()
            }
            up = now_up;
        }
    }
}

impl LoadClient for Sdk {
    fn subscribe(&self, number: u16, pattern: String) -> BoxFuture<'_, Result<(), ClientError>> {
        let ears = self.ears.clone();
        async move {
            let subscribed = self
                .client
                .on_each(pattern, None, move |item| match item {
                    Ok(delivery) => match &delivery.event.payload {
                        Payload::Json(json) => ears.event(Some(number), json),
                        Payload::Binary(_) => ears.event(Some(number), b""),
                    },
                    Err(EventError::Gap(gap)) => {
                        let span = Span { from: gap.from.0, to: gap.to.0 };
                        ears.gap(gap.lane.number(), span);
                    }
                    // The end of a subscription shows as what is lost after it.
                    Err(_) => {}
                })
                .await
                .map_err(|error| ClientError(error.to_string()))?;
            self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).push(subscribed);
            Ok(())
        }
        .boxed()
    }

    fn publish(
        &self,
        name: Arc<str>,
        payload: Bytes,
        priority: Priority,
    ) -> BoxFuture<'static, Result<Option<Place>, ClientError>> {
        let publishing = self.client.publish_raw(name, Payload::Json(payload)).priority(priority);
        let publishing = std::future::IntoFuture::into_future(publishing);
        publishing
            .map(|answer| match answer {
                Ok(position) => Ok(Some((position.lane.number(), position.offset.0))),
                Err(error) => Err(ClientError(error.to_string())),
            })
            .boxed()
    }

    fn open(&self, collection: String) -> BoxFuture<'_, Result<Board, ClientError>> {
        async move {
            let opened = self.client.collection(&collection).await;
            let board: Board = opened.map_err(|error| ClientError(error.to_string()))?;
            if tokio::time::timeout(PATIENCE, board.loaded()).await.is_ok() {
                return Ok(board);
            }
            let why = board.status().trouble.unwrap_or_else(|| "it takes too long".into());
            Err(ClientError(format!("{collection}: {why}")))
        }
        .boxed()
    }

    fn switch(&self, wire: Wire) -> BoxFuture<'_, Result<(), ClientError>> {
        async move {
            let switched = self.client.switch_transport(transport(wire)).await;
            switched.map(drop).map_err(|error| ClientError(error.to_string()))
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.client.close().boxed()
    }
}
