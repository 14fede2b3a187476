//! The vectors in tests/vectors/socketio.json, which the parsers of Node are checked against too.
#![allow(clippy::disallowed_methods, reason = "the vectors are files")]

use bytes::Bytes;
use serde_json::Value;
use tidings_core::base64;
use tidings_core::engineio::{self, payload};
use tidings_core::message::Frame;
use tidings_core::socketio::{Args, Body, Namespace, Packet, PacketLimits, msgpack, text};

fn vectors(section: &str) -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/socketio.json");
    let file = std::fs::read_to_string(path).expect("the vectors");
    let mut vectors: Value = serde_json::from_str(&file).expect("JSON");
    vectors[section].take()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn string(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn bytes(value: &Value) -> Bytes {
    Bytes::copy_from_slice(string(value).as_bytes())
}

fn binary(value: &Value) -> Bytes {
    base64::decode(string(value).as_bytes()).expect("base64").into()
}

fn engine_packet(vector: &Value) -> engineio::Packet {
    let message = || match vector["data"].get("$bin") {
        Some(data) => Frame::Binary(binary(data)),
        None => Frame::Text(bytes(&vector["data"])),
    };
    match string(&vector["type"]) {
        "open" => engineio::Packet::Open(bytes(&vector["data"])),
        "close" => engineio::Packet::Close,
        "ping" => engineio::Packet::Ping(bytes(&vector["data"])),
        "pong" => engineio::Packet::Pong(bytes(&vector["data"])),
        "message" => engineio::Packet::Message(message()),
        "upgrade" => engineio::Packet::Upgrade,
        "noop" => engineio::Packet::Noop,
        other => panic!("{other}"),
    }
}

#[test]
fn engine_packets() {
    for vector in list(&vectors("engineio")["packets"]) {
        let packet = engine_packet(vector);
        let text = bytes(&vector["text"]);
        let mut encoded = Vec::new();
        packet.encode_text(&mut encoded);
        assert_eq!(encoded, text, "{vector}");
        assert_eq!(engineio::Packet::decode_text(&text), Ok(packet.clone()), "{vector}");
        let frame = match &packet {
            engineio::Packet::Message(Frame::Binary(data)) => Frame::Binary(data.clone()),
            _ => Frame::Text(text),
        };
        assert_eq!(packet.encode(), frame, "{vector}");
        assert_eq!(engineio::Packet::decode(frame), Ok(packet), "{vector}");
    }
}

#[test]
fn payloads() {
    for vector in list(&vectors("engineio")["payloads"]) {
        let decode = |text| engineio::Packet::decode_text(&bytes(text)).expect("a packet");
        let packets: Vec<_> = list(&vector["packets"]).iter().map(decode).collect();
        let mut writer = payload::PayloadWriter::new(usize::MAX);
        assert!(packets.iter().all(|packet| writer.push(packet)));
        let body = bytes(&vector["body"]);
        assert_eq!(writer.finish(), body, "{vector}");
        let limits = payload::PayloadLimits::default();
        assert_eq!(payload::decode(&body, limits), Ok(packets), "{vector}");
    }
}

#[test]
fn broken_engine_packets() {
    for text in list(&vectors("engineio")["broken"]) {
        assert!(engineio::Packet::decode_text(&bytes(text)).is_err(), "{text}");
    }
}

/// Puts placeholders where binary stands.
fn without_binary(value: &Value, args: &mut Args) -> Value {
    match value {
        Value::Object(members) if members.contains_key("$bin") => {
            let num = args.push_attachment(binary(&members["$bin"]));
            serde_json::json!({ "_placeholder": true, "num": num })
        }
        Value::Object(members) => {
            members.iter().map(|(key, value)| (key.clone(), without_binary(value, args))).collect()
        }
        Value::Array(all) => all.iter().map(|one| without_binary(one, args)).collect(),
        other => other.clone(),
    }
}

fn args(data: &Value) -> Args {
    let mut args = Args::new();
    for value in list(data) {
        let json = without_binary(value, &mut args);
        args.push_json(json.to_string().into());
    }
    args
}

fn packet(vector: &Value) -> Packet {
    let json = |data: &Value| Bytes::from(data.to_string());
    let body = match string(&vector["type"]) {
        "CONNECT" => Body::Connect(vector.get("data").map(json)),
        "DISCONNECT" => Body::Disconnect,
        "EVENT" => Body::Event { ack: vector["id"].as_u64(), args: args(&vector["data"]) },
        "ACK" => {
            let ack = vector["id"].as_u64().expect("an id");
            Body::Ack { ack, args: args(&vector["data"]) }
        }
        "CONNECT_ERROR" => Body::ConnectError(json(&vector["data"])),
        other => panic!("{other}"),
    };
    let namespace = Namespace::new(string(&vector["nsp"])).expect("a namespace");
    Packet { namespace, body }
}

#[test]
fn packets_as_text() {
    for vector in list(&vectors("socketio")["packets"]) {
        let packet = packet(vector);
        let mut frames = vec![Frame::Text(bytes(&vector["text"]))];
        if let Some(attachments) = vector.get("attachments") {
            frames.extend(list(attachments).iter().map(|data| Frame::Binary(binary(data))));
        }
        if vector.get("written").is_none() {
            assert_eq!(text::frames(&packet).collect::<Vec<_>>(), frames, "{vector}");
        }
        let mut decoder = text::Decoder::new(PacketLimits::default());
        let last = frames.pop().expect("a frame");
        for frame in frames {
            assert_eq!(decoder.receive(frame), Ok(None), "{vector}");
        }
        assert_eq!(decoder.receive(last), Ok(Some(packet)), "{vector}");
    }
}

#[test]
fn packets_as_msgpack() {
    let vectors = vectors("socketio");
    let vectors = list(&vectors["packets"]).iter().filter(|v| v.get("msgpack").is_some());
    let mut checked = 0;
    for vector in vectors {
        let packet = packet(vector);
        let message = binary(&vector["msgpack"]);
        assert_eq!(msgpack::frame(&packet), Frame::Binary(message.clone()), "{vector}");
        let decoded = msgpack::decode(&message, &PacketLimits::default());
        assert_eq!(decoded, Ok(packet), "{vector}");
        checked += 1;
    }
    assert!(checked > 20);
}

#[test]
fn broken_packets_as_text() {
    for text in list(&vectors("socketio")["broken"]) {
        let mut decoder = text::Decoder::new(PacketLimits::default());
        assert!(decoder.receive(Frame::Text(bytes(text))).is_err(), "{text}");
    }
}
