//! A client and a server with a network between them in which frames take time.

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::lane::Partitioning;
use crate::pattern::Pattern;
use crate::rng::Rng;

/// A client, a server with a log, and a network in which frames take time.
pub(super) struct Simulation {
    pub(super) machine: ClientMachine,
    pub(super) now: Time,
    pub(super) rng: Rng,
    pub(super) log: BTreeMap<Lane, Vec<Delivery>>,
    /// Up to here a lane's log is gone.
    pub(super) forgotten: BTreeMap<Lane, Offset>,
    pub(super) appended: HashMap<(String, u64), Position>,
    pub(super) offset: u64,
    pub(super) refuse: u32,
    pub(super) connections: BTreeMap<IoId, Wire>,
    pub(super) opening: Vec<(IoId, String)>,
    /// What the application sees.
    pub(super) subscriptions: BTreeMap<SubId, Seen>,
    pub(super) published: BTreeMap<Ticket, String>,
    pub(super) results: BTreeMap<Ticket, Vec<Result<Option<Position>, PublishError>>>,
    pub(super) next: u64,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) pattern: String,
    /// Where the log stood when the subscription was told to be live.
    pub(super) since: Option<Cursor>,
    pub(super) offsets: BTreeMap<Lane, Vec<Offset>>,
    pub(super) gaps: Vec<(Lane, Offset, Offset)>,
    pub(super) ended: bool,
}

pub(super) struct Wire {
    pub(super) link: ServerLink,
    pub(super) to_server: VecDeque<Frame>,
    pub(super) to_client: VecDeque<Frame>,
    pub(super) subscriptions: Vec<(SubId, Pattern)>,
    pub(super) producer: String,
}

impl Simulation {
    pub(super) fn new(seed: u64) -> Self {
        let mut simulation = Self {
            machine: ClientMachine::new(ClientConfig { seed, ..config() }),
            now: Time::ZERO,
            rng: Rng::new(seed),
            log: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            appended: HashMap::new(),
            offset: 0,
            refuse: 0,
            connections: BTreeMap::new(),
            opening: Vec::new(),
            subscriptions: BTreeMap::new(),
            published: BTreeMap::new(),
            results: BTreeMap::new(),
            next: 0,
        };
        simulation.command(Command::Connect);
        simulation
    }

    pub(super) fn command(&mut self, command: Command) {
        self.machine.handle_command(self.now, command);
        self.drain();
    }

