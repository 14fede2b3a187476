//! The server as a library.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use socket2::{Domain, Protocol, Socket, Type};
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::{EventBus, Payload, TypedEvent, socketio};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::app::App;
use crate::auth::{self, Authenticator, Revoked};
use crate::backplane::{Backplane, MemoryBackplane, RedisBackplane};
use crate::bridge::{self, Bridge};
use crate::collections::{Collection, Collections, Declaration};
use crate::config::{Config, ConfigError, NodeAdapterKind};
use crate::connection::Command;
use crate::demo::Demo;
use crate::engineio;
use crate::handlers::Request;
use crate::http;
use crate::ids::random_id;
use crate::schemas::{EventSchemas, Schema, SchemaError, Schemas};
use crate::shutdown::Phase;
use crate::socketio::{Namespace, NamespacePattern};
use crate::stats::{
    ClusterSessionPage, Counted, EventsStats, Offered, SessionPlace, SessionQuery, WebsocketStats,
};
use crate::store::{
    EventPage, EventQuery, KeptEvent, KeptSessionPage, KeptSessionQuery, Store, StoreError,
};
use crate::tls::{self, Tls};

/// How long the database has for what is left, even if clients have taken all of `timeouts.drain`.
const LAST: Duration = Duration::from_secs(1);

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
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// No namespace can have this path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no namespace: it must begin with a slash and have no comma")]
pub struct BadNamespace(String);

/// Prepares a [`Server`].
#[derive(Default)]
pub struct Builder {
    config: Config,
    bus: Option<EventBus>,
    backplane: Option<Arc<dyn Backplane>>,
    collections: Vec<Declaration>,
    events: Vec<(String, Schema)>,
    demo: Option<Demo>,
}

