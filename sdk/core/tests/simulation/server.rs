//! A server: connections, and the core's parts that serve them, put together as a real one does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::link::{Framed, ServerLink, ServerLinkConfig, Wire as Encoded};
use tidings_core::log::Read;
use tidings_core::message::{
    ClientMessage, Close, CloseCode, Delivery, Frame, Hello, Position, Publish, Refusal,
    ServerMessage, SubId, Subscribe, Welcome,
};
use tidings_core::server::{Feed, FeedConfig, FeedStats, Hub, HubKey, LogReader};
use tidings_core::socketio::{self, SocketIds};
use tidings_core::time::earliest;
use tidings_core::websocket::{self, Opcode};
use tidings_core::{Cursor, Event, Lane, Partitioning, Pattern, Place, Priority, Time, ws};

use crate::backplane::{Backplane, lanes};
use crate::instance::Token;
use crate::network::Line;
use crate::sabotage::Sabotage;

const BATCH: usize = 128;
/// How long a subscription waits until its partitions can be read.
const PREPARED_WITHIN: Duration = Duration::from_secs(2);
const PING: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(4));
/// Bytes of events that may wait for a connection, of each priority.
const QUEUE: usize = 1500;
/// Bytes of answers that may wait before nothing more is read.
const CONTROL: usize = 1000;
/// More than any frame, notice or answer has in these worlds.
const FRAME: usize = 1000;

pub(crate) struct Peer {
    pub(crate) link: ServerLink,
    pub(crate) feed: Feed,
    /// What has arrived and was not read yet.
    unread: VecDeque<Frame>,
    /// Messages about subscriptions that wait until what they need can be read, and how long the
    /// first may.
    held: VecDeque<ClientMessage>,
    held_until: Time,
    member: Option<(HubKey, Arc<str>)>,
}

pub(crate) struct Server {
    pub(crate) up: bool,
    /// Something has happened: it may have something to read or to write.
    pub(crate) stirred: bool,
    /// It will look for new events at some time.
    pub(crate) signalled: bool,
    pub(crate) peers: BTreeMap<Line, Peer>,
    hub: Hub<Line>,
    partitioning: Partitioning,
    interested: Vec<bool>,
    /// What the feeds of former connections have been through.
    pub(crate) past: FeedStats,
    pub(crate) sabotage: Option<Sabotage>,
}

impl Server {
    pub(crate) fn new(partitioning: &Partitioning, sabotage: Option<Sabotage>) -> Self {
        let partitions = usize::from(partitioning.count());
        Self {
            up: true,
            stirred: false,
            signalled: false,
            peers: BTreeMap::new(),
            hub: Hub::new(partitioning.clone()),
            partitioning: partitioning.clone(),
            interested: vec![false; partitions],
            past: FeedStats::default(),
            sabotage,
        }
    }

    /// All that it knows is gone.
    pub(crate) fn crash(&mut self, backplane: &Backplane) {
        for line in self.peers.keys().copied().collect::<Vec<_>>() {
            self.lose(line, backplane);
        }
        let past = self.past;
        *self = Self { up: false, past, ..Self::new(&self.partitioning, self.sabotage) };
    }

    /// A connection is there. Returns the subprotocol chosen.
    pub(crate) fn accept(
        &mut self,
        now: Time,
        line: Line,
        socketio: bool,
        subprotocol: Option<&'static str>,
    ) -> Option<String> {
        let config = ServerLinkConfig {
            ping_interval: PING.0,
            ping_timeout: PING.1,
            ..ServerLinkConfig::default()
        };
        let encoding = subprotocol.and_then(ws::Encoding::from_subprotocol);
        let link = if socketio {
            let [engine, socket, producer] =
                ["e", "s", "p"].map(|kind| format!("{kind}{}-{}", line.client, line.io.0));
            let ids = SocketIds { engine, socket, producer };
            ServerLink::SocketIo(Box::new(socketio::ServerLink::new(config, ids, now)))
        } else {
            let encoding = encoding.expect("a client that asks for an encoding");
            ServerLink::Ws(Box::new(ws::ServerLink::new(config, encoding, now)))
        };
        let config = Arc::new(FeedConfig {
            event_bytes: [QUEUE; Priority::COUNT],
            volatile_bytes: QUEUE,
            control_bytes: CONTROL,
            ..FeedConfig::default()
        });
        let feed = Feed::new(Encoded::WsJson, config);
        let peer = Peer {
            link,
            feed,
            unread: VecDeque::new(),
            held: VecDeque::new(),
            held_until: Time::ZERO,
            member: None,
        };
        self.peers.insert(line, peer);
        (!socketio).then(|| subprotocol.unwrap_or_default().to_owned())
    }

