//! Several packets in one HTTP body, joined by the record separator (0x1e).

use bytes::Bytes;

use super::packet::{DecodeError, Packet};

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
    if body.len() > limits.max_bytes {
        return Err(DecodeError::TooLarge { len: body.len(), max: limits.max_bytes });
    }
    if std::str::from_utf8(body).is_err() {
        return Err(DecodeError::NotUtf8);
    }
    let mut packets = Vec::new();
    let mut start = 0;
    let ends = memchr::memchr_iter(SEPARATOR, body).chain(std::iter::once(body.len()));
    for end in ends {
        if packets.len() == limits.max_packets {
            return Err(DecodeError::TooManyPackets { max: limits.max_packets });
        }
        packets.push(Packet::decode_text(&body.slice(start..end))?);
        start = end + 1;
    }
    Ok(packets)
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

    /// The finished body.
    pub fn finish(self) -> Bytes {
        self.body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Frame;

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
}
