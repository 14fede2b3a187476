//! The connection that sockets share, and what can be chosen about it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_signals::signal::{Mutable, Signal, SignalExt};
use futures_util::StreamExt;
use serde::Serialize;
use tidings_core::client::Endpoint;
use tidings_core::engineio::Carrier;
use tidings_core::socketio::manager::{
    AuthFailure, BufferLimits, ManagerConfig, ManagerMachine, ManagerState, ManagerStatus,
    SocketConfig,
};
use tidings_core::socketio::{Namespace, Parser};

use super::driver::{AuthProvider, Driver};
use super::orders::{Handle, Order, Shared, SocketShared};
use super::socket::Socket;
use crate::error::BuildError;
use crate::net::TlsConfig;
use crate::network::Network;
use crate::runtime::{Clock, MaybeSend, Runtime, random};
use crate::signal::watch;
use crate::{Advice, AuthError, Overflow};

/// A connection to a Socket.IO server, of any make, that heals itself. Its [sockets](Socket) are
/// the conversations on it, one for each namespace.
///
/// Clones are handles to the same manager and cost next to nothing. It is closed by
/// [`close`](Self::close), or when the last handle of it and of its sockets is dropped.
#[derive(Clone)]
pub struct Manager {
    handle: Arc<Handle>,
    auto_connect: bool,
    options: SocketOptions,
    streams: (usize, Overflow),
}

/// What can be chosen about a socket.
#[derive(Clone, Default)]
#[must_use = "options do nothing by themselves"]
pub struct SocketOptions {
    auth: Option<AuthProvider>,
    config: SocketConfig,
}

impl SocketOptions {
    /// The defaults: no `auth`, no retries, acknowledgements may take as long as the connection
    /// lasts, and up to 10,000 events or 8 MiB wait up to 5 min for a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Provides what the server's middleware gets as `auth`: an object. It is asked before each
    /// connect.
    pub fn auth<F, A, T>(mut self, provider: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, AuthError>> + MaybeSend + 'static,
        T: Serialize,
    {
        self.auth = Some(Arc::new(move || {
            let auth = provider();
            Box::pin(async move {
                let failed = |reason: String, retryable| AuthFailure { reason, retryable };
                let auth = auth
                    .await
                    .map_err(|error| failed(error.to_string(), error.advice() != Advice::GiveUp))?;
                match serde_json::to_vec(&auth) {
                    Ok(json) if json.starts_with(b"{") => Ok(Some(json.into())),
                    Ok(json) if json == b"null" => Ok(None),
                    Ok(_) => Err(failed("auth must be an object".into(), false)),
                    Err(error) => Err(failed(format!("auth cannot be written: {error}"), false)),
                }
            })
        }));
        self.config.authenticated = true;
        self
    }

    /// How long to wait for acknowledgements where the event does not say. Default: as long as the
    /// connection lasts.
    pub const fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.ack_timeout = Some(timeout);
        self
    }

    /// How many times an event that is not acknowledged is sent again. With it, every event that is
    /// not volatile waits in order for its turn, and the server must acknowledge each. Set an
    /// [`ack_timeout`](Self::ack_timeout), too: without one only a reconnect sends anything again.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.config.retries = Some(retries);
        self
    }

    /// What may wait to be sent, and what happens beyond that.
    pub const fn send_buffer(mut self, limits: BufferLimits) -> Self {
        self.config.buffer = limits;
        self
    }

    /// How many events of the server are kept that come before it has granted the namespace.
    /// Default 1000; the oldest go.
    pub const fn receive_buffer(mut self, events: usize) -> Self {
        self.config.receive_buffer = events;
        self
    }
}

