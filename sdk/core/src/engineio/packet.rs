//! Packets and their two spellings.

use bytes::Bytes;

use crate::base64;
use crate::json::Quoted;
use crate::message::Frame;

/// One Engine.IO packet.
///
/// The carrier decides the spelling: [`encode`](Self::encode) and [`decode`](Self::decode) are for
/// those with text and binary messages, [`encode_text`](Self::encode_text) and
/// [`decode_text`](Self::decode_text) for those with text alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// The server's first packet: the JSON of a [`Handshake`](super::Handshake).
    Open(Bytes),
    /// The sender closes the conversation.
    Close,
    /// Heartbeat from the server; `probe` in it when a client tries a WebSocket before moving to it.
    Ping(Bytes),
    /// Answers a ping with the ping's own data.
    Pong(Bytes),
    /// What the layer above has to say.
    Message(Frame),
    /// The client has moved to the carrier on which this was sent.
    Upgrade,
    /// Nothing: it only ends a poll that is waiting.
    Noop,
}

/// Bytes that are not Engine.IO packets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There was nothing.
    #[error("empty packet: it must begin with its type, a digit from 0 to 6")]
    Empty,
    /// The first character is none of the packet types.
    #[error(
        "unknown packet type {}: it must be a digit from 0 to 6, or b for base64",
        Quoted(.0.encode_utf8(&mut [0; 4]))
    )]
    UnknownType(char),
    /// The text after `b` is not base64.
    #[error("binary packet is not valid base64")]
    BadBase64,
    /// The body of an HTTP request is not UTF-8.
    #[error("payload is not valid UTF-8")]
    NotUtf8,
    /// The body of an HTTP request is too large.
    #[error("payload of {len} bytes: at most {max} are accepted")]
    TooLarge {
        /// Its size in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// There are too many packets in one HTTP request.
    #[error("payload with more than {max} packets")]
    TooManyPackets {
        /// The limit.
        max: usize,
    },
}

impl Packet {
    /// The digit that stands first in the text spelling.
    const fn digit(&self) -> u8 {
        match self {
            Self::Open(_) => b'0',
            Self::Close => b'1',
            Self::Ping(_) => b'2',
            Self::Pong(_) => b'3',
            Self::Message(_) => b'4',
            Self::Upgrade => b'5',
            Self::Noop => b'6',
        }
    }

    /// What follows the digit; binary messages have their own spelling.
    fn data(&self) -> &[u8] {
        match self {
            Self::Open(data) | Self::Ping(data) | Self::Pong(data) => data,
            Self::Message(Frame::Text(data) | Frame::Binary(data)) => data,
            Self::Close | Self::Upgrade | Self::Noop => &[],
        }
    }

    /// The packet as one WebSocket message. Binary messages travel as they are.
    pub fn encode(&self) -> Frame {
        if let Self::Message(Frame::Binary(data)) = self {
            return Frame::Binary(data.clone());
        }
        let data = self.data();
        let mut text = Vec::with_capacity(1 + data.len());
        text.push(self.digit());
        text.extend_from_slice(data);
        Frame::Text(text.into())
    }

    /// Reads one WebSocket message. Nothing is copied.
    ///
    /// # Errors
    /// When a text is empty or begins with no packet type. Binary messages are always good.
    pub fn decode(frame: Frame) -> Result<Self, DecodeError> {
        match frame {
            Frame::Binary(data) => Ok(Self::Message(Frame::Binary(data))),
            Frame::Text(text) => Self::from_digit(&text),
        }
    }

    /// Appends the packet as text, binary messages as `b` and base64.
    pub fn encode_text(&self, out: &mut Vec<u8>) {
        if let Self::Message(Frame::Binary(data)) = self {
            out.push(b'b');
            base64::encode(data, out);
        } else {
            out.push(self.digit());
            out.extend_from_slice(self.data());
        }
    }

    /// Reads a packet written as text. `text` must be UTF-8, which the carrier has checked.
    ///
    /// # Errors
    /// When it is empty, begins with no packet type, or its base64 is broken.
    pub fn decode_text(text: &Bytes) -> Result<Self, DecodeError> {
        match text.first() {
            Some(b'b') => {
                let data = text.get(1..).and_then(base64::decode).ok_or(DecodeError::BadBase64)?;
                Ok(Self::Message(Frame::Binary(data.into())))
            }
            _ => Self::from_digit(text),
        }
    }

    fn from_digit(text: &Bytes) -> Result<Self, DecodeError> {
        let Some(digit) = text.first() else { return Err(DecodeError::Empty) };
        let data = text.slice(1..);
        match digit {
            b'0' => Ok(Self::Open(data)),
            b'1' => Ok(Self::Close),
            b'2' => Ok(Self::Ping(data)),
            b'3' => Ok(Self::Pong(data)),
            b'4' => Ok(Self::Message(Frame::Text(data))),
            b'5' => Ok(Self::Upgrade),
            b'6' => Ok(Self::Noop),
            _ => Err(DecodeError::UnknownType(first_char(text))),
        }
    }
}

/// The first character, for an error message.
fn first_char(text: &[u8]) -> char {
    let head = text.get(..text.len().min(4)).unwrap_or_default();
    String::from_utf8_lossy(head).chars().next().unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_types_are_named() {
        let packet =
            |text: &'static str| Packet::decode(Frame::Text(Bytes::from_static(text.as_bytes())));
        assert_eq!(packet(""), Err(DecodeError::Empty));
        assert_eq!(packet("7"), Err(DecodeError::UnknownType('7')));
        assert_eq!(packet("äöü"), Err(DecodeError::UnknownType('ä')));
        assert_eq!(
            packet("bAAA="),
            Err(DecodeError::UnknownType('b')),
            "base64 is for text carriers"
        );
    }

    #[test]
    fn data_after_packets_that_carry_none_is_ignored() {
        let text = Frame::Text(Bytes::from_static(b"6ignored"));
        assert_eq!(Packet::decode(text), Ok(Packet::Noop));
    }

    #[test]
    fn broken_base64_is_an_error() {
        for text in ["b?", "bAQIDB", "bA"] {
            let decoded = Packet::decode_text(&Bytes::from_static(text.as_bytes()));
            assert_eq!(decoded, Err(DecodeError::BadBase64), "{text}");
        }
    }
}
