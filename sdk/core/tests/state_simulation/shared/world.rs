//! Servers, their clients, and what happens to them.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidings_core::Time;
use tidings_core::lane::Place;
use tidings_core::log::Read;
use tidings_core::log::shared::{Now, Partition, Settings};
use tidings_core::rng::Rng;
use tidings_core::state::{Edit, Limits, Mutation, Op, Rules, Verdict, wire};

use self::verdict::added_by_services;
use super::instance::{Instance, Settled, Waiting};
use super::redis::{PRIORITY, Redis, Step};
use super::{Sabotage, Tally};
use crate::edits::{self, COUNTER, key};
use crate::peer::{Answer, Ask, Peer};

const STEPS: u64 = 600;
const BEGINNING: u64 = 1_700_000_000_000_000;

/// How long all wait after a failover.
const SETTLE: Duration = Duration::from_millis(30);

/// How much longer a load waits for what a client has.
const LATE: Duration = Duration::from_millis(30);

/// Only services count this one up, whose mutations have no ids.
const SERVED: &str = "served";

/// A client, and where it is.
struct Member {
    peer: Peer,
    /// The server, and which of its lives.
    at: Option<(usize, u64)>,
    was_at: Option<(usize, u64)>,
    connection: u64,
    /// Its subscription is there.
    attached: bool,
    /// It is told then that it has missed something.
    gap: bool,
    cursor: Option<Place>,
}

struct World {
    rng: Rng,
    told: bool,
    now_us: u64,
    rules: Rules,
    settings: Arc<Settings>,
    redis: Redis,
    instances: Vec<Option<Instance>>,
    lives: u64,
    members: Vec<Member>,
    connections: u64,
    /// What was cut off and comes late, to which server.
    late: Vec<((usize, u64), Waiting)>,
    /// The amounts that were accepted for the counter, by mutation.
    counted: BTreeMap<(Arc<str>, u64), i64>,
    rejected: BTreeSet<(Arc<str>, u64)>,
    /// What services know to be counted, and what nobody told them of.
    served: i64,
    unknown: i64,
    tally: Tally,
}

