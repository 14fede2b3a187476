//! A server, its clients, and what happens to them.

use std::collections::{BTreeMap, BTreeSet};

use tidings_core::rng::Rng;
use tidings_core::state::{
    Change, Collection, Edit, Limits, Mutation, Op, Policy, Verdict, Version, wire,
};

use crate::Tally;
use crate::edits::{self, COUNTER, key};
use crate::peer::{Answer, Ask, Peer};

/// Something that a correct system would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// A change is not published.
    LoseChange,
    /// The server does not know what it has judged.
    ForgetClients,
    /// One of a mutation's changes is lost.
    HalfMutation,
}

const STEPS: u64 = 300;

pub(crate) struct World {
    rng: Rng,
    sabotage: Option<Sabotage>,
    told: bool,
    now_us: u64,
    policy: Policy,
    collection: Collection,
    log: Vec<Change>,
    peers: Vec<Peer>,
    /// What was cut off and comes late.
    late: Vec<(usize, Ask)>,
    /// The amounts that were accepted for the counter.
    counted: i64,
    /// In this world the server may forget everything.
    forgetful: bool,
    forgot: bool,
    tally: Tally,
}

impl World {
    pub(crate) fn new(seed: u64, sabotage: Option<Sabotage>, told: bool) -> Self {
        let mut rng = Rng::new(seed);
        let policy = edits::any_policy(&mut rng);
        let peers = 2 + rng.below(3);
        let forgetful = rng.chance(200);
        let now_us = 1_000_000_000;
        let mut world = Self {
            sabotage,
            told,
            now_us,
            collection: collection(&policy, sabotage, now_us),
            log: Vec::new(),
            peers: (0..peers).map(|n| Peer::new(&format!("client {n}"), &policy)).collect(),
            late: Vec::new(),
            counted: 0,
            forgetful,
            forgot: false,
            tally: Tally::default(),
            policy,
            rng,
        };
        world.begin();
        world
    }

