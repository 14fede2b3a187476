//! What can be chosen about a manager and its sockets.

use std::time::Duration;

use crate::endpoint::Endpoint;
use crate::engineio::TransportConfig;
use crate::socketio::{PacketLimits, Parser};

/// The settings of a [`ManagerMachine`](super::ManagerMachine). Names and defaults are those of
/// `socket.io-client` where it has them.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// Where the server is and by which carriers it is reached.
    pub transport: TransportConfig,
    /// How packets are spelled. Default: the default parser.
    pub parser: Parser,
    /// What is accepted in a packet of the server. Default 16 MiB, 128 levels, 1000 arguments,
    /// 1000 attachments.
    pub limits: PacketLimits,
    /// Whether lost connections come back by themselves. Default true.
    pub reconnection: bool,
    /// How many attempts in a row may fail before it is given up; `None`, the default, for any
    /// number.
    pub reconnection_attempts: Option<u32>,
    /// The longest delay before the first attempt to come back; it doubles with each failure.
    /// Default 1 s. The delay is drawn evenly from zero to it.
    pub reconnection_delay: Duration,
    /// The longest delay before any attempt. Default 5 s.
    pub reconnection_delay_max: Duration,
    /// Whether a connection that was carried by a WebSocket begins with one when it comes back,
    /// instead of by the first carrier configured. Default false.
    pub remember_upgrade: bool,
    /// Seeds the jitter.
    pub seed: u64,
}

impl ManagerConfig {
    /// The defaults for a server.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            transport: TransportConfig::new(endpoint),
            parser: Parser::Text,
            limits: PacketLimits {
                max_bytes: 16 << 20,
                max_depth: crate::json::MAX_DEPTH,
                max_arguments: 1000,
                max_attachments: 1000,
            },
            reconnection: true,
            reconnection_attempts: None,
            reconnection_delay: Duration::from_secs(1),
            reconnection_delay_max: Duration::from_secs(5),
            remember_upgrade: false,
            seed: 0,
        }
    }
}

/// The settings of one socket.
#[derive(Debug, Clone, Copy)]
pub struct SocketConfig {
    /// Whether the driver is asked for `auth` on every connect. Default false.
    pub authenticated: bool,
    /// How long to wait for acknowledgements when the event does not say; `None`, the default,
    /// for as long as the connection lasts.
    pub ack_timeout: Option<Duration>,
    /// How many times an event that is not acknowledged is sent again. With it every event that is
    /// not volatile waits in order for its turn: one is under way at a time. `None`, the default,
    /// sends events once and at once.
    pub retries: Option<u32>,
    /// What may wait to be sent.
    pub buffer: BufferLimits,
    /// How many events of the server are kept that come before it has granted the namespace.
    /// Default 1000; the oldest go.
    pub receive_buffer: usize,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            authenticated: false,
            ack_timeout: None,
            retries: None,
            buffer: BufferLimits::default(),
            receive_buffer: 1000,
        }
    }
}

/// How much may wait to be sent, without a connection or on a slow one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferLimits {
    /// At most this many events. Default 10,000.
    pub count: usize,
    /// At most this many bytes of arguments. Default 8 MiB. One event is taken whatever its size if
    /// nothing else waits.
    pub bytes: usize,
    /// How long an event may wait. Default 5 min.
    pub age: Duration,
    /// What happens when it is full. Default [`BufferOverflow::Reject`].
    pub overflow: BufferOverflow,
}

impl Default for BufferLimits {
    fn default() -> Self {
        Self {
            count: 10_000,
            bytes: 8 << 20,
            age: Duration::from_secs(300),
            overflow: BufferOverflow::Reject,
        }
    }
}

/// What happens to events when too many wait to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BufferOverflow {
    /// The new one is refused.
    #[default]
    Reject,
    /// The oldest one goes, to make room for the new one.
    DropOldest,
}
