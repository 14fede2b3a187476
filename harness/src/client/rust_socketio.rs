//! The `rust_socketio` crate: an unmodified Socket.IO client that knows nothing of Tidings.
//!
//! It gets payloads alone, recovers nothing by itself, and speaks Socket.IO alone.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rust_socketio::asynchronous::{Client, ClientBuilder};
use rust_socketio::{Event, Payload, TransportType};
use serde_json::{Value, json};
use tidings_core::Priority;
use tokio::sync::oneshot;

use super::{ClientError, Ears, LoadClient, PATIENCE, Place, Target};
use crate::population::Wire;

/// How long an acknowledgement may take.
const ACK_PATIENCE: Duration = Duration::from_secs(60);

/// One client.
struct RustSocketio {
    client: Client,
    patterns: Arc<Mutex<HashSet<String>>>,
}

/// Connects.
pub(super) async fn connect(
    target: Target,
    ears: Ears,
) -> Result<Arc<dyn LoadClient>, ClientError> {
    if target.wire != Wire::SocketIo {
        return Err(ClientError("rust_socketio speaks socketio alone".to_owned()));
    }
    let patterns: Arc<Mutex<HashSet<String>>> = Arc::default();
    let (connected, open) = oneshot::channel();
    let connected = Arc::new(Mutex::new(Some(connected)));
    let (up, down, any) = (ears.clone(), ears.clone(), ears);
    let again = patterns.clone();
    let client = ClientBuilder::new(target.url)
        .transport_type(TransportType::Websocket)
        .reconnect(true)
        .reconnect_delay(100, 2000)
        .on(Event::Connect, move |_, client| {
            up.up();
            let first = connected.lock().unwrap_or_else(PoisonError::into_inner).take();
            let patterns = again.clone();
            async move {
                match first {
                    Some(first) => drop(first.send(())),
                    // After a reconnect nobody else subscribes again.
                    None => resubscribe(&client, &patterns).await,
                }
            }
            .boxed()
        })
        .on(Event::Close, move |_, _| {
            down.down();
            std::future::ready(()).boxed()
        })
        .on_any(move |_, payload, _| {
            if let Payload::Text(values) = payload {
                match values.first().map(Value::to_string) {
                    Some(text) => any.event(None, text.as_bytes()),
                    None => any.event(None, b""),
                }
            }
            std::future::ready(()).boxed()
        })
        .connect()
        .await
        .map_err(|error| ClientError(error.to_string()))?;
    let client = Arc::new(RustSocketio { client, patterns });
    match tokio::time::timeout(PATIENCE, open).await {
        Ok(Ok(())) => Ok(client),
        _ => Err(ClientError("the server did not answer the connect packet".to_owned())),
    }
}

async fn resubscribe(client: &Client, patterns: &Mutex<HashSet<String>>) {
    let patterns: Vec<_> =
        patterns.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
    for pattern in patterns {
        // A failure shows as lost events.
        let _ = client.emit("subscribe", json!(pattern)).await;
    }
}

/// Emits and waits for the acknowledgement's first argument.
async fn ask(client: &Client, event: &str, args: Vec<Value>) -> Result<Value, ClientError> {
    let (answer, answered) = oneshot::channel();
    let answer = Mutex::new(Some(answer));
    client
        .emit_with_ack(event, Payload::Text(args), ACK_PATIENCE, move |payload, _| {
            let first = match payload {
                Payload::Text(mut values) if !values.is_empty() => values.swap_remove(0),
                _ => Value::Null,
            };
            // Some servers wrap the arguments of an acknowledgement in an array of their own.
            let first = match first {
                Value::Array(mut values) if values.len() == 1 => values.swap_remove(0),
                other => other,
            };
            if let Some(answer) = answer.lock().unwrap_or_else(PoisonError::into_inner).take() {
                // Nobody waits any more when the run is over.
                let _ = answer.send(first);
            }
            std::future::ready(()).boxed()
        })
        .await
        .map_err(|error| ClientError(error.to_string()))?;
    let value = tokio::time::timeout(ACK_PATIENCE, answered)
        .await
        .map_err(|_| ClientError(format!("{event}: no acknowledgement in {ACK_PATIENCE:?}")))?
        .map_err(|_| ClientError(format!("{event}: no acknowledgement")))?;
    if value["ok"] == Value::Bool(true) {
        Ok(value)
    } else {
        Err(ClientError(format!("{event} was refused: {value}")))
    }
}

impl LoadClient for RustSocketio {
    fn subscribe(&self, _number: u16, pattern: String) -> BoxFuture<'_, Result<(), ClientError>> {
        async move {
            ask(&self.client, "subscribe", vec![json!(pattern)]).await?;
            self.patterns.lock().unwrap_or_else(PoisonError::into_inner).insert(pattern);
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
        let client = self.client.clone();
        async move {
            let value: Value =
                serde_json::from_slice(&payload).map_err(|e| ClientError(e.to_string()))?;
            let mut args = vec![json!(*name), value];
            if priority != Priority::Normal {
                args.push(json!({ "priority": priority.as_str() }));
            }
            let answer = ask(&client, "publish", args).await?;
            let number = |key: &str| answer[key].as_u64();
            let lane = number("lane").and_then(|lane| u32::try_from(lane).ok());
            Ok(lane.zip(number("offset")))
        }
        .boxed()
    }

    fn switch(&self, _wire: Wire) -> BoxFuture<'_, Result<(), ClientError>> {
        let error = ClientError("rust_socketio cannot change its transport".to_owned());
        std::future::ready(Err(error)).boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        // A connection that is gone need not be ended.
        async move { drop(self.client.disconnect().await) }.boxed()
    }
}
