//! What messages of the ws protocol and WebSocket frames cost, beside serde_json, rmp-serde and
//! tungstenite doing the same job in the same run.

use std::borrow::Cow;
use std::hint::black_box;
use std::io::{self, Cursor as Input, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidings_core::link::{LinkConfig, ServerLinkConfig};
use tidings_core::message::*;
use tidings_core::websocket::{Decoder, Opcode, Role, encode};
use tidings_core::ws::{ClientLink, Encoding, ServerLink, encode_event};
use tidings_core::{Cursor, Event, Headers, Lane, Offset, Payload, Priority, Time};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::protocol::frame::Frame as ForeignFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::{WebSocket, protocol};

const LANE: Lane = Lane::new(7, Priority::Normal);
const OFFSET: u64 = 1_790_000_000_000_123;
const NAME: &str = "rooms.17.message";

/// An order with as many items as `len` bytes need.
fn order(len: usize) -> Bytes {
    let item =
        r#"{"sku":"AB-1042","title":"Wool blanket, grey","count":2,"price":59.9,"gift":false}"#;
    let items = vec![item; (len / (item.len() + 1)).max(1)].join(",");
    format!(r#"{{"order":1042,"customer":"Ada Lovelace","items":[{items}],"note":null}}"#).into()
}

fn sizes() -> [(&'static str, Bytes); 3] {
    [("150 B", order(150)), ("1 kB", order(1000)), ("16 kB", order(16_000))]
}

fn delivery(payload: Payload) -> Delivery {
    let event = Event {
        name: NAME.into(),
        payload,
        id: "29-1790000000000123".into(),
        priority: Priority::Normal,
        time: OFFSET / 1000,
        headers: Headers::NONE,
    };
    let position = Position { lane: LANE, offset: Offset(OFFSET) };
    Delivery { event, position: Some(position), replay_for: None }
}

/// A client and a server that have greeted.
fn pair(encoding: Encoding) -> (ClientLink, ServerLink) {
    let hello = Hello { producer: "producer".into(), ..Hello::default() };
    let mut client = ClientLink::new(LinkConfig::default(), hello, Time::ZERO);
    client.opened(Time::ZERO, Some(encoding.subprotocol())).expect("a known subprotocol");
    let mut server = ServerLink::new(ServerLinkConfig::default(), encoding, Time::ZERO);
    let hello = client.poll_frame().expect("the hello");
    server.receive(Time::ZERO, hello).expect("a good hello");
    server.poll_message().expect("the hello");
    let welcome = ServerMessage::Welcome(Welcome {
        session: "session".into(),
        resumed: false,
        instance: "instance".into(),
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        max_payload: 1 << 20,
        max_in_flight: 64,
        cursor: Cursor::new(),
        refused: Vec::new(),
        expires_in: None,
    });
    server.send(Time::ZERO, &welcome);
    let welcome = server.poll_frame().expect("the welcome");
    client.receive(Time::ZERO, welcome).expect("a good welcome");
    client.poll_message().expect("the welcome");
    (client, server)
}

#[derive(Serialize, Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    i: Cow<'a, str>,
    t: u64,
}

fn content(frame: &Frame) -> &Bytes {
    match frame {
        Frame::Text(bytes) | Frame::Binary(bytes) => bytes,
    }
}

/// A server reads a publish: name and payload, the latter as a slice of the message.
fn decode_publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode publish");
    for (size, payload) in sizes() {
        for encoding in Encoding::ALL {
            let (mut client, mut server) = pair(encoding);
            client.send(ClientMessage::Publish(Publish {
                seq: 1042,
                name: NAME.into(),
                payload: Payload::Json(payload.clone()),
                priority: Priority::Normal,
                volatile: false,
                headers: Headers::NONE,
                identity: None,
            }));
            let frame = client.poll_frame().expect("the publish");
            group.bench_function(format!("{encoding:?}/{size}"), |b| {
                b.iter(|| {
                    server.receive(Time::ZERO, black_box(frame.clone())).expect("good");
                    server.poll_message()
                });
            });
            foreign_publish(&mut group, encoding, size, content(&frame));
        }
    }
    group.finish();
}

fn foreign_publish(
    group: &mut BenchmarkGroup<'_, WallTime>,
    encoding: Encoding,
    size: &str,
    message: &Bytes,
) {
    let publish = |seq, name: &str, payload| Publish {
        seq,
        name: name.into(),
        payload: Payload::Json(payload),
        priority: Priority::Normal,
        volatile: false,
        headers: Headers::NONE,
        identity: None,
    };
    match encoding {
        Encoding::Json => {
            group.bench_function(format!("serde_json with RawValue/{size}"), |b| {
                b.iter(|| {
                    type Parts<'a> = (Cow<'a, str>, u64, Cow<'a, str>, &'a RawValue);
                    let (_, seq, name, raw): Parts<'_> =
                        serde_json::from_slice(black_box(message)).expect("good");
                    publish(seq, &name, message.slice_ref(raw.get().as_bytes()))
                });
            });
            group.bench_function(format!("serde_json with Value/{size}"), |b| {
                b.iter(|| {
                    serde_json::from_slice::<serde_json::Value>(black_box(message)).expect("good")
                });
            });
        }
        Encoding::Msgpack => {
            group.bench_function(format!("rmp-serde with Value/{size}"), |b| {
                b.iter(|| {
                    type Parts<'a> = (&'a str, u64, &'a str, serde_json::Value);
                    let (_, seq, name, value): Parts<'_> =
                        rmp_serde::from_slice(black_box(message)).expect("good");
                    publish(seq, name, serde_json::to_vec(&value).expect("JSON").into())
                });
            });
        }
    }
}

