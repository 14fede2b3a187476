//! Whatever the network does, once it heals everything has arrived, once, in order.

use std::collections::{BTreeSet, HashMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::lane::Partitioning;
use crate::pattern::Pattern;
use crate::rng::Rng;

const PATTERNS: [&str; 4] = ["a.*", "**", "b.c", "c.**"];
const NAMES: [&str; 4] = ["a.b", "b.c", "c.d.e", "a.a"];

/// One thing that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Time passes, and frames move: so many of each connection, each way.
    Run {
        ms: u16,
        frames: u8,
    },
    /// All connections break.
    Cut,
    /// The other side publishes.
    Event {
        name: usize,
        priority: u8,
    },
    Publish {
        name: usize,
        priority: u8,
    },
    Subscribe {
        pattern: usize,
    },
    Unsubscribe {
        which: usize,
    },
    Switch {
        socketio: bool,
    },
    /// The application asks what nobody answers, which keeps a connection from before a switch.
    Request,
    Writable(bool),
    Online(bool),
    /// The server refuses the next publish for now.
    Refuse,
    /// The server forgets what it kept of the log's beginning, as retention does.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..400_u16, 0..6_u8).prop_map(|(ms, frames)| Step::Run { ms, frames }),
        1 => Just(Step::Cut),
        4 => (0..NAMES.len(), 0..4_u8).prop_map(|(name, priority)| Step::Event { name, priority }),
        4 => (0..NAMES.len(), 0..4_u8).prop_map(|(name, priority)| Step::Publish { name, priority }),
        3 => (0..PATTERNS.len()).prop_map(|pattern| Step::Subscribe { pattern }),
        1 => (0..8_usize).prop_map(|which| Step::Unsubscribe { which }),
        3 => any::<bool>().prop_map(|socketio| Step::Switch { socketio }),
        1 => Just(Step::Request),
        1 => any::<bool>().prop_map(Step::Writable),
        1 => any::<bool>().prop_map(Step::Online),
        1 => Just(Step::Refuse),
        1 => Just(Step::Forget),
    ]
}

/// A client, a server with a log, and a network in which frames take time.
struct Simulation {
    machine: ClientMachine,
    now: Time,
    rng: Rng,
    log: BTreeMap<Lane, Vec<Delivery>>,
    /// Up to here a lane's log is gone.
    forgotten: BTreeMap<Lane, Offset>,
    appended: HashMap<(String, u64), Position>,
    offset: u64,
    refuse: u32,
    connections: BTreeMap<IoId, Wire>,
    opening: Vec<(IoId, String)>,
    /// What the application sees.
    subscriptions: BTreeMap<SubId, Seen>,
    published: BTreeMap<Ticket, String>,
    results: BTreeMap<Ticket, Vec<Result<Option<Position>, PublishError>>>,
    next: u64,
    recovered_gaps: usize,
}

#[derive(Default)]
struct Seen {
    pattern: String,
    /// Where the log stood when the subscription was told to be live.
    since: Option<Cursor>,
    offsets: BTreeMap<Lane, Vec<Offset>>,
    gaps: Vec<(Lane, Offset, Offset)>,
    ended: bool,
}

struct Wire {
    link: ServerLink,
    to_server: VecDeque<Frame>,
    to_client: VecDeque<Frame>,
    subscriptions: Vec<(SubId, Pattern)>,
    producer: String,
}

