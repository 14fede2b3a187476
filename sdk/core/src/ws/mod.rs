//! The `ws` transport: the Tidings protocol, version 1, on a plain WebSocket.
//!
//! One session message is one array whose first element says what it is: `["sub", 7, "orders.**"]`. It
//! is a WebSocket message of its own, or, from a server to a client that takes it so, one of several.
//! docs/protocol.md specifies it; the vectors in tests/vectors/ws.json hold for every implementation.

mod client_link;
mod event;
mod fields;
mod from_client;
mod from_server;
mod msgpack;
pub(crate) mod payload;
mod server_link;
mod write;

/// Divides messages of JSON that travel as one WebSocket message (RFC 7464 calls it the record
/// separator): no JSON text has it in it.
pub const SEPARATOR: u8 = 0x1E;

pub use client_link::ClientLink;
pub use event::{encode_event, encode_message};
pub use server_link::ServerLink;

use bytes::Bytes;

use crate::message::{CloseCode, Frame, LinkError};

/// How the messages of a connection are encoded: both sides agree on it by the WebSocket
/// subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// JSON in text messages.
    Json,
    /// MessagePack in binary messages.
    Msgpack,
}

impl Encoding {
    /// All encodings.
    pub const ALL: [Self; 2] = [Self::Json, Self::Msgpack];

    /// Its WebSocket subprotocol.
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "tidings.v1.json",
            Self::Msgpack => "tidings.v1.msgpack",
        }
    }

    /// The encoding with this WebSocket subprotocol.
    pub fn from_subprotocol(subprotocol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.subprotocol() == subprotocol)
    }

    /// What a server chooses among the subprotocols that a client offers: the first it knows.
    pub fn negotiate<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        offered.into_iter().find_map(Self::from_subprotocol)
    }

    /// The content of a WebSocket message, if it is of the sort this encoding uses.
    fn bytes_of(self, frame: Frame) -> Result<Bytes, LinkError> {
        let (wanted, got) = match (self, frame) {
            (Self::Json, Frame::Text(bytes)) | (Self::Msgpack, Frame::Binary(bytes)) => {
                return Ok(bytes);
            }
            (Self::Json, Frame::Binary(_)) => ("text", "binary"),
            (Self::Msgpack, Frame::Text(_)) => ("binary", "text"),
        };
        let reason = format!("messages of {} are {wanted}, this one is {got}", self.subprotocol());
        Err(LinkError::new(CloseCode::BAD_FRAME, reason))
    }

    /// The WebSocket message with the content that `write` appends.
    fn frame(self, write: impl FnOnce(Self, &mut Vec<u8>)) -> Frame {
        let mut out = Vec::new();
        write(self, &mut out);
        match self {
            Self::Json => Frame::Text(out.into()),
            Self::Msgpack => Frame::Binary(out.into()),
        }
    }
}

fn too_large(bytes: usize, limit: usize) -> LinkError {
    let reason = format!("the message has {bytes} bytes, but at most {limit} are accepted");
    LinkError::new(CloseCode::TOO_LARGE, reason)
}