    /// The server's own mutation, as a service would make it.
    fn begin(&mut self) {
        let edit = Edit::Insert(edits::document(r#"{"n":0}"#));
        let op = Op { key: key(COUNTER), base: None, was: None, edit };
        self.now_us += 1000;
        let mutation = Mutation { id: None, time: 0, ops: vec![op] };
        self.log.extend(self.collection.mutate(self.now_us, mutation).changes);
    }

    pub(crate) fn live(&mut self) {
        for _ in 0..STEPS {
            self.now_us += self.rng.below(3000);
            let n = self.rng.below(self.peers.len() as u64) as usize;
            match self.rng.below(100) {
                0..25 => self.edit(n),
                25..35 => self.peers[n].save(),
                35..38 => self.peers[n].tidy(),
                38..40 => self.cut(n),
                40..50 if !self.peers[n].connected => self.connect(n),
                50..51 => {
                    self.tally.restarts += 1;
                    self.peers[n].restart();
                }
                51 if self.forgetful => self.forget(),
                52..55 => self.late_ask(),
                55..70 => self.peers[n].send(),
                _ => self.work(n),
            }
            self.peers[n].hear();
            if self.rng.chance(150) {
                self.peers[n].check();
            }
        }
    }

    /// Whatever was broken is whole again, until nothing is to be done any more.
    pub(crate) fn heal(&mut self) {
        while !self.late.is_empty() {
            self.late_ask();
        }
        for _ in 0..10_000 {
            for n in 0..self.peers.len() {
                if !self.peers[n].connected {
                    self.connect(n);
                }
                self.peers[n].save();
                self.peers[n].send();
                self.work(n);
                self.peers[n].hear();
            }
            if self.peers.iter().all(|peer| peer.is_done() && peer.cursor == self.log.len()) {
                return;
            }
        }
        for peer in &self.peers {
            self.tell(|_| format!("{:#?}", peer.store));
        }
        panic!("it does not come to an end");
    }

    fn edit(&mut self, n: usize) {
        let now_ms = self.now_us / 1000 + self.rng.below(4);
        let store = &mut self.peers[n].store;
        let made = match self.rng.below(12) {
            0 => store.undo(now_ms),
            1 => store.redo(now_ms),
            _ => store.mutate(now_ms, edits::any(&mut self.rng, store)).map(Some),
        };
        if let Ok(Some(seq)) = made {
            self.tell(|world| format!("{n} makes {:?}", world.peers[n].store.mutation(seq)));
        }
        self.tally.undone += u64::from(store_can_redo(&self.peers[n]));
    }

    fn cut(&mut self, n: usize) {
        self.tally.cuts += u64::from(self.peers[n].connected);
        let lost = self.peers[n].cut();
        for ask in lost {
            if self.rng.chance(500) {
                self.late.push((n, ask));
            }
        }
    }

    fn connect(&mut self, n: usize) {
        let fresh = self.peers[n].store.version() == Version(0);
        let gap = !fresh && self.rng.chance(300);
        let (end, had) = (self.log.len(), self.peers[n].cursor);
        let cursor = if fresh || gap || had > end { end } else { had };
        self.tally.gaps += u64::from(gap);
        self.tell(|_| format!("{n} connects at {cursor} of {end}"));
        self.peers[n].connect(cursor, gap || had > end);
    }

    /// The server's process starts again with nothing.
    fn forget(&mut self) {
        self.forgot = true;
        self.now_us += 1_000_000;
        self.collection = collection(&self.policy, self.sabotage, self.now_us);
        self.log.clear();
        self.begin();
        for n in 0..self.peers.len() {
            self.cut(n);
            self.peers[n].cursor = usize::MAX;
        }
        self.late.clear();
        self.tell(|_| "the server forgets".to_owned());
    }

    /// What was cut off arrives after all. Nobody waits for the answer.
    fn late_ask(&mut self) {
        if !self.late.is_empty() {
            let at = self.rng.below(self.late.len() as u64) as usize;
            let (_, ask) = self.late.remove(at);
            self.answer(ask);
        }
    }

    /// Something is done about what is on the way to or from a client.
    fn work(&mut self, n: usize) {
        if !self.peers[n].connected {
            return;
        }
        match self.rng.below(3) {
            0 => {
                if let Some(ask) = self.peers[n].asks.pop_front() {
                    let answer = self.answer(ask);
                    self.peers[n].answers.push_back(answer);
                }
            }
            1 => {
                let at = self.rng.below(self.peers[n].answers.len() as u64) as usize;
                if let Some(answer) = self.peers[n].answers.remove(at) {
                    self.tell(|_| format!("{n} is answered {answer:?}"));
                    if let Answer::Page(_, page) = &answer {
                        self.tally.resets += u64::from(page.reset);
                    }
                    self.peers[n].take(answer);
                }
            }
            _ => {
                if let Some(change) = self.log.get(self.peers[n].cursor).cloned() {
                    let read = wire::read_change(&wire::write_change(&change));
                    assert_eq!(read.as_ref(), Ok(&change));
                    self.tell(|_| format!("{n} is sent {change:?}"));
                    self.peers[n].cursor += 1;
                    self.peers[n].store.confirm(change);
                }
            }
        }
    }

    /// What the server answers. Everything goes over the wire, and comes out as it went in.
    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Load(load) => {
                assert_eq!(wire::read_load(&wire::write_load(&load)).as_ref(), Ok(&load));
                let page = self.collection.load(&load);
                let loaded = wire::read_loaded(&wire::write_loaded(&self.policy, &page)).unwrap();
                assert_eq!((&*loaded.policy, &loaded.page), (self.policy.as_str(), &page));
                Answer::Page(load, page)
            }
            Ask::Mutate(batch) => {
                let client = batch[0].id.as_ref().unwrap().client.clone();
                let written = wire::write_mutate(&client, batch.iter().map(|m| &**m));
                let read = wire::read_mutate(&written, &self.collection.rules().limits).unwrap();
                assert!(read.iter().map(|asked| &asked.mutation).eq(batch.iter().map(|m| &**m)));
                let verdicts: Vec<_> = read.into_iter().map(|m| self.mutate(m.mutation)).collect();
                let written = verdicts.iter().map(|(seq, verdict)| (Some(*seq), verdict));
                assert_eq!(
                    wire::read_verdicts(&wire::write_verdicts(written)).as_ref(),
                    Ok(&verdicts)
                );
                Answer::Verdicts(verdicts)
            }
        }
    }

