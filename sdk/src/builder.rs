//! What can be chosen about a client.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tidings_core::client::{
    ClientConfig, ClientMachine, Endpoint, QueueLimits, TokenError, Transport,
};
use tidings_core::engineio::Carrier;
use tidings_core::message::Advice;
use tidings_core::socketio::{Namespace, Parser};
use tidings_core::ws::Encoding;

use crate::buffer::Overflow;
use crate::client::Client;
use crate::desk::Desk;
use crate::driver::{AuthProvider, Driver, Surroundings};
use crate::error::BuildError;
use crate::net::{OpenedSocket, TlsConfig};
use crate::orders::Shared;
use crate::relay::{Relay, Relayed};
use crate::runtime::{Clock, MaybeSend, Runtime, random};

/// The length of a producer's id, which nobody must guess.
const PRODUCER_LEN: usize = 20;

/// Settings of a [`Client`]. Each has a default that suits an application with a person in front
/// of it.
#[must_use = "nothing happens before `build`"]
pub struct ClientBuilder {
    url: String,
    transport: Transport,
    carriers: Option<Vec<Carrier>>,
    encoding: Encoding,
    namespace: Option<String>,
    auth: Option<AuthProvider>,
    tls: Option<TlsConfig>,
    opened: Option<OpenedSocket>,
    settings: Settings,
}

/// Settings that are copied into the machine's, or into subscriptions.
#[derive(Debug, Clone, Default)]
struct Settings {
    backoff: Option<(Duration, Duration)>,
    connect_timeout: Option<Duration>,
    publish_timeout: Option<Duration>,
    queue_age: Option<Duration>,
    queue_bytes: Option<usize>,
    queue_events: Option<usize>,
    request_timeout: Option<Duration>,
    max_message: Option<usize>,
    batch_delay: Option<Duration>,
    buffer: Option<(usize, Overflow)>,
}

/// A token could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct AuthError {
    reason: String,
    advice: Advice,
}

impl AuthError {
    /// It may work later: the client tries again, with its usual backoff.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), advice: Advice::Retry }
    }

    /// It cannot work, the person has signed out for instance: the client closes.
    pub fn give_up(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), advice: Advice::GiveUp }
    }

    /// Which of the two it is.
    pub const fn advice(&self) -> Advice {
        self.advice
    }
}