    /// A frame has arrived; it is read when the connection is not choked.
    pub(crate) fn arrived(&mut self, line: Line, frame: Frame) {
        if let Some(peer) = self.peers.get_mut(&line) {
            peer.unread.push_back(frame);
        }
    }

    /// Reads one frame of what has arrived. Returns its size.
    ///
    /// # Errors
    /// When the connection is to be closed.
    pub(crate) fn read(
        &mut self,
        now: Time,
        line: Line,
        backplane: &Backplane,
    ) -> Result<Option<usize>, Close> {
        let Some(peer) = self.peers.get_mut(&line) else { return Ok(None) };
        if peer.feed.is_choked() {
            return Ok(None);
        }
        let Some(frame) = peer.unread.pop_front() else { return Ok(None) };
        let size = size(&frame);
        peer.link.receive(now, frame).map_err(|error| error.close)?;
        while let Some(message) =
            self.peers.get_mut(&line).and_then(|peer| peer.link.poll_message())
        {
            self.handle(now, line, message, backplane)?;
        }
        Ok(Some(size))
    }

    /// Does what a message asks, or holds it back until what it needs can be read here.
    fn handle(
        &mut self,
        now: Time,
        line: Line,
        message: ClientMessage,
        backplane: &Backplane,
    ) -> Result<(), Close> {
        let Some(peer) = self.peers.get_mut(&line) else { return Ok(()) };
        if !peer.held.is_empty() {
            if is_about_subscriptions(&message) {
                peer.held.push_back(message);
                return Ok(());
            }
        } else if is_about_subscriptions(&message)
            && !backplane.prepare(now, needed(&self.partitioning, &message))
        {
            peer.held.push_back(message);
            peer.held_until = now + PREPARED_WITHIN;
            return Ok(());
        }
        self.carry_out(now, line, message, backplane)
    }

    /// Does what messages ask that were held back, as far as it can be done now.
    pub(crate) fn release(&mut self, now: Time, line: Line, backplane: &Backplane) {
        while let Some(peer) = self.peers.get_mut(&line)
            && let Some(first) = peer.held.front()
        {
            let is_ready = backplane.prepare(now, needed(&self.partitioning, first));
            if !(is_ready || backplane.is_reached() && peer.held_until <= now) {
                if peer.held_until <= now {
                    peer.held_until = now + PREPARED_WITHIN;
                }
                return;
            }
            let Some(message) = peer.held.pop_front() else { return };
            peer.held_until = now + PREPARED_WITHIN;
            self.carry_out(now, line, message, backplane).expect("no goodbye is held back");
        }
    }

    fn carry_out(
        &mut self,
        now: Time,
        line: Line,
        message: ClientMessage,
        backplane: &Backplane,
    ) -> Result<(), Close> {
        match message {
            ClientMessage::Hello(hello) => self.hello(now, line, hello, backplane),
            ClientMessage::Subscribe(subscribe) => self.subscribe(now, line, subscribe, backplane),
            ClientMessage::Unsubscribe(id) => self.unsubscribe(now, line, id, backplane),
            ClientMessage::Publish(publish) => self.publish(now, line, publish, backplane),
            ClientMessage::Bye => return Err(Close::new(CloseCode::NORMAL, "goodbye")),
            other => panic!("nobody says {other:?} here"),
        }
        Ok(())
    }

