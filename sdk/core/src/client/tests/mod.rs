//! The machine against a server that says what a test tells it to say.

mod delivering;
mod healing;
mod lifecycle;
mod publishing;
mod requesting;
mod simulation;
mod switching;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::engineio::Carrier;
use crate::event::{Event, Headers, Payload, Priority};
use crate::lane::{Cursor, Epoch, Lane, Offset, Place};
use crate::link::{ServerLink, ServerLinkConfig};
use crate::message::*;
use crate::socketio::{self, SocketIds};
use crate::time::Time;
use crate::ws;

const MS: Duration = Duration::from_millis(1);

/// A machine, its driver, and the server behind it.
struct World {
    machine: ClientMachine,
    now: Time,
    /// What the machine wants to open, in order.
    opening: Vec<(IoId, String)>,
    open: BTreeMap<IoId, ServerLink>,
    /// What the machine has closed.
    closed: Vec<(IoId, Close)>,
    tokens: Vec<TokenRequest>,
    /// What the server heard.
    heard: Vec<(IoId, ClientMessage)>,
    notices: Vec<Notice>,
    next_ticket: u64,
}

fn config() -> ClientConfig {
    let endpoint = "http://server".parse().unwrap();
    // What carries Socket.IO when WebSockets do not work is tested apart.
    let carriers = vec![Carrier::WebSocket];
    ClientConfig { transport: Transport::Ws, carriers, ..ClientConfig::new(endpoint, "producer") }
}

impl World {
    fn new(config: ClientConfig) -> Self {
        let mut world = Self {
            machine: ClientMachine::new(config),
            now: Time::ZERO,
            opening: Vec::new(),
            open: BTreeMap::new(),
            closed: Vec::new(),
            tokens: Vec::new(),
            heard: Vec::new(),
            notices: Vec::new(),
            next_ticket: 0,
        };
        world.command(Command::Connect);
        world
    }

    /// A world with a connection.
    fn connected(config: ClientConfig) -> (Self, IoId) {
        let mut world = Self::new(config);
        let io = world.accept();
        world.welcome(io, false, Cursor::new());
        world.hear();
        world.notices.clear();
        (world, io)
    }