/// Has a world live, heal, and be judged.
pub(crate) fn live(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Tally {
    let mut world = World::new(seed, sabotage, told);
    world.live();
    world.heal();
    world.judge();
    world.tally()
}

impl World {
    fn new(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Self {
        let mut rng = Rng::new(seed);
        let policy = edits::any_policy(&mut rng);
        let limits = Limits {
            max_page: 2,
            max_deletions: 2,
            max_verdicts: 8,
            max_clients: 20,
            ..Limits::default()
        };
        let settle =
            if sabotage == Some(Sabotage::WaitForNobody) { Duration::ZERO } else { SETTLE };
        let settings =
            Settings { settle, check_interval: Duration::from_millis(40), ..Settings::default() };
        let peers = 2 + rng.below(3);
        let member = |n| Member {
            peer: Peer::new(&format!("client {n}"), &policy),
            at: None,
            was_at: None,
            connection: 0,
            attached: false,
            gap: false,
            cursor: None,
        };
        let mut world = Self {
            told,
            now_us: 0,
            settings: Arc::new(settings),
            redis: Redis::new(sabotage),
            instances: (0..2 + rng.below(2)).map(|_| None).collect(),
            lives: 0,
            members: (0..peers).map(member).collect(),
            connections: 0,
            late: Vec::new(),
            counted: BTreeMap::new(),
            rejected: BTreeSet::new(),
            served: 0,
            unknown: 0,
            tally: Tally::default(),
            rules: Rules { policy, limits, check: None },
            rng,
        };
        for i in 0..world.instances.len() {
            world.start(i);
        }
        world.begin();
        world
    }

    /// A service makes the records that are counted up.
    fn begin(&mut self) {
        for name in [COUNTER, SERVED] {
            self.serve(0, name, Edit::Insert(edits::document(r#"{"n":0}"#)));
        }
        while self.redis.collection().records().count() < 2 {
            self.now_us += 1000;
            self.go_on(0, false);
        }
        // A replica that has nothing of the lane begins a new history.
        self.redis.replicate();
    }

    fn now(&self) -> Now {
        Now {
            time: Time::from_start(Duration::from_micros(self.now_us)),
            unix_micros: BEGINNING + self.now_us,
        }
    }

    fn start(&mut self, i: usize) {
        if self.instances[i].is_none() {
            self.lives += 1;
            let instance = Instance::new(self.lives, &self.settings, self.redis.takeover);
            self.instances[i] = Some(instance);
            let now = self.now();
            self.instance(i, |instance, _| instance.with(now, Partition::handle_timeout));
            self.tell(|_| format!("server {i} starts"));
        }
    }

    fn instance<R>(
        &mut self,
        i: usize,
        act: impl FnOnce(&mut Instance, &mut Redis) -> R,
    ) -> Option<R> {
        Some(act(self.instances[i].as_mut()?, &mut self.redis))
    }

    fn live(&mut self) {
        for _ in 0..STEPS {
            self.now_us += self.rng.below(4000);
            let n = self.rng.below(self.members.len() as u64) as usize;
            let i = self.rng.below(self.instances.len() as u64) as usize;
            match self.rng.below(100) {
                0..16 => self.edit(n),
                16..23 => self.members[n].peer.save(),
                23..25 => self.members[n].peer.tidy(),
                25..27 => self.cut(n),
                27..36 => self.connect(n),
                36 => self.restart_client(n),
                37 => self.kill(i),
                38..41 => self.start(i),
                41 => self.fail_over(),
                42..45 => self.redis.replicate(),
                45..47 => {
                    let by = 1 + self.rng.below(5);
                    self.serve(
                        i,
                        SERVED,
                        Edit::Increment(edits::patch(&format!(r#"{{"n":{by}}}"#))),
                    );
                }
                47 => self.late_ask(),
                48 => self.give_up(i),
                49..56 => self.send(n),
                56..75 => self.work(n),
                _ => {
                    let is_lost = self.rng.chance(250);
                    self.go_on(i, is_lost);
                }
            }
            self.members[n].peer.hear();
            if self.rng.chance(80) {
                self.members[n].peer.check();
            }
        }
    }

    /// Whatever was broken is whole again, until nothing is to be done any more.
    fn heal(&mut self) {
        while !self.late.is_empty() {
            self.late_ask();
        }
        for _ in 0..20_000 {
            self.now_us += 1000;
            for i in 0..self.instances.len() {
                self.start(i);
                for _ in 0..4 {
                    self.go_on(i, false);
                }
            }
            for n in 0..self.members.len() {
                self.connect(n);
                self.members[n].peer.save();
                self.send(n);
                self.work(n);
                self.members[n].peer.hear();
            }
            let head = self.redis.head();
            let is_done = |member: &Member| member.peer.is_done() && member.cursor == Some(head);
            let all_there = self.members.iter().all(is_done);
            if all_there && self.instances.iter().flatten().all(Instance::is_idle) {
                return;
            }
        }
        for member in &self.members {
            self.tell(|_| format!("{:?} {:#?}", member.cursor, member.peer.store));
        }
        panic!("it does not come to an end: {:?}", self.redis.head());
    }

    fn edit(&mut self, n: usize) {
        let now_ms = self.now().unix_micros / 1000 + self.rng.below(4);
        let store = &mut self.members[n].peer.store;
        let made = match self.rng.below(12) {
            0 => store.undo(now_ms),
            1 => store.redo(now_ms),
            _ => store.mutate(now_ms, edits::any(&mut self.rng, store)).map(Some),
        };
        if let Ok(Some(seq)) = made {
            self.tell(|world| format!("{n} makes {:?}", world.members[n].peer.store.mutation(seq)));
        }
    }

    /// A service at a server changes something, and does not say who it is.
    fn serve(&mut self, i: usize, name: &str, edit: Edit) {
        let op = Op { key: key(name), base: None, was: None, edit };
        let mutations = vec![Mutation { id: None, time: 0, ops: vec![op] }];
        let waiting = Waiting { from: None, mutations };
        self.instance(i, |instance, _| instance.queue.push_back(waiting));
    }

    fn cut(&mut self, n: usize) {
        let member = &mut self.members[n];
        self.tally.cuts += u64::from(member.at.is_some());
        let lost = member.peer.cut();
        member.attached = false;
        let at = member.at.take();
        for ask in lost {
            if let (Ask::Mutate(batch), Some(at)) = (ask, at)
                && self.rng.chance(500)
            {
                self.late.push((at, waiting(None, &batch)));
            }
        }
    }

    fn restart_client(&mut self, n: usize) {
        self.cut(n);
        self.members[n].peer.restart();
        self.members[n].cursor = None;
    }

    /// A client goes to one of the servers that are there.
    fn connect(&mut self, n: usize) {
        let there: Vec<_> = self
            .instances
            .iter()
            .enumerate()
            .filter_map(|(i, instance)| Some((i, instance.as_ref()?.life)))
            .collect();
        if self.members[n].at.is_some() || there.is_empty() {
            return;
        }
        self.connections += 1;
        let member = &mut self.members[n];
        let at = there[self.rng.below(there.len() as u64) as usize];
        self.tally.moves += u64::from(member.was_at.is_some_and(|was| was != at));
        (member.at, member.was_at, member.connection) = (Some(at), Some(at), self.connections);
        if member.cursor.is_some() && self.rng.chance(200) {
            // It was away for longer than the log goes back.
            member.gap = true;
            member.cursor = None;
            self.tally.gaps += 1;
        }
        self.tell(|world| format!("{n} connects to {at:?} at {:?}", world.members[n].cursor));
    }

    /// A server ends as a process does that is killed. What it has published a replica has.
    fn kill(&mut self, i: usize) {
        let Some(instance) = self.instances[i].take() else { return };
        self.tally.kills += 1;
        self.redis.replicate();
        self.tell(|_| format!("server {i} is killed"));
        self.unknown += instance.unanswered().map(added_by_services).sum::<i64>();
        for n in 0..self.members.len() {
            if self.members[n].at == Some((i, instance.life)) {
                self.cut(n);
            }
        }
    }

    /// A server has waited for the Redis for too long.
    fn give_up(&mut self, i: usize) {
        let Some(instance) = &mut self.instances[i] else { return };
        for waiting in instance.give_up() {
            self.unknown += added_by_services(&waiting);
            self.tell(|_| format!("server {i} gives up {waiting:?}"));
            if let Some((n, connection)) = waiting.from {
                self.answer(n, connection, Answer::Refused);
            }
        }
    }

    /// The replica takes over. All servers hear of it, and put back what they know, before the time is
    /// over in which they wait for each other.
    fn fail_over(&mut self) {
        let lost = self.redis.unreplicated();
        let mut instances = self.instances.iter_mut().flatten().collect::<Vec<_>>();
        if !lost.iter().all(|version| instances.iter_mut().any(|i| i.knows(*version))) {
            return self.redis.replicate();
        }
        self.redis.fail_over(self.now().time);
        self.tally.lost += lost.len() as u64;
        self.tally.failovers += 1;
        self.tell(|_| format!("a failover loses {lost:?}"));
        let until = self.now_us + SETTLE.as_micros() as u64;
        let is_mended = |world: &Self| {
            world.instances.iter().flatten().all(|instance| {
                let has_heard = instance.heard == world.redis.takeover;
                // Readers find what is lacking when they have looked where the lane stands.
                has_heard && instance.work.is_empty() && !instance.machine.is_writing()
            })
        };
        while !is_mended(self) {
            self.now_us += self.rng.below(60);
            assert!(self.now_us < until, "it was too slow");
            let i = self.rng.below(self.instances.len() as u64) as usize;
            self.go_on(i, false);
        }
    }

    /// What was cut off arrives after all. Nobody waits for the answer.
    fn late_ask(&mut self) {
        if self.late.is_empty() {
            return;
        }
        let at = self.rng.below(self.late.len() as u64) as usize;
        let ((i, life), waiting) = self.late.remove(at);
        if let Some(instance) = self.instances[i].as_mut().filter(|there| there.life == life) {
            instance.queue.push_back(waiting);
        }
    }

    /// A server does something.
    fn go_on(&mut self, i: usize, is_lost: bool) {
        let now = self.now();
        let Some(instance) = &mut self.instances[i] else { return };
        if instance.heard != self.redis.takeover {
            instance.hear_of_takeover(now, self.redis.takeover);
        }
        let (settled, notice) = match self.rng.below(5) {
            0 => {
                instance.hear(now);
                Default::default()
            }
            1 | 2 => (Vec::new(), instance.ask(now, &mut self.redis)),
            3 => {
                instance.with(now, Partition::handle_timeout);
                self.load(i);
                Default::default()
            }
            _ => instance.judge(now, &self.rules, &mut self.redis, is_lost),
        };
        for listening in self.instances.iter_mut().flatten() {
            // A notice may be lost.
            if let Some(notice) = &notice
                && listening.listens.is_some()
                && !self.rng.chance(30)
            {
                listening.notices.push_back(notice.clone());
            }
        }
        self.settle(settled);
    }

    /// The first load that waits at a server is answered.
    fn load(&mut self, i: usize) {
        let now = self.now();
        let Some(instance) = &mut self.instances[i] else { return };
        let footing = instance.with(now, |machine, now| machine.footing(now, PRIORITY));
        let (Some((n, connection, load, until)), Some(footing)) =
            (instance.loads.front().cloned(), footing)
        else {
            return;
        };
        let limits = &self.rules.limits;
        match self.redis.load(now.unix_micros, footing.known, limits, &load) {
            Step::Behind(head) => {
                instance.with(now, |machine, now| machine.fell_behind(now, PRIORITY, head));
            }
            // What the client has may be about to be put back.
            Step::Done(page) if page.reset && page.version < load.began && now.time < until => {}
            Step::Done(page) => {
                instance.loads.pop_front();
                let loaded =
                    wire::read_loaded(&wire::write_loaded(&self.rules.policy, &page)).unwrap();
                assert_eq!(loaded.page, page);
                self.answer(n, connection, Answer::Page(load, page));
            }
        }
    }

    fn answer(&mut self, n: usize, connection: u64, answer: Answer) {
        let member = &mut self.members[n];
        if member.at.is_some() && member.connection == connection {
            member.peer.answers.push_back(answer);
        }
    }

    /// Mutations were judged, and what came of it was committed.
    fn settle(&mut self, settled: Settled) {
        for (waiting, verdicts) in settled {
            let mut told = Vec::new();
            for (mutation, verdict) in waiting.mutations.iter().zip(&verdicts) {
                self.tell(|_| format!("judged {:?}: {verdict:?}", mutation.id));
                self.note(mutation, verdict);
                let seq = mutation.id.as_ref().map_or(0, |id| id.seq);
                told.push((seq, Verdict::clone(verdict)));
            }
            if let Some((n, connection)) = waiting.from {
                self.answer(n, connection, Answer::Verdicts(told));
            }
        }
    }

    /// A client asks for what it needs, once it gets the changes that are to come.
    fn send(&mut self, n: usize) {
        if self.members[n].attached {
            self.members[n].peer.send();
        }
    }

    /// Something is done about what is on the way to or from a client.
    fn work(&mut self, n: usize) {
        let Some((i, _)) = self.members[n].at else { return };
        self.read(n, i);
        let member = &mut self.members[n];
        if !member.attached {
            return;
        }
        match self.rng.below(2) {
            0 => {
                let Some(ask) = member.peer.asks.pop_front() else { return };
                let connection = member.connection;
                let until = self.now().time + SETTLE + LATE;
                self.instance(i, |instance, _| match ask {
                    Ask::Load(load) => instance.loads.push_back((n, connection, load, until)),
                    Ask::Mutate(batch) => {
                        instance.queue.push_back(waiting(Some((n, connection)), &batch));
                    }
                });
            }
            _ => {
                let at = self.rng.below(member.peer.answers.len() as u64) as usize;
                if let Some(answer) = member.peer.answers.remove(at) {
                    if let Answer::Page(_, page) = &answer {
                        self.tally.resets += u64::from(page.reset);
                    }
                    self.tell(|_| format!("{n} is answered {answer:?}"));
                    self.members[n].peer.take(answer);
                }
            }
        }
    }

    /// A client is sent what the log has after its cursor. First it subscribes.
    fn read(&mut self, n: usize, i: usize) {
        let now = self.now();
        let limit = 1 + self.rng.below(3) as usize;
        let Some(instance) = &mut self.instances[i] else { return };
        instance.with(now, Partition::want);
        if !instance.machine.is_readable() {
            return;
        }
        let head = instance.machine.head(now, PRIORITY);
        let member = &mut self.members[n];
        let cursor = *member.cursor.get_or_insert(head);
        if !std::mem::replace(&mut member.attached, true) {
            member.peer.connect(0, std::mem::take(&mut member.gap));
        }
        let mut events = Vec::new();
        let read = instance
            .with(now, |machine, now| machine.read(now, PRIORITY, cursor, limit, &mut events));
        let Read::Done(gap) = read else { return };
        if let Some(gap) = gap {
            // Something was not put back at its place.
            member.cursor = Some(Place { epoch: head.epoch, offset: gap.to });
            member.peer.connect(0, true);
            self.tally.gaps += 1;
        }
        for logged in events {
            member.cursor = Some(Place { epoch: head.epoch, offset: logged.offset() });
            let change = wire::read_change(logged.event().payload.bytes()).unwrap();
            if self.told {
                println!("{:>10} {n} is sent {change:?}", self.now_us);
            }
            member.peer.store.confirm(change);
        }
    }

    fn tally(mut self) -> Tally {
        for change in self.redis.collection().records() {
            let value = change.value.iter().flat_map(|value| value.as_str().bytes());
            for byte in change.key.bytes().chain(value) {
                self.tally.digest = self.tally.digest.rotate_left(5) ^ u64::from(byte);
            }
        }
        let (put_back, commits_repeated) = (self.redis.put_back, self.redis.repeated);
        Tally { put_back, commits_repeated, ..self.tally }
    }

    fn tell(&self, what: impl FnOnce(&Self) -> String) {
        if self.told {
            println!("{:>10} {}", self.now_us, what(self));
        }
    }
}

fn waiting(from: Option<(usize, u64)>, batch: &[Arc<Mutation>]) -> Waiting {
    let mutations = batch.iter().map(|mutation| Mutation::clone(mutation)).collect();
    Waiting { from, mutations }
}
