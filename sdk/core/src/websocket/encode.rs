//! Writing frames.

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
    write_header(out, opcode, len, 0);
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
            write_header(out, opcode, payload.len(), 0x80);
            out.extend_from_slice(&key);
            let start = out.len();
            out.extend_from_slice(payload);
            mask::apply(out.get_mut(start..).unwrap_or_default(), key, 0);
        }
    }
}

/// The payload of a close frame: the code and as much of the reason as fits.
pub fn close_payload(code: CloseCode, reason: &str) -> Vec<u8> {
    let reason = reason.get(..reason.floor_char_boundary(MAX_CONTROL - 2)).unwrap_or_default();
    [&code.0.to_be_bytes(), reason.as_bytes()].concat()
}

fn write_header(out: &mut Vec<u8>, opcode: Opcode, len: usize, mask_bit: u8) {
    const FIN: u8 = 0x80;
    out.push(FIN | opcode as u8);
    match len {
        0..=125 => out.push(mask_bit | len as u8),
        126..=0xFFFF => {
            out.push(mask_bit | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
