//! A connection whose WebSocket handshake is done.

use std::net::SocketAddr;

use bytes::Bytes;
use tidings_core::ws::Encoding;
use tokio::net::TcpStream;

use crate::connections::UpgradedPermit;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The Tidings protocol on a plain WebSocket, in this encoding.
    Ws(Encoding),
    /// Engine.IO and Socket.IO.
    SocketIo,
}

impl Transport {
    pub(crate) const fn kind(self) -> TransportKind {
        match self {
            Self::Ws(_) => TransportKind::Ws,
            Self::SocketIo => TransportKind::SocketIo,
        }
    }
}

/// Which transport a client chose by the path it connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TransportKind {
    /// The Tidings protocol on a plain WebSocket.
    Ws,
    /// Engine.IO and Socket.IO.
    SocketIo,
}

impl TransportKind {
    /// How many there are.
    pub(crate) const COUNT: usize = 2;
}

/// A connection whose WebSocket handshake is done; from here on it carries frames.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The socket, free of any HTTP machinery; TCP_NODELAY is set.
    pub(crate) stream: TcpStream,
    /// What the client sent right behind its handshake.
    pub(crate) leftover: Bytes,
    /// What it speaks.
    pub(crate) transport: Transport,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// To be kept until the connection is closed.
    pub(crate) permit: UpgradedPermit,
}
