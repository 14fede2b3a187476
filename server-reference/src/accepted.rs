//! A connection whose WebSocket handshake is done.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::connections::UpgradedPermit;

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
    /// Which transport it speaks.
    pub(crate) kind: TransportKind,
    /// The WebSocket subprotocol that was agreed on.
    pub(crate) subprotocol: Option<String>,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// To be kept until the connection is closed.
    pub(crate) permit: UpgradedPermit,
}
