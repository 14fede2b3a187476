//! Finished frames: events, encoded once for everybody, and what has to keep its place among them.

use bytes::Bytes;

use super::{Encoding, write};
use crate::message::{Delivery, ServerMessage};
use crate::websocket::{Opcode, frame_around};

/// The finished, unmasked WebSocket frame of an event, the same for every connection that takes
/// this encoding.
pub fn encode_event(encoding: Encoding, delivery: &Delivery) -> Bytes {
    let room = write::event_room(&delivery.event);
    frame_around(encoding.opcode(), room, |out| write::event(encoding, out, delivery))
}

/// The finished, unmasked WebSocket frame of any message of the server.
pub fn encode_message(encoding: Encoding, message: &ServerMessage) -> Bytes {
    frame_around(encoding.opcode(), 0, |out| write::server(encoding, out, message))
}

impl Encoding {
    const fn opcode(self) -> Opcode {
        match self {
            Self::Json => Opcode::Text,
            Self::Msgpack => Opcode::Binary,
        }
    }
}