impl ClientBuilder {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            transport: Transport::default(),
            carriers: None,
            encoding: Encoding::Json,
            namespace: None,
            auth: None,
            tls: None,
            opened: None,
            settings: Settings::default(),
        }
    }

    /// How to connect. Default [`Transport::Auto`]: `ws`, or `socketio` where that does not work.
    pub const fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// What may carry `socketio`; the first one is tried first, the others when it does not work.
    /// Default: websocket, then polling, so that a network that blocks WebSockets costs a moment and
    /// nothing more. A session carried by polling moves to a WebSocket when it can.
    pub fn socketio_transports(mut self, transports: impl Into<Vec<Carrier>>) -> Self {
        self.carriers = Some(transports.into());
        self
    }

    /// How messages are written, over either transport. Default [`Encoding::Json`]: payloads are
    /// JSON, so that nothing has to be translated. [`Encoding::Msgpack`] is for many numbers or
    /// binary payloads; the payloads are the same to the application. It needs the feature `msgpack`.
    #[cfg(feature = "msgpack")]
    pub const fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// The Socket.IO namespace, which begins with a slash. Default `/`, the main one. Without
    /// meaning over `ws`.
    pub fn namespace(mut self, path: impl Into<String>) -> Self {
        self.namespace = Some(path.into());
        self
    }

    /// Provides the identity: called before each connection attempt, and for a fresh token in the last
    /// quarter of the time for which the server says that the one in use is good. Default: none.
    pub fn auth<F, A>(mut self, provider: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, AuthError>> + MaybeSend + 'static,
    {
        self.auth = Some(Arc::new(move || {
            let token = provider();
            Box::pin(async move {
                token.await.map(Some).map_err(|AuthError { reason, advice }| TokenError {
                    reason,
                    retryable: advice != Advice::GiveUp,
                })
            })
        }));
        self
    }

    /// How long to wait between attempts: a random time up to `min` at first, up to twice as long
    /// after each failure, and never more than `max`. Default 200 ms and 5 s, as with Socket.IO.
    pub const fn backoff(mut self, min: Duration, max: Duration) -> Self {
        self.settings.backoff = Some((min, max));
        self
    }

    /// How long an attempt may take. Default 10 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = Some(timeout);
        self
    }

    /// How long after an event was first sent its acknowledgement may take, reconnects included.
    /// Default 60 s.
    pub const fn publish_timeout(mut self, timeout: Duration) -> Self {
        self.settings.publish_timeout = Some(timeout);
        self
    }

    /// How long a published event may wait for a connection. Default 5 min.
    pub const fn queue_age(mut self, age: Duration) -> Self {
        self.settings.queue_age = Some(age);
        self
    }

    /// How many bytes of unacknowledged events each priority may hold. Default 8 MiB.
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.settings.queue_bytes = Some(bytes);
        self
    }

    /// How many unacknowledged events each priority may hold. Default 10,000.
    pub const fn queue_events(mut self, events: usize) -> Self {
        self.settings.queue_events = Some(events);
        self
    }

    /// How long to wait for replies. Default 10 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = Some(timeout);
        self
    }

    /// The largest message accepted from the server, in bytes. Default 16 MiB.
    pub const fn max_message(mut self, bytes: usize) -> Self {
        self.settings.max_message = Some(bytes);
        self
    }

    /// How long the server may hold events back so that several come as one message, in whole milliseconds
    /// and up to what it allows (`queues.max_batch_delay`, 1 s). A message costs a browser more than what is
    /// in it: an application that shows what it hears has no use for more of them than frames. Critical events
    /// never wait, and whatever else is sent takes along what does. For `ws` with JSON. Default 0.
    pub const fn batch_delay(mut self, delay: Duration) -> Self {
        self.settings.batch_delay = Some(delay);
        self
    }

    /// How many events a stream holds for the application, and what happens beyond that. Default
    /// 1024, [`Overflow::DropOldest`].
    pub const fn buffer(mut self, events: usize, overflow: Overflow) -> Self {
        self.settings.buffer = Some((events, overflow));
        self
    }

    /// How `https://` and `wss://` connections are encrypted. Default: TLS 1.2 and 1.3, with
    /// certificates checked against Mozilla's roots.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// The WebSocket of the first attempt, which a page has begun to open before there was a client: while
    /// the module was being loaded, say. It has to be to `ws://…/ws` of the client's URL, with the subprotocol of
    /// its [encoding](Self::encoding), and nothing may have been sent. Where it is to something else, or has
    /// failed, it is closed and another one opened. Default: none.
    pub fn opened(mut self, socket: impl Into<Option<OpenedSocket>>) -> Self {
        self.opened = socket.into();
        self
    }

    /// Starts a client that another one's connection carries. What was chosen about connections and
    /// identity is that one's affair; what was chosen about queues and buffers holds here.
    ///
    /// # Errors
    /// If there is no tokio runtime here.
    pub fn build_relayed(self, relay: impl Relay) -> Result<Client, BuildError> {
        let runtime = Runtime::current().ok_or(BuildError::NoRuntime)?;
        let shared = Arc::new(Shared::new(self.settings.queues()));
        let pauses = Arc::new(AtomicUsize::new(0));
        let desk = Desk::new(shared.clone(), runtime.clone());
        runtime.spawn(Relayed::new(relay, desk, pauses.clone()));
        let (buffer, overflow) = self.settings.buffer.unwrap_or((1024, Overflow::default()));
        Ok(Client::new(shared, pauses, buffer, overflow))
    }

    /// Starts the client, which begins to connect at once and stays connected until it is closed
    /// or dropped.
    ///
    /// # Errors
    /// If the URL is not the base URL of a server, the namespace is none, or there is no tokio
    /// runtime here.
    pub fn build(self) -> Result<Client, BuildError> {
        let endpoint: Endpoint = self.url.parse()?;
        let runtime = Runtime::current().ok_or(BuildError::NoRuntime)?;
        let (producer, seed) =
            random(PRODUCER_LEN).map_err(|error| BuildError::NoRandom(error.to_string()))?;
        let mut config = self.settings.apply(ClientConfig {
            transport: self.transport,
            encoding: self.encoding,
            authenticated: self.auth.is_some(),
            seed,
            ..ClientConfig::new(endpoint, producer)
        });
        if let Some(carriers) = self.carriers {
            config.carriers = carriers;
        }
        if self.encoding == Encoding::Msgpack {
            config.link.socketio.parser = Parser::Msgpack;
        }
        if let Some(path) = self.namespace {
            config.link.socketio.namespace =
                Namespace::new(&path).ok_or(BuildError::Namespace(path))?;
        }
        let shared = Arc::new(Shared::new(config.queues));
        let pauses = Arc::new(AtomicUsize::new(0));
        let surroundings = Surroundings {
            shared: shared.clone(),
            runtime: runtime.clone(),
            clock: Clock::start(),
            auth: self.auth,
            tls: self.tls,
            opened: self.opened,
            max_message: config.link.max_frame,
            pauses: pauses.clone(),
        };
        runtime.spawn(Driver::new(ClientMachine::new(config), surroundings));
        let (buffer, overflow) = self.settings.buffer.unwrap_or((1024, Overflow::default()));
        Ok(Client::new(shared, pauses, buffer, overflow))
    }
}

fn set<T: Copy>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

impl Settings {
    fn queues(&self) -> QueueLimits {
        let mut queues = QueueLimits::default();
        set(&mut queues.ack_timeout, self.publish_timeout);
        set(&mut queues.age, self.queue_age);
        set(&mut queues.bytes, self.queue_bytes);
        set(&mut queues.count, self.queue_events);
        queues
    }

    fn apply(&self, mut config: ClientConfig) -> ClientConfig {
        config.queues = self.queues();
        if let Some((min, max)) = self.backoff {
            (config.backoff_min, config.backoff_max) = (min, max);
        }
        set(&mut config.connect_timeout, self.connect_timeout);
        set(&mut config.link.hello_timeout, self.connect_timeout);
        set(&mut config.request_timeout, self.request_timeout);
        set(&mut config.link.max_frame, self.max_message);
        set(&mut config.link.batch_delay, self.batch_delay);
        config
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("url", &self.url)
            .field("transport", &self.transport)
            .field("authenticated", &self.auth.is_some())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
