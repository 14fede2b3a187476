//! The world: what happens when, and who is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::client::{Command, Input, Notice, Output};
use tidings_core::io::{Io, IoEvent};
use tidings_core::log::shared::Settings;
use tidings_core::message::{Close, CloseCode, Frame};
use tidings_core::rng::Rng;
use tidings_core::time::earliest;
use tidings_core::websocket::Incoming;
use tidings_core::{Cursor, Offset, Place, Priority, Time};

use crate::backplane::{Backplane, lanes};
use crate::client::Client;
use crate::instance::{Instance, Outcome, settings};
use crate::log::{Log, retention};
use crate::network::{Cut, Line, Wire, delay};
use crate::plan::{Act, NAMES, Plan};
use crate::redis::Redis;
use crate::server::{self, Server};
use crate::traffic::{Fault, Traffic, Ways};
use crate::{Tally, verdict};

/// Bytes that a client may have on their way before it is told to write no more.
const UP_WINDOW: usize = 2000;
/// How long a healed network may take until everything is quiet.
const PATIENCE: Duration = Duration::from_secs(300);

/// Faults that must be noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Servers do not hand out an event now and then.
    LoseEvents,
    /// Servers do not recognise publishes sent again.
    ForgetProducers,
    /// Servers hand events out in the wrong order.
    SwapEvents,
}

/// What joins the servers of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joined {
    /// A log in memory, which is always there.
    ByMemory,
    /// A Redis, which is not.
    ByRedis,
}

