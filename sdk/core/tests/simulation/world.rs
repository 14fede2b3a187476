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
use tidings_core::message::{Close, Frame};
use tidings_core::rng::Rng;
use tidings_core::time::earliest;
use tidings_core::{Priority, Time};

use crate::backplane::Backplane;
use crate::client::Client;
use crate::faults::Fault;
use crate::instance::{Instance, settings};
use crate::log::{Log, retention};
use crate::network::{Line, Wire};
use crate::plan::{Act, NAMES, Plan};
use crate::redis::Redis;
use crate::sabotage::Sabotage;
use crate::server::Server;
use crate::traffic::{Traffic, Ways};
use crate::{Tally, verdict};

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
    pub(crate) queue: BTreeMap<(Time, u64), Happening>,
    pub(crate) scheduled: u64,
    pub(crate) log: Rc<RefCell<Log>>,
    /// What each server has of what joins them.
    pub(crate) backplanes: Vec<Backplane>,
    pub(crate) ways: Option<Ways>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) servers: Vec<Server>,
    /// How often each server was started.
    pub(crate) lives: Vec<u64>,
    /// Which node answered a server's last append, by partition.
    pub(crate) appended_by: Vec<Vec<usize>>,
    pub(crate) clients: Vec<Client>,
    pub(crate) wires: BTreeMap<Line, Wire>,
    pub(crate) window: usize,
    pub(crate) end: Time,
    pub(crate) everything_retained: bool,
    pub(crate) troubled: bool,
    pub(crate) sabotage: Option<Sabotage>,
    /// Whether what applications are told is printed.
    pub(crate) told: bool,
    pub(crate) restarts: u64,
    pub(crate) digest: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, joined: Joined, sabotage: Option<Sabotage>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let log = Log::new(plan.retained);
        let partitioning = log.partitioning.clone();
        let retention = retention(plan.retained);
        let ways = (joined == Joined::ByRedis)
            .then(|| Ways::new(Redis::new(&partitioning, retention.clone(), &mut rng, sabotage)));
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
            sabotage,
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
        let far = if self.rng.chance(300) { 120_000_000 } else { 1000 };
        let fast = self.rng.below(2 * far) as i64 - far as i64;
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
            let mut log = self.log.borrow_mut();
            log.history = ways.redis.history(lives);
            log.forgot.clone_from(ways.redis.forgot());
            log.cut_offs.clone_from(&ways.cut_offs);
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
            tally.slots_moved = ways.moves;
            tally.forgot = ways.forgot;
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

    pub(crate) fn run_until(&mut self, until: Time) {
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
                for (line, close) in self.timed_out(server) {
                    self.close_by_server(server, line, close);
                }
            }
        }
    }

    fn timed_out(&mut self, server: usize) -> Vec<(Line, Close)> {
        self.servers[server].handle_timeout(self.now, &self.backplanes[server])
    }

    pub(crate) fn schedule(&mut self, at: Time, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), happening);
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

    pub(crate) fn command(&mut self, client: usize, command: Command) {
        self.clients[client].machine.handle_command(self.now, command);
        self.drain(client);
    }

    pub(crate) fn input(&mut self, client: usize, input: Input) {
        self.clients[client].machine.handle_input(self.now, input);
        self.drain(client);
    }

    /// Does what a client's machine says.
    pub(crate) fn drain(&mut self, client: usize) {
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
                Output::App(Notice::Gap { .. }) if self.is_sabotaged(Sabotage::HideGaps) => {}
                Output::App(notice) => {
                    if let Notice::Event { delivery, .. } = &notice {
                        (self.now, client, delivery.position).hash(&mut self.digest);
                    }
                    if self.told {
                        println!("{:?} client {client} {notice:?}", self.now);
                    }
                    let latest = crate::redis::latest(self.now);
                    self.clients[client].notice(notice, latest);
                }
            }
        }
    }
}
