//! What can be configured, with defaults, units and meaning.
//!
//! A setting has one definition, in this file: it gives the field, its default, its place in the
//! TOML file, its environment variable, its `--set` key and the comment that
//! `tidings-server config` prints above it.

mod check;
mod layers;
mod units;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::Partitioning;
use tidings_core::engineio::request::Served;
use tidings_core::link::ServerLinkConfig;
use tidings_core::log;
use tidings_core::socketio::{Namespace, SocketIoConfig};
use tidings_core::state::wire::ROOT;

pub(crate) use check::network_of;
pub use layers::{Layers, environment_name};
pub(crate) use units::parse_duration;
use units::{duration, size};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Defines a table of settings: the struct, its defaults, and its comments as data.
macro_rules! settings {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $field_doc:literal])* $(#[serde($($serde:tt)*)])?
        $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[doc = $field_doc])* $(#[serde($($serde)*)])? pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $name {
            pub(crate) const FIELDS: &'static [(&'static str, &'static [&'static str])] =
                &[$((stringify!($field), &[$($field_doc),*]),)*];
        }
    };
}

mod auth;
mod collections;
mod events;
mod front;
mod limits;
mod node_adapter;
mod redis;
mod schemas;
mod store;
mod tls;

pub use self::auth::{Auth, Secret};
pub use self::collections::Collection;
use self::collections::Collections;
pub use self::events::EventSchema;
use self::events::Events;
pub use self::front::{Pages, Proxies};
pub use self::limits::Limits;
pub use self::node_adapter::{NodeAdapter, NodeAdapterKind, NodeAdapterMode};
pub(crate) use self::redis::without_password;
pub use self::redis::{Redis, RedisUrls};
pub use self::schemas::Schemas;
pub use self::store::{DatabaseUrl, Store};
pub use self::tls::Tls;

settings! {
    /// Everything the server can be told. [`Config::default`] is what it does when told nothing.
    Config {
        /// Where to listen, as IP:PORT; port 0 takes a free one.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 9000)),
        /// Listen on addresses other than loopback although nothing authenticates clients.
        insecure: bool = false,
        /// The name of this instance, as it appears in stats and in clients' welcome; a random
        /// one is made at start when it is empty.
        instance: String = String::new(),
        /// How many shards share the sessions between them; each has one forwarder task.
        /// The default is the number of processors.
        shards: usize = std::thread::available_parallelism().map_or(1, usize::from),
        /// What is logged: a level (error, warn, info, debug, trace) or directives such as
        /// "info,tidings_server=debug". Empty: RUST_LOG, or "info" without it.
        log: String = String::new(),
        /// Whether the dashboards are served at /admin/. They show nothing to whoever has no token.
        dashboards: bool = true,
        /// Collections of records, by name; see docs/state.md.
        collections: Collections = Collections::new(),
        /// What events must carry, by name or pattern; see docs/schemas.md.
        events: Events = Events::new(),
        /// Schemas of events that operators register while the server runs; see docs/schemas.md.
        schemas: Schemas = Schemas::default(),
        /// Who clients are, and what they may do: JSON Web Tokens. Nobody is authenticated as
        /// long as none of secret, secret_file and jwks is set; several of them may be.
        auth: Auth = Auth::default(),
        /// TLS, by the server itself: all connections are encrypted when certificate and key are set.
        tls: Tls = Tls::default(),
        /// Where clients connect.
        paths: Paths = Paths::default(),
        /// How events are spread over partitions.
        partitions: Partitions = Partitions::default(),
        /// How much of each lane is kept for recovery.
        retention: Retention = Retention::default(),
        /// What is remembered of publishers, to recognise what they send again.
        producers: Producers = Producers::default(),
        /// How much may wait for one connection, by priority.
        queues: Queues = Queues::default(),
        /// What one client may do.
        limits: Limits = Limits::default(),
        /// Proxies in front of the server, which say for whom they connect.
        proxies: Proxies = Proxies::default(),
        /// Which web pages may connect. Browsers say of which origin a page is; programs say
        /// nothing, and are not asked.
        pages: Pages = Pages::default(),
        /// How dead connections are noticed.
        heartbeat: Heartbeat = Heartbeat::default(),
        /// Engine.IO, which carries Socket.IO.
        engineio: EngineIo = EngineIo::default(),
        /// HTTP polling, with which Socket.IO clients begin.
        polling: Polling = Polling::default(),
        /// Which pages of other origins may use Socket.IO from a browser over HTTP polling.
        cors: Cors = Cors::default(),
        /// A cookie for proxies that keep the requests of a polling session on one instance.
        cookie: Cookie = Cookie::default(),
        /// Socket.IO's namespaces.
        namespaces: Namespaces = Namespaces::default(),
        /// What Socket.IO clients find again after their connection broke.
        recovery: Recovery = Recovery::default(),
        /// How long things may take.
        timeouts: Timeouts = Timeouts::default(),
        /// Options of the TCP sockets.
        socket: Socket = Socket::default(),
        /// The log that instances share, in Redis.
        redis: Redis = Redis::default(),
        /// What instances tell each other for applications of Socket.IO.
        node_adapter: NodeAdapter = NodeAdapter::default(),
        /// What is kept in a database, SQLite or PostgreSQL; see docs/operating.md.
        store: Store = Store::default(),
        /// What is told to Prometheus, at /metrics.
        metrics: Metrics = Metrics::default(),
    }
}