pub(crate) enum Happening {
    Act(Act),
    Redis(Traffic),
    Fault(usize, Fault),
    Dialled(Line),
    Opened(Line, Option<String>),
    Up(Line, Frame),
    Down(Line, Bytes),
    ClientLost(Line, Close),
    ServerLost(Line),
    /// A server learns that the log has grown.
    Signal(usize),
    ServerBack(usize),
    Online(usize),
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) rng: Rng,
    queue: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    log: Rc<RefCell<Log>>,
    /// What each server has of what joins them.
    pub(crate) backplanes: Vec<Backplane>,
    pub(crate) ways: Option<Ways>,
    settings: Arc<Settings>,
    pub(crate) servers: Vec<Server>,
    /// How often each server was started.
    pub(crate) lives: Vec<u64>,
    /// Which node answered a server's last append, by partition.
    pub(crate) appended_by: Vec<Vec<usize>>,
    clients: Vec<Client>,
    wires: BTreeMap<Line, Wire>,
    window: usize,
    end: Time,
    everything_retained: bool,
    pub(crate) troubled: bool,
    /// Whether what applications are told is printed.
    pub(crate) told: bool,
    restarts: u64,
    digest: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, joined: Joined, sabotage: Option<Sabotage>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let log = Log::new(plan.retained);
        let partitioning = log.partitioning.clone();
        let retention = retention(plan.retained);
        let ways = (joined == Joined::ByRedis)
            .then(|| Ways::new(Redis::new(&partitioning, retention.clone())));
        let faults = match joined {
            Joined::ByMemory => Vec::new(),
            Joined::ByRedis => plan.faults(&mut rng, usize::from(partitioning.count())),
        };
        let clients = plan.clients.iter().enumerate();
        let clients = clients
            .map(|(number, (transport, encoding))| {
                Client::new(number, *transport, *encoding, rng.next_u64())
            })
            .collect();
        let mut world = Self {
            now: Time::ZERO,
            queue: BTreeMap::new(),
            scheduled: 0,
            servers: (0..plan.servers).map(|_| Server::new(&partitioning, sabotage)).collect(),
            log: Rc::new(RefCell::new(log)),
            backplanes: Vec::new(),
            ways,
            settings: settings(retention),
            lives: vec![0; plan.servers],
            appended_by: vec![vec![0; usize::from(partitioning.count())]; plan.servers],
            clients,
            wires: BTreeMap::new(),
            window: plan.window,
            end: plan.end,
            everything_retained: plan.retained > 1000,
            troubled: true,
            told: false,
            restarts: 0,
            digest: DefaultHasher::new(),
            rng,
        };
        for (at, act) in plan.acts {
            world.schedule(at, Happening::Act(act));
        }
        for (at, partition, fault) in faults {
            world.schedule(at, Happening::Fault(partition, fault));
        }
        for server in 0..plan.servers {
            let backplane = world.backplane();
            world.backplanes.push(backplane);
            world.start_instance(server);
        }
        world
    }

    /// What a server that starts now has of what joins them.
    fn backplane(&mut self) -> Backplane {
        let Some(ways) = &self.ways else { return Backplane::Memory(Rc::clone(&self.log)) };
        let fast = self.rng.below(1000);
        let partitioning = self.log.borrow().partitioning.clone();
        let instance = Instance::new(&partitioning, &self.settings, ways.views(), fast);
        Backplane::Redis(Box::new(RefCell::new(instance)))
    }

    /// Everything of the plan happens.
    pub(crate) fn live(&mut self) {
        for client in 0..self.clients.len() {
            self.command(client, Command::Connect);
        }
        self.run_until(self.end);
    }

    /// Troubles end; what is on its way arrives, and what comes then arrives as well.
    pub(crate) fn heal(&mut self) {
        self.troubled = false;
        for client in 0..self.clients.len() {
            self.input(client, Input::Online(true));
        }
        self.settle();
        self.become_quiet();
        if self.ways.is_some() {
            // What was lost is found when heads are compared next.
            self.run_until(self.now + Duration::from_secs(5));
            self.become_quiet();
        }
        for client in 0..self.clients.len() {
            for name in NAMES {
                let command = self.clients[client].publish(name, Priority::Normal, 10, false);
                self.command(client, command);
            }
        }
        self.settle();
        self.become_quiet();
    }

    pub(crate) fn judge(&self) {
        if let Some(ways) = &self.ways {
            let lives = |(server, life): (usize, u64)| self.lives[server] == life;
            self.log.borrow_mut().history = ways.redis.history(lives);
        }
        verdict::judge(&self.clients, &self.log.borrow(), self.everything_retained);
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally {
            digest: self.digest.finish(),
            repeated: self.log.borrow().repeated,
            restarts: self.restarts,
            ..Tally::default()
        };
        if let Some(ways) = &self.ways {
            tally.failovers = ways.failovers;
            tally.losses = ways.redis.losses;
            tally.put_back = ways.redis.put_back;
            tally.moved = ways.redis.moved();
            tally.repeated = ways.redis.repeated;
        }
        for client in &self.clients {
            let counters = client.machine.stats().counters;
            tally.deliveries += client.deliveries;
            tally.published += counters.published;
            tally.reconnects += counters.reconnects;
            tally.switches += counters.switches;
            tally.resent += counters.resent;
            tally.duplicates += counters.duplicates;
            tally.gaps += counters.gaps;
        }
        for server in &self.servers {
            let living = server.peers.values().map(|peer| peer.feed.stats());
            for stats in living.chain([server.past]) {
                tally.recovered += stats.recovered;
                tally.dropped_low += stats.dropped_low;
                tally.fell_behind += stats.fell_behind;
            }
        }
        tally
    }

    fn become_quiet(&mut self) {
        let patience = self.now + PATIENCE;
        while !self.is_quiet() {
            assert!(self.now < patience, "it does not become quiet: {}", self.noise());
            self.run_until(self.now + Duration::from_millis(100));
        }
    }

    fn is_quiet(&self) -> bool {
        let settled = |wire: &Wire| {
            !wire.up.swallows
                && !wire.down.swallows
                && wire.up.in_flight == 0
                && wire.down.in_flight == 0
        };
        let served = |server: &Server| {
            let mut peers = server.peers.iter().filter(|(line, _)| !self.wires[line].left);
            !server.signalled && server.up && peers.all(|(_, peer)| peer.is_quiet())
        };
        self.clients.iter().all(Client::is_quiet)
            && self.servers.iter().all(served)
            && self.is_settled()
            && self.wires.values().filter(|wire| !wire.left).all(settled)
    }

    /// Whether the Redis is whole, and what is read of it is what it has.
    fn is_settled(&self) -> bool {
        let Some(ways) = &self.ways else { return true };
        let partitioning = &self.log.borrow().partitioning;
        let same = |backplane: &Backplane| {
            lanes(partitioning).all(|lane| {
                backplane.readable_head(lane).is_none_or(|head| Some(head) == ways.redis.head(lane))
            })
        };
        ways.is_whole() && self.backplanes.iter().all(same)
    }

    fn noise(&self) -> String {
        let loud = self.clients.iter().filter(|client| !client.is_quiet());
        let clients: Vec<_> =
            loud.map(|client| (client.machine.status(), client.machine.stats())).collect();
        format!("{clients:?}")
    }

    fn run_until(&mut self, until: Time) {
        let mut steps = 0;
        while let Some(at) = self.next().filter(|at| *at <= until) {
            steps = if at > self.now { 0 } else { steps + 1 };
            assert!(steps < 100_000, "time stands still");
            self.now = self.now.max(at);
            for backplane in &mut self.backplanes {
                if let Some(instance) = backplane.instance() {
                    instance.now = self.now;
                }
            }
            self.step();
            self.settle();
        }
        self.now = until;
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let clients = self.clients.iter().filter_map(|client| client.machine.next_timeout()).min();
        let servers = self.servers.iter().filter_map(Server::next_timeout).min();
        let alive = self.backplanes.iter().zip(&self.servers).filter(|(_, server)| server.up);
        let backplanes = alive.filter_map(|(backplane, _)| backplane.next_timeout()).min();
        earliest(earliest(queued, backplanes), earliest(clients, servers))
    }

    fn step(&mut self) {
        if let Some(entry) = self.queue.first_entry()
            && entry.key().0 <= self.now
        {
            let happening = entry.remove();
            return self.happen(happening);
        }
        for client in 0..self.clients.len() {
            let machine = &mut self.clients[client].machine;
            if machine.next_timeout().is_some_and(|at| at <= self.now) {
                machine.handle_timeout(self.now);
                self.drain(client);
            }
        }
        for (backplane, server) in self.backplanes.iter_mut().zip(&self.servers) {
            if let Some(instance) = backplane.instance()
                && server.up
            {
                instance.handle_timeout(self.now, |partition| server.is_interested(partition));
            }
        }
        for server in 0..self.servers.len() {
            if self.servers[server].next_timeout().is_some_and(|at| at <= self.now) {
                self.servers[server].stirred = true;
                self.release(server);
                for (line, close) in self.servers[server].handle_timeout(self.now) {
                    self.close_by_server(server, line, close);
                }
            }
        }
    }

    pub(crate) fn schedule(&mut self, at: Time, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), happening);
    }

    pub(crate) fn soon(&mut self) -> Time {
        self.now + delay(&mut self.rng)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act(act) => self.act(act),
            Happening::Redis(traffic) => self.traffic(traffic),
            Happening::Fault(partition, fault) => self.go_wrong(partition, fault),
            Happening::Dialled(line) => self.dialled(line),
            Happening::Opened(line, subprotocol) => {
                self.input(line.client, Input::Io(IoEvent::WsOpened { id: line.io, subprotocol }));
            }
            Happening::Up(line, frame) => {
                let wire = &self.wires[&line];
                if !wire.up.swallows {
                    let server = &mut self.servers[wire.server];
                    server.stirred = true;
                    server.arrived(line, frame);
                }
            }
            Happening::Down(line, bytes) => self.down(line, &bytes),
            Happening::ClientLost(line, close) => self.client_lost(line, close),
            Happening::ServerLost(line) => {
                let server = self.wires[&line].server;
                self.servers[server].lose(line, &self.backplanes[server]);
            }
            Happening::Signal(server) => {
                self.servers[server].stirred = true;
                self.servers[server].forward(&self.backplanes[server]);
            }
            Happening::ServerBack(server) => {
                if !self.servers[server].up {
                    self.servers[server].up = true;
                    self.backplanes[server] = self.backplane();
                    self.start_instance(server);
                }
            }
            Happening::Online(client) => self.input(client, Input::Online(true)),
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Publish { client, name, priority, size, count } => {
                for _ in 0..count {
                    let command = self.clients[client].publish(name, priority, size, false);
                    self.command(client, command);
                }
            }
            Act::PublishVolatile { client, name } => {
                let command = self.clients[client].publish(name, Priority::Normal, 20, true);
                self.command(client, command);
            }
            Act::Subscribe { client, pattern } => {
                let command = self.clients[client].subscribe(pattern, None);
                self.command(client, command);
            }
            Act::SubscribeSince { client, pattern } => {
                let since = self.somewhere();
                let command = self.clients[client].subscribe(pattern, Some(since));
                self.command(client, command);
            }
            Act::Unsubscribe { client, which } => {
                if let Some(command) = self.clients[client].unsubscribe(which) {
                    self.command(client, command);
                }
            }
            Act::Switch { client, transport } => {
                let command = self.clients[client].switch(transport);
                self.command(client, command);
            }
            Act::Cut { client, how } => self.cut_all(|line, _| line.client == client, how),
            Act::Offline { client, back } => {
                self.cut_all(|line, _| line.client == client, Cut::Silent);
                self.input(client, Input::Online(false));
                self.schedule(self.now + back, Happening::Online(client));
            }
            Act::Restart { server, down } => {
                let how = if self.rng.chance(800) { Cut::Clean } else { Cut::Silent };
                self.cut_all(|_, wire| wire.server == server, how);
                self.servers[server].crash(&self.backplanes[server]);
                self.lives[server] += 1;
                self.forget_life(server);
                self.restarts += 1;
                self.schedule(self.now + down, Happening::ServerBack(server));
            }
        }
    }

    fn cut_all(&mut self, which: impl Fn(&Line, &Wire) -> bool, how: Cut) {
        let lines = self.wires.iter().filter(|(line, wire)| !wire.left && which(line, wire));
        for line in lines.map(|(line, _)| *line).collect::<Vec<_>>() {
            self.cut(line, how);
        }
    }

    fn cut(&mut self, line: Line, how: Cut) {
        let Some(wire) = self.wires.get_mut(&line) else { return };
        wire.down.swallows = true;
        wire.up.swallows |= how != Cut::Half;
        let arrived = wire.up.arrival(self.now, &mut self.rng);
        if how == Cut::Silent {
            return;
        }
        let (noticed, lost) = (self.soon(), self.soon());
        self.schedule(noticed, Happening::ClientLost(line, abnormal("cut")));
        self.schedule(lost.max(arrived), Happening::ServerLost(line));
    }

    /// An attempt at a connection has reached its server.
    fn dialled(&mut self, line: Line) {
        let wire = self.wires.get_mut(&line).expect("a wire that was dialled");
        if wire.left {
            return;
        }
        let server = &mut self.servers[wire.server];
        if self.troubled && self.rng.chance(30) {
            return wire.down.swallows = true;
        }
        if !server.up {
            let at = self.soon();
            return self.schedule(at, Happening::ClientLost(line, abnormal("refused")));
        }
        server.stirred = true;
        if self.told {
            println!("{:?} client {} reaches server {}", self.now, line.client, wire.server);
        }
        let subprotocol = server.accept(self.now, line, wire.socketio, wire.subprotocol);
        let at = wire.down.arrival(self.now, &mut self.rng);
        self.schedule(at, Happening::Opened(line, subprotocol));
    }

    /// Bytes of a server have arrived.
    fn down(&mut self, line: Line, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let wire = self.wires.get_mut(&line).expect("a wire that was sent on");
            if wire.left || wire.down.swallows {
                return;
            }
            let incoming = wire.decoder.decode(&mut rest).expect("finished frames");
            match incoming {
                Some(Incoming::Message(frame)) => {
                    self.input(line.client, Input::Io(IoEvent::WsFrame { id: line.io, frame }));
                }
                Some(Incoming::Close(close)) => {
                    let (code, reason) = close.unwrap_or((CloseCode::ABNORMAL, String::new()));
                    return self.client_lost(line, Close::new(code, reason));
                }
                Some(other) => panic!("nobody sends {other:?} here"),
                None => break,
            }
        }
        let wire = self.wires.get_mut(&line).expect("a wire that was sent on");
        wire.down.in_flight -= bytes.len();
        self.servers[wire.server].stirred = true;
    }

    fn client_lost(&mut self, line: Line, close: Close) {
        let wire = self.wires.get_mut(&line).expect("a wire that was lost");
        if !std::mem::replace(&mut wire.left, true) {
            self.input(line.client, Input::Io(IoEvent::WsClosed { id: line.io, close }));
        }
    }

    fn close_by_server(&mut self, server: usize, line: Line, close: Close) {
        for bytes in self.servers[server].close(self.now, line, close, &self.backplanes[server]) {
            self.send_down(line, bytes);
        }
        let wire = self.wires.get_mut(&line).expect("a wire to a server");
        if !wire.down.swallows {
            let at = wire.down.arrival(self.now, &mut self.rng);
            self.schedule(at, Happening::ClientLost(line, abnormal("closed")));
        }
    }

    fn send_down(&mut self, line: Line, bytes: Bytes) {
        let wire = self.wires.get_mut(&line).expect("a wire to a server");
        wire.down.in_flight += bytes.len();
        if !wire.down.swallows {
            let at = wire.down.arrival(self.now, &mut self.rng);
            self.schedule(at, Happening::Down(line, bytes));
        }
    }

    fn command(&mut self, client: usize, command: Command) {
        self.clients[client].machine.handle_command(self.now, command);
        self.drain(client);
    }

    fn input(&mut self, client: usize, input: Input) {
        self.clients[client].machine.handle_input(self.now, input);
        self.drain(client);
    }

    /// Does what a client's machine says.
    fn drain(&mut self, client: usize) {
        while let Some(output) = self.clients[client].machine.poll_output() {
            match output {
                Output::Io(Io::OpenWs { id: io, url, subprotocol, .. }) => {
                    let server = self.rng.below(self.servers.len() as u64) as usize;
                    let line = Line { client, io };
                    self.wires.insert(line, Wire::new(server, &url, subprotocol));
                    let at = self.soon();
                    self.schedule(at, Happening::Dialled(line));
                }
                Output::Io(Io::SendWs { id: io, frame }) => {
                    self.send_up(Line { client, io }, frame)
                }
                Output::Io(Io::CloseWs { id: io, .. }) => {
                    let line = Line { client, io };
                    let wire = self.wires.get_mut(&line).expect("a wire that was opened");
                    wire.left = true;
                    if !wire.up.swallows {
                        let at = wire.up.arrival(self.now, &mut self.rng);
                        self.schedule(at, Happening::ServerLost(line));
                    }
                }
                Output::Io(io) => panic!("{io:?} where everything is a WebSocket"),
                Output::NeedToken { .. } => panic!("nobody is authenticated"),
                Output::App(notice) => {
                    if let Notice::Event { delivery, .. } = &notice {
                        (self.now, client, delivery.position).hash(&mut self.digest);
                    }
                    if self.told {
                        println!("{:?} client {client} {notice:?}", self.now);
                    }
                    self.clients[client].notice(notice);
                }
            }
        }
    }

    fn send_up(&mut self, line: Line, frame: Frame) {
        let wire = self.wires.get_mut(&line).expect("a wire that was opened");
        wire.up.in_flight += server::size(&frame);
        let filled = wire.up.in_flight > UP_WINDOW && !wire.full;
        wire.full |= filled;
        if !wire.up.swallows {
            let at = wire.up.arrival(self.now, &mut self.rng);
            self.schedule(at, Happening::Up(line, frame));
        }
        if filled {
            let input = Input::Io(IoEvent::Writable { id: line.io, writable: false });
            self.clients[line.client].machine.handle_input(self.now, input);
        }
    }

    /// Servers read what has arrived and write what waits, and learn of new events after a while.
    fn settle(&mut self) {
        loop {
            for server in 0..self.servers.len() {
                if !std::mem::take(&mut self.servers[server].stirred) {
                    continue;
                }
                for line in self.servers[server].peers.keys().copied().collect::<Vec<_>>() {
                    self.serve(server, line);
                }
            }
            for server in 0..self.servers.len() {
                self.settle_instance(server);
            }
            if !self.servers.iter().any(|server| server.stirred) {
                break;
            }
        }
        if std::mem::take(&mut self.log.borrow_mut().grown) {
            for server in 0..self.servers.len() {
                self.signal(server);
            }
        }
    }

    fn signal(&mut self, server: usize) {
        if !std::mem::replace(&mut self.servers[server].signalled, true) {
            let at = self.soon();
            self.schedule(at, Happening::Signal(server));
        }
    }

    /// What the machines of a server's instance have come to is handed on.
    fn settle_instance(&mut self, server: usize) {
        let Some(instance) = self.backplanes[server].instance() else { return };
        let Outcome { news, readable, loaded, published } = std::mem::take(&mut instance.outcome);
        if news {
            self.signal(server);
        }
        self.servers[server].loaded(&loaded);
        for (token, result) in published {
            self.servers[server].published(self.now, token, result);
        }
        if readable {
            self.servers[server].stirred = true;
            self.release(server);
        }
        self.send_work(server);
    }

    fn release(&mut self, server: usize) {
        let (servers, backplanes) = (&mut self.servers, &self.backplanes);
        for line in servers[server].peers.keys().copied().collect::<Vec<_>>() {
            servers[server].release(self.now, line, &backplanes[server]);
        }
    }

    /// A place in each lane, at or before its head.
    fn somewhere(&mut self) -> Cursor {
        let Some(ways) = &self.ways else { return self.log.borrow().somewhere(&mut self.rng) };
        let mut cursor = Cursor::new();
        for lane in lanes(&self.log.borrow().partitioning) {
            let Some(head) = ways.redis.head(lane) else { continue };
            let places: Vec<Offset> = ways.redis.places(lane).collect();
            let at = self.rng.below(places.len() as u64 + 1) as usize;
            if let Some(offset) = places.get(at) {
                cursor.set(lane, Place { epoch: head.epoch, offset: *offset });
            }
        }
        cursor
    }

    fn serve(&mut self, server: usize, line: Line) {
        loop {
            match self.servers[server].read(self.now, line, &self.backplanes[server]) {
                Ok(Some(size)) => self.room(line, size),
                Ok(None) => break,
                Err(close) => return self.close_by_server(server, line, close),
            }
        }
        let room = self.window.saturating_sub(self.wires[&line].down.in_flight);
        let Some(peer) = self.servers[server].peers.get_mut(&line) else { return };
        let written = peer.write(room, &self.backplanes[server]);
        if !written.is_empty() {
            self.send_down(line, written.into());
        }
    }

    /// A server has read what a client had sent.
    fn room(&mut self, line: Line, size: usize) {
        let wire = self.wires.get_mut(&line).expect("a wire that was read from");
        wire.up.in_flight -= size;
        if wire.full && wire.up.in_flight <= UP_WINDOW / 2 {
            wire.full = false;
            if !wire.left {
                self.input(
                    line.client,
                    Input::Io(IoEvent::Writable { id: line.io, writable: true }),
                );
            }
        }
    }
}

fn abnormal(reason: &str) -> Close {
    Close::new(CloseCode::ABNORMAL, reason)
}
