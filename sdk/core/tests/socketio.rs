//! Socket.IO packets: what is encoded is decoded, and nothing that comes from outside breaks a
//! decoder or makes it hold more than its limits say.

#[path = "messages/values.rs"]
mod values;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::message::Frame;
use tidings_core::socketio::{
    Args, Body, DecodeError, MAX_ACK_ID, Namespace, Packet, PacketLimits, msgpack, text,
};
use values::{json_text, payload};

fn namespace() -> impl Strategy<Value = Namespace> {
    "(/[^,]{0,8})?".prop_map(|path| Namespace::new(&path).unwrap_or_default())
}

fn args(name: bool) -> impl Strategy<Value = Args> {
    let name = if name { any::<String>().prop_map(Some).boxed() } else { Just(None).boxed() };
    (name, prop::collection::vec(payload(), 0..4)).prop_map(|(name, payloads)| {
        let mut args = Args::new();
        if let Some(name) = name {
            args.push_str(&name);
        }
        payloads.iter().for_each(|payload| args.push_payload(payload));
        args
    })
}

fn object() -> impl Strategy<Value = Bytes> {
    ("[a-z]{0,4}", json_text()).prop_map(|(key, value)| format!("{{\"{key}\":{value}}}").into())
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        prop::option::of(object()).prop_map(Body::Connect),
        Just(Body::Disconnect),
        (prop::option::of(0..=MAX_ACK_ID), args(true))
            .prop_map(|(ack, args)| Body::Event { ack, args }),
        (0..=MAX_ACK_ID, args(false)).prop_map(|(ack, args)| Body::Ack { ack, args }),
        object().prop_map(Body::ConnectError),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    (namespace(), body()).prop_map(|(namespace, body)| Packet { namespace, body })
}

/// Whether some JSON payload looks like a placeholder, and there is binary it could stand for.
fn has_impostor(packet: &Packet) -> bool {
    packet.args().is_some_and(|args| {
        let looks = |i: &usize| {
            args.json(*i).is_some_and(|json| json == r#"{"_placeholder":true,"num":0}"#)
        };
        !args.attachments().is_empty() && (0..args.len()).filter(looks).count() > 1
    })
}

/// MessagePack of packets, changed in places, and anything else.
fn msgpack_bytes() -> impl Strategy<Value = Vec<u8>> {
    let changed =
        (packet(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(packet, place, byte)| {
            let mut bytes = Vec::new();
            msgpack::encode(&packet, &mut bytes);
            let place = place.index(bytes.len());
            bytes[place] = byte;
            bytes
        });
    prop_oneof![4 => changed, 1 => any::<Vec<u8>>()]
}

/// Texts that come close to packets, attachments, and anything else.
fn wire() -> impl Strategy<Value = Frame> {
    let close = "[0-9]?([0-9]{0,2}-)?(/[a-z]{0,3},)?[0-9]{0,20}[\\[{\"]?[^\u{0}]{0,24}[\\]}\"]?";
    prop_oneof![
        3 => close.prop_map(|text| Frame::Text(text.into())),
        3 => packet().prop_map(|packet| text::frames(&packet).next().expect("a frame")),
        2 => any::<Vec<u8>>().prop_map(|data| Frame::Binary(data.into())),
        1 => any::<Vec<u8>>().prop_map(|data| Frame::Text(data.into())),
    ]
}

proptest! {
    #[test]
    fn packets_survive_as_text(packet in packet()) {
        let mut decoder = text::Decoder::new(PacketLimits::default());
        let mut decoded = Ok(None);
        for frame in text::frames(&packet) {
            prop_assert_eq!(decoded, Ok(None));
            decoded = decoder.receive(frame);
        }
        prop_assert_eq!(decoded, Ok(Some(packet)));
    }

    #[test]
    fn packets_survive_as_msgpack(packet in packet()) {
        let Frame::Binary(message) = msgpack::frame(&packet) else { panic!("not binary") };
        let decoded = msgpack::decode(&message, &PacketLimits::default());
        // Placeholders among binary that are none in the first place would be taken for some.
        if !has_impostor(&packet) {
            prop_assert_eq!(decoded, Ok(packet));
        }
    }

    #[test]
    fn arbitrary_msgpack_stays_within_the_limits(message in msgpack_bytes()) {
        let limits =
            PacketLimits { max_bytes: 40, max_depth: 2, max_arguments: 2, max_attachments: 2 };
        let message = Bytes::from(message);
        let packet = match msgpack::decode(&message, &limits) {
            Ok(packet) => packet,
            Err(DecodeError::Argument(bad)) => bad.packet,
            Err(_) => return Ok(()),
        };
        prop_assert!(message.len() <= 40);
        if let Some(args) = packet.args() {
            prop_assert!(args.len() <= 2 && args.attachments().len() <= 2);
            prop_assert!((0..args.len()).filter_map(|i| args.json(i)).map(Bytes::len).sum::<usize>() <= 40);
        }
    }

    #[test]
    fn arbitrary_messages_stay_within_the_limits(messages in prop::collection::vec(wire(), 0..8)) {
        let limits =
            PacketLimits { max_bytes: 40, max_depth: 2, max_arguments: 2, max_attachments: 2 };
        let mut decoder = text::Decoder::new(limits);
        for message in messages {
            let packet = match decoder.receive(message) {
                Ok(Some(packet)) => packet,
                Err(DecodeError::Argument(bad)) => bad.packet,
                Ok(None) | Err(_) => continue,
            };
            if let Some(args) = packet.args() {
                prop_assert!(args.len() <= 2 && args.attachments().len() <= 2);
                let held = (0..args.len()).filter_map(|i| args.json(i)).chain(args.attachments());
                prop_assert!(held.map(Bytes::len).sum::<usize>() <= 40);
            }
        }
    }
}