/// A client reads an event.
fn decode_event(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode event");
    for (size, payload) in sizes() {
        let delivery = delivery(Payload::Json(payload));
        for encoding in Encoding::ALL {
            let (mut client, mut server) = pair(encoding);
            server.send(Time::ZERO, &ServerMessage::Event(delivery.clone()));
            let frame = server.poll_frame().expect("the event");
            group.bench_function(format!("{encoding:?}/{size}"), |b| {
                b.iter(|| {
                    client.receive(Time::ZERO, black_box(frame.clone())).expect("good");
                    client.poll_message()
                });
            });
            if encoding == Encoding::Json {
                foreign_event(&mut group, size, content(&frame));
            }
        }
    }
    group.finish();
}

fn foreign_event(group: &mut BenchmarkGroup<'_, WallTime>, size: &str, message: &Bytes) {
    group.bench_function(format!("serde_json with RawValue/{size}"), |b| {
        b.iter(|| {
            type Parts<'a> = (Cow<'a, str>, u32, u64, Cow<'a, str>, &'a RawValue, Meta<'a>);
            let (_, lane, offset, name, raw, meta): Parts<'_> =
                serde_json::from_slice(black_box(message)).expect("good");
            let lane = Lane::from_number(lane).expect("a lane");
            let event = Event {
                name: (*name).into(),
                payload: Payload::Json(message.slice_ref(raw.get().as_bytes())),
                id: (*meta.i).into(),
                priority: lane.priority(),
                time: meta.t,
                headers: Headers::NONE,
            };
            let position = Some(Position { lane, offset: Offset(offset) });
            Delivery { event, position, replay_for: None }
        });
    });
}

/// An event becomes a finished frame.
fn encode_events(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode event");
    for (size, payload) in sizes() {
        let text = String::from_utf8(payload.to_vec()).expect("UTF-8");
        let raw = RawValue::from_string(text).expect("JSON");
        let delivery = delivery(Payload::Json(payload));
        for encoding in Encoding::ALL {
            group.bench_function(format!("{encoding:?}/{size}"), |b| {
                b.iter(|| encode_event(encoding, black_box(&delivery)));
            });
        }
        group.bench_function(format!("serde_json and tungstenite/{size}"), |b| {
            b.iter(|| {
                let event = &black_box(&delivery).event;
                let meta = Meta { i: Cow::Borrowed(&event.id), t: event.time };
                let parts = ("e", LANE.number(), OFFSET, &*event.name, &*raw, meta);
                let text = serde_json::to_vec(&parts).expect("JSON");
                let frame = ForeignFrame::message(text, OpCode::Data(Data::Text), true);
                let mut out = Vec::with_capacity(frame.len());
                frame.format(&mut out).expect("a vector takes everything");
                Bytes::from(out)
            });
        });
    }
    let binary = delivery(Payload::Binary(vec![7; 1000].into()));
    for encoding in Encoding::ALL {
        group.bench_function(format!("{encoding:?}/binary 1 kB"), |b| {
            b.iter(|| encode_event(encoding, black_box(&binary)));
        });
    }
    group.finish();
}

/// Bytes that arrive in pieces of a socket's read.
struct Pieces(Input<Vec<u8>>);

const PIECE: usize = 16 << 10;

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(PIECE);
        match self.0.read(&mut buf[..len])? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Pieces {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server reads a thousand masked text frames from its socket.
fn decode_frames(c: &mut Criterion) {
    const FRAMES: usize = 1000;
    let mut group = c.benchmark_group("decode 1000 frames");
    for (size, len) in [("20 B", 20), ("200 B", 200), ("4 kB", 4096)] {
        let mut stream = Vec::new();
        for _ in 0..FRAMES {
            encode(&mut stream, Opcode::Text, &vec![b'x'; len], Some([0x37, 0xfa, 0x21, 0x3d]));
        }
        group.throughput(Throughput::Bytes((FRAMES * len) as u64));
        let mut buffer = vec![0; PIECE];
        group.bench_function(format!("websocket::Decoder/{size}"), |b| {
            b.iter_batched_ref(
                || Pieces(Input::new(stream.clone())),
                |socket| {
                    let mut decoder = Decoder::new(Role::Server, 1 << 20);
                    let mut messages = 0;
                    while let Ok(read) = socket.read(&mut buffer) {
                        let mut input = &buffer[..read];
                        while decoder.decode(&mut input).expect("good").is_some() {
                            messages += 1;
                        }
                    }
                    assert_eq!(messages, FRAMES);
                },
                BatchSize::LargeInput,
            );
        });
        group.bench_function(format!("tungstenite/{size}"), |b| {
            b.iter_batched_ref(
                || {
                    let pieces = Pieces(Input::new(stream.clone()));
                    let config = WebSocketConfig::default().read_buffer_size(PIECE);
                    WebSocket::from_raw_socket(pieces, protocol::Role::Server, Some(config))
                },
                |socket| {
                    let mut messages = 0;
                    while socket.read().is_ok() {
                        messages += 1;
                    }
                    assert_eq!(messages, FRAMES);
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode_publish, decode_event, encode_events, decode_frames);
criterion_main!(benches);