impl Simulation {
    fn new(seed: u64) -> Self {
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
            recovered_gaps: 0,
        };
        simulation.command(Command::Connect);
        simulation
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
                Output::Open { io, url, .. } => self.opening.push((io, url)),
                Output::Send { io, frame } => {
                    if let Some(wire) = self.connections.get_mut(&io) {
                        wire.to_server.push_back(frame);
                    }
                }
                Output::CloseIo { io, .. } => {
                    self.opening.retain(|(opening, _)| *opening != io);
                    // What was written before still arrives.
                    self.serve(io, usize::MAX);
                    self.connections.remove(&io);
                }
                Output::NeedToken { .. } => unreachable!("nobody is authenticated"),
                Output::App(notice) => self.notice(notice),
            }
        }
    }

    fn notice(&mut self, notice: Notice) {
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
                self.recovered_gaps += 1;
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

    fn step(&mut self, step: Step) {
        match step {
            Step::Run { ms, frames } => self.run(ms.into(), frames.into()),
            Step::Cut => self.cut(),
            Step::Event { name, priority } => {
                let priority = Priority::from_index(priority).unwrap();
                self.append("somebody", Publish { priority, ..publish(NAMES[name]) });
            }
            Step::Publish { name, priority } => {
                self.next += 1;
                let ticket = Ticket(self.next);
                let priority = Priority::from_index(priority).unwrap();
                let payload = Payload::Json(self.next.to_string().into());
                let publish = Publish { payload, priority, ..publish(NAMES[name]) };
                self.published.insert(ticket, NAMES[name].to_owned());
                let timeout = Some(Duration::from_secs(3600));
                self.command(Command::Publish { ticket, publish, timeout });
            }
            Step::Subscribe { pattern } => {
                self.next += 1;
                let id = SubId(u32::try_from(self.next).unwrap());
                let pattern = PATTERNS[pattern].to_owned();
                let seen = Seen { pattern: pattern.clone(), ..Seen::default() };
                self.subscriptions.insert(id, seen);
                self.command(Command::Subscribe(Subscribe { id, pattern, since: None }));
            }
            Step::Unsubscribe { which } => {
                if let Some((id, seen)) = self.subscriptions.iter_mut().nth(which) {
                    seen.ended = true;
                    let id = *id;
                    self.command(Command::Unsubscribe(id));
                }
            }
            Step::Switch { socketio } => {
                self.next += 1;
                let transport = if socketio { Transport::SocketIo } else { Transport::Ws };
                self.command(Command::Switch { ticket: Ticket(self.next), transport });
            }
            Step::Request => {
                self.next += 1;
                let (ticket, name, payload) = (Ticket(self.next), "ask".into(), Payload::NULL);
                self.command(Command::Request { ticket, name, payload, timeout: None });
            }
            Step::Writable(writable) => {
                for io in self.connections.keys().copied().collect::<Vec<_>>() {
                    self.input(Input::Writable { io, writable });
                }
            }
            Step::Online(online) => self.input(Input::Online(online)),
            Step::Refuse => self.refuse += 1,
            Step::Forget => {
                for (lane, log) in &mut self.log {
                    if let Some(position) = log.last().and_then(|delivery| delivery.position) {
                        self.forgotten.insert(*lane, position.offset);
                        log.clear();
                    }
                }
            }
        }
    }

    /// Lets time pass in small steps, in which connections open and frames move in any order.
    fn run(&mut self, ms: u64, frames: usize) {
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

    fn open(&mut self) {
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
            self.input(Input::Opened { io, subprotocol });
        }
    }

    fn cut(&mut self) {
        for io in std::mem::take(&mut self.connections).into_keys() {
            let close = Close::new(CloseCode::ABNORMAL, "cut");
            self.input(Input::Closed { io, close });
        }
    }

    /// Some of what the client wrote reaches the server.
    fn serve(&mut self, io: IoId, mut frames: usize) {
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
    fn receive(&mut self, io: IoId, mut frames: usize) {
        while frames > 0
            && let Some(wire) = self.connections.get_mut(&io)
            && let Some(frame) = wire.to_client.pop_front()
        {
            frames -= 1;
            self.input(Input::Frame { io, frame });
        }
    }

    fn message(&mut self, io: IoId, message: ClientMessage) {
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

    fn hello(&mut self, io: IoId, hello: Hello) {
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

    fn append(&mut self, producer: &str, publish: Publish) -> Position {
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

    fn say(&mut self, io: IoId, message: &ServerMessage) {
        let now = self.now;
        let wire = self.wire(io);
        wire.link.send(now, message);
        while let Some(frame) = wire.link.poll_frame() {
            wire.to_client.push_back(frame);
        }
    }

    fn wire(&mut self, io: IoId) -> &mut Wire {
        self.connections.get_mut(&io).expect("a connection there is")
    }

    /// Where the lanes of a pattern stand.
    fn places(&self, pattern: &Pattern) -> Cursor {
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

    /// Ends all troubles and lets everything arrive.
    fn heal(&mut self) {
        self.refuse = 0;
        self.step(Step::Online(true));
        for _ in 0..2000 {
            let stuck: Vec<_> = self.connections.keys().copied().collect();
            for io in stuck {
                self.input(Input::Writable { io, writable: true });
            }
            self.run(100, usize::MAX);
            let stats = self.machine.stats();
            if self.machine.status().state == State::Connected
                && stats.queued == [0; 4]
                && self.subscriptions.values().all(|seen| seen.ended || seen.since.is_some())
                && self.connections.values().all(|w| w.to_client.is_empty())
            {
                return;
            }
        }
        panic!("it does not heal: {:?}", self.machine);
    }

    fn check(&self) {
        for ticket in self.published.keys() {
            let results = self.results.get(ticket).map(Vec::as_slice).unwrap_or_default();
            let [Ok(Some(_))] = results else { panic!("{ticket:?}: {results:?}") };
        }
        let effects: BTreeSet<_> =
            self.appended.keys().filter(|(producer, _)| producer == "producer").collect();
        assert_eq!(effects.len(), self.published.len(), "each publish has one effect");
        for seen in self.subscriptions.values().filter(|seen| !seen.ended) {
            let pattern = Pattern::new(&*seen.pattern).unwrap();
            let since = seen.since.as_ref().expect("a start");
            for (lane, log) in &self.log {
                let Some(start) = since.get(*lane) else { continue };
                let got = seen.offsets.get(lane).map(Vec::as_slice).unwrap_or_default();
                for event in log.iter().filter(|e| pattern.matches(&e.event.name)) {
                    let offset = event.position.unwrap().offset;
                    let lost = seen
                        .gaps
                        .iter()
                        .any(|(gap, from, to)| gap == lane && *from < offset && offset <= *to);
                    assert!(
                        offset <= start.offset || lost || got.contains(&offset),
                        "{} of {lane} is missing for {}",
                        offset.0,
                        seen.pattern
                    );
                    assert!(
                        offset > start.offset || !got.contains(&offset),
                        "{} of {lane} is from before {} began",
                        offset.0,
                        seen.pattern
                    );
                }
            }
        }
    }
}

fn partitioning() -> Partitioning {
    Partitioning::new(2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everything_arrives_once_and_in_order(
        seed in any::<u64>(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut simulation = Simulation::new(seed);
        for step in steps {
            simulation.step(step);
        }
        simulation.heal();
        simulation.check();
    }

    #[test]
    fn no_frame_makes_it_panic(
        texts in prop::collection::vec(
            prop_oneof![
                "[\\x20-\\x7e]{0,40}",
                Just("[\"welcome\",{\"v\":1,\"session\":\"s\",\"resumed\":false,\"instance\":\"i\",\
                      \"ping\":[1000,1000],\"max_payload\":10,\"max_in_flight\":1,\"cursor\":[]}]"
                    .to_owned()),
                Just("[\"ack\",1,1,1]".to_owned()),
                Just("[\"gap\",1,1,9,1]".to_owned()),
                Just("[\"at\",[[1,1,1]]]".to_owned()),
                Just("[\"subbed\",1,[[1,1,1]]]".to_owned()),
                Just("[\"e\",1,5,\"a\",1,{}]".to_owned()),
                Just("[\"close\",4000,\"\"]".to_owned()),
            ],
            0..20,
        ),
        ios in prop::collection::vec(0..6_u64, 20),
    ) {
        let mut machine = ClientMachine::new(config());
        let now = Time::ZERO;
        machine.handle_command(now, Command::Connect);
        let since = None;
        let subscribe = Subscribe { id: SubId(1), pattern: "**".into(), since };
        machine.handle_command(now, Command::Subscribe(subscribe));
        for (text, io) in texts.into_iter().zip(ios) {
            let io = IoId(io);
            let subprotocol = Some("tidings.v1.json".to_owned());
            machine.handle_input(now, Input::Opened { io, subprotocol });
            machine.handle_input(now, Input::Frame { io, frame: Frame::Text(text.into()) });
            while machine.poll_output().is_some() {}
        }
    }
}