settings! {
    /// What is told to Prometheus, at /metrics.
    Metrics {
        /// Whether everybody is told who reaches it; otherwise operators are, by their tokens.
        open: bool = false,
    }
}

settings! {
    /// Where clients connect.
    Paths {
        /// The Tidings protocol on a plain WebSocket.
        websocket: String = "/ws".to_owned(),
        /// Socket.IO; served with and without the trailing slash.
        socketio: String = "/socket.io/".to_owned(),
    }
}

settings! {
    /// How events are spread over partitions. All instances and restarts of a system must agree.
    Partitions {
        /// How many partitions there are (1 to 16384).
        count: u16 = Partitioning::DEFAULT_COUNT,
        /// How many leading segments of a name choose its partition, for the roots named:
        /// with rooms = 2 there is an order per rooms.17 instead of one for all of rooms.
        /// The root of collections, state, has 2 otherwise, all others have 1.
        depths: BTreeMap<String, usize> = BTreeMap::new(),
    }
}

settings! {
    /// How much of each lane is kept for recovery; whichever bound is reached first holds.
    Retention {
        /// Older events are forgotten.
        #[serde(with = "duration")]
        max_age: Duration = Duration::from_secs(5 * 60),
        /// How many events a lane keeps.
        max_events: usize = 10_000,
        /// How many bytes of names and payloads a lane keeps.
        #[serde(with = "size")]
        max_bytes: usize = 8 * MIB,
    }
}

settings! {
    /// What is remembered of publishers, so that what they send again has one effect.
    Producers {
        /// A publisher is forgotten when it published nothing for this long.
        #[serde(with = "duration")]
        ttl: Duration = Duration::from_secs(60 * 60),
        /// How many publishers a lane remembers; the longest silent are forgotten first.
        max: usize = 100_000,
    }
}

settings! {
    /// How many bytes may wait for one connection, by priority. What happens when a queue is
    /// full depends on the priority: low events are dropped and the client is told by a gap; for
    /// the others the session goes on by reading the log at the client's pace; of volatile ones
    /// the oldest make room.
    Queues {
        /// Events of low priority.
        #[serde(with = "size")]
        low: usize = 256 * KIB,
        /// Events of normal priority.
        #[serde(with = "size")]
        normal: usize = 256 * KIB,
        /// Events of high priority.
        #[serde(with = "size")]
        high: usize = 256 * KIB,
        /// Events of critical priority.
        #[serde(with = "size")]
        critical: usize = 256 * KIB,
        /// Volatile events of any priority.
        #[serde(with = "size")]
        volatile: usize = 64 * KIB,
        /// Everything that is not an event: acknowledgements, replies, heartbeats. While it is
        /// full, nothing more is read from the client.
        #[serde(with = "size")]
        control: usize = 256 * KIB,
        /// What an application sends to its Socket.IO clients. A client that lets it grow full is
        /// disconnected.
        #[serde(with = "size")]
        application: usize = MIB,
        /// What waits together is one WebSocket message of up to so many bytes, for clients that
        /// take it so; 0: each message is one.
        #[serde(with = "size")]
        batch: usize = 64 * KIB,
        /// The longest that events wait for others, to be one WebSocket message with them, for
        /// clients that want them to. Critical ones never do.
        #[serde(with = "duration")]
        max_batch_delay: Duration = Duration::from_secs(1),
        /// How many volatile events may wait to be handed out by a shard, or to the bus of the
        /// services; the oldest make room.
        volatile_events: usize = 4096,
    }
}

settings! {
    /// How dead connections are noticed.
    Heartbeat {
        /// The server sends a ping this often.
        #[serde(with = "duration")]
        ping_interval: Duration = Duration::from_secs(25),
        /// A connection is given up when this long after a ping nothing has come.
        #[serde(with = "duration")]
        ping_timeout: Duration = Duration::from_secs(20),
    }
}

