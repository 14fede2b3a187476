//! Engine.IO: what is encoded is decoded, and nothing that comes from outside breaks a decoder.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::Time;
use tidings_core::engineio::payload::{self, PayloadLimits, PayloadWriter};
use tidings_core::engineio::{
    Carrier, ClientSession, Handshake, Packet, Received, ServerSession, ServerSessionConfig,
};
use tidings_core::message::Frame;

fn data() -> impl Strategy<Value = Bytes> {
    "[^\u{1e}]*".prop_map(Bytes::from)
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        data().prop_map(Packet::Open),
        Just(Packet::Close),
        data().prop_map(Packet::Ping),
        data().prop_map(Packet::Pong),
        data().prop_map(|text| Packet::Message(Frame::Text(text))),
        any::<Vec<u8>>().prop_map(|data| Packet::Message(Frame::Binary(data.into()))),
        Just(Packet::Upgrade),
        Just(Packet::Noop),
    ]
}

fn handshake() -> impl Strategy<Value = Handshake> {
    (any::<String>(), any::<Vec<String>>(), any::<[u32; 2]>(), any::<Option<u32>>()).prop_map(
        |(sid, upgrades, [interval, timeout], max_payload)| Handshake {
            sid,
            upgrades,
            ping_interval: Duration::from_millis(interval.into()),
            ping_timeout: Duration::from_millis(timeout.into()),
            max_payload,
        },
    )
}

/// Bytes that come close to packets, and some that do not.
fn wire_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![any::<Vec<u8>>(), "[0-7b]?[0-9a-zA-Z+/={}\":,\u{1e}]*".prop_map(String::into_bytes),]
}

proptest! {
    #[test]
    fn packets_survive_both_spellings(packet in packet()) {
        prop_assert_eq!(Packet::decode(packet.encode()), Ok(packet.clone()));
        let mut text = Vec::new();
        packet.encode_text(&mut text);
        prop_assert_eq!(Packet::decode_text(&text.into()), Ok(packet));
    }

    #[test]
    fn payloads_survive(packets in prop::collection::vec(packet(), 1..8)) {
        let mut writer = PayloadWriter::new(usize::MAX);
        for packet in &packets {
            prop_assert!(writer.push(packet));
        }
        let limits = PayloadLimits { max_bytes: usize::MAX, max_packets: packets.len() };
        prop_assert_eq!(payload::decode(&writer.finish(), limits), Ok(packets));
    }

    #[test]
    fn handshakes_survive(handshake in handshake()) {
        prop_assert_eq!(Handshake::from_json(&handshake.to_json()), Ok(handshake));
    }

    #[test]
    fn arbitrary_bytes_are_decoded_or_refused(bytes in wire_bytes()) {
        let bytes = Bytes::from(bytes);
        let limits = PayloadLimits { max_bytes: 64, max_packets: 4 };
        if let Ok(packets) = payload::decode(&bytes, limits) {
            prop_assert!(bytes.len() <= 64 && packets.len() <= 4);
        }
        let _ = Handshake::from_json(&bytes);
        let _ = Packet::decode_text(&bytes);
        let _ = Packet::decode(Frame::Text(bytes.clone()));
        prop_assert!(Packet::decode(Frame::Binary(bytes)).is_ok());
    }

    #[test]
    fn sessions_take_any_packets(packets: Vec<(u16, bool)>, kinds in prop::collection::vec(packet(), 0..20)) {
        let config = ServerSessionConfig::default();
        let mut server = ServerSession::new("sid", &[Carrier::WebSocket], config, Time::ZERO);
        let mut client = ClientSession::new(Time::ZERO + Duration::from_secs(10));
        let mut now = Time::ZERO;
        for ((wait, timeout), packet) in packets.into_iter().zip(kinds) {
            now = now + Duration::from_millis(wait.into());
            let _ = server.receive(now, packet.clone());
            let _ = client.receive(now, packet);
            if timeout {
                let _ = server.handle_timeout(now);
                let _ = client.handle_timeout(now);
            }
        }
    }
}

/// Moves what both ends have to say until neither has anything; messages of the server are returned.
fn exchange(now: Time, server: &mut ServerSession, client: &mut ClientSession) -> Vec<Received> {
    let mut received = Vec::new();
    loop {
        if let Some(packet) = server.poll_packet() {
            let packet = Packet::decode(packet.encode()).expect("the server's packet");
            received.extend(client.receive(now, packet).expect("a good packet"));
        } else if let Some(packet) = client.poll_packet() {
            let packet = Packet::decode(packet.encode()).expect("the client's packet");
            if let Some(message) = server.receive(now, packet).expect("a good packet") {
                server.send(message);
            }
        } else {
            return received;
        }
    }
}

#[test]
fn a_conversation_lives_as_long_as_its_heartbeat() {
    let mut now = Time::ZERO;
    let mut server = ServerSession::new("sid", &[], ServerSessionConfig::default(), now);
    let mut client = ClientSession::new(now + Duration::from_secs(10));
    let opened = exchange(now, &mut server, &mut client);
    assert!(matches!(opened.as_slice(), [Received::Opened(h)] if h.sid == "sid"));

    for _ in 0..1000 {
        now = server.next_timeout().min(client.next_timeout());
        server.handle_timeout(now).expect("the client answers");
        client.handle_timeout(now).expect("the server pings");
        exchange(now, &mut server, &mut client);
    }
    assert!(now.since_start() >= Duration::from_secs(1000 * 25));

    let message = Frame::Binary(Bytes::from_static(b"\0\xff"));
    client.send(message.clone());
    assert_eq!(exchange(now, &mut server, &mut client), [Received::Message(message)]);
}
