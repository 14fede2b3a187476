//! Why a socket is not connected any more, in Socket.IO's own words.

use std::fmt;

use tidings_core::message::CloseCode;

/// Why a socket is not connected any more; what Node's `disconnect` event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// [`Socket::disconnect`](super::Socket::disconnect) was called.
    ServerNamespaceDisconnect,
    /// The connection was closed by the client, or broke.
    TransportClose,
    /// The connection failed.
    TransportError,
    /// The client did not answer a ping in time.
    PingTimeout,
    /// The client sent what is no packet.
    ParseError,
    /// The client did not take what was sent to it.
    ForcedClose,
    /// The server is going away.
    ServerShuttingDown,
}

impl DisconnectReason {
    /// Socket.IO's words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ServerShuttingDown => "server shutting down",
        }
    }

    /// Whether the client may come back to the state it had. As in Node, not when either side
    /// wanted the end, or when the client does not keep to the protocol.
    pub const fn is_recoverable(self) -> bool {
        !matches!(
            self,
            Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect | Self::ParseError
        )
    }

    /// The reason for which a connection was closed with this code.
    pub(crate) const fn of_close(code: CloseCode) -> Self {
        match code {
            CloseCode::HEARTBEAT => Self::PingTimeout,
            CloseCode::BAD_FRAME | CloseCode::TOO_LARGE => Self::ParseError,
            CloseCode::GOING_AWAY => Self::ServerShuttingDown,
            CloseCode::SLOW => Self::ForcedClose,
            _ => Self::TransportClose,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