    fn mutate(&mut self, mutation: Mutation) -> (u64, Verdict) {
        let seq = mutation.id.as_ref().map_or(0, |id| id.seq);
        self.now_us += 1 + self.rng.below(500);
        let judged = self.collection.mutate(self.now_us, mutation.clone());
        self.tell(|_| format!("judged {:?}: {:?}", mutation.id, judged.verdict));
        match &*judged.verdict {
            Verdict::Accepted { .. } if judged.changes.is_empty() => self.tally.repeated += 1,
            Verdict::Accepted { conflicts, .. } => {
                self.tally.accepted += 1;
                self.tally.conflicts += conflicts.len() as u64;
                self.counted += mutation.ops.iter().filter_map(amount).sum::<i64>();
            }
            Verdict::Rejected(_) => self.tally.rejected += 1,
            Verdict::Forgotten => {}
        }
        let lose = match self.sabotage {
            Some(Sabotage::LoseChange) => self.rng.chance(100),
            Some(Sabotage::HalfMutation) => judged.changes.len() > 1,
            _ => false,
        };
        self.log.extend(judged.changes.into_iter().skip(usize::from(lose)));
        (seq, (*judged.verdict).clone())
    }

    pub(crate) fn judge(&mut self) {
        let records: Vec<_> = self.collection.iter().map(|(k, r)| (k, &r.value)).collect();
        for peer in &self.peers {
            assert_eq!(peer.store.iter().collect::<Vec<_>>(), records, "{}", peer.store.client());
        }
        if self.forgot {
            return;
        }
        let count = edits::document(&format!(r#"{{"n":{}}}"#, self.counted));
        assert_eq!(self.collection.get(COUNTER).map(|record| &record.value), Some(&count));
        let mut effects: BTreeMap<(&str, u64), usize> = BTreeMap::new();
        let mut changed = BTreeSet::new();
        for change in &self.log {
            let Some(by) = &change.stamp.by else { continue };
            *effects.entry((&by.client, by.seq)).or_default() += 1;
            assert!(changed.insert((&by.client, by.seq, &change.key)), "twice: {change:?}");
        }
        let versions: Vec<_> = self.log.iter().map(|change| change.stamp.version).collect();
        assert!(versions.is_sorted_by(|a, b| a < b), "versions grow");
        for peer in &self.peers {
            for (seq, told) in &peer.told {
                let client = peer.store.client();
                let effects = effects.get(&(&**client, *seq)).copied().unwrap_or_default();
                let what = format!("{client}'s mutation {seq} with {effects} effects: {told:?}");
                assert!(told.acknowledged != told.rejected || told.unsure, "{what}");
                assert!(told.unsure || (effects > 0) == told.acknowledged, "{what}");
                assert!(told.observed || told.rejected || told.unwaited, "{what}");
            }
        }
    }

    pub(crate) fn tally(mut self) -> Tally {
        for (key, record) in self.collection.iter() {
            for byte in key.bytes().chain(record.value.as_str().bytes()) {
                self.tally.digest = self.tally.digest.rotate_left(5) ^ u64::from(byte);
            }
        }
        self.tally
    }

    fn tell(&self, what: impl FnOnce(&Self) -> String) {
        if self.told {
            println!("{:>8} {}", self.now_us % 100_000_000, what(self));
        }
    }
}

fn store_can_redo(peer: &Peer) -> bool {
    peer.store.can_undo_redo().1
}

pub(crate) fn amount(op: &Op) -> Option<i64> {
    let Edit::Increment(by) = &op.edit else { return None };
    let text = by.as_str().strip_prefix(r#"{"n":"#)?.strip_suffix('}')?;
    text.parse().ok()
}

fn collection(policy: &Policy, sabotage: Option<Sabotage>, now_us: u64) -> Collection {
    let forgets = sabotage == Some(Sabotage::ForgetClients);
    let limits = Limits {
        max_page: 2,
        max_deletions: 2,
        max_verdicts: 8,
        max_clients: if forgets { 0 } else { 10 },
        ..Limits::default()
    };
    Collection::new(policy.clone(), limits, now_us)
}
