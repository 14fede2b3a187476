//! What an event costs in Socket.IO: encoded once for all, published by a client, taken by the
//! server, read by a client.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use tidings_core::link::{LinkConfig, ServerLinkConfig};
use tidings_core::message::*;
use tidings_core::socketio::{
    ClientLink, EventForm, Namespace, Parser, ServerLink, SocketIds, encode_event,
};
use tidings_core::{Cursor, Event, Headers, Lane, Offset, Payload, Priority, Time};

fn delivery(payload: Payload) -> Delivery {
    let event = Event {
        name: "rooms.17.message".into(),
        payload,
        id: "k3Jd92mLq0ZxW7aB-1042".into(),
        priority: Priority::Normal,
        time: 1_790_000_000_000,
        headers: Headers::NONE,
    };
    let lane = Lane::new(7, Priority::Normal);
    let position = Position { lane, offset: Offset(1_790_000_000_000_123) };
    Delivery { event, position: Some(position), replay_for: None }
}

fn json(len: usize) -> Payload {
    let text = "x".repeat(len.saturating_sub(50));
    Payload::Json(format!(r#"{{"from":"ada","at":1790000000000,"text":"{text}"}}"#).into())
}

fn payloads() -> [(&'static str, Payload); 4] {
    [
        ("json 100 B", json(100)),
        ("json 1 kB", json(1000)),
        ("json 16 kB", json(16_000)),
        ("binary 1 kB", Payload::Binary(Bytes::from(vec![7; 1000]))),
    ]
}

/// A client and a server that have said hello.
fn pair() -> (ClientLink, ServerLink) {
    let hello = Hello { producer: "producer".into(), ..Hello::default() };
    let mut client = ClientLink::new(LinkConfig::default(), hello, Time::ZERO);
    let _ = client.opened(Time::ZERO, None);
    let ids = SocketIds { engine: "e".into(), socket: "s".into(), producer: "p".into() };
    let mut server = ServerLink::new(ServerLinkConfig::default(), ids, Time::ZERO);
    exchange(&mut client, &mut server);
    server.send(
        Time::ZERO,
        &ServerMessage::Welcome(Welcome {
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
        }),
    );
    exchange(&mut client, &mut server);
    (client, server)
}

fn exchange(client: &mut ClientLink, server: &mut ServerLink) {
    loop {
        if let Some(frame) = client.poll_frame() {
            server.receive(Time::ZERO, frame).expect("the client's frame");
        } else if let Some(frame) = server.poll_frame() {
            client.receive(Time::ZERO, frame).expect("the server's frame");
        } else {
            while client.poll_message().is_some() || server.poll_message().is_some() {}
            return;
        }
    }
}

fn broadcast(c: &mut Criterion) {
    for (name, parser) in [("text", Parser::Text), ("msgpack", Parser::Msgpack)] {
        let mut group = c.benchmark_group(format!("socketio encode event, {name}"));
        for (name, payload) in payloads() {
            let delivery = delivery(payload);
            group.bench_function(name, |b| {
                b.iter(|| {
                    encode_event(&Namespace::MAIN, parser, EventForm::Tidings, black_box(&delivery))
                });
            });
        }
    }
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("socketio publish and acknowledgement");
    for (name, payload) in payloads() {
        let (mut client, mut server) = pair();
        let mut seq = 0;
        let position = Position { lane: Lane::new(7, Priority::Normal), offset: Offset(1) };
        group.bench_function(name, |b| {
            b.iter(|| {
                seq += 1;
                client.send(ClientMessage::Publish(Publish {
                    seq,
                    name: "rooms.17.message".into(),
                    payload: payload.clone(),
                    priority: Priority::Normal,
                    volatile: false,
                    headers: Headers::NONE,
                    identity: None,
                }));
                while let Some(frame) = client.poll_frame() {
                    server.receive(Time::ZERO, frame).expect("a publish");
                }
                let published = server.poll_message();
                server.send(Time::ZERO, &ServerMessage::Published { seq, position });
                while let Some(frame) = server.poll_frame() {
                    client.receive(Time::ZERO, frame).expect("an acknowledgement");
                }
                (published, client.poll_message())
            });
        });
    }
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("socketio receive event");
    for (name, payload) in payloads() {
        let (mut client, mut server) = pair();
        server.send(Time::ZERO, &ServerMessage::Event(delivery(payload)));
        let frames: Vec<Frame> = std::iter::from_fn(|| server.poll_frame()).collect();
        group.bench_function(name, |b| {
            b.iter_batched(
                || frames.clone(),
                |frames| {
                    for frame in frames {
                        client.receive(Time::ZERO, frame).expect("an event");
                    }
                    client.poll_message()
                },
                BatchSize::SmallInput,
            );
        });
    }
}

criterion_group!(benches, broadcast, publish, receive);
criterion_main!(benches);
