//! What machines ask of a network, and what they are told of it.
//!
//! A driver needs no more than this: WebSockets whose handshake and framing it does by itself, and
//! HTTP requests. Both exist natively and in browsers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::message::{Close, Frame};

/// A WebSocket or an HTTP request, from the attempt to its end. Never used twice, so whatever
/// arrives late from an old one is recognised.
///
/// One connection of a session may need many; all of them tell which connection they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoId(pub u64);

impl IoId {
    /// The first of the connection with this number, which must be below 2^32.
    pub const fn first(connection: u64) -> Self {
        Self(connection << 32)
    }

    /// Which connection it is for.
    pub const fn connection(self) -> u64 {
        self.0 >> 32
    }

    /// The next of the same connection, if there is one: each can have 2^32.
    pub const fn next(self) -> Option<Self> {
        let next = Self(self.0.wrapping_add(1));
        if next.connection() == self.connection() { Some(next) } else { None }
    }
}

/// Headers that go with every request of a client: names and values.
pub type HttpHeaders = Arc<[(String, String)]>;

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Io {
    /// Open a WebSocket.
    OpenWs {
        /// Its id in all that follows.
        id: IoId,
        /// Where to: `ws` or `wss`.
        url: String,
        /// Which subprotocol to ask for.
        subprotocol: Option<&'static str>,
        /// Headers to ask with, where the platform lets them be chosen.
        headers: HttpHeaders,
    },
    /// Write a message to a WebSocket.
    SendWs {
        /// To which one.
        id: IoId,
        /// The message.
        frame: Frame,
    },
    /// Close a WebSocket after what was sent to it is written, or give up opening it. Nothing more
    /// is expected from it.
    CloseWs {
        /// Which one.
        id: IoId,
        /// With which code and reason.
        close: Close,
    },
    /// Send a GET request, or a POST request if there is a body, and answer with
    /// [`IoEvent::Http`].
    Request {
        /// Its id in the answer.
        id: IoId,
        /// Where to: `http` or `https`.
        url: String,
        /// Headers to ask with, where the platform lets them be chosen.
        headers: HttpHeaders,
        /// What is posted: UTF-8 text.
        body: Option<Bytes>,
    },
    /// Give a request up. No answer is expected any more.
    Abort {
        /// Which one.
        id: IoId,
    },
}

/// What the driver observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IoEvent {
    /// The WebSocket is open.
    WsOpened {
        /// Which one.
        id: IoId,
        /// The subprotocol the server chose, if it chose one.
        subprotocol: Option<String>,
    },
    /// A message arrived.
    WsFrame {
        /// On which WebSocket.
        id: IoId,
        /// The message.
        frame: Frame,
    },
    /// The WebSocket could not be opened, or has ended.
    WsClosed {
        /// Which one.
        id: IoId,
        /// Why; [`CloseCode::ABNORMAL`](crate::message::CloseCode::ABNORMAL) when nobody said.
        close: Close,
    },
    /// Whether the WebSocket takes more messages at the moment. Until told otherwise it does.
    Writable {
        /// Which one.
        id: IoId,
        /// Whether it does.
        writable: bool,
    },
    /// The answer to a request, or why there is none.
    Http {
        /// Which request.
        id: IoId,
        /// The answer.
        result: Result<HttpResponse, Close>,
    },
}

impl IoEvent {
    /// What it is about.
    pub const fn id(&self) -> IoId {
        match self {
            Self::WsOpened { id, .. }
            | Self::WsFrame { id, .. }
            | Self::WsClosed { id, .. }
            | Self::Writable { id, .. }
            | Self::Http { id, .. } => *id,
        }
    }
}

/// What a server answered to a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// How long to wait before the next try, where the server said so (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The content.
    pub body: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_connection_never_become_those_of_another() {
        let first = IoId::first(7);
        assert_eq!(first.connection(), 7);
        assert_eq!(first.next().map(IoId::connection), Some(7));
        assert_eq!(IoId(first.0 + u64::from(u32::MAX)).next(), None);
    }
}
