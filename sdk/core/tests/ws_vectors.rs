//! The vectors in tests/vectors/ws.json, which hold for every implementation of the protocol.
#![allow(clippy::disallowed_methods, reason = "the vectors are files")]

use std::time::Duration;

use serde_json::{Value, json};
use tidings_core::link::{LinkConfig, ServerLinkConfig};
use tidings_core::message::*;
use tidings_core::websocket::{self, Decoder, Incoming, Opcode, Role};
use tidings_core::ws::{ClientLink, Encoding, ServerLink};
use tidings_core::{Cursor, Headers, Partitioning, Payload, Time, base64};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/ws.json");
const HELLO: &str = r#"["hello",{"v":1,"producer":"p"}]"#;
const WELCOME: &str = concat!(
    r#"["welcome",{"v":1,"session":"s","resumed":false,"instance":"i","ping":[25000,20000],"#,
    r#""max_payload":1024,"max_in_flight":8}]"#
);
const NOW: Time = Time::ZERO;

fn vectors() -> Value {
    let file = std::fs::read_to_string(FILE).expect("the vectors");
    serde_json::from_str(&file).expect("JSON")
}

fn section(name: &str) -> Vec<Value> {
    vectors()[name].as_array().expect(name).clone()
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |c: u8| char::from(c).to_digit(16).expect("hex") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The spellings that a vector has.
fn frames(vector: &Value) -> Vec<(Encoding, Frame)> {
    let json = vector["json"].as_str();
    let msgpack = vector["msgpack"].as_str();
    let json = json.map(|text| (Encoding::Json, Frame::Text(text.to_owned().into())));
    let msgpack = msgpack.map(|text| (Encoding::Msgpack, Frame::Binary(hex(text).into())));
    let frames: Vec<_> = json.into_iter().chain(msgpack).collect();
    assert!(!frames.is_empty(), "{vector}");
    frames
}

fn in_encoding(encoding: Encoding, text: &'static str) -> Frame {
    match encoding {
        Encoding::Json => Frame::Text(text.into()),
        Encoding::Msgpack => {
            let mut out = Vec::new();
            tidings_core::msgpack::from_json(text.as_bytes(), &mut out, 64).expect("JSON");
            Frame::Binary(out.into())
        }
    }
}

fn fresh_server(encoding: Encoding) -> ServerLink {
    let limit = |name: &str| vectors()["limits"][name].as_u64().expect(name) as usize;
    let config = ServerLinkConfig {
        max_payload: limit("max_payload"),
        max_depth: limit("max_depth"),
        max_headers: limit("max_headers"),
        max_token: limit("max_token"),
        ..ServerLinkConfig::default()
    };
    ServerLink::new(config, encoding, NOW)
}

fn greeted_server(encoding: Encoding) -> ServerLink {
    let mut server = fresh_server(encoding);
    server.receive(NOW, in_encoding(encoding, HELLO)).expect("a hello");
    assert!(matches!(server.poll_message(), Some(ClientMessage::Hello(_))));
    server
}

fn fresh_client(encoding: Encoding, hello: Hello) -> ClientLink {
    let mut client = ClientLink::new(LinkConfig::default(), hello, NOW);
    client.opened(NOW, Some(encoding.subprotocol())).expect("a known subprotocol");
    client
}

fn greeted_client(encoding: Encoding) -> ClientLink {
    let mut client = fresh_client(encoding, Hello::default());
    assert!(client.poll_frame().is_some());
    client.receive(NOW, in_encoding(encoding, WELCOME)).expect("a welcome");
    assert!(client.poll_message().is_some());
    client
}

fn payload(payload: &Payload) -> Value {
    match payload {
        Payload::Json(text) => json!({"json": std::str::from_utf8(text).expect("UTF-8")}),
        Payload::Binary(bytes) => {
            let mut out = Vec::new();
            base64::encode(bytes, &mut out);
            json!({"binary": String::from_utf8(out).expect("base64")})
        }
    }
}

/// The payload with its JSON spelled as MessagePack makes it.
fn respelled(means: &Value) -> Value {
    let mut means = means.clone();
    if let Some(text) = means.pointer_mut("/payload/json") {
        let value: Result<Value, _> = serde_json::from_str(text.as_str().expect("a string"));
        // Numbers that a double cannot hold stay as they are: they travel as text.
        if let Ok(value) = value {
            *text = value.to_string().into();
        }
    }
    means
}

fn cursor(cursor: &Cursor) -> Value {
    let place = |(lane, place): (tidings_core::Lane, tidings_core::Place)| json!({"lane": lane.number(), "epoch": place.epoch.0, "offset": place.offset.0});
    cursor.iter().map(place).collect()
}

fn headers(headers: &Headers) -> Value {
    headers.iter().map(|(key, value)| json!([key, value])).collect()
}

fn with_result(mut means: Value, ok: &str, err: &str, result: &Result<Payload, Refusal>) -> Value {
    match result {
        Ok(content) => {
            means["type"] = ok.into();
            means["payload"] = payload(content);
            means
        }
        Err(refusal) => with_refusal(means, err, refusal),
    }
}

fn with_refusal(mut means: Value, kind: &str, refusal: &Refusal) -> Value {
    means["type"] = kind.into();
    means["code"] = refusal.code.0.into();
    means["message"] = refusal.message.as_str().into();
    means
}

fn client_means(message: &ClientMessage) -> Value {
    let since = |subscribe: &Subscribe| subscribe.since.as_ref().map_or(Value::Null, cursor);
    match message {
        ClientMessage::Hello(hello) => json!({
            "type": "hello",
            "session": hello.session,
            "producer": hello.producer,
            "token": hello.token,
            "subs": hello.subscriptions.iter().map(|s| json!({"id": s.id.0, "pattern": s.pattern, "since": since(s)})).collect::<Value>(),
            "cursor": cursor(&hello.cursor),
        }),
        ClientMessage::Subscribe(s) => {
            json!({"type": "sub", "id": s.id.0, "pattern": s.pattern, "since": since(s)})
        }
        ClientMessage::Unsubscribe(id) => json!({"type": "unsub", "id": id.0}),
        ClientMessage::Publish(publish) => {
            let mut means = json!({
                "type": if publish.volatile { "vol" } else { "pub" },
                "name": *publish.name,
                "payload": payload(&publish.payload),
                "priority": publish.priority.as_str(),
                "headers": headers(&publish.headers),
            });
            if !publish.volatile {
                means["seq"] = publish.seq.into();
            }
            if let Some(identity) = &publish.identity {
                means["as"] = json!([*identity.producer, identity.number]);
            }
            means
        }
        ClientMessage::Request { id, name, payload: content } => {
            json!({"type": "req", "id": id.0, "name": **name, "payload": payload(content)})
        }
        ClientMessage::Cancel(id) => json!({"type": "cancel", "id": id.0}),
        ClientMessage::Reply { id, result } => {
            with_result(json!({"id": id.0}), "res", "rerr", result)
        }
        ClientMessage::Token(token) => json!({"type": "token", "token": token}),
        ClientMessage::Bye => json!({"type": "bye"}),
    }
}

fn server_means(message: &ServerMessage) -> Value {
    match message {
        ServerMessage::Welcome(w) => with_expires_in(
            json!({
                "type": "welcome",
                "session": w.session,
                "resumed": w.resumed,
                "instance": w.instance,
                "ping_interval": w.ping_interval.as_millis() as u64,
                "ping_timeout": w.ping_timeout.as_millis() as u64,
                "max_payload": w.max_payload,
                "max_in_flight": w.max_in_flight,
                "cursor": cursor(&w.cursor),
                "refused": w.refused.iter().map(|(id, r)| json!({"id": id.0, "code": r.code.0, "message": r.message})).collect::<Value>(),
            }),
            w.expires_in,
        ),
        ServerMessage::Subscribed { id, cursor: at } => {
            json!({"type": "subbed", "id": id.0, "cursor": cursor(at)})
        }
        ServerMessage::SubscribeRefused { id, refusal } => {
            with_refusal(json!({"id": id.0}), "suberr", refusal)
        }
        ServerMessage::Unsubscribed(id) => json!({"type": "unsubbed", "id": id.0}),
        ServerMessage::Event(delivery) => event_means(delivery),
        ServerMessage::Progress(at) => json!({"type": "at", "cursor": cursor(at)}),
        ServerMessage::Gap(gap) => json!({
            "type": "gap",
            "lane": gap.lane.number(),
            "from": gap.from.0,
            "to": gap.to.0,
            "epoch": gap.epoch.0,
            "sub": gap.replay_for.map(|id| id.0),
        }),
        ServerMessage::Published { seq, position } => {
            json!({"type": "ack", "seq": seq, "lane": position.lane.number(), "offset": position.offset.0})
        }
        ServerMessage::PublishRefused { seq, refusal } => {
            with_refusal(json!({"seq": seq}), "nack", refusal)
        }
        ServerMessage::Request { id, name, payload: content } => {
            json!({"type": "req", "id": id.0, "name": **name, "payload": payload(content)})
        }
        ServerMessage::Reply { id, result } => {
            with_result(json!({"id": id.0}), "res", "rerr", result)
        }
        ServerMessage::TokenAnswer(Ok(expires_in)) => {
            with_expires_in(json!({"type": "tokened"}), *expires_in)
        }
        ServerMessage::TokenAnswer(Err(refusal)) => with_refusal(json!({}), "tokerr", refusal),
        ServerMessage::Refused(refusal) => with_refusal(json!({}), "err", refusal),
        ServerMessage::Close(close) => json!({
            "type": "close",
            "code": close.code.0,
            "reason": close.reason,
            "delay": close.delay.map(|delay| delay.as_millis() as u64),
        }),
    }
}

fn with_expires_in(mut means: Value, expires_in: Option<Duration>) -> Value {
    if let Some(expires_in) = expires_in {
        means["expires_in"] = (expires_in.as_millis() as u64).into();
    }
    means
}

fn event_means(delivery: &Delivery) -> Value {
    let event = &delivery.event;
    let mut means = json!({
        "name": *event.name,
        "payload": payload(&event.payload),
        "id": *event.id,
        "time": event.time,
        "headers": headers(&event.headers),
    });
    match delivery.position {
        Some(position) => {
            means["type"] = "e".into();
            means["lane"] = position.lane.number().into();
            means["offset"] = position.offset.0.into();
            means["sub"] = delivery.replay_for.map(|id| id.0).into();
            assert_eq!(event.priority, position.lane.priority());
        }
        None => {
            means["type"] = "v".into();
            means["priority"] = event.priority.as_str().into();
        }
    }
    means
}

fn same_meaning(encoding: Encoding, vector: &Value, means: &Value) {
    match encoding {
        Encoding::Json => assert_eq!(*means, vector["means"], "{vector}"),
        Encoding::Msgpack => assert_eq!(respelled(means), respelled(&vector["means"]), "{vector}"),
    }
}

/// What a server reads of a client's message; `None` for a pong.
fn server_reads(encoding: Encoding, frame: Frame, hello: bool) -> Option<ClientMessage> {
    let mut server = if hello { fresh_server(encoding) } else { greeted_server(encoding) };
    server.receive(NOW, frame).expect("a good message");
    assert_eq!(server.poll_frame(), None, "nothing is refused");
    server.poll_message()
}

fn is_hello(vector: &Value) -> bool {
    vector["means"]["type"] == "hello"
}

#[test]
fn messages_of_a_client() {
    for vector in section("client") {
        for (encoding, frame) in frames(&vector) {
            let message = server_reads(encoding, frame.clone(), is_hello(&vector));
            let written = match message {
                Some(message) => {
                    same_meaning(encoding, &vector, &client_means(&message));
                    let mut client = match &message {
                        ClientMessage::Hello(hello) => fresh_client(encoding, hello.clone()),
                        _ => greeted_client(encoding),
                    };
                    if !is_hello(&vector) {
                        client.send(message);
                    }
                    client.poll_frame()
                }
                None => {
                    assert_eq!(vector["means"]["type"], "pong");
                    let mut client = greeted_client(encoding);
                    client.receive(NOW, in_encoding(encoding, r#"["ping"]"#)).expect("a ping");
                    client.poll_frame()
                }
            };
            assert_eq!(written, Some(frame), "{vector}");
        }
    }
}

#[test]
fn messages_of_a_server() {
    for vector in section("server") {
        for (encoding, frame) in frames(&vector) {
            let mut client = match vector["means"]["type"] == "welcome" {
                true => fresh_client(encoding, Hello::default()),
                false => greeted_client(encoding),
            };
            client.receive(NOW, frame.clone()).expect("a good message");
            let mut server = greeted_server(encoding);
            match client.poll_message() {
                Some(message) => {
                    same_meaning(encoding, &vector, &server_means(&message));
                    server.send(NOW, &message);
                }
                None => {
                    assert_eq!(vector["means"]["type"], "ping");
                    server.handle_timeout(server.next_timeout().expect("a ping")).expect("alive");
                }
            }
            assert_eq!(server.poll_frame(), Some(frame), "{vector}");
        }
    }
}

#[test]
fn other_spellings() {
    for vector in section("also_client") {
        for (encoding, frame) in frames(&vector) {
            let message = server_reads(encoding, frame, is_hello(&vector)).expect("a message");
            assert_eq!(client_means(&message), vector["means"], "{vector}");
        }
    }
    for vector in section("also_server") {
        for (encoding, frame) in frames(&vector) {
            let mut client = greeted_client(encoding);
            client.receive(NOW, frame).expect("it can be read");
            let means = client.poll_message().as_ref().map_or(Value::Null, server_means);
            assert_eq!(means, vector["means"], "{vector}");
        }
    }
}

fn check_refused(mut server: ServerLink, encoding: Encoding, frame: Frame, vector: &Value) {
    match server.receive(NOW, frame) {
        Err(error) => assert_eq!(json!(error.close.code.0), vector["close"], "{vector}: {error}"),
        Ok(()) => {
            assert_eq!(server.poll_message(), None, "{vector}");
            let mut client = greeted_client(encoding);
            let answer = server.poll_frame().expect("an answer");
            client.receive(NOW, answer).expect("a good message");
            let means = server_means(&client.poll_message().expect("an answer"));
            let parts = ["type", "seq", "id", "code"];
            let answer: Value = parts.iter().filter_map(|part| means.get(part)).cloned().collect();
            assert_eq!(answer, vector["answer"], "{vector}: {means}");
            // The connection goes on.
            server.receive(NOW, in_encoding(encoding, r#"["unsub",1]"#)).expect("a good message");
            assert_eq!(server.poll_message(), Some(ClientMessage::Unsubscribe(SubId(1))));
        }
    }
}

#[test]
fn mistakes() {
    for vector in section("refused") {
        for (encoding, frame) in frames(&vector) {
            check_refused(greeted_server(encoding), encoding, frame, &vector);
        }
    }
    for vector in section("refused_first") {
        for (encoding, frame) in frames(&vector) {
            check_refused(fresh_server(encoding), encoding, frame, &vector);
        }
    }
}

#[test]
fn partitions() {
    for vector in section("partitions") {
        let count = vector["partitions"].as_u64().expect("a number") as u16;
        let partitioning = Partitioning::new(count).with_depth("rooms", 2);
        let key = vector["key"].as_str().expect("a string");
        assert_eq!(json!(partitioning.of_name(key)), vector["partition"], "{vector}");
    }
}

/// The session written out in docs/protocol.md.
#[test]
fn the_example() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let docs = std::fs::read_to_string(docs).expect("docs/protocol.md");
    let documented: String = docs.split_whitespace().collect();
    let mut server = fresh_server(Encoding::Json);
    let mut client = fresh_client(Encoding::Json, Hello::default());
    for step in section("example") {
        let text = step["json"].as_str().expect("a string");
        let frame = step["frame"].as_str().expect("a string");
        let bytes = hex(frame);
        let from_client = step["from"] == "client";
        let (role, mask) = match from_client {
            true => (Role::Server, Some([0x37, 0xfa, 0x21, 0x3d])),
            false => (Role::Client, None),
        };
        let mut out = Vec::new();
        websocket::encode(&mut out, Opcode::Text, text.as_bytes(), mask);
        assert_eq!(out, bytes, "{step}");
        let message = Frame::Text(text.to_owned().into());
        let read = Decoder::new(role, 1024).decode(&mut &bytes[..]);
        assert_eq!(read, Ok(Some(Incoming::Message(message.clone()))), "{step}");
        if from_client {
            server.receive(NOW, message).expect("a good message");
        } else {
            client.receive(NOW, message).expect("a good message");
        }
        let compact = |text: &str| -> String { text.split_whitespace().collect() };
        assert!(documented.contains(&compact(text)), "the docs have {text}");
        assert!(documented.contains(frame), "the docs have {frame}");
    }
}
