//! Socket.IO packets: what is encoded is decoded, and nothing that comes from outside breaks a
//! decoder or makes it hold more than its limits say.

#[path = "messages/values.rs"]
mod values;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::message::Frame;
use tidings_core::socketio::{
    Args, Body, DecodeError, MAX_ACK_ID, Namespace, Packet, PacketLimits, text,
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
            if let Body::Event { args, .. } | Body::Ack { args, .. } = &packet.body {
                prop_assert!(args.len() <= 2 && args.attachments().len() <= 2);
                let held = (0..args.len()).filter_map(|i| args.json(i)).chain(args.attachments());
                prop_assert!(held.map(Bytes::len).sum::<usize>() <= 40);
            }
        }
    }
}