impl Builder {
    /// With this configuration instead of the default one.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// With this bus instead of one of its own: events emitted on it go to the clients that
    /// subscribed to them, and what clients publish is emitted on it.
    #[must_use]
    pub fn bus(mut self, bus: EventBus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// With this log instead of the one that the configuration asks for.
    #[must_use]
    pub fn backplane(mut self, backplane: Arc<dyn Backplane>) -> Self {
        self.backplane = Some(backplane);
        self
    }

    /// With this collection, beside those that the configuration declares.
    #[must_use]
    pub fn collection(mut self, declaration: Declaration) -> Self {
        self.collections.push(declaration);
        self
    }

    /// The payloads of the events of this name or pattern must be what `schema` says, beside those
    /// that the configuration declares. Clients' publishes that are not are refused
    /// ([`ErrorCode::INVALID`]), and told where and by which rule; what services emit on the bus
    /// and is not reaches no client, and is logged.
    #[must_use]
    pub fn event_schema(mut self, pattern: impl Into<String>, schema: Schema) -> Self {
        self.events.push((pattern.into(), schema));
        self
    }

    /// [`event_schema`](Self::event_schema) with the pattern and the schema of a Rust type.
    ///
    /// ```
    /// use schemars::JsonSchema;
    /// use tidings_core::{Name, NameError, TypedEvent};
    /// use tidings_server::Server;
    ///
    /// #[derive(serde::Serialize, JsonSchema)]
    /// struct Receipt { total: u32 }
    ///
    /// impl TypedEvent for Receipt { // or #[derive(Event)] of the crate `tidings`
    ///     const PATTERN: &'static str = "receipts.sent";
    ///     fn name(&self) -> Result<Name, NameError> { Name::new(Self::PATTERN) }
    /// }
    ///
    /// let server = Server::builder().event::<Receipt>()?;
    /// assert!(server.schemas()?.to_typescript().contains("\"receipts.sent\": Receipt;"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Schema::of`].
    pub fn event<E: TypedEvent + JsonSchema>(self) -> Result<Self, SchemaError> {
        Ok(self.event_schema(E::PATTERN, Schema::of::<E>()?))
    }

    /// All schemas of the server that this prepares: to be written where other programs are built.
    ///
    /// # Errors
    /// If two declarations contradict each other, or a file cannot be read.
    pub fn schemas(&self) -> Result<Schemas, ConfigError> {
        let collections = Declaration::all(&self.config, self.collections.clone())?;
        let events = EventSchemas::new(&self.config, self.events.clone(), &collections)?;
        Ok(Schemas::new(&events, &collections))
    }

    /// With the pages of the demo; see [`Demo`].
    #[must_use]
    pub fn demo(mut self, demo: Demo) -> Self {
        self.demo = Some(demo);
        self
    }

    /// Starts listening. From here on clients can connect; they are served once
    /// [`Server::serve`] runs.
    pub async fn bind(self) -> Result<Server, ServerError> {
        self.config.validate()?;
        let auth = self.config.auth.clone();
        // Keys that are fetched take some time.
        let authenticator = tokio::task::spawn_blocking(move || Authenticator::new(&auth));
        let authenticator = authenticator
            .await
            .unwrap_or_else(|end| std::panic::resume_unwind(end.into_panic()))?;
        let tls = Tls::new(&self.config.tls)?;
        let declared = Declaration::all(&self.config, self.collections)?;
        let schemas = Arc::new(EventSchemas::new(&self.config, self.events, &declared)?);
        let address = self.config.listen;
        let failed = |source| ServerError::Listen { address, source };
        let listener = listen(&self.config).map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let mut config = self.config;
        if config.instance.is_empty() {
            config.instance = random_id();
        }
        let backplane: Arc<dyn Backplane> = match self.backplane {
            Some(backplane) => backplane,
            None if config.redis.urls.is_empty() => {
                check_alone(&config)?;
                Arc::new(MemoryBackplane::new(config.partitioning(), &config.log_retention()))
            }
            None => Arc::new(RedisBackplane::new(&config)?),
        };
        let offered = Arc::new(Offered::default());
        let counted = Counted::new(backplane, Arc::clone(&offered));
        let backplane: Arc<dyn Backplane> = Arc::new(counted);
        let bus = self.bus.unwrap_or_else(bridge::new_bus);
        let bridge = Bridge::new(
            bus.clone(),
            Arc::clone(&backplane),
            Arc::clone(&schemas),
            config.queues.volatile_events,
        );
        let store = Store::open(&config, &backplane).await?;
        let collections = Collections::new(declared, &backplane, &config)?;
        let mut app =
            App::new(config, authenticator, bus, backplane, offered, collections, schemas);
        app.store = store;
        app.tls = tls;
        let app = Arc::new(app);
        let is_member = app.config.node_adapter.kind != NodeAdapterKind::Off;
        if app.config.recovery.max_age > Duration::ZERO || is_member {
            // Clients of Tidings alone may come back, and be reached by Node servers, too.
            app.namespaces.listen();
            app.namespaces.named(app.config.tidings_namespace(), &app.config);
        }
        Ok(Server { app, bridge, listener, local_addr, demo: self.demo })
    }
}

/// Without Redis there is no cluster to join.
fn check_alone(config: &Config) -> Result<(), ConfigError> {
    match config.node_adapter.kind {
        NodeAdapterKind::Off => Ok(()),
        NodeAdapterKind::Classic | NodeAdapterKind::Sharded => Err(ConfigError::Invalid {
            key: "node_adapter.kind",
            message: "needs the Redis of the Node servers: set redis.urls (--redis)".to_owned(),
        }),
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
pub struct Server {
    app: Arc<App>,
    bridge: Bridge,
    listener: tokio::net::TcpListener,
    local_addr: SocketAddr,
    demo: Option<Demo>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("local_addr", &self.local_addr).finish_non_exhaustive()
    }
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

    /// The bus that joins services and clients.
    pub fn bus(&self) -> &EventBus {
        &self.app.bus
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

    /// The collection of this name, if it is declared.
    pub fn collection(&self, name: &str) -> Option<Collection> {
        self.remote().collection(name)
    }

    /// The Socket.IO namespace with this path, `/` or one like `/chat`, which is there from now on.
    /// In the namespace in which Tidings is spoken (`namespaces.tidings`, `/` unless configured
    /// otherwise), events that the application does not handle are Tidings'.
    ///
    /// # Errors
    /// When no namespace can have this path.
    pub fn namespace(&self, path: &str) -> Result<Namespace, BadNamespace> {
        self.remote().namespace(path)
    }

    /// All Socket.IO namespaces whose paths `matches` likes are there from now on: each from the
    /// first client that asks for it to the last one that leaves it.
    ///
    /// ```
    /// # async fn example(server: tidings_server::Server) {
    /// let projects = server.namespaces(|path| path.starts_with("/projects/"));
    /// projects.on("ping", || async { tidings_server::socketio::Reply("pong") });
    /// # }
    /// ```
    pub fn namespaces(
        &self,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> NamespacePattern {
        self.app.namespaces.listen();
        self.app.namespaces.matching(matches)
    }

    /// Speaks Engine.IO, and nothing on top of it, at this path (`/engine.io/`) from the start of
    /// [`serve`](Self::serve) on. Each message of a client is handed to `handler`, which must not
    /// block.
    pub fn engine(
        &self,
        path: &str,
        handler: impl Fn(&engineio::Socket, engineio::Frame) + Send + Sync + 'static,
    ) {
        self.app.engines.add(path, Arc::new(handler));
    }

    /// A handle that goes on working while the server is served.
    pub fn remote(&self) -> Remote {
        Remote { app: Arc::clone(&self.app) }
    }

    /// Serves until `shutdown` completes. Then no connection is accepted any more, clients are
    /// told to connect again elsewhere (at moments spread over `timeouts.drain_spread`), what
    /// waits for them is written, and what is still open after `timeouts.drain` is cut.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        let Self { app, bridge, listener, local_addr, demo } = self;
        let scheme = if app.tls.is_some() { "https" } else { "http" };
        tracing::info!(
            address = %local_addr,
            url = %format_args!("{scheme}://{local_addr}"),
            instance = %app.config.instance,
            "listening"
        );
        if app.authenticator.is_open() {
            tracing::warn!(
                "nobody is authenticated: everybody who reaches this address may do everything; set \
                 auth.secret_file, --auth-secret or --auth-jwks"
            );
        }
        tokio::spawn(auth::reload(Arc::clone(&app)));
        tokio::spawn(tls::reload(Arc::clone(&app)));
        if demo.is_some() {
            tracing::info!("the demo is at {scheme}://{local_addr}/demo/");
        }
        app.start_forwarding();
        app.instances.listen(&app);
        if let Some(store) = &app.store {
            store.begin(&app);
        }
        app.authenticator.revocations().listen(&app);
        crate::schemas::listen(&app);
        Collections::keep_presence(&app);
        let sampler = tokio::spawn(crate::stats::sample(Arc::clone(&app)));
        let bridge = tokio::spawn({
            let app = Arc::clone(&app);
            async move { bridge.run(&app).await }
        });
        tokio::select! {
            () = http::accept(&app, &listener, demo.as_ref()) => {}
            () = shutdown => {}
        }
        drop(listener);
        let counts = app.connections.counts();
        tracing::info!(connections = counts.open, "going away");
        app.shutdown.enter(Phase::Draining);
        // One that is told twice is gone after the first time.
        for connection in app.everybody() {
            connection.command(Command::Close(app.shutdown.close()));
        }
        let limit = app.config.timeouts.drain;
        let deadline = Instant::now() + limit;
        if tokio::time::timeout_at(deadline, app.connections.empty()).await.is_err() {
            let left = app.connections.counts().open;
            tracing::warn!(connections = left, "cut what was still open after {limit:?}");
        }
        app.shutdown.enter(Phase::Over);
        app.namespaces.leave();
        sampler.abort();
        bridge.abort();
        if let Some(store) = &app.store {
            store.finish(deadline.max(Instant::now() + LAST)).await;
        }
    }
}

/// A handle to a server, for services that ask clients or want to know how it goes.
#[derive(Clone)]
pub struct Remote {
    app: Arc<App>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("instance", &self.app.config.instance).finish()
    }
}

impl Remote {
    /// Asks the client of a session and waits for its answer, at most `timeouts.request`.
    ///
    /// # Errors
    /// What the client answered, or that it is not connected, went away or was too slow.
    pub fn request(
        &self,
        session: &str,
        name: &str,
        payload: Payload,
    ) -> impl Future<Output = Result<Payload, Refusal>> + Send + use<> {
        let connection = self.app.sessions.find(session);
        let limit = self.app.config.timeouts.request;
        let (answer, answered) = oneshot::channel();
        let gone = || Refusal::new(ErrorCode::DISCONNECTED, "the session is not connected here");
        let asked = connection.ok_or_else(gone).map(|connection| {
            connection.command(Command::Request { name: name.into(), payload, answer });
        });
        async move {
            asked?;
            match tokio::time::timeout(limit, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_dropped)) => Err(gone()),
                Err(_elapsed) => {
                    let message = format!("the client did not answer within {limit:?}");
                    Err(Refusal::new(ErrorCode::TIMEOUT, message))
                }
            }
        }
    }

