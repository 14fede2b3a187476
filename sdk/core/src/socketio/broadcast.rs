//! Events for many connections at once.

use bytes::Bytes;

use crate::message::Delivery;
use crate::websocket::{self, MAX_HEADER, Opcode};

use super::control;
use super::packet::{Args, Body, Namespace, Packet};
use super::text;

/// Encodes an event into finished, unmasked WebSocket frames: a text frame, and a binary frame
/// after it when the payload is binary. With `metadata` for Tidings clients, without for ordinary
/// Socket.IO clients.
///
/// Several frames stand in one buffer, since nothing may come between them.
pub fn encode_event(namespace: &Namespace, metadata: bool, delivery: &Delivery) -> Bytes {
    let args = control::delivery_args(delivery, metadata);
    let attachments: usize = args.attachments().iter().map(|data| MAX_HEADER + data.len()).sum();
    let text: usize = (0..args.len()).filter_map(|i| args.json(i)).map(|json| json.len() + 1).sum();
    // The header's place is kept at its largest; what is not needed of it is cut off at the end.
    let mut frames = Vec::with_capacity(MAX_HEADER + text + 32 + attachments);
    frames.resize(MAX_HEADER, 0);
    frames.push(b'4');
    let packet = Packet { namespace: namespace.clone(), body: Body::Event { ack: None, args } };
    text::encode(&packet, &mut frames);

    let len = frames.len() - MAX_HEADER;
    let start = MAX_HEADER - websocket::header_len(len);
    let mut header = Vec::with_capacity(MAX_HEADER);
    websocket::header(&mut header, Opcode::Text, len);
    if let Some(place) = frames.get_mut(start..MAX_HEADER) {
        place.copy_from_slice(&header);
    }
    if let Body::Event { args: Args { attachments, .. }, .. } = &packet.body {
        for data in attachments {
            websocket::encode(&mut frames, Opcode::Binary, data, None);
        }
    }
    Bytes::from(frames).slice(start..)
}
