//! What all connections of a server share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidings_core::message::{Close, CloseCode, ErrorCode, Refusal};
use tidings_core::server::FeedConfig;
use tidings_core::{EventBus, Payload, Time};
use tokio::time::Instant;

use crate::auth::{Authenticator, Denied, Identity};
use crate::backplane::{Backplane, Echo, Prepared};
use crate::collections::Collections;
use crate::config::Config;
use crate::connection::{Command, Connection};
use crate::connections::Connections;
use crate::engine_sessions::EngineSessions;
use crate::engineio::Endpoints;
use crate::front::Front;
use crate::handlers::Handlers;
use crate::history::History;
use crate::instances::Instances;
use crate::quota::{Addresses, Subjects};
use crate::rate::Bucket;
use crate::schemas::EventSchemas;
use crate::sessions::Sessions;
use crate::shard::Shard;
use crate::shutdown::{Phase, Shutdown};
use crate::socketio::{Cluster, Namespaces};
use crate::stats::{Live, Offered, ShardStats, Stats, public_id};
use crate::store::Store;
use crate::tls::Tls;

/// What all connections of a server share.
pub(crate) struct App {
    /// As it was given, checked; `instance` is filled in.
    pub(crate) config: Config,
    /// Who clients are.
    pub(crate) authenticator: Authenticator,
    pub(crate) bus: EventBus,
    pub(crate) backplane: Arc<dyn Backplane>,
    pub(crate) feed_config: Arc<FeedConfig>,
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) sessions: Sessions,
    /// All instances, to ask them.
    pub(crate) instances: Arc<Instances>,
    /// How long messages to other instances take; `None` if there can be none.
    pub(crate) echo: Option<Arc<Echo>>,
    /// The Engine.IO sessions of Socket.IO clients.
    pub(crate) engine_sessions: Arc<EngineSessions>,
    /// Where applications speak Engine.IO itself.
    pub(crate) engines: Endpoints,
    pub(crate) handlers: Handlers,
    pub(crate) collections: Collections,
    pub(crate) event_schemas: Arc<EventSchemas>,
    /// What the log still has.
    pub(crate) history: History,
    /// The namespaces of the application.
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) connections: Arc<Connections>,
    /// What is between the server and its clients.
    pub(crate) front: Front,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) subjects: Subjects,
    pub(crate) stats: Stats,
    /// What encrypts connections, if they are.
    pub(crate) tls: Option<Tls>,
    /// What keeps events and sessions in a database, if that is wanted.
    pub(crate) store: Option<Arc<Store>>,
    pub(crate) shutdown: Shutdown,
    next_shard: AtomicUsize,
    /// When the server was made.
    pub(crate) started: Instant,
}

impl App {
    /// The state of a server that has not begun to serve.
    pub(crate) fn new(
        config: Config,
        authenticator: Authenticator,
        bus: EventBus,
        backplane: Arc<dyn Backplane>,
        offered: Arc<Offered>,
        collections: Collections,
        event_schemas: Arc<EventSchemas>,
    ) -> Self {
        let handlers = Handlers::default();
        collections.answer_requests(&config, &handlers);
        let shards = (0..config.shards)
            .map(|_| Arc::new(Shard::new(&*backplane, config.queues.volatile_events)))
            .collect();
        let queues = &config.queues;
        let feed_config = FeedConfig {
            event_bytes: [queues.low, queues.normal, queues.high, queues.critical],
            volatile_bytes: queues.volatile,
            control_bytes: queues.control,
            application_bytes: queues.application,
            batch_bytes: queues.batch,
            namespace: config.tidings_namespace(),
            redact: event_schemas.sensitive().cloned(),
        };
        let channels = backplane.channels();
        let history = History::new(&*backplane);
        let cluster = Cluster::new(&config, channels.clone());
        let echo = channels.clone().filter(|_| backplane.is_shared());
        let echo = echo.map(|channels| Echo::new(&config.redis.prefix, channels));
        Self {
            authenticator,
            bus,
            backplane,
            feed_config: Arc::new(feed_config),
            shards,
            sessions: Sessions::default(),
            instances: Instances::new(&config.redis.prefix, channels),
            echo,
            engine_sessions: Arc::default(),
            engines: Endpoints::default(),
            handlers,
            collections,
            namespaces: Arc::new(Namespaces::new(cluster, event_schemas.sensitive().cloned())),
            event_schemas,
            history,
            connections: Connections::new(config.limits.max_connections),
            front: Front::new(&config),
            addresses: Addresses::new(&config.limits),
            subjects: Subjects::new(&config.limits),
            stats: Stats::new(offered),
            tls: None,
            store: None,
            shutdown: Shutdown::new(config.timeouts.drain_spread),
            next_shard: AtomicUsize::new(0),
            started: Instant::now(),
            config,
        }
    }

