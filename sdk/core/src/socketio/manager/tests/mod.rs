//! The manager against a server that says what a test tells it to say.

mod connecting;
mod emitting;
mod simulation;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::engineio;
use crate::io::{Io, IoId};
use crate::message::{Advice, Close, CloseCode, Frame};
use crate::socketio::{Args, Body, Packet, PacketLimits, Parser, text};

const OPEN: &str = r#"0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

fn config() -> ManagerConfig {
    let mut config = ManagerConfig::new("http://h".parse().unwrap());
    config.transport.transports = vec![Carrier::WebSocket];
    config
}

fn json(args: &Args) -> Vec<String> {
    let text = |at| String::from_utf8(args.json(at).unwrap().to_vec()).unwrap();
    (0..args.len()).map(text).collect()
}

fn args(name: &str, rest: &[&str]) -> Args {
    let mut args = Args::new();
    args.push_str(name);
    rest.iter().for_each(|json| args.push_json(Bytes::copy_from_slice(json.as_bytes())));
    args
}

/// A manager, its driver, and what the server has heard of it.
struct World {
    machine: ManagerMachine,
    now: Time,
    decoder: text::Decoder,
    opening: Vec<IoId>,
    open: Option<IoId>,
    heard: Vec<Packet>,
    asked: Vec<(SocketKey, AuthRequest)>,
    notices: Vec<ManagerNotice>,
}

impl World {
    fn new(config: ManagerConfig) -> Self {
        Self {
            machine: ManagerMachine::new(config),
            now: at(0),
            decoder: text::Decoder::new(PacketLimits::default()),
            opening: Vec::new(),
            open: None,
            heard: Vec::new(),
            asked: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// A world with a socket of the main namespace that is connected.
    fn connected(config: SocketConfig) -> (Self, SocketKey) {
        let mut world = Self::new(super::tests::config());
        let key = world.socket("/", config);
        world.accept();
        world.grant("/", r#"{"sid":"s1"}"#);
        world.heard();
        world.told();
        (world, key)
    }

    fn socket(&mut self, path: &str, config: SocketConfig) -> SocketKey {
        let key = self.machine.socket(Namespace::new(path).unwrap(), config);
        self.machine.connect(self.now, key);
        self.drain();
        key
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                ManagerOutput::Io(Io::OpenWs { id, .. }) => self.opening.push(id),
                ManagerOutput::Io(Io::SendWs { id, frame }) => {
                    assert_eq!(self.open, Some(id), "sent on a WebSocket that is open");
                    match engineio::Packet::decode(frame).unwrap() {
                        engineio::Packet::Message(message) => {
                            self.heard.extend(self.decoder.receive(message).unwrap());
                        }
                        engineio::Packet::Pong(_) => {}
                        other => panic!("the client sent {other:?}"),
                    }
                }
                ManagerOutput::Io(Io::CloseWs { id, .. }) => {
                    self.opening.retain(|opening| *opening != id);
                    self.open = self.open.filter(|open| *open != id);
                }
                ManagerOutput::Io(io) => panic!("a WebSocket does not need {io:?}"),
                ManagerOutput::NeedAuth { socket, request } => self.asked.push((socket, request)),
                ManagerOutput::App(notice) => self.notices.push(notice),
            }
        }
    }

    fn input(&mut self, event: IoEvent) {
        self.machine.handle_input(self.now, event);
        self.drain();
    }

    fn say(&mut self, packet: &str) {
        let id = self.open.expect("a WebSocket is open");
        let frame = Frame::Text(Bytes::copy_from_slice(packet.as_bytes()));
        self.input(IoEvent::WsFrame { id, frame });
    }

    fn accept(&mut self) {
        let id = self.opening.remove(0);
        self.open = Some(id);
        self.decoder = text::Decoder::new(PacketLimits::default());
        self.input(IoEvent::WsOpened { id, subprotocol: None });
        self.say(OPEN);
    }

    fn refuse(&mut self, close: Close) {
        let id = self.opening.remove(0);
        self.input(IoEvent::WsClosed { id, close });
    }

    fn cut(&mut self) {
        let id = self.open.take().expect("a WebSocket is open");
        self.input(IoEvent::WsClosed { id, close: Close::new(CloseCode::ABNORMAL, "cut") });
    }

    fn grant(&mut self, path: &str, answer: &str) {
        let prefix = if path == "/" { String::new() } else { format!("{path},") };
        self.say(&format!("40{prefix}{answer}"));
    }

    /// Lets time pass until the next attempt begins, and accepts it.
    fn come_back(&mut self) {
        self.wait();
        self.accept();
    }

    /// Lets time pass until something is due.
    fn wait(&mut self) {
        self.now = self.machine.next_timeout().expect("something is due").max(self.now);
        self.machine.handle_timeout(self.now);
        self.drain();
    }

    fn emit(&mut self, key: SocketKey, emit: Emit) {
        self.machine.emit(self.now, key, emit);
        self.drain();
    }

    fn heard(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.heard)
    }

    /// The events the server has heard, with their acknowledgement ids.
    fn events(&mut self) -> Vec<(Option<u64>, Vec<String>)> {
        let events = self.heard().into_iter().filter_map(|packet| match packet.body {
            Body::Event { ack, args } => Some((ack, json(&args))),
            _ => None,
        });
        events.collect()
    }

    /// The CONNECT packets the server has heard.
    fn connects(&mut self) -> Vec<(String, Option<String>)> {
        let connects = self.heard().into_iter().filter_map(|packet| match packet.body {
            Body::Connect(data) => {
                let data = data.map(|data| String::from_utf8(data.to_vec()).unwrap());
                Some((packet.namespace.as_str().to_owned(), data))
            }
            _ => None,
        });
        connects.collect()
    }

    fn told(&mut self) -> Vec<ManagerNotice> {
        let notices = std::mem::take(&mut self.notices);
        notices.into_iter().filter(|notice| !matches!(notice, ManagerNotice::Status(_))).collect()
    }

    fn acked(&mut self) -> Vec<(u64, Result<Vec<String>, AckError>)> {
        let acked = self.told().into_iter().filter_map(|notice| match notice {
            ManagerNotice::Acked { emit, result } => Some((emit.0, result.map(|args| json(&args)))),
            _ => None,
        });
        acked.collect()
    }
}

fn plain(name: &str) -> Emit {
    Emit { args: args(name, &[]), ack: None, timeout: None, volatile: false }
}

fn asking(name: &str, id: u64) -> Emit {
    Emit { ack: Some(EmitId(id)), ..plain(name) }
}
