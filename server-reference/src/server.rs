//! The server as a library.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tidings_core::Payload;
use tidings_core::message::Refusal;

use crate::app::App;
use crate::config::{Config, ConfigError};
use crate::handlers::Request;
use crate::http;
use crate::shutdown::Phase;
use crate::stats::{EventsStats, WebsocketStats};

/// The server could not be started, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Prepares a [`Server`].
#[derive(Debug, Default)]
pub struct Builder {
    config: Config,
}

impl Builder {
    /// With this configuration instead of the default one.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Starts listening. From here on clients can connect; they are served once
    /// [`Server::serve`] runs.
    pub async fn bind(self) -> Result<Server, ServerError> {
        self.config.validate()?;
        let address = self.config.listen;
        let failed = |source| ServerError::Listen { address, source };
        let listener = listen(&self.config).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let app = App::new(self.config);
        Ok(Server { app, listener, local_addr })
    }
}

fn listen(config: &Config) -> io::Result<TcpListener> {
    let address = config.listen;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server must get its port back although old connections linger.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(config.socket.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// A server that listens. See the crate's documentation for an example.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    listener: tokio::net::TcpListener,
    local_addr: SocketAddr,
}

impl Server {
    /// Prepares a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens; with the port that was found if the configured one is 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The name of this instance.
    pub fn instance(&self) -> &str {
        &self.app.config.instance
    }

    /// Answers clients' requests of this name; a later handler of the same name takes the place
    /// of an earlier one. An answer that takes longer than `timeouts.request` is given up.
    pub fn handle<F, A>(&self, name: impl Into<String>, handler: F)
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        self.app.handlers.set(name.into(), self.app.config.timeouts.request, handler);
    }

    /// What `GET /api/websocket/stats` answers.
    pub fn websocket_stats(&self) -> WebsocketStats {
        WebsocketStats::of(&self.app)
    }

    /// What `GET /api/events/stats` answers.
    pub fn events_stats(&self) -> EventsStats {
        EventsStats::of(&self.app)
    }

    /// Serves until `shutdown` completes. Then no connection is accepted any more, clients are
    /// told to connect again elsewhere (at moments spread over `timeouts.drain_spread`), what
    /// waits for them is written, and what is still open after `timeouts.drain` is cut.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { app, listener, local_addr } = self;
        tracing::info!(address = %local_addr, instance = %app.config.instance, "listening");
        let sampler = tokio::spawn(crate::stats::sample(Arc::clone(&app)));
        tokio::select! {
            () = http::accept(&app, &listener) => {}
            () = shutdown => {}
        }
        drop(listener);
        let counts = app.connections.counts();
        tracing::info!(connections = counts.open, "going away");
        app.shutdown.enter(Phase::Draining);
        let limit = app.config.timeouts.drain;
        if tokio::time::timeout(limit, app.connections.empty()).await.is_err() {
            let left = app.connections.counts().open;
            tracing::warn!(connections = left, "cut what was still open after {limit:?}");
        }
        app.shutdown.enter(Phase::Over);
        sampler.abort();
    }
}
