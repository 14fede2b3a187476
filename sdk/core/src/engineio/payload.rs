//! Several packets in one HTTP body, joined by the record separator (0x1e).

use bytes::Bytes;

use super::packet::{DecodeError, Packet};
use crate::base64;
use crate::message::Frame;
use crate::websocket::{self, Opcode};

/// Stands between two packets.
const SEPARATOR: u8 = 0x1e;

/// What a body may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// The largest body in bytes; told to the client as `maxPayload`.
    pub max_bytes: usize,
    /// The most packets in one body.
    pub max_packets: usize,
}

impl Default for PayloadLimits {
    /// A megabyte (10^6 bytes, as Socket.IO's server has it), and 1000 packets.
    fn default() -> Self {
        Self { max_bytes: 1_000_000, max_packets: 1000 }
    }
}

/// Takes a body apart. Text is not copied; binary messages are decoded from base64.
///
/// # Errors
/// When the body exceeds a limit, is not UTF-8, or one of its packets is broken.
pub fn decode(body: &Bytes, limits: PayloadLimits) -> Result<Vec<Packet>, DecodeError> {
    let mut packets = Vec::new();
    for text in split(body, limits.max_bytes)? {
        if packets.len() == limits.max_packets {
            return Err(DecodeError::TooManyPackets { max: limits.max_packets });
        }
        packets.push(Packet::decode_text(&text)?);
    }
    Ok(packets)
}

/// The packets of a body, each as the WebSocket message that would have brought it, so that what is
/// above need not know what carried them.
///
/// # Errors
/// When the body is larger than `max_bytes` or not UTF-8.
pub fn messages(body: &Bytes, max_bytes: usize) -> Result<Messages, DecodeError> {
    Ok(Messages(split(body, max_bytes)?))
}

/// The messages in a body; see [`messages`]. One is decoded when it is asked for, so that a body of
/// many small packets costs no more memory than any other.
///
/// In place of a packet whose base64 is broken there is an error. Whether the others are packets is
/// found out by whoever reads the message.
#[derive(Debug)]
pub struct Messages(Split);

impl Messages {
    /// How many bytes of the body have not been looked at.
    pub fn bytes_left(&self) -> usize {
        self.0.0.as_ref().map_or(0, Bytes::len)
    }

    /// Whether nothing is left.
    pub const fn is_over(&self) -> bool {
        self.0.0.is_none()
    }
}

impl Iterator for Messages {
    type Item = Result<Frame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.next()?;
        Some(match text.first() {
            Some(b'b') => {
                let data = text.get(1..).and_then(base64::decode).ok_or(DecodeError::BadBase64);
                data.map(|data| Frame::Binary(data.into()))
            }
            _ => Ok(Frame::Text(text)),
        })
    }
}

/// The texts between the separators: what is left of them.
#[derive(Debug)]
struct Split(Option<Bytes>);

impl Iterator for Split {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut text = self.0.take()?;
        if let Some(end) = memchr::memchr(SEPARATOR, &text) {
            self.0 = Some(text.slice(end + 1..));
            text.truncate(end);
        }
        Some(text)
    }
}

fn split(body: &Bytes, max_bytes: usize) -> Result<Split, DecodeError> {
    if body.len() > max_bytes {
        return Err(DecodeError::TooLarge { len: body.len(), max: max_bytes });
    }
    if std::str::from_utf8(body).is_err() {
        return Err(DecodeError::NotUtf8);
    }
    Ok(Split(Some(body.clone())))
}

/// Collects packets into a body of bounded size.
///
/// A text message must not contain the separator itself; JSON never does, because it escapes
/// control characters.
#[derive(Debug)]
pub struct PayloadWriter {
    body: Vec<u8>,
    max_bytes: usize,
}

impl PayloadWriter {
    /// A writer of a body of at most `max_bytes`.
    pub const fn new(max_bytes: usize) -> Self {
        Self { body: Vec::new(), max_bytes }
    }

    /// Appends a packet. Returns false, and leaves the body as it was, when the packet does not
    /// fit any more; a first packet always fits, since no other body could take it.
    pub fn push(&mut self, packet: &Packet) -> bool {
        let before = self.body.len();
        if before > 0 {
            self.body.push(SEPARATOR);
        }
        packet.encode_text(&mut self.body);
        if before > 0 && self.body.len() > self.max_bytes {
            self.body.truncate(before);
            return false;
        }
        true
    }

    /// Appends a packet in the spelling it has on a WebSocket. Returns false, and leaves the body as
    /// it was, when the packet does not fit any more; a first packet always fits.
    pub fn push_message(&mut self, message: &Frame) -> bool {
        let before = self.body.len();
        let len = match message {
            Frame::Text(text) => text.len(),
            Frame::Binary(data) => 1 + base64::encoded_len(data.len()),
        };
        if before > 0 {
            if before + 1 + len > self.max_bytes {
                return false;
            }
            self.body.push(SEPARATOR);
        }
        match message {
            Frame::Text(text) => self.body.extend_from_slice(text),
            Frame::Binary(data) => {
                self.body.push(b'b');
                base64::encode(data, &mut self.body);
            }
        }
        true
    }

