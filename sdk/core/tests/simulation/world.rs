//! The world: what happens when, and who is told.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use bytes::Bytes;
use tidings_core::client::{Command, Input, Notice, Output};
use tidings_core::io::{Io, IoEvent};
use tidings_core::message::{Close, CloseCode, Frame};
use tidings_core::rng::Rng;
use tidings_core::time::earliest;
use tidings_core::websocket::Incoming;
use tidings_core::{Priority, Time};

use crate::client::Client;
use crate::log::Log;
use crate::network::{Cut, Line, Wire, delay};
use crate::plan::{Act, NAMES, Plan};
use crate::server::{self, Server};
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

enum Happening {
    Act(Act),
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
    now: Time,
    rng: Rng,
    queue: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    log: Log,
    servers: Vec<Server>,
    clients: Vec<Client>,
    wires: BTreeMap<Line, Wire>,
    window: usize,
    end: Time,
    everything_retained: bool,
    troubled: bool,
    /// Whether what applications are told is printed.
    pub(crate) told: bool,
    restarts: u64,
    digest: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let log = Log::new(plan.retained);
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
            servers: (0..plan.servers).map(|_| Server::new(&log, sabotage)).collect(),
            log,
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
        world
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
        verdict::judge(&self.clients, &self.log, self.everything_retained);
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally {
            digest: self.digest.finish(),
            repeated: self.log.repeated,
            restarts: self.restarts,
            ..Tally::default()
        };
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
            && self.wires.values().filter(|wire| !wire.left).all(settled)
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
        earliest(queued, earliest(clients, servers))
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
        for server in 0..self.servers.len() {
            if self.servers[server].next_timeout().is_some_and(|at| at <= self.now) {
                self.servers[server].stirred = true;
                for (line, close) in self.servers[server].handle_timeout(self.now) {
                    self.close_by_server(server, line, close);
                }
            }
        }
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now), self.scheduled), happening);
    }

    fn soon(&mut self) -> Time {
        self.now + delay(&mut self.rng)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Act(act) => self.act(act),
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
                self.servers[self.wires[&line].server].lose(line, &self.log);
            }
            Happening::Signal(server) => {
                self.servers[server].stirred = true;
                self.servers[server].forward(&self.log);
            }
            Happening::ServerBack(server) => self.servers[server].up = true,
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
                let since = self.log.somewhere(&mut self.rng);
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
                self.servers[server].crash(&self.log);
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
        for bytes in self.servers[server].close(self.now, line, close, &self.log) {
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
        for server in 0..self.servers.len() {
            if !std::mem::take(&mut self.servers[server].stirred) {
                continue;
            }
            for line in self.servers[server].peers.keys().copied().collect::<Vec<_>>() {
                self.serve(server, line);
            }
        }
        if std::mem::take(&mut self.log.grown) {
            for server in 0..self.servers.len() {
                if !std::mem::replace(&mut self.servers[server].signalled, true) {
                    let at = self.soon();
                    self.schedule(at, Happening::Signal(server));
                }
            }
        }
    }

    fn serve(&mut self, server: usize, line: Line) {
        loop {
            match self.servers[server].read(self.now, line, &mut self.log) {
                Ok(Some(size)) => self.room(line, size),
                Ok(None) => break,
                Err(close) => return self.close_by_server(server, line, close),
            }
        }
        let room = self.window.saturating_sub(self.wires[&line].down.in_flight);
        let Some(peer) = self.servers[server].peers.get_mut(&line) else { return };
        let written = peer.write(room, &self.log);
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
