//! Writing frames.

use bytes::Bytes;

use super::{MAX_CONTROL, Opcode, mask};
use crate::message::CloseCode;

/// The longest header of an unmasked frame, in bytes.
pub const MAX_HEADER: usize = 10;

/// How long the header of an unmasked frame with a payload of `len` bytes is.
pub const fn header_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    }
}

/// Appends the header of a whole, unmasked frame whose payload of `len` bytes follows.
///
/// Frames of a server are not masked and so are the same for every receiver.
pub fn header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    let (bytes, used) = header_bytes(opcode, len, 0);
    out.extend_from_slice(bytes.get(..used).unwrap_or_default());
}

/// Appends a whole frame. Clients must give a mask that the server cannot predict (RFC 6455,
/// section 10.3), servers must not give one.
///
/// ```
/// use tidings_core::websocket::{Opcode, encode};
/// let mut out = Vec::new();
/// encode(&mut out, Opcode::Text, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d]));
/// assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
/// ```
pub fn encode(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) {
    out.reserve(MAX_HEADER + 4 + payload.len());
    match mask {
        None => {
            header(out, opcode, payload.len());
            out.extend_from_slice(payload);
        }
        Some(key) => {
            let (bytes, used) = header_bytes(opcode, payload.len(), 0x80);
            out.extend_from_slice(bytes.get(..used).unwrap_or_default());
            out.extend_from_slice(&key);
            let start = out.len();
            out.extend_from_slice(payload);
            mask::apply(out.get_mut(start..).unwrap_or_default(), key, 0);
        }
    }
}

/// A whole, unmasked frame around a payload that `write` appends to the buffer it is given, which
/// has room for `capacity` bytes of it. The payload's length need not be known before.
pub fn frame_around(opcode: Opcode, capacity: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(MAX_HEADER + capacity);
    out.extend_from_slice(&[0; MAX_HEADER]);
    write(&mut out);
    // The header ends where the payload begins; what is left before it is cut off.
    let len = out.len() - MAX_HEADER;
    let (bytes, used) = header_bytes(opcode, len, 0);
    let start = MAX_HEADER - used;
    if let (Some(room), Some(bytes)) = (out.get_mut(start..MAX_HEADER), bytes.get(..used)) {
        room.copy_from_slice(bytes);
    }
    Bytes::from(out).slice(start..)
}

/// The payload of a close frame: the code and as much of the reason as fits.
pub fn close_payload(code: CloseCode, reason: &str) -> Vec<u8> {
    let reason = reason.get(..reason.floor_char_boundary(MAX_CONTROL - 2)).unwrap_or_default();
    [&code.0.to_be_bytes(), reason.as_bytes()].concat()
}

/// The bytes of a header up to the mask, and how many of them count.
fn header_bytes(opcode: Opcode, len: usize, mask_bit: u8) -> ([u8; MAX_HEADER], usize) {
    const FIN: u8 = 0x80;
    let first = FIN | opcode as u8;
    let bytes = match len {
        0..=125 => [first, mask_bit | len as u8, 0, 0, 0, 0, 0, 0, 0, 0],
        126..=0xFFFF => {
            let [a, b] = (len as u16).to_be_bytes();
            [first, mask_bit | 126, a, b, 0, 0, 0, 0, 0, 0]
        }
        _ => {
            let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
            [first, mask_bit | 127, a, b, c, d, e, f, g, h]
        }
    };
    (bytes, header_len(len))
}