settings! {
    /// Engine.IO, which carries Socket.IO.
    EngineIo {
        /// What may carry a session: "polling", "websocket" or both.
        transports: Vec<String> = vec!["polling".to_owned(), "websocket".to_owned()],
        /// Whether a session that began with polling may move to a WebSocket.
        allow_upgrades: bool = true,
    }
}

settings! {
    /// HTTP polling, with which Socket.IO clients begin.
    Polling {
        /// Once the answer to a poll has this many bytes, what else waits is left to the next one.
        #[serde(with = "size")]
        max_response: usize = 256 * KIB,
    }
}

settings! {
    /// Which pages of other origins may use Socket.IO from a browser over HTTP polling. It keeps
    /// nobody from opening a WebSocket: browsers ask nobody about those.
    Cors {
        /// The origins, such as `https://example.com`, or "*" alone for all; none: CORS is off.
        origins: Vec<String> = Vec::new(),
        /// Whether such pages may send cookies and other credentials.
        credentials: bool = false,
        /// The methods that a preflight request is told.
        methods: Vec<String> = ["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"]
            .map(str::to_owned).into(),
        /// The request headers that a preflight request is told; none: those it asks for.
        allowed_headers: Vec<String> = Vec::new(),
        /// The response headers that pages may read beyond the usual ones.
        exposed_headers: Vec<String> = Vec::new(),
        /// How long browsers may keep the answer to a preflight request; zero leaves it to them.
        #[serde(with = "duration")]
        max_age: Duration = Duration::ZERO,
    }
}

settings! {
    /// A cookie for proxies that keep the requests of a polling session on one instance. It holds
    /// the Engine.IO session's id, and is set by the answer to a polling session's first request.
    Cookie {
        /// Its name; Socket.IO's is "io". Empty: no cookie.
        name: String = String::new(),
        /// The paths it is sent to.
        path: String = "/".to_owned(),
        /// The domain it is sent to; empty: the host that set it.
        domain: String = String::new(),
        /// Whether it is kept from scripts.
        http_only: bool = true,
        /// Whether it is sent over TLS alone.
        secure: bool = false,
        /// Whether it goes with requests from other sites: "lax", "strict", "none", or empty to
        /// leave it to the browser.
        same_site: String = "lax".to_owned(),
    }
}

settings! {
    /// Socket.IO's namespaces.
    Namespaces {
        /// The namespace in which Tidings is spoken; an application may have handlers there, too.
        tidings: String = "/".to_owned(),
        /// In how many other namespaces a connection may be.
        max_per_connection: usize = 32,
        /// When this many events of a client wait for the application's handlers, nothing more is
        /// read from it until all are handled.
        max_pending_events: usize = 256,
    }
}

settings! {
    /// What ordinary Socket.IO clients find again after their connection broke: their id, rooms,
    /// data and subscriptions, and the events they have missed.
    Recovery {
        /// For how long; 0 turns it off. As in Node, events have an offset as their last argument
        /// when it is on.
        #[serde(with = "duration")]
        max_age: Duration = Duration::ZERO,
        /// How many events each namespace keeps for that.
        max_packets: usize = 10_000,
        /// How many bytes of events each namespace keeps for that.
        #[serde(with = "size")]
        max_bytes: usize = 8 * MIB,
        /// How many clients each namespace expects back.
        max_sessions: usize = 100_000,
        /// Of how many of the events last sent to a client it is remembered in which order they
        /// were sent, to know from the last one it has seen what else it has. One that has missed
        /// more has to begin anew.
        max_sent: usize = 1024,
        /// Whether clients that come back are not judged by middlewares again.
        skip_middlewares: bool = true,
    }
}

settings! {
    /// How long things may take.
    Timeouts {
        /// From the WebSocket's opening to the client's first message.
        #[serde(with = "duration")]
        hello: Duration = Duration::from_secs(10),
        /// From the first byte of an HTTP request, or the end of the last one, to the end of
        /// its header.
        #[serde(with = "duration")]
        header_read: Duration = Duration::from_secs(10),
        /// From the end of the header of an HTTP request that brings packets to the end of its
        /// body; then the session is closed.
        #[serde(with = "duration")]
        body_read: Duration = Duration::from_secs(20),
        /// From the opening of a WebSocket to which a polling client wants to move, to its moving.
        #[serde(with = "duration")]
        upgrade: Duration = Duration::from_secs(10),
        /// From a client's request to the answer of its handler.
        #[serde(with = "duration")]
        request: Duration = Duration::from_secs(30),
        /// From the server's closing of a WebSocket to the client's agreement; then it is cut.
        #[serde(with = "duration")]
        closing: Duration = Duration::from_secs(2),
        /// How long a connection may stay open after its session has gone on on another one.
        #[serde(with = "duration")]
        superseded: Duration = Duration::from_secs(10),
        /// From a question for the sessions of all instances to the answers of the others.
        #[serde(with = "duration")]
        sessions: Duration = Duration::from_secs(1),
        /// From the signal to stop to the end: connections still open then are cut.
        #[serde(with = "duration")]
        drain: Duration = Duration::from_secs(10),
        /// Clients told to go are asked to connect again at moments spread over this long, so
        /// that the next instance does not get them all at once.
        #[serde(with = "duration")]
        drain_spread: Duration = Duration::from_secs(2),
    }
}

