//! The clients that make the load: the real SDKs, behind one small face.

#[cfg(feature = "rust-socketio")]
mod rust_socketio;
mod socketio;
mod tidings_sdk;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tidings_core::Priority;

use crate::ledger::Span;
use crate::population::Wire;
use crate::score::Score;

/// How long connecting or subscribing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which client crate makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stack {
    /// The Tidings SDK.
    #[default]
    Tidings,
    /// The `rust_socketio` crate, an unmodified Socket.IO client.
    RustSocketio,
    /// The SDK's Socket.IO client, in an application that knows nothing of Tidings: patterns are
    /// rooms. The only one for scenarios with servers on Node.
    #[value(name = "socketio")]
    #[serde(rename = "socketio")]
    SocketIo,
}

impl Stack {
    /// The word for it, as on the command line.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tidings => "tidings",
            Self::RustSocketio => "rust-socketio",
            Self::SocketIo => "socketio",
        }
    }

    /// Whether it speaks Socket.IO alone, and its transport cannot be chosen.
    pub(crate) const fn only_socketio(self) -> bool {
        !matches!(self, Self::Tidings)
    }
}

/// A client could not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ClientError(pub(crate) String);

/// Where and how to connect.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Base URL, `http://host:port`.
    pub(crate) url: String,
    /// The transport to start with.
    pub(crate) wire: Wire,
}

/// A place in the log, as a publisher is told: lane number and offset.
pub(crate) type Place = (u32, u64);

/// A collection that a client has open. Its records are compared byte by byte.
pub(crate) type Board = tidings::collection::Collection<Box<serde_json::value::RawValue>>;

/// One connected client.
pub(crate) trait LoadClient: Send + Sync {
    /// Subscribes to the pattern of this number; events go to the client's [`Ears`].
    fn subscribe(&self, number: u16, pattern: String) -> BoxFuture<'_, Result<(), ClientError>>;

    /// Publishes. The event must be on its way, after those published before it, when the future
    /// was polled once; it is ready when the acknowledgement is there.
    fn publish(
        &self,
        name: Arc<str>,
        payload: Bytes,
        priority: Priority,
    ) -> BoxFuture<'static, Result<Option<Place>, ClientError>>;

    /// Opens a collection; ready when all of its records are there.
    fn open(&self, collection: String) -> BoxFuture<'_, Result<Board, ClientError>> {
        let error = ClientError(format!("{collection}: this client has no collections"));
        std::future::ready(Err(error)).boxed()
    }

    /// Moves the live session to another transport.
    fn switch(&self, wire: Wire) -> BoxFuture<'_, Result<(), ClientError>>;

    /// Says goodbye.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Where a client tells what happens to it.
#[derive(Clone)]
pub(crate) struct Ears {
    score: Arc<Score>,
    client: usize,
}

impl Ears {
    /// The ears of the client with this number.
    pub(crate) fn new(score: Arc<Score>, client: usize) -> Self {
        Self { score, client }
    }

    /// An event arrived with this JSON payload, through the subscription of this number if the
    /// client tells subscriptions apart.
    pub(crate) fn event(&self, via: Option<u16>, payload: &[u8]) {
        self.score.received(self.client, via, payload);
    }

    /// Events of a lane may be missing.
    pub(crate) fn gap(&self, lane: u32, span: Span) {
        self.score.gap(self.client, lane, span);
    }

    /// The connection is there, for the first time or again.
    pub(crate) fn up(&self) {
        self.score.up(self.client);
    }

    /// The connection is gone.
    pub(crate) fn down(&self) {
        self.score.down(self.client);
    }
}

/// Connects a client of the chosen stack.
pub(crate) async fn connect(
    stack: Stack,
    target: Target,
    ears: Ears,
) -> Result<Arc<dyn LoadClient>, ClientError> {
    let connecting = async {
        match stack {
            Stack::Tidings => tidings_sdk::connect(target, ears).await,
            Stack::SocketIo => socketio::connect(target, ears).await,
            #[cfg(feature = "rust-socketio")]
            Stack::RustSocketio => rust_socketio::connect(target, ears).await,
            #[cfg(not(feature = "rust-socketio"))]
            Stack::RustSocketio => Err(ClientError(RUST_SOCKETIO_ABSENT.to_owned())),
        }
    };
    tokio::time::timeout(PATIENCE, connecting)
        .await
        .unwrap_or_else(|_| Err(ClientError(format!("no connection within {PATIENCE:?}"))))
}

/// Why this binary cannot use a stack, if it cannot.
pub(crate) const fn absent(stack: Stack) -> Option<&'static str> {
    match stack {
        Stack::RustSocketio if !cfg!(feature = "rust-socketio") => Some(RUST_SOCKETIO_ABSENT),
        _ => None,
    }
}

const RUST_SOCKETIO_ABSENT: &str = "this binary was built without the rust_socketio client, \
    because that crate links OpenSSL: install libssl-dev and pkg-config, then use \
    `cargo run --release -p tidings-harness --features rust-socketio -- run --client rust-socketio`";