    /// As [`Server::collection`].
    pub fn collection(&self, name: &str) -> Option<Collection> {
        let hosted = self.app.collections.find(name)?;
        Some(Collection::new(Arc::clone(hosted), self.app.bus.clone()))
    }

    /// As [`Server::namespace`].
    ///
    /// # Errors
    /// As there.
    pub fn namespace(&self, path: &str) -> Result<Namespace, BadNamespace> {
        let app = &self.app;
        let parsed = socketio::Namespace::new(path).ok_or_else(|| BadNamespace(path.into()))?;
        app.namespaces.listen();
        Ok(app.namespaces.named(parsed, &app.config))
    }

    /// At most `limit` sessions of all instances (and not more than [`SessionPage::MAX`](crate::stats::SessionPage::MAX)), those
    /// behind `after`: what `GET /api/websocket/sessions` answers. The others are waited for at most
    /// `timeouts.sessions`.
    pub async fn sessions(&self, after: Option<SessionPlace>, limit: usize) -> ClusterSessionPage {
        let query = SessionQuery { after, limit, search: String::new() };
        self.app.instances.sessions(&self.app, query).await
    }

    /// Revokes a token, or all that a subject has: at all instances, connections that use it are ended
    /// within `auth.revocation_check`, and it lets nobody in any more. It is forgotten after
    /// `auth.revocations_kept`, or when no instance is left that knows.
    pub fn revoke(&self, revoked: Revoked) {
        self.app.authenticator.revocations().revoke(revoked);
        self.app.reconsider_all();
    }

