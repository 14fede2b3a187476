//! Being there: a session's own record in a collection of those who are there.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_signals::signal::Mutable;
use serde::Serialize;
use tidings_core::state::wire::{self, Joined};
use tidings_core::state::{Key, Rejection, Verdict};
use tidings_core::{Payload, client};
use tokio::sync::Mutex;

use crate::client::Client;
use crate::error::RequestError;
use crate::runtime::{Runtime, sleep};

/// Somebody could not join.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JoinError {
    /// The record cannot be written as JSON.
    #[error("the record cannot be written as JSON: {0}")]
    Value(String),
    /// The server was not reached, or refuses: nobody can join such a collection there.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The record is not one that the collection takes.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The server's answer is not understood.
    #[error("the server's answer is not understood: {0}")]
    Answer(String),
    /// It needs a Tokio runtime, and there was none.
    #[error("somebody has to join within a tokio runtime")]
    NoRuntime,
}

/// That this client is there, for others to see in the collection; see [`Client::join`]. It leaves
/// when this is dropped.
pub struct Presence {
    own: Arc<Own>,
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("key", &self.key()).finish_non_exhaustive()
    }
}

/// What is told of this client.
struct Own {
    client: Client,
    collection: String,
    runtime: Runtime,
    /// None once it has left. Held while it is told, so that the last one told is the last one
    /// there is.
    record: Mutex<Option<Payload>>,
    key: Mutable<Key>,
}

impl Own {
    async fn join(&self, record: Payload) -> Result<Joined, JoinError> {
        join(&self.client, &self.collection, record).await
    }
}

async fn join(client: &Client, collection: &str, record: Payload) -> Result<Joined, JoinError> {
    let answer = client.request_raw(wire::join_name(collection), record).raw().await?;
    let joined = wire::read_joined(answer.bytes());
    let joined = joined.map_err(|error| JoinError::Answer(error.to_string()))?;
    match joined.verdict {
        Verdict::Rejected(rejection) => Err(rejection.into()),
        _ => Ok(joined),
    }
}

fn payload(record: &impl Serialize) -> Result<Payload, JoinError> {
    let json = serde_json::to_vec(record).map_err(|error| JoinError::Value(error.to_string()))?;
    Ok(Payload::Json(json.into()))
}

impl Presence {
    pub(crate) async fn begin(
        client: Client,
        collection: String,
        record: &impl Serialize,
    ) -> Result<Self, JoinError> {
        let runtime = Runtime::current().ok_or(JoinError::NoRuntime)?;
        let record = payload(record)?;
        let joined = join(&client, &collection, record.clone()).await?;
        let (record, key) = (Mutex::new(Some(record)), Mutable::new(joined.key));
        let own = Arc::new(Own { client, collection, runtime, record, key });
        own.runtime.spawn(stay(Arc::downgrade(&own), joined.timeout));
        Ok(Self { own })
    }

    /// The key of this client's record.
    pub fn key(&self) -> Key {
        self.own.key.get_cloned()
    }

    /// Tells others something else of this client.
    ///
    /// # Errors
    /// If the server is not reached, or rejects it.
    pub async fn update(&self, record: &impl Serialize) -> Result<(), JoinError> {
        let record = payload(record)?;
        let mut current = self.own.record.lock().await;
        let joined = self.own.join(record.clone()).await?;
        self.own.key.set_neq(joined.key);
        *current = Some(record);
        Ok(())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let own = Arc::clone(&self.own);
        self.own.runtime.spawn(async move {
            let mut record = own.record.lock().await;
            *record = None;
            let name = wire::leave_name(&own.collection);
            // If it cannot be told, the server finds out when the session ends.
            let _ = own.client.request_raw(name, Payload::Json("null".into())).raw().await;
        });
    }
}

/// Tells again that this client is there, in case it was away for so long that the server has
/// taken it for gone.
async fn stay(own: Weak<Own>, mut timeout: Duration) {
    loop {
        sleep(timeout / 2).await;
        let Some(own) = own.upgrade() else { return };
        let record = own.record.lock().await;
        let Some(told) = record.clone() else { return };
        match own.join(told).await {
            Ok(joined) => {
                timeout = joined.timeout;
                own.key.set_neq(joined.key);
            }
            Err(JoinError::Request(RequestError::Client(client::RequestError::Closed(_)))) => {
                return;
            }
            // It is tried again.
            Err(_) => {}
        }
    }
}
