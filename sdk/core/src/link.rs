//! Links: one connection's translation between frames and session messages.
//!
//! Both transports have the same face, client side and server side: frames and the time go in,
//! messages come out, and the other way round. A link keeps its own heartbeat and tells when it
//! wants to be called next; it knows nothing of sessions, subscriptions or logs.

use std::time::Duration;

use crate::socketio::SocketIoConfig;

/// How a client's link behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// The largest WebSocket message accepted from the server, in bytes.
    pub max_frame: usize,
    /// The deepest nesting of arrays and objects accepted in a payload.
    pub max_depth: usize,
    /// How long after the connection opened the server's welcome may take.
    pub hello_timeout: Duration,
    /// What only Socket.IO needs.
    pub socketio: SocketIoConfig,
}

impl Default for LinkConfig {
    /// 16 MiB, 128 levels, 10 s.
    fn default() -> Self {
        Self {
            max_frame: 16 << 20,
            max_depth: crate::json::MAX_DEPTH,
            hello_timeout: Duration::from_secs(10),
            socketio: SocketIoConfig::default(),
        }
    }
}

/// How a server's link behaves, and what it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLinkConfig {
    /// The largest payload accepted, in bytes of its JSON text or of its binary content.
    pub max_payload: usize,
    /// The largest WebSocket message accepted, in bytes. A payload may need more room on the wire
    /// than it has bytes (binary in JSON is a third longer), and a hello carries subscriptions.
    pub max_frame: usize,
    /// The deepest nesting of arrays and objects accepted in a payload; a number has depth 0, an
    /// empty array depth 1.
    pub max_depth: usize,
    /// The most bytes accepted in the keys and values of an event's headers together.
    pub max_headers: usize,
    /// The longest token accepted, in bytes.
    pub max_token: usize,
    /// How long after the connection opened the client's hello may take.
    pub hello_timeout: Duration,
    /// How often the server sends a ping.
    pub ping_interval: Duration,
    /// How long after a ping something must have come from the client.
    pub ping_timeout: Duration,
    /// What only Socket.IO needs.
    pub socketio: SocketIoConfig,
}

impl Default for ServerLinkConfig {
    /// 1 MiB of payload in messages of 1.5 MiB, 64 levels, 8 KiB of headers, a token of 16 KiB,
    /// hello within 10 s, pings every 25 s to be answered within 20 s.
    fn default() -> Self {
        Self {
            max_payload: 1 << 20,
            max_frame: 3 << 19,
            max_depth: 64,
            max_headers: 8 << 10,
            max_token: 16 << 10,
            hello_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            socketio: SocketIoConfig::default(),
        }
    }
}

/// An encoding of events that is the same for every connection that takes it, so that an event is
/// encoded once however many connections get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// `ws` with JSON.
    WsJson,
    /// `ws` with MessagePack.
    WsMsgpack,
    /// Socket.IO for clients that do not know Tidings: name and payload alone.
    SocketIo,
    /// Socket.IO for Tidings clients: the event's metadata comes with it.
    SocketIoTidings,
}

impl Wire {
    /// How many there are.
    pub const COUNT: usize = 4;

    /// All of them, by [`Wire::index`].
    pub const ALL: [Self; Self::COUNT] =
        [Self::WsJson, Self::WsMsgpack, Self::SocketIo, Self::SocketIoTidings];

    /// Its number, below [`Wire::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_indexed_in_order() {
        assert!(Wire::ALL.iter().enumerate().all(|(i, wire)| wire.index() == i));
    }
}