    /// Starts the tasks that hand events out.
    pub(crate) fn start_forwarding(self: &Arc<Self>) {
        for shard in &self.shards {
            let (app, shard) = (Arc::clone(self), Arc::clone(shard));
            tokio::spawn(async move {
                tokio::select! {
                    () = shard.forward(Arc::clone(&app.backplane)) => {}
                    () = app.shutdown.reached(Phase::Over) => {}
                }
            });
        }
        let app = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = app.history.run() => {}
                () = app.shutdown.reached(Phase::Over) => {}
            }
        });
    }

    /// Who presents this token from there. Whoever is wrong too often is not listened to for a while.
    ///
    /// # Errors
    /// When the token does not tell, or is not looked at.
    pub(crate) fn identify(&self, token: Option<&str>, from: IpAddr) -> Result<Identity, Denied> {
        let guards = token.is_some() && !self.front.is_proxy(from);
        if guards && !self.addresses.may_present(self.now(), from) {
            return Err(Denied::TooManyWrong);
        }
        let identity = self.authenticator.identify(token);
        if guards && identity.as_ref().is_err_and(Denied::is_wrong) {
            self.addresses.presented_wrong(self.now(), from);
        }
        identity
    }

    /// The shard for the next connection: each gets as many as the others.
    pub(crate) fn next_shard(&self) -> Arc<Shard> {
        let next = self.next_shard.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&self.shards[next % self.shards.len()])
    }

    /// All connections that carry a session.
    pub(crate) fn all_connections(&self) -> Vec<Arc<Connection>> {
        self.shards.iter().flat_map(|shard| shard.connections()).collect()
    }

    /// Everything that a client is connected by; a connection may be in it twice.
    pub(crate) fn everybody(&self) -> impl Iterator<Item = Arc<Connection>> {
        let engines = self.engines.all().into_iter().flat_map(|(_, engine)| engine.sessions.all());
        self.all_connections().into_iter().chain(engines).chain(self.engine_sessions.all())
    }

    /// Has every connection look again whether its client's token is still good.
    pub(crate) fn reconsider_all(&self) {
        self.everybody().for_each(|connection| connection.command(Command::Reconsider));
    }

    /// Ends the session that is shown by this name, if it is carried here.
    pub(crate) fn end_session(&self, shown_as: &str) -> bool {
        let found = self.sessions.all().into_iter().find(|(id, _)| public_id(id) == shown_as);
        let close = Close::new(CloseCode::ENDED, "an operator has ended the session");
        found.map(|(_, carried)| carried.connection.command(Command::Close(close))).is_some()
    }

    /// The core's view of the current moment.
    pub(crate) fn now(&self) -> Time {
        Time::from_start(self.started.elapsed())
    }

    /// The moment at which the core's `time` comes.
    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.started + time.since_start()
    }

    /// Refuses a publish that comes too soon after others of its connection.
    pub(crate) fn check_publish_rate(&self, bucket: &mut Bucket) -> Result<(), Refusal> {
        if bucket.take(self.now()) {
            return Ok(());
        }
        let rate = self.config.limits.publish_rate;
        let message = format!("more than {rate} publishes per second (publish_rate)");
        Err(Refusal::new(ErrorCode::TOO_MANY, message))
    }

    /// Refuses what somebody may not publish, or what is not what its schema says.
    pub(crate) fn check_publish(
        &self,
        identity: &Identity,
        name: &str,
        payload: &Payload,
    ) -> Result<(), Refusal> {
        if self.collections.owns(name) {
            let message = format!(
                "{name:?} is an event of a collection: ask for the change by \
                 state.<collection>.mutate"
            );
            return Err(Refusal::new(ErrorCode::FORBIDDEN, message));
        }
        identity.rights().check_publish(name)?;
        self.event_schemas
            .check(name, payload)
            .map_err(|violation| Refusal::new(ErrorCode::INVALID, violation))
    }

    /// Makes the partitions that `patterns` need readable here; `None` if they are. To be waited
    /// for before anybody subscribes to them.
    pub(crate) fn prepare<'a>(&self, patterns: impl Iterator<Item = &'a str>) -> Option<Prepared> {
        let partitioning = self.backplane.partitioning();
        let mut needed = patterns.flat_map(|pattern| match partitioning.of_pattern(pattern) {
            Some(partition) => partition..partition + 1,
            None => 0..partitioning.count(),
        });
        self.backplane.prepare(&mut needed)
    }

    /// What the shards have counted.
    pub(crate) fn shard_stats(&self) -> impl Iterator<Item = &ShardStats> {
        self.shards.iter().map(|shard| &shard.stats)
    }

    /// The connections of each shard as they are now, with what the shard has counted.
    pub(crate) fn live(&self) -> Vec<(&ShardStats, Live)> {
        self.shards.iter().map(|shard| (&shard.stats, shard.live())).collect()
    }
}
