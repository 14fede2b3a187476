//! What can be configured, with defaults, units and meaning.
//!
//! A setting has one definition, in this file: it gives the field, its default, its place in the
//! TOML file, its environment variable, its `--set` key and the comment that
//! `tidings-server config` prints above it.

mod layers;
mod units;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::Partitioning;
use tidings_core::json::MAX_DEPTH;
use tidings_core::link::ServerLinkConfig;
use tidings_core::log;

pub use layers::{Layers, environment_name};
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
            const FIELDS: &'static [(&'static str, &'static [&'static str])] =
                &[$((stringify!($field), &[$($field_doc),*]),)*];
        }
    };
}

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
        /// How dead connections are noticed.
        heartbeat: Heartbeat = Heartbeat::default(),
        /// HTTP polling, with which Socket.IO clients begin.
        polling: Polling = Polling::default(),
        /// How long things may take.
        timeouts: Timeouts = Timeouts::default(),
        /// Options of the TCP sockets.
        socket: Socket = Socket::default(),
    }
}

settings! {
    /// Where clients connect.
    Paths {
        /// The Tidings protocol on a plain WebSocket.
        websocket: String = "/ws".to_owned(),
        /// Socket.IO; the trailing slash belongs to it.
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
        /// All other roots have 1.
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
        /// How many volatile events may wait to be handed out by a shard, or to the bus of the
        /// services; the oldest make room.
        volatile_events: usize = 4096,
    }
}