    pub(super) fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Io(Io::OpenWs { id: io, url, .. }) => self.opening.push((io, url)),
                Output::Io(Io::SendWs { id: io, frame }) => {
                    if let Some(wire) = self.connections.get_mut(&io) {
                        wire.to_server.push_back(frame);
                    }
                }
                Output::Io(Io::CloseWs { id: io, .. }) => {
                    self.opening.retain(|(opening, _)| *opening != io);
                    // What was written before still arrives.
                    self.serve(io, usize::MAX);
                    self.connections.remove(&io);
                }
                Output::Io(io) => panic!("{io:?} where everything is a WebSocket"),
                Output::NeedToken { .. } => unreachable!("nobody is authenticated"),
                Output::App(notice) => self.notice(notice),
            }
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Event { delivery, to } => {
                let position = delivery.position.expect("a place in the log");
                for id in to.as_slice() {
                    let seen = self.subscriptions.get_mut(id).expect("a subscription there is");
                    assert!(!seen.ended, "nothing comes after the end");
                    let offsets = seen.offsets.entry(position.lane).or_default();
                    assert!(
                        offsets.last().is_none_or(|last| *last < position.offset),
                        "twice or out of order: {position:?}"
                    );
                    offsets.push(position.offset);
                }
            }
            Notice::Gap { gap, to } => {
                for id in to.as_slice() {
                    let seen = self.subscriptions.get_mut(id).expect("a subscription there is");
                    seen.gaps.push((gap.lane, gap.from, gap.to));
                }
            }
            Notice::Subscribed { id, cursor } => {
                if let Some(seen) = self.subscriptions.get_mut(&id) {
                    assert!(seen.since.replace(cursor).is_none(), "told once");
                }
            }
            Notice::Published { ticket, result } => {
                self.results.entry(ticket).or_default().push(result);
            }
            _ => {}
        }
    }

    /// Lets time pass in small steps, in which connections open and frames move in any order.
    pub(super) fn run(&mut self, ms: u64, frames: usize) {
        let until = self.now + Duration::from_millis(ms);
        loop {
            let mut at = (self.now + Duration::from_millis(50)).min(until);
            if let Some(timeout) = self.machine.next_timeout() {
                at = at.min(timeout.max(self.now));
            }
            self.now = at;
            self.machine.handle_timeout(self.now);
            self.drain();
            self.open();
            let mut ios: Vec<_> = self.connections.keys().copied().collect();
            if self.rng.chance(500) {
                ios.reverse();
            }
            for io in ios {
                self.serve(io, frames);
                self.receive(io, frames);
            }
            if self.now >= until {
                break;
            }
        }
    }

    pub(super) fn open(&mut self) {
        for (io, url) in std::mem::take(&mut self.opening) {
            let config = ServerLinkConfig::default();
            let (link, subprotocol) = if url.contains("socket.io") {
                let [engine, socket, producer] = ["e", "s", "p"].map(|s| format!("{s}{}", io.0));
                let ids = SocketIds { engine, socket, producer };
                let link = socketio::ServerLink::new(config, ids, self.now);
                (ServerLink::SocketIo(Box::new(link)), None)
            } else {
                let link = ws::ServerLink::new(config, ws::Encoding::Json, self.now);
                let subprotocol = Some(ws::Encoding::Json.subprotocol().to_owned());
                (ServerLink::Ws(Box::new(link)), subprotocol)
            };
            let wire = Wire {
                link,
                to_server: VecDeque::new(),
                to_client: VecDeque::new(),
                subscriptions: Vec::new(),
                producer: String::new(),
            };
            self.connections.insert(io, wire);
            self.input(Input::Io(IoEvent::WsOpened { id: io, subprotocol }));
        }
    }

    pub(super) fn cut(&mut self) {
        for io in std::mem::take(&mut self.connections).into_keys() {
            let close = Close::new(CloseCode::ABNORMAL, "cut");
            self.input(Input::Io(IoEvent::WsClosed { id: io, close }));
        }
    }

    /// Some of what the client wrote reaches the server.
    pub(super) fn serve(&mut self, io: IoId, mut frames: usize) {
        while frames > 0
            && let Some(wire) = self.connections.get_mut(&io)
            && let Some(frame) = wire.to_server.pop_front()
        {
            frames -= 1;
            wire.link.receive(self.now, frame).expect("the client speaks the protocol");
            while let Some(message) =
                self.connections.get_mut(&io).and_then(|wire| wire.link.poll_message())
            {
                self.message(io, message);
            }
        }
        if let Some(wire) = self.connections.get_mut(&io) {
            while let Some(frame) = wire.link.poll_frame() {
                wire.to_client.push_back(frame);
            }
        }
    }

    /// Some of what the server wrote reaches the client.
    pub(super) fn receive(&mut self, io: IoId, mut frames: usize) {
        while frames > 0
            && let Some(wire) = self.connections.get_mut(&io)
            && let Some(frame) = wire.to_client.pop_front()
        {
            frames -= 1;
            self.input(Input::Io(IoEvent::WsFrame { id: io, frame }));
        }
    }

    pub(super) fn message(&mut self, io: IoId, message: ClientMessage) {
        match message {
            ClientMessage::Hello(hello) => self.hello(io, hello),
            ClientMessage::Subscribe(Subscribe { id, pattern, .. }) => {
                let pattern = Pattern::new(pattern).unwrap();
                let cursor = self.places(&pattern);
                self.wire(io).subscriptions.push((id, pattern));
                self.say(io, &ServerMessage::Subscribed { id, cursor });
            }
            ClientMessage::Unsubscribe(id) => {
                self.wire(io).subscriptions.retain(|(sub, _)| *sub != id);
                self.say(io, &ServerMessage::Unsubscribed(id));
            }
            ClientMessage::Publish(publish) => {
                let seq = publish.seq;
                let producer = self.wire(io).producer.clone();
                let known = self.appended.contains_key(&(producer.clone(), seq));
                if self.refuse > 0 && !known {
                    self.refuse -= 1;
                    let refusal = Refusal::new(ErrorCode::TOO_MANY, "too many at once");
                    self.say(io, &ServerMessage::PublishRefused { seq, refusal });
                } else {
                    let position = self.append(&producer, publish);
                    self.say(io, &ServerMessage::Published { seq, position });
                }
            }
            _ => {}
        }
    }

    pub(super) fn hello(&mut self, io: IoId, hello: Hello) {
        let wire = self.wire(io);
        wire.producer = hello.producer;
        wire.subscriptions = hello
            .subscriptions
            .iter()
            .map(|s| (s.id, Pattern::new(&*s.pattern).unwrap()))
            .collect();
        let patterns: Vec<_> = wire.subscriptions.iter().map(|(_, p)| p.clone()).collect();
        let cursor: Cursor = patterns
            .iter()
            .flat_map(|pattern| self.places(pattern).iter().collect::<Vec<_>>())
            .collect();
        let resumed = hello.session.is_some();
        self.say(io, &ServerMessage::Welcome(Welcome { cursor, resumed, ..terms() }));
        for (lane, place) in hello.cursor.iter() {
            let forgotten = self.forgotten.get(&lane).copied().unwrap_or_default();
            if place.offset < forgotten {
                let (from, to, epoch) = (place.offset, forgotten, Epoch(1));
                let gap = Gap { lane, from, to, epoch, replay_for: None };
                self.say(io, &ServerMessage::Gap(gap));
            }
            for event in self.log.get(&lane).cloned().unwrap_or_default() {
                if event.position.unwrap().offset > place.offset
                    && patterns.iter().any(|pattern| pattern.matches(&event.event.name))
                {
                    self.say(io, &ServerMessage::Event(event));
                }
            }
        }
    }

    pub(super) fn append(&mut self, producer: &str, publish: Publish) -> Position {
        let key = (producer.to_owned(), publish.seq);
        if publish.seq > 0
            && let Some(position) = self.appended.get(&key)
        {
            return *position;
        }
        self.offset += 1;
        let lane = Lane::new(partitioning().of_name(&publish.name), publish.priority);
        let position = Position { lane, offset: Offset(self.offset) };
        let delivery = Delivery {
            event: Event {
                name: publish.name,
                payload: publish.payload,
                priority: publish.priority,
                ..delivery("", 0).event
            },
            position: Some(position),
            replay_for: None,
        };
        self.appended.insert(key, position);
        self.log.entry(lane).or_default().push(delivery.clone());
        let wanting: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, w)| w.subscriptions.iter().any(|(_, p)| p.matches(&delivery.event.name)))
            .map(|(io, _)| *io)
            .collect();
        for io in wanting {
            self.say(io, &ServerMessage::Event(delivery.clone()));
        }
        position
    }

    pub(super) fn say(&mut self, io: IoId, message: &ServerMessage) {
        let now = self.now;
        let wire = self.wire(io);
        wire.link.send(now, message);
        while let Some(frame) = wire.link.poll_frame() {
            wire.to_client.push_back(frame);
        }
    }

    pub(super) fn wire(&mut self, io: IoId) -> &mut Wire {
        self.connections.get_mut(&io).expect("a connection there is")
    }

    /// Where the lanes of a pattern stand.
    pub(super) fn places(&self, pattern: &Pattern) -> Cursor {
        let partitions = match partitioning().of_pattern(pattern.as_str()) {
            Some(partition) => partition..partition + 1,
            None => 0..partitioning().count(),
        };
        let lanes = partitions
            .flat_map(|partition| Priority::URGENT_FIRST.map(|p| Lane::new(partition, p)));
        let last = |lane| {
            let logged = self.log.get(&lane).and_then(|log| log.last()).and_then(|d| d.position);
            let forgotten = self.forgotten.get(&lane).copied().unwrap_or_default();
            logged.map_or(forgotten, |position| position.offset)
        };
        lanes.map(|lane| (lane, Place { epoch: Epoch(1), offset: last(lane) })).collect()
    }
}

fn partitioning() -> Partitioning {
    Partitioning::new(2)
}