impl fmt::Debug for SocketOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketOptions").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Manager {
    /// A manager for the server at `url`, its base URL: `http`, `https`, `ws` or `wss`, a host, and
    /// perhaps a path in front of `/socket.io/`.
    pub fn builder(url: impl Into<String>) -> ManagerBuilder {
        ManagerBuilder::new(url.into())
    }

    /// The socket of a namespace, which begins to connect at once unless the manager was built
    /// otherwise. There is one of each: asked again, it gives another handle.
    ///
    /// # Errors
    /// If the text is not the path of a namespace.
    pub fn socket(&self, namespace: &str) -> Result<Socket, BuildError> {
        self.socket_with(namespace, self.options.clone())
    }

    /// Like [`socket`](Self::socket), with options of its own; those of a socket that exists stay
    /// as they are.
    ///
    /// # Errors
    /// If the text is not the path of a namespace.
    pub fn socket_with(
        &self,
        namespace: &str,
        options: SocketOptions,
    ) -> Result<Socket, BuildError> {
        let namespace =
            Namespace::new(namespace).ok_or_else(|| BuildError::Namespace(namespace.to_owned()))?;
        let SocketOptions { auth, config } = options;
        let shared = self.handle.shared.socket(&namespace, |index| SocketShared {
            index,
            namespace: namespace.clone(),
            config,
            auth,
            status: Mutable::default(),
            held: Default::default(),
            held_bytes: Default::default(),
        });
        let socket = Socket::new(self.handle.clone(), shared, self.streams);
        if self.auto_connect {
            socket.connect();
        }
        Ok(socket)
    }

    /// How the connection is doing.
    pub fn status(&self) -> ManagerStatus {
        self.handle.shared.status.get_cloned()
    }

    /// How the connection is doing, now and after each change.
    pub fn status_signal(&self) -> impl Signal<Item = ManagerStatus> + Send + Sync + use<> {
        watch(&self.handle.shared.status)
    }

    /// Disconnects all sockets and closes the connection, for good. What was emitted on sockets
    /// that are connected is sent first; what waits for a connection is dropped.
    pub async fn close(&self) {
        if !self.handle.shared.give(Order::Close) {
            return;
        }
        let mut changes = watch(&self.handle.shared.status).to_stream();
        while let Some(status) = changes.next().await {
            if status.state == ManagerState::Closed {
                return;
            }
        }
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("status", &self.status()).finish_non_exhaustive()
    }
}

/// Something that was chosen.
type Change = Box<dyn FnOnce(&mut ManagerConfig) + Send>;

/// Settings of a [`Manager`]. Their names and defaults are those of `socket.io-client`, where it has
/// them.
#[must_use = "nothing happens before `build`"]
pub struct ManagerBuilder {
    url: String,
    tls: Option<TlsConfig>,
    auto_connect: bool,
    options: SocketOptions,
    streams: (usize, Overflow),
    path: String,
    headers: Vec<(String, String)>,
    /// The rest; its endpoint is set when the URL is read.
    change: Vec<Change>,
}

impl ManagerBuilder {
    fn new(url: String) -> Self {
        Self {
            url,
            tls: None,
            auto_connect: true,
            options: SocketOptions::default(),
            streams: (1024, Overflow::default()),
            path: "/socket.io/".into(),
            headers: Vec::new(),
            change: Vec::new(),
        }
    }

    fn change(mut self, change: impl FnOnce(&mut ManagerConfig) + Send + 'static) -> Self {
        self.change.push(Box::new(change));
        self
    }

    /// The path of Socket.IO on the server. Default `/socket.io/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// A parameter of the query, for the server's application. May be called several times.
    pub fn query(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let parameter = (name.into(), value.into());
        self.change(|config| config.transport.query.push(parameter))
    }

    /// A header of all requests. May be called several times.
    pub fn extra_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Which transports may be used; the first one is tried first. Default: polling, then
    /// websocket.
    pub fn transports(self, transports: impl Into<Vec<Carrier>>) -> Self {
        let transports = transports.into();
        self.change(|config| config.transport.transports = transports)
    }

    /// Whether a connection that begins with polling moves to a WebSocket when it can. Default
    /// true.
    pub fn upgrade(self, upgrade: bool) -> Self {
        self.change(move |config| config.transport.upgrade = upgrade)
    }

    /// Whether a connection that was moved to a WebSocket begins with one when it comes back.
    /// Default false.
    pub fn remember_upgrade(self, remember: bool) -> Self {
        self.change(move |config| config.remember_upgrade = remember)
    }

    /// Whether the other transports are tried when the first one does not work. Default false.
    pub fn try_all_transports(self, all: bool) -> Self {
        self.change(move |config| config.transport.try_all_transports = all)
    }

