//! Events for many connections at once.

use bytes::Bytes;

use crate::message::{Delivery, ServerMessage};
use crate::spelling;
use crate::websocket::{self, MAX_HEADER, Opcode};

use super::codec::Parser;
use super::control::{AT, GAP};
use super::packet::{Args, Body, Namespace, Packet};
use super::{control, msgpack, text};

/// What an event's arguments are, besides its name and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventForm {
    /// Nothing: what ordinary clients of Socket.IO get.
    Plain,
    /// Its metadata, for Tidings clients.
    Tidings,
    /// Its offset, for ordinary clients whose state may be recovered.
    Recoverable,
}

/// Encodes an event into finished, unmasked WebSocket frames.
///
/// The default parser writes a text frame, and a binary frame after it when the payload is binary:
/// both stand in one buffer, since nothing may come between them.
pub fn encode_event(
    namespace: &Namespace,
    parser: Parser,
    form: EventForm,
    delivery: &Delivery,
) -> Bytes {
    let args = control::delivery_args(delivery, form);
    encode_args(namespace, parser, args)
}

/// Encodes what a client is told about its lanes in the same way. `None` if such clients are not
/// told: places in the log are of no use to ordinary Socket.IO clients, gaps are.
pub fn encode_notice(
    namespace: &Namespace,
    parser: Parser,
    form: EventForm,
    notice: &ServerMessage,
) -> Option<Bytes> {
    let mut args = Args::new();
    match notice {
        ServerMessage::Progress(cursor) if form == EventForm::Tidings => {
            args.push_str(AT);
            args.push_written(|w| spelling::write_cursor(w, cursor));
        }
        ServerMessage::Gap(gap) => {
            args.push_str(GAP);
            args.push_written(|w| control::write_gap(w, *gap));
        }
        _ => return None,
    }
    Some(encode_args(namespace, parser, args))
}

fn encode_args(namespace: &Namespace, parser: Parser, args: Args) -> Bytes {
    let body = Body::Event { ack: None, args };
    encode_packet(parser, &Packet { namespace: namespace.clone(), body })
}

/// Encodes any packet into finished, unmasked WebSocket frames, all of them in one buffer.
pub fn encode_packet(parser: Parser, packet: &Packet) -> Bytes {
    let payload = packet.args().map_or(0, Args::bytes);
    // The header's place is kept at its largest; what is not needed of it is cut off at the end.
    let mut frames = Vec::with_capacity(2 * MAX_HEADER + 128 + payload);
    frames.resize(MAX_HEADER, 0);
    let opcode = match parser {
        Parser::Text => {
            frames.push(b'4');
            text::encode(packet, &mut frames);
            Opcode::Text
        }
        Parser::Msgpack => {
            msgpack::encode(packet, &mut frames);
            Opcode::Binary
        }
    };
    let len = frames.len() - MAX_HEADER;
    let start = MAX_HEADER - websocket::header_len(len);
    let mut header = Vec::with_capacity(MAX_HEADER);
    websocket::header(&mut header, opcode, len);
    if let Some(place) = frames.get_mut(start..MAX_HEADER) {
        place.copy_from_slice(&header);
    }
    if parser == Parser::Text {
        for data in packet.args().map_or([].as_slice(), Args::attachments) {
            websocket::encode(&mut frames, Opcode::Binary, data, None);
        }
    }
    Bytes::from(frames).slice(start..)
}
