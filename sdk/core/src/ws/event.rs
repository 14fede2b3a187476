//! Events, encoded once for everybody.

use bytes::Bytes;

use super::{Encoding, write};
use crate::message::Delivery;
use crate::websocket::{Opcode, frame_around};

/// The finished, unmasked WebSocket frame of an event, the same for every connection that takes
/// this encoding.
pub fn encode_event(encoding: Encoding, delivery: &Delivery) -> Bytes {
    let room = write::event_room(&delivery.event);
    let opcode = match encoding {
        Encoding::Json => Opcode::Text,
        Encoding::Msgpack => Opcode::Binary,
    };
    frame_around(opcode, room, |out| write::event(encoding, out, delivery))
}