    /// How packets are written: the default parser, or `socket.io-msgpack-parser`. Both ends need
    /// the same. Default: the default parser.
    pub fn parser(self, parser: Parser) -> Self {
        self.change(move |config| config.parser = parser)
    }

    /// How long a transport may take to open. Default 20 s.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(move |config| config.transport.attempt_timeout = timeout)
    }

    /// Whether a lost connection comes back by itself. Default true.
    pub fn reconnection(self, reconnection: bool) -> Self {
        self.change(move |config| config.reconnection = reconnection)
    }

    /// How many attempts in a row may fail before it is given up. Default: any number.
    pub fn reconnection_attempts(self, attempts: u32) -> Self {
        self.change(move |config| config.reconnection_attempts = Some(attempts))
    }

    /// How long to wait between attempts: a random time up to `delay` at first, up to twice as long
    /// after each failure, and never more than `max`. Default 1 s and 5 s.
    pub fn reconnection_delay(self, delay: Duration, max: Duration) -> Self {
        self.change(move |config| {
            (config.reconnection_delay, config.reconnection_delay_max) = (delay, max);
        })
    }

    /// Whether sockets connect when they are made. Default true; otherwise
    /// [`Socket::connect`] does it, after listeners were added for instance.
    pub const fn auto_connect(mut self, auto_connect: bool) -> Self {
        self.auto_connect = auto_connect;
        self
    }

    /// The options of sockets for which [`Manager::socket_with`] gives no others.
    pub fn socket_options(mut self, options: SocketOptions) -> Self {
        self.options = options;
        self
    }

    /// Provides `auth` for the sockets; see [`SocketOptions::auth`].
    pub fn auth<F, A, T>(mut self, provider: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<T, AuthError>> + MaybeSend + 'static,
        T: Serialize,
    {
        self.options = self.options.auth(provider);
        self
    }

    /// The largest packet accepted from the server, in bytes. Default 16 MiB.
    pub fn max_message(self, bytes: usize) -> Self {
        self.change(move |config| {
            (config.limits.max_bytes, config.transport.max_body) = (bytes, bytes);
        })
    }

    /// How many events each stream holds for the application, and what happens beyond that.
    /// Default 1024, [`Overflow::DropOldest`]. With [`Overflow::Pause`] what is not read waits at
    /// the server, and a pause longer than its patience ends the connection.
    pub const fn stream_buffer(mut self, events: usize, overflow: Overflow) -> Self {
        self.streams = (events, overflow);
        self
    }

    /// How `https://` and `wss://` connections are encrypted. Default: TLS 1.2 and 1.3, with
    /// certificates checked against Mozilla's roots.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// Makes the manager. It connects when a socket wants it to.
    ///
    /// # Errors
    /// If the URL is not the base URL of a server, a header cannot be one, or there is no tokio
    /// runtime here.
    pub fn build(self) -> Result<Manager, BuildError> {
        let endpoint: Endpoint = self.url.parse()?;
        let runtime = Runtime::current().ok_or(BuildError::NoRuntime)?;
        let (_, seed) = random(0).map_err(|error| BuildError::NoRandom(error.to_string()))?;
        let mut config = ManagerConfig { seed, ..ManagerConfig::new(endpoint) };
        for change in self.change {
            change(&mut config);
        }
        config.transport.path = format!("/{}/", self.path.trim_matches('/')).replace("//", "/");
        if let Some((name, value)) = self.headers.iter().find(|(name, value)| !header(name, value))
        {
            return Err(BuildError::Header(format!("{name}: {value}")));
        }
        config.transport.headers = self.headers.into();
        let shared = Arc::new(Shared::new());
        let network = Network::new(config.transport.max_body, self.tls, None);
        let machine = ManagerMachine::new(config);
        runtime.spawn(Driver::new(machine, shared.clone(), network, Clock::start()));
        Ok(Manager {
            handle: Arc::new(Handle { shared }),
            auto_connect: self.auto_connect,
            options: self.options,
            streams: self.streams,
        })
    }
}

/// Whether a header can be one (RFC 9110, section 5).
fn header(name: &str, value: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let good = !name.is_empty() && name.bytes().all(token);
    good && value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

impl fmt::Debug for ManagerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerBuilder").field("url", &self.url).finish_non_exhaustive()
    }
}
