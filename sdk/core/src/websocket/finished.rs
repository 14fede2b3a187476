//! Taking apart frames that this side has finished.

use super::Opcode;

/// The frames in `bytes`, which hold whole, unmasked frames as [`encode`](super::encode) and
/// [`frame_around`](super::frame_around) make them: what each one is, and its payload. It ends
/// before the first one that is not whole or not of that kind.
///
/// ```
/// use tidings_core::websocket::{Opcode, encode, finished};
/// let mut frames = Vec::new();
/// encode(&mut frames, Opcode::Text, b"one", None);
/// encode(&mut frames, Opcode::Binary, b"two", None);
/// let apart: Vec<_> = finished(&frames).collect();
/// assert_eq!(apart, [(Opcode::Text, &b"one"[..]), (Opcode::Binary, &b"two"[..])]);
/// ```
pub fn finished(bytes: &[u8]) -> impl Iterator<Item = (Opcode, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (first, short, after) = match rest {
            [first, short, after @ ..] => (*first, *short, after),
            _ => return None,
        };
        let opcode = Opcode::from_number(first & 0x0f)?;
        let (len, after) = match short {
            126 => {
                let (len, after) = after.split_first_chunk()?;
                (usize::from(u16::from_be_bytes(*len)), after)
            }
            127 => {
                let (len, after) = after.split_first_chunk()?;
                (usize::try_from(u64::from_be_bytes(*len)).ok()?, after)
            }
            0..=125 => (usize::from(short), after),
            _ => return None,
        };
        let (payload, after) = after.split_at_checked(len)?;
        rest = after;
        Some((opcode, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;

    #[test]
    fn frames_of_all_lengths_come_back() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000];
        let payload = vec![b'x'; 70_000];
        let mut frames = Vec::new();
        for len in lengths {
            encode(&mut frames, Opcode::Binary, &payload[..len], None);
        }
        let apart: Vec<usize> = finished(&frames).map(|(_, payload)| payload.len()).collect();
        assert_eq!(apart, lengths);
    }

    #[test]
    fn what_is_not_whole_or_masked_ends_it() {
        let mut frames = Vec::new();
        encode(&mut frames, Opcode::Text, b"whole", None);
        let whole = frames.len();
        encode(&mut frames, Opcode::Text, &[b'y'; 300], None);
        for cut in whole..frames.len() {
            assert_eq!(finished(&frames[..cut]).count(), 1, "cut at {cut}");
        }
        let mut masked = Vec::new();
        encode(&mut masked, Opcode::Text, b"masked", Some([1, 2, 3, 4]));
        assert_eq!(finished(&masked).count(), 0);
        assert_eq!(finished(&[0x83, 0x00]).count(), 0, "an opcode nobody knows");
    }
}