    fn hello(&mut self, now: Time, line: Line, hello: Hello, backplane: &Backplane) {
        let key = self.hub.insert(line);
        let peer = self.peers.get_mut(&line).expect("who has just spoken");
        let wire = peer.link.wire();
        peer.feed.set_wire(wire);
        peer.feed.set_batch(hello.batch);
        peer.member = Some((key, hello.producer.into()));
        let mut cursor = Cursor::new();
        for Subscribe { id, pattern, .. } in hello.subscriptions {
            let pattern = Pattern::new(pattern).expect("patterns of a plan");
            self.subscribed(key, id, &pattern, backplane);
            let peer = self.peers.get_mut(&line).expect("who has just spoken");
            for lane in self.hub.lanes_of(&pattern) {
                let here = self.hub.place(lane);
                match hello.cursor.get(lane) {
                    Some(place) => {
                        cursor.set(lane, here);
                        peer.feed.resume(lane, place);
                    }
                    None => cursor.set(lane, peer.feed.watch(lane, here)),
                }
            }
            peer.feed.subscribe(id, pattern);
        }
        let resumed = hello.session.is_some();
        let welcome = Welcome {
            session: hello.session.unwrap_or_else(|| format!("session {}", line.client)),
            resumed,
            instance: "instance".into(),
            ping_interval: PING.0,
            ping_timeout: PING.1,
            max_payload: 100_000,
            max_in_flight: 8,
            cursor,
            refused: Vec::new(),
            expires_in: None,
        };
        let peer = self.peers.get_mut(&line).expect("who has just spoken");
        peer.link.send(now, &ServerMessage::Welcome(welcome));
        peer.queue_answers();
    }

    fn subscribe(&mut self, now: Time, line: Line, subscribe: Subscribe, backplane: &Backplane) {
        let member = self.peers.get(&line).and_then(|peer| peer.member.as_ref());
        let Some(key) = member.map(|(key, _)| *key) else { return };
        let id = subscribe.id;
        let pattern = Pattern::new(subscribe.pattern).expect("patterns of a plan");
        self.subscribed(key, id, &pattern, backplane);
        let peer = self.peers.get_mut(&line).expect("a member");
        peer.feed.subscribe(id, pattern.clone());
        let mut cursor = Cursor::new();
        for lane in self.hub.lanes_of(&pattern) {
            let here = self.hub.place(lane);
            cursor.set(lane, peer.feed.watch(lane, here));
            if let Some(after) = subscribe.since.as_ref().and_then(|since| since.get(lane)) {
                peer.feed.replay(id, pattern.clone(), lane, after, here);
            }
        }
        peer.link.send(now, &ServerMessage::Subscribed { id, cursor });
        peer.queue_answers();
    }

    /// A connection subscribes: the lanes begin where they end as far as can be read.
    fn subscribed(&mut self, key: HubKey, id: SubId, pattern: &Pattern, backplane: &Backplane) {
        self.hub.subscribe(key, id, pattern);
        update_interest(&mut self.hub, &mut self.interested, backplane);
        for lane in self.hub.lanes_of(pattern) {
            self.stirred |= self.catch_up_with(lane, backplane);
        }
    }

    fn unsubscribe(&mut self, now: Time, line: Line, id: SubId, backplane: &Backplane) {
        let Some(peer) = self.peers.get_mut(&line) else { return };
        if let Some((key, _)) = peer.member {
            self.hub.unsubscribe(key, id);
            update_interest(&mut self.hub, &mut self.interested, backplane);
            peer.feed.unsubscribe(id);
            peer.feed.retain_lanes(|lane| self.hub.needs(key, lane));
        }
        peer.link.send(now, &ServerMessage::Unsubscribed(id));
    }

    fn publish(&mut self, now: Time, line: Line, publish: Publish, backplane: &Backplane) {
        let Some(peer) = self.peers.get_mut(&line) else { return };
        let Some((_, producer)) = &peer.member else { return };
        let Publish { seq, name, payload, priority, volatile, headers, identity: _ } = publish;
        let event = Event { name, payload, id: Arc::default(), priority, time: 0, headers };
        if volatile {
            self.forward_volatile(event);
            return;
        }
        let mut producer = Arc::clone(producer);
        if self.sabotage == Some(Sabotage::ForgetProducers) {
            producer = format!("{producer} on {line:?}").into();
        }
        if let Some(position) = backplane.publish(now, event, producer, Token { line, seq }) {
            peer.link.send(now, &ServerMessage::Published { seq, position });
        }
    }

    /// The log has answered a publish.
    pub(crate) fn published(&mut self, now: Time, token: Token, result: Result<Position, Refusal>) {
        let Token { line, seq } = token;
        self.stirred = true;
        let Some(peer) = self.peers.get_mut(&line) else { return };
        peer.link.send(
            now,
            &match result {
                Ok(position) => ServerMessage::Published { seq, position },
                Err(refusal) => ServerMessage::PublishRefused { seq, refusal },
            },
        );
    }

    /// Older events of lanes are in memory now, or they can be read from now on.
    pub(crate) fn loaded(&mut self, lanes: &BTreeSet<Lane>, backplane: &Backplane) {
        for lane in lanes {
            self.stirred |= self.catch_up_with(*lane, backplane);
        }
        for peer in self.peers.values_mut() {
            for lane in lanes {
                self.stirred |= peer.feed.arrived(*lane);
            }
        }
    }