    fn command(&mut self, command: Command) {
        self.machine.handle_command(self.now, command);
        self.drain();
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Io(Io::OpenWs { id: io, url, .. }) => self.opening.push((io, url)),
                Output::Io(Io::SendWs { id: io, frame }) => {
                    let link = self.open.get_mut(&io).expect("sent on a connection that is open");
                    link.receive(self.now, frame).unwrap();
                    while let Some(message) = link.poll_message() {
                        self.heard.push((io, message));
                    }
                }
                Output::Io(Io::CloseWs { id: io, close }) => {
                    self.opening.retain(|(opening, _)| *opening != io);
                    self.open.remove(&io);
                    self.closed.push((io, close));
                }
                Output::Io(io) => panic!("{io:?} where everything is a WebSocket"),
                Output::NeedToken { request } => self.tokens.push(request),
                Output::App(notice) => self.notices.push(notice),
            }
        }
    }

    /// Lets time pass, waking the machine whenever it asked for it.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.machine.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.machine.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    /// Accepts the oldest connection that is being opened.
    fn accept(&mut self) -> IoId {
        let (io, url) = self.opening.remove(0);
        let config = ServerLinkConfig::default();
        let (link, subprotocol) = if url.contains("socket.io") {
            let ids = SocketIds {
                engine: "engine".into(),
                socket: "socket".into(),
                producer: "made up".into(),
            };
            let link = socketio::ServerLink::new(config, ids, self.now);
            (ServerLink::SocketIo(Box::new(link)), None)
        } else {
            let encoding = ws::Encoding::Json;
            let link = ws::ServerLink::new(config, encoding, self.now);
            (ServerLink::Ws(Box::new(link)), Some(encoding.subprotocol().to_owned()))
        };
        self.open.insert(io, link);
        self.input(Input::Io(IoEvent::WsOpened { id: io, subprotocol }));
        self.deliver(io);
        io
    }

    fn refuse(&mut self) {
        let (io, _) = self.opening.remove(0);
        let close = Close::new(CloseCode::ABNORMAL, "connection refused");
        self.input(Input::Io(IoEvent::WsClosed { id: io, close }));
    }

    /// Cuts a connection.
    fn cut(&mut self, io: IoId) {
        self.open.remove(&io);
        let close = Close::new(CloseCode::ABNORMAL, "cut");
        self.input(Input::Io(IoEvent::WsClosed { id: io, close }));
    }

    fn welcome(&mut self, io: IoId, resumed: bool, cursor: Cursor) {
        self.say(io, ServerMessage::Welcome(Welcome { cursor, resumed, ..terms() }));
    }

    fn say(&mut self, io: IoId, message: ServerMessage) {
        if let Some(link) = self.open.get_mut(&io) {
            link.send(self.now, &message);
            self.deliver(io);
        }
    }

    /// Moves the server's frames to the client.
    fn deliver(&mut self, io: IoId) {
        while let Some(frame) = self.open.get_mut(&io).and_then(ServerLink::poll_frame) {
            self.input(Input::Io(IoEvent::WsFrame { id: io, frame }));
        }
    }

    /// What the server has heard since the last time.
    fn hear(&mut self) -> Vec<ClientMessage> {
        std::mem::take(&mut self.heard).into_iter().map(|(_, message)| message).collect()
    }

    fn hello(&mut self) -> Hello {
        let heard = self.hear();
        let hello = heard.into_iter().find_map(|message| match message {
            ClientMessage::Hello(hello) => Some(hello),
            _ => None,
        });
        hello.expect("a hello")
    }

    fn publishes_heard(&mut self) -> Vec<(u64, String)> {
        let publishes = self.hear().into_iter().filter_map(|message| match message {
            ClientMessage::Publish(publish) => Some((publish.seq, publish.name.to_string())),
            _ => None,
        });
        publishes.collect()
    }

    /// What the application was told since the last time.
    fn told(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// The names of the events the application got, each with its recipients.
    fn events(&mut self) -> Vec<(String, Vec<u32>)> {
        let events = self.told().into_iter().filter_map(|notice| match notice {
            Notice::Event { delivery, to } => {
                let mut to: Vec<_> = to.as_slice().iter().map(|id| id.0).collect();
                to.sort_unstable();
                Some((delivery.event.name.to_string(), to))
            }
            _ => None,
        });
        events.collect()
    }

    fn state(&self) -> State {
        self.machine.status().state
    }

    fn subscribe(&mut self, id: u32, pattern: &str) {
        let subscribe = Subscribe { id: SubId(id), pattern: pattern.into(), since: None };
        self.command(Command::Subscribe(subscribe));
    }

    /// Subscribes and has the server agree, with lane 0 of that partition at an offset.
    fn subscribed(&mut self, io: IoId, id: u32, pattern: &str, offset: u64) {
        self.subscribe(id, pattern);
        self.say(io, ServerMessage::Subscribed { id: SubId(id), cursor: at(offset) });
    }

    fn publish(&mut self, name: &str, priority: Priority) -> Ticket {
        self.publish_with(Publish { priority, ..publish(name) }, None)
    }

    fn publish_with(&mut self, publish: Publish, timeout: Option<Duration>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.command(Command::Publish { ticket, publish, timeout });
        ticket
    }

    fn ack(&mut self, io: IoId, seq: u64) {
        let position = Position { lane: lane(), offset: Offset(1000 + seq) };
        self.say(io, ServerMessage::Published { seq, position });
    }
}

fn terms() -> Welcome {
    Welcome {
        session: "session".into(),
        resumed: false,
        instance: "instance".into(),
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_secs(20),
        max_payload: 1000,
        max_in_flight: 4,
        cursor: Cursor::new(),
        refused: Vec::new(),
        expires_in: None,
    }
}

fn lane() -> Lane {
    Lane::new(0, Priority::Normal)
}

fn place(offset: u64) -> Place {
    Place { epoch: Epoch(1), offset: Offset(offset) }
}

/// The lane at an offset.
fn at(offset: u64) -> Cursor {
    [(lane(), place(offset))].into_iter().collect()
}

fn publish(name: &str) -> Publish {
    Publish {
        seq: 0,
        name: name.into(),
        payload: Payload::NULL,
        priority: Priority::Normal,
        volatile: false,
        headers: Headers::NONE,
        identity: None,
    }
}

fn delivery(name: &str, offset: u64) -> Delivery {
    Delivery {
        event: Event {
            name: name.into(),
            payload: Payload::Json(Bytes::from_static(b"{\"n\":1}")),
            id: Arc::from(format!("id-{offset}")),
            priority: Priority::Normal,
            time: 1,
            headers: Headers::NONE,
        },
        position: Some(Position { lane: lane(), offset: Offset(offset) }),
        replay_for: None,
    }
}

fn event(name: &str, offset: u64) -> ServerMessage {
    ServerMessage::Event(delivery(name, offset))
}
