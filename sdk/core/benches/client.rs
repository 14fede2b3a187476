//! The client's way from a frame to the recipients of its event, and from a publish to its
//! acknowledgement, without the network.
#![allow(clippy::disallowed_methods, reason = "it measures time")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidings_core::client::{
    ClientConfig, ClientMachine, Command, Input, Io, IoEvent, IoId, Notice, Output, Ticket,
    Transport,
};
use tidings_core::link::{ServerLink, ServerLinkConfig};
use tidings_core::message::{
    Delivery, Frame, Position, Publish, ServerMessage, SubId, Subscribe, Welcome,
};
use tidings_core::socketio::{self, SocketIds};
use tidings_core::{
    Cursor, Epoch, Event, Headers, Lane, Offset, Payload, Place, Priority, Time, ws,
};

const IO: IoId = IoId::first(1);
const NOW: Time = Time::ZERO;
const BATCH: u64 = 1000;

struct Connected {
    machine: ClientMachine,
    link: ServerLink,
    offset: u64,
}

impl Connected {
    fn new(transport: Transport, patterns: &[String]) -> Self {
        let endpoint = "http://server".parse().expect("a base URL");
        let config = ClientConfig { transport, ..ClientConfig::new(endpoint, "producer") };
        let link_config = ServerLinkConfig::default();
        let link = match transport {
            Transport::SocketIo => {
                let [engine, socket, producer] = ["e", "s", "p"].map(str::to_owned);
                let ids = SocketIds { engine, socket, producer };
                ServerLink::SocketIo(Box::new(socketio::ServerLink::new(link_config, ids, NOW)))
            }
            Transport::Ws | Transport::Auto => {
                let link = ws::ServerLink::new(link_config, ws::Encoding::Json, NOW);
                ServerLink::Ws(Box::new(link))
            }
        };
        let mut this = Self { machine: ClientMachine::new(config), link, offset: 0 };
        this.machine.handle_command(NOW, Command::Connect);
        let subprotocol =
            (transport == Transport::Ws).then(|| ws::Encoding::Json.subprotocol().to_owned());
        this.machine.handle_input(NOW, Input::Io(IoEvent::WsOpened { id: IO, subprotocol }));
        this.exchange();
        this.say(&ServerMessage::Welcome(Welcome {
            session: "session".into(),
            resumed: false,
            instance: "bench".into(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1 << 20,
            max_in_flight: 1024,
            cursor: Cursor::new(),
            refused: Vec::new(),
            expires_in: None,
        }));
        for (id, pattern) in (1..).zip(patterns) {
            let subscribe = Subscribe { id: SubId(id), pattern: pattern.clone(), since: None };
            this.machine.handle_command(NOW, Command::Subscribe(subscribe));
            this.exchange();
            let place = Place { epoch: Epoch(1), offset: Offset(0) };
            let cursor = [(lane(), place)].into_iter().collect();
            this.say(&ServerMessage::Subscribed { id: SubId(id), cursor });
        }
        this
    }

    fn say(&mut self, message: &ServerMessage) {
        self.link.send(NOW, message);
        self.exchange();
    }

    /// Moves frames until nobody has any.
    fn exchange(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(frame) = self.link.poll_frame() {
                self.machine.handle_input(NOW, Input::Io(IoEvent::WsFrame { id: IO, frame }));
                quiet = false;
            }
            while let Some(output) = self.machine.poll_output() {
                if let Output::Io(Io::SendWs { frame, .. }) = output {
                    self.link.receive(NOW, frame).expect("the client speaks the protocol");
                    quiet = false;
                }
            }
            while self.link.poll_message().is_some() {}
            if quiet {
                return;
            }
        }
    }

    /// Frames with the next events.
    fn frames(&mut self) -> Vec<Frame> {
        for _ in 0..BATCH {
            self.offset += 1;
            let delivery = Delivery {
                event: Event {
                    name: "rooms.17.said".into(),
                    payload: payload(),
                    id: "aBcDeFgHiJkLmNoPqRsT-17".into(),
                    priority: Priority::Normal,
                    time: 1_700_000_000_000,
                    headers: Headers::NONE,
                },
                position: Some(Position { lane: lane(), offset: Offset(self.offset) }),
                replay_for: None,
            };
            self.link.send(NOW, &ServerMessage::Event(delivery));
        }
        std::iter::from_fn(|| self.link.poll_frame()).collect()
    }

    /// Returns how many recipients there were.
    fn receive(&mut self, frames: Vec<Frame>) -> usize {
        let mut recipients = 0;
        for frame in frames {
            self.machine.handle_input(NOW, Input::Io(IoEvent::WsFrame { id: IO, frame }));
            while let Some(output) = self.machine.poll_output() {
                if let Output::App(Notice::Event { delivery, to }) = output {
                    black_box(delivery);
                    recipients += to.as_slice().len();
                }
            }
        }
        recipients
    }
}

fn lane() -> Lane {
    Lane::new(3, Priority::Normal)
}

/// 185 bytes of JSON, what a chat message takes.
fn payload() -> Payload {
    let text = "x".repeat(185 - r#"{"from":"ada","text":""}"#.len());
    Payload::Json(format!(r#"{{"from":"ada","text":"{text}"}}"#).into())
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("client_receive");
    group.throughput(Throughput::Elements(BATCH));
    let one = || vec!["rooms.17.*".to_owned()];
    let hundred = || (0..100).map(|n| format!("rooms.{n}.*")).collect::<Vec<_>>();
    let four = || ["rooms.17.*", "rooms.**", "**", "rooms.17.said"].map(str::to_owned).to_vec();
    for transport in [Transport::Ws, Transport::SocketIo] {
        for (label, patterns, recipients) in
            [("one", one(), 1), ("one of 100", hundred(), 1), ("four", four(), 4)]
        {
            let mut client = Connected::new(transport, &patterns);
            group.bench_function(BenchmarkId::new(transport.as_str(), label), |b| {
                b.iter_custom(|iterations| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..iterations {
                        let frames = client.frames();
                        let start = std::time::Instant::now();
                        let reached = client.receive(frames);
                        spent += start.elapsed();
                        assert_eq!(reached, recipients * BATCH as usize);
                    }
                    spent
                });
            });
        }
    }
    group.finish();
}

fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("client_publish");
    for transport in [Transport::Ws, Transport::SocketIo] {
        let mut client = Connected::new(transport, &[]);
        let mut seq = 0;
        group.bench_function(transport.as_str(), |b| {
            b.iter(|| {
                seq += 1;
                let publish = Publish {
                    seq: 0,
                    name: "rooms.17.said".into(),
                    payload: payload(),
                    priority: Priority::Normal,
                    volatile: false,
                    headers: Headers::NONE,
                    identity: None,
                };
                let ticket = Ticket(seq);
                let timeout = None;
                client.machine.handle_command(NOW, Command::Publish { ticket, publish, timeout });
                client.exchange();
                let position = Position { lane: lane(), offset: Offset(seq) };
                client.say(&ServerMessage::Published { seq, position });
            });
        });
        assert_eq!(client.machine.stats().counters.published, seq);
    }
    group.finish();
}

criterion_group!(benches, receive, publish);
criterion_main!(benches);
