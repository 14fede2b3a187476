//! What a load event carries: which stream it belongs to, its number there, and when it was due.
//!
//! The stamp stands at a fixed place at the beginning of the JSON payload, in hexadecimal, so
//! that a receiver reads it without building a JSON tree:
//!
//! ```json
//! {"stamp":"0000002a000000070000000000bc614e","text":"xxxx"}
//! ```

use bytes::Bytes;

const PREFIX: &[u8] = b"{\"stamp\":\"";
const MIDDLE: &[u8] = b"\",\"text\":\"";
const SUFFIX: &[u8] = b"\"}";
const DIGITS: usize = 32;

/// The smallest payload a stamp fits into, in bytes.
pub(crate) const MIN_PAYLOAD: usize = PREFIX.len() + DIGITS + MIDDLE.len() + SUFFIX.len();

/// Names one event of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The stream: one publisher writing to one name.
    pub(crate) stream: u32,
    /// Counted from 1 within the stream.
    pub(crate) seq: u32,
    /// When the event was due, in microseconds on the run's clock.
    pub(crate) due_us: u64,
}

impl Stamp {
    /// The payload that carries this stamp, filled up to `size` bytes.
    pub(crate) fn encode(self, size: usize) -> Bytes {
        let size = size.max(MIN_PAYLOAD);
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(PREFIX);
        push_hex(&mut out, u64::from(self.stream), 8);
        push_hex(&mut out, u64::from(self.seq), 8);
        push_hex(&mut out, self.due_us, 16);
        out.extend_from_slice(MIDDLE);
        out.resize(size - SUFFIX.len(), b'x');
        out.extend_from_slice(SUFFIX);
        Bytes::from(out)
    }

    /// The stamp of a payload, if it is a whole load event of `size` bytes.
    pub(crate) fn decode(payload: &[u8], size: usize) -> Option<Self> {
        let rest = payload.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
        let (digits, rest) = rest.split_at_checked(DIGITS)?;
        let text = rest.strip_prefix(MIDDLE)?;
        if payload.len() != size.max(MIN_PAYLOAD) || text.iter().any(|b| *b != b'x') {
            return None;
        }
        let (stream, digits) = digits.split_at_checked(8)?;
        let (seq, due) = digits.split_at_checked(8)?;
        Some(Self {
            stream: u32::try_from(read_hex(stream)?).ok()?,
            seq: u32::try_from(read_hex(seq)?).ok()?,
            due_us: read_hex(due)?,
        })
    }
}

fn push_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for place in (0..digits).rev() {
        let nibble = (value >> (4 * place)) as u8 & 0xf;
        out.push(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    }
}

fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(nibble))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_back_what_was_written(
            stream: u32, seq: u32, due_us: u64, size in 0_usize..400,
        ) {
            let stamp = Stamp { stream, seq, due_us };
            let payload = stamp.encode(size);
            prop_assert_eq!(payload.len(), size.max(MIN_PAYLOAD));
            prop_assert_eq!(Stamp::decode(&payload, size), Some(stamp));
        }

        #[test]
        fn arbitrary_bytes_are_no_stamp_and_no_panic(bytes: Vec<u8>) {
            prop_assert_eq!(Stamp::decode(&bytes, bytes.len()), None);
        }

        #[test]
        fn any_damaged_byte_outside_the_digits_is_noticed(at in 0_usize..185) {
            let mut payload = Stamp { stream: 1, seq: 2, due_us: 3 }.encode(185).to_vec();
            prop_assume!(!(PREFIX.len()..PREFIX.len() + DIGITS).contains(&at));
            payload[at] ^= 1;
            prop_assert_eq!(Stamp::decode(&payload, 185), None);
        }
    }

    #[test]
    fn the_payload_is_json() {
        let payload = Stamp { stream: 42, seq: 7, due_us: 12_345_678 }.encode(185);
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(value["stamp"], "0000002a000000070000000000bc614e");
        assert_eq!(payload.len(), 185);
    }

    #[test]
    fn a_truncated_payload_is_noticed() {
        let payload = Stamp { stream: 1, seq: 2, due_us: 3 }.encode(185);
        assert_eq!(Stamp::decode(&payload[..184], 185), None);
        assert_eq!(Stamp::decode(&payload, 186), None);
    }
}