settings! {
    /// What one client may do; going beyond it costs the message, or the connection where said.
    Limits {
        /// How many connections may be open at once; further ones are answered with 503.
        max_connections: usize = 100_000,
        /// The largest payload of an event or request.
        #[serde(with = "size")]
        max_payload: usize = MIB,
        /// The largest WebSocket message, payload and all that goes with it; a larger one closes
        /// the connection. Binary payloads grow by a third when they travel as JSON.
        #[serde(with = "size")]
        max_frame: usize = 3 * MIB / 2,
        /// The largest header of an HTTP request; a larger one is answered with 431.
        #[serde(with = "size")]
        max_header: usize = 32 * KIB,
        /// The most bytes in the keys and values of an event's headers together.
        #[serde(with = "size")]
        max_headers: usize = 8 * KIB,
        /// The longest token.
        #[serde(with = "size")]
        max_token: usize = 16 * KIB,
        /// How deep the arrays and objects of a payload may be nested (at most 128).
        max_depth: usize = 64,
        /// How many subscriptions a session may have.
        max_subscriptions: usize = 1000,
        /// How many publishes of a connection may be unacknowledged at once.
        max_in_flight: usize = 1024,
        /// How many requests of a connection may be unanswered at once.
        max_requests: usize = 64,
        /// How many events a connection may publish per second, in the long run.
        publish_rate: u32 = 10_000,
        /// How many events a connection may publish at once, after a pause.
        publish_burst: u32 = 20_000,
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
    /// HTTP polling, with which Socket.IO clients begin.
    Polling {
        /// Once the answer to a poll has this many bytes, what else waits is left to the next one.
        #[serde(with = "size")]
        max_response: usize = 256 * KIB,
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
    /// This version cannot do it yet.
    #[error("{origin} is not supported by this version of the server: {instead}")]
    NotSupported {
        /// The key, environment variable or flag.
        origin: String,
        /// What it does do.
        instead: &'static str,
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
        let partitioning = Partitioning::new(self.partitions.count);
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
            ..ServerLinkConfig::default()
        }
    }

    /// Checks what the types cannot: ranges, and settings that contradict each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid =
            |key, message: &str| Err(ConfigError::Invalid { key, message: message.into() });
        if !self.insecure && !self.listen.ip().is_loopback() {
            return Err(ConfigError::Invalid {
                key: "listen",
                message: format!(
                    "nothing authenticates clients, so {} would be open to everyone who reaches \
                     it; listen on a loopback address such as 127.0.0.1:{}, or say --insecure \
                     (insecure = true) if a proxy or firewall guards it",
                    self.listen,
                    self.listen.port()
                ),
            });
        }
        for (key, path) in
            [("paths.websocket", &self.paths.websocket), ("paths.socketio", &self.paths.socketio)]
        {
            let plain =
                |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
            if !path.starts_with('/') || path.len() < 2 || !path.chars().all(plain) {
                return invalid(key, "must be a path such as \"/ws\", of letters, digits, /-_.~");
            }
            if path.starts_with("/api/") {
                return invalid(key, "must not begin with /api/, which is taken");
            }
        }
        if !self.paths.socketio.ends_with('/') {
            return invalid("paths.socketio", "must end with a slash, as in \"/socket.io/\"");
        }
        if self.paths.websocket.trim_end_matches('/') == self.paths.socketio.trim_end_matches('/') {
            return invalid("paths.websocket", "must differ from paths.socketio");
        }
        if !(1..=16_384).contains(&self.partitions.count) {
            return invalid("partitions.count", "must be from 1 to 16384");
        }
        if self.partitions.depths.values().any(|depth| !(1..=16).contains(depth)) {
            return invalid("partitions.depths", "a depth must be from 1 to 16");
        }
        if self.limits.max_frame < self.limits.max_payload {
            return invalid("limits.max_frame", "must be at least limits.max_payload");
        }
        if u32::try_from(self.limits.max_frame).is_err() {
            return invalid("limits.max_frame", "must be less than 4 GiB");
        }
        if self.limits.max_header < 8 * KIB {
            return invalid("limits.max_header", "must be at least 8 KiB");
        }
        if self.limits.max_depth > MAX_DEPTH {
            return invalid("limits.max_depth", "must be at most 128");
        }
        let at_least_one = [
            ("shards", self.shards),
            ("retention.max_events", self.retention.max_events),
            ("retention.max_bytes", self.retention.max_bytes),
            ("producers.max", self.producers.max),
            ("queues.low", self.queues.low),
            ("queues.normal", self.queues.normal),
            ("queues.high", self.queues.high),
            ("queues.critical", self.queues.critical),
            ("queues.volatile", self.queues.volatile),
            ("queues.control", self.queues.control),
            ("queues.volatile_events", self.queues.volatile_events),
            ("limits.max_connections", self.limits.max_connections),
            ("limits.max_payload", self.limits.max_payload),
            ("limits.max_depth", self.limits.max_depth),
            ("limits.max_subscriptions", self.limits.max_subscriptions),
            ("limits.max_in_flight", self.limits.max_in_flight),
            ("limits.max_requests", self.limits.max_requests),
            ("limits.publish_rate", self.limits.publish_rate as usize),
            ("limits.publish_burst", self.limits.publish_burst as usize),
            ("polling.max_response", self.polling.max_response),
            ("socket.backlog", self.socket.backlog as usize),
        ];
        if let Some((key, _)) = at_least_one.iter().find(|(_, value)| *value == 0) {
            return invalid(key, "must be at least 1");
        }
        let more_than_zero = [
            ("retention.max_age", self.retention.max_age),
            ("producers.ttl", self.producers.ttl),
            ("heartbeat.ping_interval", self.heartbeat.ping_interval),
            ("heartbeat.ping_timeout", self.heartbeat.ping_timeout),
            ("timeouts.hello", self.timeouts.hello),
            ("timeouts.header_read", self.timeouts.header_read),
            ("timeouts.upgrade", self.timeouts.upgrade),
            ("timeouts.request", self.timeouts.request),
        ];
        if let Some((key, _)) = more_than_zero.iter().find(|(_, value)| value.is_zero()) {
            return invalid(key, "must be longer than zero");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> String {
        Config::default().with(change).validate().expect_err("must be refused").to_string()
    }

    #[test]
    fn defaults_are_valid_and_listen_on_loopback() {
        let config = Config::default();
        config.validate().expect("defaults are valid");
        assert!(config.listen.ip().is_loopback());
    }

    #[test]
    fn an_open_address_needs_to_be_asked_for() {
        let open: SocketAddr = "0.0.0.0:9000".parse().expect("an address");
        assert!(refused(|c| c.listen = open).contains("--insecure"));
        Config::default()
            .listen(open)
            .with(|c| c.insecure = true)
            .validate()
            .expect("it was asked for");
    }

    #[test]
    fn values_out_of_range_are_named() {
        assert!(refused(|c| c.partitions.count = 0).starts_with("partitions.count:"));
        assert!(refused(|c| c.shards = 0).starts_with("shards:"));
        assert!(refused(|c| c.limits.max_frame = 10).starts_with("limits.max_frame:"));
        assert!(refused(|c| c.paths.websocket = "ws".into()).starts_with("paths.websocket:"));
        assert!(refused(|c| c.paths.websocket = "/{x}".into()).starts_with("paths.websocket:"));
        assert!(refused(|c| c.paths.websocket = "/api/x".into()).starts_with("paths.websocket:"));
        assert!(refused(|c| c.paths.socketio = "/sio".into()).starts_with("paths.socketio:"));
        assert!(refused(|c| c.paths.websocket = "/socket.io".into()).contains("differ"));
        assert!(refused(|c| c.timeouts.hello = Duration::ZERO).starts_with("timeouts.hello:"));
        assert!(
            refused(|c| *c.partitions.depths.entry("a".into()).or_default() = 0)
                .starts_with("partitions.depths:")
        );
    }

    #[test]
    fn links_are_configured_as_they_are_by_themselves() {
        assert_eq!(Config::default().link(), ServerLinkConfig::default());
    }

    #[test]
    fn depths_reach_the_partitioning() {
        let partitioning = Config::default().partition_depth("rooms", 2).partitioning();
        assert_eq!(partitioning.of_pattern("rooms.*"), None);
    }
}