settings! {
    /// Options of the TCP sockets.
    Socket {
        /// How much unsent data the kernel holds for a connection (TCP_NOTSENT_LOWAT). What
        /// waits there can be overtaken by nothing, so a small value keeps priorities and
        /// heartbeats prompt. 0 leaves it to the kernel.
        #[serde(with = "size")]
        notsent_lowat: usize = 64 * KIB,
        /// How many connections may wait to be accepted.
        backlog: u32 = 1024,
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not valid TOML, or has a key or value that is none of the known ones.
    #[error("in the configuration file {path}: {message}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong, with line, column and key.
        message: String,
    },
    /// There is no setting of this name.
    #[error("{origin}: there is no setting of this name{hint}; `tidings-server config` lists all")]
    Unknown {
        /// The environment variable or flag.
        origin: String,
        /// The closest known name, as a phrase, or nothing.
        hint: String,
    },
    /// The value does not fit the setting.
    #[error("{origin}: {message}")]
    Value {
        /// The environment variable or flag.
        origin: String,
        /// What would fit.
        message: String,
    },
    /// A value is out of range, or contradicts another one.
    #[error("{key}: {message}")]
    Invalid {
        /// Which setting.
        key: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
}

impl Config {
    /// Listens there.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Calls this instance so.
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// Spreads the names whose root is `root` over partitions by their first `depth` segments.
    #[must_use]
    pub fn partition_depth(mut self, root: impl Into<String>, depth: usize) -> Self {
        self.partitions.depths.insert(root.into(), depth);
        self
    }

    /// Changes any setting in passing.
    ///
    /// ```
    /// use tidings_server::Config;
    /// let config = Config::default().with(|c| c.limits.max_payload = 64 * 1024);
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// How names are spread over partitions.
    pub fn partitioning(&self) -> Partitioning {
        // Each collection has an order of its own, unless configured otherwise.
        let partitioning = match self.partitions.depths.get(ROOT) {
            Some(_) => Partitioning::new(self.partitions.count),
            None => Partitioning::new(self.partitions.count).with_depth(ROOT, 2),
        };
        self.partitions.depths.iter().fold(partitioning, |partitioning, (root, depth)| {
            partitioning.with_depth(root.clone(), *depth)
        })
    }

    /// What a lane of the log keeps.
    pub fn log_retention(&self) -> log::Retention {
        log::Retention {
            max_age: self.retention.max_age,
            max_events: self.retention.max_events,
            max_bytes: self.retention.max_bytes,
            producer_ttl: self.producers.ttl,
            max_producers: self.producers.max,
        }
    }

    /// What may carry Engine.IO sessions.
    pub fn served(&self) -> Served {
        let has = |name: &str| self.engineio.transports.iter().any(|transport| transport == name);
        Served {
            polling: has("polling"),
            websocket: has("websocket"),
            upgrades: self.engineio.allow_upgrades,
        }
    }

    /// What a connection's link accepts, and how it keeps time.
    pub fn link(&self) -> ServerLinkConfig {
        ServerLinkConfig {
            max_payload: self.limits.max_payload,
            max_frame: self.limits.max_frame,
            max_depth: self.limits.max_depth,
            max_headers: self.limits.max_headers,
            max_token: self.limits.max_token,
            hello_timeout: self.timeouts.hello,
            ping_interval: self.heartbeat.ping_interval,
            ping_timeout: self.heartbeat.ping_timeout,
            socketio: SocketIoConfig {
                namespace: self.tidings_namespace(),
                application: true,
                max_namespaces: self.namespaces.max_per_connection,
                ..SocketIoConfig::default()
            },
        }
    }

    /// The Socket.IO namespace in which Tidings is spoken.
    pub(crate) fn tidings_namespace(&self) -> Namespace {
        Namespace::new(&self.namespaces.tidings).unwrap_or_default()
    }
}
