//! A connection that is to carry a session.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::message::Hello;
use tidings_core::ws::Encoding;

use crate::auth::Identity;
use crate::connection::Connection;
use crate::connections::UpgradedPermit;
use crate::engine_sessions::Entry;
use crate::engineio;
use crate::socketio::Opening;

/// What a client speaks.
pub(crate) enum Transport {
    /// The Tidings protocol on a plain WebSocket, in this encoding.
    Ws(Encoding),
    /// Engine.IO and Socket.IO; the entry holds the Engine.IO session's id.
    SocketIo(Entry),
    /// Engine.IO alone, and who takes its messages.
    Engine(Entry, engineio::Handler),
    /// Server-Sent Events: its request says this much.
    Sse(Hello),
}

/// Which transport a client chose by the path it connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// The Tidings protocol on a plain WebSocket.
    Ws,
    /// Engine.IO and Socket.IO.
    SocketIo,
    /// Server-Sent Events.
    Sse,
}

impl TransportKind {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;
}

/// A connection that is to carry a session: its WebSocket handshake is done, or its client polls.
pub(crate) struct Accepted {
    /// Where frames are queued. A socket is free of any HTTP machinery; TCP_NODELAY is set.
    pub(crate) connection: Arc<Connection>,
    /// What the client sent right behind its handshake.
    pub(crate) leftover: Bytes,
    /// What it speaks.
    pub(crate) transport: Transport,
    /// The request it began with, if an application wants to know.
    pub(crate) opening: Option<Arc<Opening>>,
    /// Who it is, if its request has said so.
    pub(crate) identity: Option<Identity>,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// To be kept until the connection is closed.
    pub(crate) permit: UpgradedPermit,
}