    /// Whether somebody here wants the events of a partition.
    pub(crate) fn is_interested(&self, partition: u16) -> bool {
        self.interested[usize::from(partition)]
    }

    /// Those who are connected here get it, or not.
    fn forward_volatile(&mut self, event: Event) {
        let framed = Framed::new(Delivery { event, position: None, replay_for: None });
        let peers = &mut self.peers;
        self.hub.for_each_match(&framed.delivery().event.name, |line| {
            if let Some(peer) = peers.get_mut(line) {
                peer.feed.offer_volatile(&framed);
            }
        });
    }

    /// Hands out what is new in the log.
    pub(crate) fn forward(&mut self, backplane: &Backplane) {
        self.signalled = false;
        for lane in lanes(&self.partitioning) {
            if !self.interested[usize::from(lane.partition())] {
                continue;
            }
            while self.forward_lane(lane, backplane) == BATCH {}
        }
    }

    /// Whether the lane ends before the place from which it was handed out: connections then read it by
    /// themselves.
    fn catch_up_with(&mut self, lane: Lane, backplane: &Backplane) -> bool {
        let is_beyond = self.hub.ends_at(lane, backplane.head(lane));
        if is_beyond {
            for line in self.hub.handles() {
                if let Some(peer) = self.peers.get_mut(line) {
                    peer.feed.fall_behind(lane, Place::default());
                }
            }
        }
        is_beyond
    }

    fn forward_lane(&mut self, lane: Lane, backplane: &Backplane) -> usize {
        self.catch_up_with(lane, backplane);
        let Self { hub, peers, sabotage, .. } = self;
        let mut events = Vec::new();
        let reached = hub.place(lane);
        let left_at = match backplane.read(lane, reached, BATCH, &mut events) {
            Read::Done(None) => None,
            Read::Done(Some(gap)) => Some(Place { epoch: gap.epoch, offset: gap.to }),
            Read::Later => Some(backplane.head(lane)),
        };
        if let Some(place) = left_at {
            for line in hub.handles() {
                if let Some(peer) = peers.get_mut(line) {
                    peer.feed.fall_behind(lane, reached);
                }
            }
            hub.set_place(lane, place);
        }
        match sabotage {
            Some(Sabotage::LoseEvents) if events.len() > 1 => drop(events.remove(0)),
            Some(Sabotage::SwapEvents) if events.len() > 1 => events.swap(0, 1),
            _ => {}
        }
        for logged in &events {
            hub.forward(logged, |line| {
                if let Some(peer) = peers.get_mut(line) {
                    peer.feed.offer(logged);
                }
            });
        }
        events.len()
    }

    /// When a connection wants to be called.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let link = |peer: &Peer| peer.link.next_timeout();
        let held = |peer: &Peer| (!peer.held.is_empty()).then_some(peer.held_until);
        self.peers.values().filter_map(|peer| earliest(link(peer), held(peer))).min()
    }

    /// Calls the connections whose time has come; returns those that are to be closed.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        backplane: &Backplane,
    ) -> Vec<(Line, Close)> {
        let mut closing = Vec::new();
        for (line, peer) in &mut self.peers {
            if peer.link.next_timeout().is_none_or(|at| at > now) {
                continue;
            }
            match peer.link.handle_timeout(now) {
                Err(error) => closing.push((*line, error.close)),
                Ok(()) => {
                    let reached =
                        |lane| self.hub.place(lane).offset.min(backplane.head(lane).offset);
                    peer.feed.tell_progress(reached);
                }
            }
        }
        closing
    }

    /// Tells a client why its connection ends, and forgets it. Returns what is still to be sent.
    pub(crate) fn close(
        &mut self,
        now: Time,
        line: Line,
        close: Close,
        backplane: &Backplane,
    ) -> Vec<Bytes> {
        let Some(peer) = self.peers.get_mut(&line) else { return Vec::new() };
        let mut frame = Vec::new();
        let payload = websocket::close_payload(close.code, &close.reason);
        websocket::encode(&mut frame, Opcode::Close, &payload, None);
        peer.link.send(now, &ServerMessage::Close(close));
        peer.queue_answers();
        let outbox = peer.feed.outbox_mut();
        outbox.push_control(frame.into());
        let rest = std::iter::from_fn(|| outbox.pop()).collect();
        self.lose(line, backplane);
        rest
    }

    /// A connection is gone.
    pub(crate) fn lose(&mut self, line: Line, backplane: &Backplane) {
        let Some(peer) = self.peers.remove(&line) else { return };
        let stats = peer.feed.stats();
        self.past.recovered += stats.recovered;
        self.past.dropped_low += stats.dropped_low;
        self.past.fell_behind += stats.fell_behind;
        if let Some((key, _)) = peer.member {
            self.hub.remove(key);
            update_interest(&mut self.hub, &mut self.interested, backplane);
        }
    }
}