    /// Appends the packets in finished WebSocket frames, whatever their size: messages as they are,
    /// binary ones as base64, a close frame as a close packet. Pings and pongs of the WebSocket
    /// itself mean nothing in a body.
    pub fn push_frames(&mut self, frames: &[u8]) {
        for (opcode, payload) in websocket::finished(frames) {
            let text = match opcode {
                Opcode::Text => payload,
                Opcode::Close => b"1",
                Opcode::Binary => b"b",
                Opcode::Ping | Opcode::Pong | Opcode::Continuation => continue,
            };
            if !self.body.is_empty() {
                self.body.push(SEPARATOR);
            }
            self.body.extend_from_slice(text);
            if opcode == Opcode::Binary {
                base64::encode(payload, &mut self.body);
            }
        }
    }

    /// How many bytes the body has so far.
    pub const fn len(&self) -> usize {
        self.body.len()
    }

    /// Whether nothing was appended yet.
    pub const fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Whether the body has reached its size.
    pub const fn is_full(&self) -> bool {
        self.body.len() >= self.max_bytes
    }

    /// The finished body.
    pub fn finish(self) -> Bytes {
        self.body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Packet {
        Packet::Message(Frame::Text(Bytes::copy_from_slice(s.as_bytes())))
    }

    #[test]
    fn limits_are_told() {
        let body = Bytes::from_static(b"4a\x1e4b\x1e4c");
        let limits = |max_bytes, max_packets| PayloadLimits { max_bytes, max_packets };
        assert_eq!(decode(&body, limits(8, 3)).map(|p| p.len()), Ok(3));
        assert_eq!(decode(&body, limits(7, 3)), Err(DecodeError::TooLarge { len: 8, max: 7 }));
        assert_eq!(decode(&body, limits(8, 2)), Err(DecodeError::TooManyPackets { max: 2 }));
        assert_eq!(decode(&Bytes::from_static(b"4\xff"), limits(8, 2)), Err(DecodeError::NotUtf8));
        assert_eq!(decode(&Bytes::from_static(b"4a\x1e"), limits(8, 2)), Err(DecodeError::Empty));
    }

    #[test]
    fn a_body_is_filled_up_to_its_limit() {
        let mut writer = PayloadWriter::new(6);
        assert!(writer.push(&text("ab")));
        assert!(!writer.push(&text("cd")), "3 + 1 + 3 bytes are too many");
        assert!(writer.push(&text("c")));
        assert_eq!(writer.finish(), "4ab\x1e4c");

        let mut writer = PayloadWriter::new(2);
        assert!(writer.push(&text("larger than the limit")));
        assert!(!writer.push(&Packet::Noop));
    }

    #[test]
    fn a_body_is_read_as_the_messages_a_websocket_would_bring() {
        let body = Bytes::from_static(b"4a\x1ebAQID\x1e\x1e2\x1eb?");
        let read: Vec<_> = messages(&body, 100).expect("short enough").collect();
        let text = |text: &'static str| Ok(Frame::Text(text.into()));
        let binary = Ok(Frame::Binary(Bytes::from_static(&[1, 2, 3])));
        let broken = Err(DecodeError::BadBase64);
        assert_eq!(read, [text("4a"), binary, text(""), text("2"), broken]);
        assert_eq!(messages(&Bytes::new(), 0).expect("short enough").count(), 1);
        let mut some = messages(&body, 100).expect("short enough");
        some.next();
        assert_eq!((some.bytes_left(), some.is_over()), (body.len() - 3, false));
        assert!(some.by_ref().count() == 4 && some.is_over());
        let too_large = messages(&body, 3).map(Iterator::count);
        assert_eq!(too_large, Err(DecodeError::TooLarge { len: body.len(), max: 3 }));
    }

    #[test]
    fn frames_become_packets() {
        let mut frames = Vec::new();
        websocket::encode(&mut frames, Opcode::Text, b"451-[]", None);
        websocket::encode(&mut frames, Opcode::Binary, &[1, 2, 3], None);
        websocket::encode(&mut frames, Opcode::Ping, b"", None);
        let mut writer = PayloadWriter::new(13);
        writer.push_frames(&frames);
        assert!(!writer.is_full());
        frames.clear();
        websocket::encode(&mut frames, Opcode::Close, &[3, 232], None);
        writer.push_frames(&frames);
        assert!(writer.is_full());
        assert_eq!(writer.finish(), "451-[]\x1ebAQID\x1e1");
    }
}
