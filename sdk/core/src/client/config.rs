//! What can be chosen about a client.

use std::time::Duration;

use crate::engineio::Carrier;
use crate::link::LinkConfig;
use crate::ws::Encoding;

use super::{Endpoint, Transport};

/// The settings of a [`ClientMachine`](super::ClientMachine).
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the server is.
    pub endpoint: Endpoint,
    /// How to connect. Default [`Transport::Auto`].
    pub transport: Transport,
    /// What may carry `socketio`; the first one is tried first, the others when it does not work.
    /// What worked is tried first from then on, and a session carried by polling moves to a
    /// WebSocket when it can. Default: websocket, then polling.
    pub carriers: Vec<Carrier>,
    /// How messages are written over `ws`. Default JSON.
    pub encoding: Encoding,
    /// What the links of both transports are told.
    pub link: LinkConfig,
    /// Names this client as a producer: random, hard to guess, made by the driver once for the
    /// lifetime of the client. The server recognises publishes that are sent again by it.
    pub producer: String,
    /// Whether the driver is asked for a token on every connect. Default false.
    pub authenticated: bool,
    /// The longest first delay before a reconnect. Default 200 ms.
    pub backoff_min: Duration,
    /// The longest delay before any reconnect. Default 5 s, as with Socket.IO: who was away for a
    /// moment is not to be away for longer because it tried often meanwhile.
    pub backoff_max: Duration,
    /// How long an attempt may take from its token to the server's welcome. Default 10 s.
    pub connect_timeout: Duration,
    /// Limits of the publish queues.
    pub queues: QueueLimits,
    /// How long to wait for a reply when the request does not say. Default 10 s.
    pub request_timeout: Duration,
    /// How many requests may wait for their replies at once. Default 1024.
    pub max_requests: usize,
    /// How long the old connection is kept after a switch for replies that are still to come on
    /// it. Default 5 s.
    pub switch_linger: Duration,
    /// Seeds the jitter.
    pub seed: u64,
}

/// How much may wait to be published, for each priority on its own. A full queue refuses.
#[derive(Debug, Clone, Copy)]
pub struct QueueLimits {
    /// At most this many events, sent and unacknowledged ones included. Default 10,000.
    pub count: usize,
    /// At most this many bytes of names, payloads and headers. Default 8 MiB. One event is taken
    /// whatever its size if nothing else waits.
    pub bytes: usize,
    /// How long an event may wait to be sent for the first time, when its publish does not say.
    /// Default 5 min.
    pub age: Duration,
    /// How long after it was first sent the acknowledgement of an event may take, reconnects
    /// included, when its publish does not say. Default 60 s.
    pub ack_timeout: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            count: 10_000,
            bytes: 8 << 20,
            age: Duration::from_secs(300),
            ack_timeout: Duration::from_secs(60),
        }
    }
}

impl ClientConfig {
    /// The defaults for a server and a producer.
    pub fn new(endpoint: Endpoint, producer: impl Into<String>) -> Self {
        Self {
            endpoint,
            transport: Transport::default(),
            carriers: vec![Carrier::WebSocket, Carrier::Polling],
            encoding: Encoding::Json,
            link: LinkConfig::default(),
            producer: producer.into(),
            authenticated: false,
            backoff_min: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            queues: QueueLimits::default(),
            request_timeout: Duration::from_secs(10),
            max_requests: 1024,
            switch_linger: Duration::from_secs(5),
            seed: 0,
        }
    }
}