impl Peer {
    fn queue_answers(&mut self) {
        while let Some(frame) = self.link.poll_frame() {
            let (opcode, payload) = match &frame {
                Frame::Text(text) => (Opcode::Text, text),
                Frame::Binary(bytes) => (Opcode::Binary, bytes),
            };
            let mut finished = Vec::new();
            websocket::encode(&mut finished, opcode, payload, None);
            self.feed.outbox_mut().push_control(finished.into());
        }
    }

    /// Takes up to `room` bytes of what waits, as a socket does.
    pub(crate) fn write(&mut self, room: usize, backplane: &Backplane) -> Vec<u8> {
        let mut written = Vec::new();
        loop {
            self.queue_answers();
            self.check_bounds();
            let before = written.len();
            let alone = self.feed.outbox_mut().join();
            let mut slices = [std::io::IoSlice::new(&[]); 4];
            let most = if alone { 1 } else { slices.len() };
            let filled = self.feed.outbox().gather(&mut slices[..most]);
            for slice in &slices[..filled] {
                let left = room - written.len();
                written.extend_from_slice(&slice[..slice.len().min(left)]);
            }
            self.feed.outbox_mut().advance(written.len() - before);
            if self.feed.wants_catch_up() {
                self.feed.catch_up(backplane);
            } else if before == written.len() {
                return written;
            }
        }
    }

    /// Whether everything has been written that this connection should get.
    pub(crate) fn is_quiet(&self) -> bool {
        self.unread.is_empty()
            && self.held.is_empty()
            && self.feed.is_live()
            && self.feed.outbox().is_empty()
    }

    fn check_bounds(&self) {
        let outbox = self.feed.outbox();
        for priority in Priority::URGENT_FIRST {
            let waiting = outbox.event_bytes(priority);
            assert!(waiting <= QUEUE + FRAME, "{waiting} bytes of {priority} wait");
        }
        let (control, volatile) = (outbox.control_bytes(), outbox.volatile_bytes());
        assert!(control <= CONTROL + 8 * FRAME, "{control} bytes of answers wait");
        assert!(volatile <= QUEUE + FRAME, "{volatile} bytes of volatile events wait");
    }
}

/// A partition that nobody wanted before begins at the head of its lanes.
fn update_interest(hub: &mut Hub<Line>, interested: &mut [bool], backplane: &Backplane) {
    for (partition, known) in interested.iter_mut().enumerate() {
        let partition = u16::try_from(partition).expect("few partitions");
        let wanted = hub.is_interested(partition);
        if wanted && !*known {
            for priority in Priority::URGENT_FIRST {
                let lane = Lane::new(partition, priority);
                hub.set_place(lane, backplane.head(lane));
            }
        }
        *known = wanted;
    }
}

/// Whether the message's place among others of its kind matters, and it may have to wait.
const fn is_about_subscriptions(message: &ClientMessage) -> bool {
    matches!(
        message,
        ClientMessage::Hello(_) | ClientMessage::Subscribe(_) | ClientMessage::Unsubscribe(_)
    )
}

/// The partitions that a message needs.
fn needed(partitioning: &Partitioning, message: &ClientMessage) -> impl Iterator<Item = u16> {
    let (many, one) = match message {
        ClientMessage::Hello(hello) => (hello.subscriptions.as_slice(), None),
        ClientMessage::Subscribe(subscribe) => (&[][..], Some(subscribe)),
        _ => (&[][..], None),
    };
    many.iter().chain(one).flat_map(|subscribe| match partitioning.of_pattern(&subscribe.pattern) {
        Some(partition) => partition..partition + 1,
        None => 0..partitioning.count(),
    })
}

pub(crate) fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Text(bytes) | Frame::Binary(bytes) => bytes.len(),
    }
}
