//! WebSocket framing (RFC 6455) without I/O.
//!
//! [`Decoder`] takes bytes as they come from the socket and gives messages; [`encode`] and
//! [`header`] write frames. A decoder copies each payload once, into the buffer that becomes the
//! message, and holds no buffer between messages, so that an idle connection costs nothing but the
//! struct: drivers read into a scratch buffer shared by their connections and hand in slices of it.
//!
//! Extensions are not negotiated, so reserved bits are errors. The opening handshake is HTTP and
//! belongs to the drivers.

mod decode;
mod encode;
mod finished;
mod mask;

pub use decode::{Decoder, Incoming, Role};
pub use encode::{MAX_HEADER, close_payload, encode, frame_around, header, header_len};
pub use finished::finished;

use crate::message::CloseCode;

/// What a frame is (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of the message begun before.
    Continuation = 0,
    /// A message of UTF-8 text, or its first part.
    Text = 1,
    /// A message of bytes, or its first part.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// To be answered by a pong with the same payload.
    Ping = 9,
    /// Answers a ping.
    Pong = 10,
}

impl Opcode {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The longest payload of a control frame, in bytes.
pub const MAX_CONTROL: usize = 125;

/// The peer broke RFC 6455 or a limit; the connection has to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Reserved bits are for extensions, and none is negotiated.
    #[error("the frame has reserved bits set, but no extension was negotiated")]
    ReservedBits,
    /// An opcode RFC 6455 does not define.
    #[error("the opcode {0} is not defined")]
    Opcode(u8),
    /// A client must mask every frame.
    #[error("frames from a client must be masked")]
    Unmasked,
    /// A server must not mask frames.
    #[error("frames from a server must not be masked")]
    Masked,
    /// A length written in more bytes than it needs, or with its highest bit set.
    #[error("the payload length is not written in the shortest form")]
    Length,
    /// A control frame longer than 125 bytes or in several parts.
    #[error("a control frame must be whole and at most {MAX_CONTROL} bytes long")]
    Control,
    /// A further part without a beginning.
    #[error("a continuation frame came without a message to continue")]
    Continuation,
    /// A new message inside another one.
    #[error("a new message came before the last one was complete")]
    Interleaved,
    /// A close frame with one byte, or with a code that must not be sent.
    #[error("the close frame is malformed or its code must not be sent")]
    Close,
    /// Text, or a close reason, that is not UTF-8.
    #[error("text must be UTF-8; it is not")]
    Utf8,
    /// A message larger than the limit.
    #[error("the message is larger than {limit} bytes")]
    TooLarge {
        /// The limit that was exceeded.
        limit: usize,
    },
}

impl ProtocolError {
    /// The code of the close frame that tells the peer: 1002, 1007 or 1009.
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode(1007),
            Self::TooLarge { .. } => CloseCode(1009),
            _ => CloseCode(1002),
        }
    }
}