    /// Ends the session that `GET /api/websocket/sessions` shows by this id, at whichever instance;
    /// its client does not come back by itself. Returns false if there is no such session here and no
    /// other instance that could have it.
    pub fn end_session(&self, id: &str) -> bool {
        self.app.end_session(id) || self.app.authenticator.revocations().tell_end(id)
    }

    /// A page of the events that are kept in the database (`store.events`), all names included: of one
    /// that is shared, those of all instances.
    ///
    /// # Errors
    /// If none are kept, or the database does not answer.
    pub async fn kept_events(&self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.store("events")?.events(query, |_| true).await
    }

    /// The event that is kept in the database with this id.
    ///
    /// # Errors
    /// As [`kept_events`](Self::kept_events).
    pub async fn kept_event(&self, id: &str) -> Result<Option<KeptEvent>, StoreError> {
        self.store("events")?.event(id).await
    }

    /// A page of the sessions that are kept in the database (`store.sessions`), the latest first.
    ///
    /// # Errors
    /// As [`kept_events`](Self::kept_events).
    pub async fn kept_sessions(
        &self,
        query: &KeptSessionQuery,
    ) -> Result<KeptSessionPage, StoreError> {
        self.store("sessions")?.sessions(query).await
    }

    fn store(&self, kept: &'static str) -> Result<&Store, StoreError> {
        self.app.store.as_deref().ok_or(StoreError::NotKept(kept))
    }

    /// What `GET /api/websocket/stats` answers.
    pub fn websocket_stats(&self) -> WebsocketStats {
        WebsocketStats::of(&self.app)
    }

    /// What `GET /api/events/stats` answers.
    pub fn events_stats(&self) -> EventsStats {
        EventsStats::of(&self.app)
    }
}
