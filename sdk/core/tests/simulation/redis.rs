//! A Redis cluster that is made up: for each partition a master and a replica that lags, takes
//! over, and then lacks what had not arrived; and another pair of them that its slot can move to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_core::lane::{Epoch, Lane, Offset, Partitioning, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{
    Answer, Append, AppendAnswer, Outcome, Published, Request, entry_of,
};
use tidings_core::rng::Rng;
use tidings_core::{Priority, Time};

use crate::log::{BEGINNING, Entry};
use crate::sabotage::Sabotage;
use crate::store::LaneStore;

/// By how many microseconds the clocks of nodes differ at most: by less than a takeover takes.
pub(crate) const CLOCKS_DIFFER: u64 = 50_000;

/// How many microseconds a clock is slow that is meant to do harm.
const SLOW: u64 = 5_000_000;

/// A life of a server: its number, and how often it was started before.
pub(crate) type Life = (usize, u64);

/// A write on its way to the replica.
struct Write {
    arrives: Time,
    number: u64,
    made: u64,
    what: Written,
}

enum Written {
    /// Lanes began, with this epoch.
    Begun(Epoch),
    /// Something was appended, and was given these places.
    Appended(Append, Vec<Offset>),
}

struct Node {
    up: bool,
    /// How many microseconds its clock is fast.
    fast: u64,
    /// Whether it believes so.
    is_master: bool,
    lanes: [LaneStore; Priority::COUNT],
    /// The last write that it has.
    has: u64,
}

/// The nodes of one partition, two by two.
pub(crate) struct Shard {
    nodes: [Node; 4],
    /// Which node has the keys.
    pub(crate) master: usize,
    /// Which node has them as the cluster says.
    pub(crate) owner: usize,
    /// How often another node became owner.
    pub(crate) takeovers: u64,
    /// The keys are moving from one node to another one.
    pub(crate) splits: bool,
    to_replica: VecDeque<Write>,
    written: u64,
    /// The replica gets nothing, until it takes over.
    pub(crate) cut: bool,
    /// It gets nothing for now.
    pub(crate) lags: bool,
}

/// An event that was appended, somewhere, at some time.
#[derive(Debug, Clone)]
pub(crate) struct Ever {
    pub(crate) published: Published,
    pub(crate) moved_from: Option<Offset>,
    /// By whose request.
    pub(crate) by: Life,
    /// While another node, which was cut off, took events as well.
    pub(crate) beside: bool,
}

pub(crate) struct Redis {
    pub(crate) shards: Vec<Shard>,
    retention: Retention,
    /// All that was ever appended.
    pub(crate) ever: BTreeMap<(Lane, Offset), Ever>,
    /// What failovers have lost and nobody has put back.
    pub(crate) lost: BTreeSet<(Lane, Offset)>,
    /// All that they have ever lost.
    ever_lost: BTreeSet<(Lane, Offset)>,
    /// Of those, the ones that were lost with the whole lane.
    forgotten: BTreeSet<(Lane, Offset)>,
    /// When lanes were lost as a whole, by their node's clock.
    forgot: BTreeMap<Lane, Vec<Offset>>,
    pub(crate) losses: u64,
    pub(crate) put_back: u64,
    /// Publishes that were there already.
    pub(crate) repeated: u64,
    pub(crate) sabotage: Option<Sabotage>,
}

/// How a node answers.
pub(crate) enum Reply {
    Down,
    Moved,
    /// The keys are on two nodes.
    Split,
    /// With the notice that goes out.
    Answer(Answer, Option<Vec<u8>>),
    /// When the replica has written so much.
    WhenWritten(u64),
}

impl Shard {
    /// The other node of a pair.
    pub(crate) const fn replica_of(node: usize) -> usize {
        node ^ 1
    }

    /// The node that a slot moves to.
    const fn target(&self) -> usize {
        (self.master ^ 2) & !1
    }

    /// A node has written something: the replica is to have it, too.
    fn write(&mut self, node: usize, mut write: Write) {
        self.written += 1;
        self.nodes[node].has = self.written;
        write.number = self.written;
        if node == self.master {
            let last = self.to_replica.back().map(|last| last.arrives);
            write.arrives = last.map_or(write.arrives, |last| last.max(write.arrives));
            self.to_replica.push_back(write);
        }
    }
}

/// Whether it is the same event; who puts back what was read fills in its id.
fn is_same(one: &Published, other: &Published) -> bool {
    (&one.producer, one.number) == (&other.producer, other.number)
}

/// The place that an event was given.
const fn fresh(outcome: &Outcome) -> Option<Offset> {
    if let Outcome::Fresh(offset) = outcome { Some(*offset) } else { None }
}

/// No node's clock shows more.
pub(crate) fn latest(now: Time) -> Offset {
    Offset(micros(now) + CLOCKS_DIFFER)
}

fn micros(now: Time) -> u64 {
    BEGINNING + now.since_start().as_micros() as u64
}

impl Redis {
    pub(crate) fn new(
        partitioning: &Partitioning,
        retention: Retention,
        rng: &mut Rng,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let shard = |number| Shard {
            nodes: [0, 1, 2, 3].map(|node| Node {
                up: true,
                fast: rng.below(CLOCKS_DIFFER),
                is_master: node == 0,
                lanes: lanes.map(|priority| LaneStore::new(Lane::new(number, priority))),
                has: 0,
            }),
            master: 0,
            owner: 0,
            takeovers: 0,
            splits: false,
            to_replica: VecDeque::new(),
            written: 0,
            cut: false,
            lags: false,
        };
        Self {
            shards: (0..partitioning.count()).map(shard).collect(),
            retention,
            ever: BTreeMap::new(),
            lost: BTreeSet::new(),
            ever_lost: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            forgot: BTreeMap::new(),
            losses: 0,
            put_back: 0,
            repeated: 0,
            sabotage,
        }
    }

    /// A request arrives at a node. `arrives`: when the replica has what it writes.
    pub(crate) fn ask(
        &mut self,
        now: Time,
        partition: usize,
        node: usize,
        request: &Request,
        by: Life,
        arrives: Time,
    ) -> Reply {
        if let Some(answer) = self.instead(request) {
            return Reply::Answer(answer, None);
        }
        let distorted = self.distorted(partition, request);
        let request = distorted.as_ref().unwrap_or(request);
        let shard = &mut self.shards[partition];
        let asked = &mut shard.nodes[node];
        let made = micros(now) + asked.fast - if distorted.is_some() { SLOW } else { 0 };
        if !asked.up {
            return Reply::Down;
        }
        if let Request::Replicate { .. } = request {
            return Reply::WhenWritten(asked.has);
        }
        if !asked.is_master {
            return Reply::Moved;
        }
        if shard.splits {
            return Reply::Split;
        }
        match request {
            Request::Look { new_epoch } => {
                let begins = asked.lanes.iter().any(|lane| lane.head().is_none());
                let standings = asked.lanes.each_mut().map(|lane| lane.look(made, *new_epoch));
                if begins {
                    let what = Written::Begun(*new_epoch);
                    shard.write(node, Write { arrives, number: 0, made, what });
                }
                Reply::Answer(Answer::Standing(standings), None)
            }
            Request::Read { lane, direction, from, limit } => {
                let lane = &mut asked.lanes[lane.priority() as usize];
                let mut answer = Answer::Chunk(lane.read(made, *direction, *from, *limit));
                self.spoil(request, &mut answer);
                Reply::Answer(answer, None)
            }
            Request::Append(append) => {
                let lane = append.lane.priority() as usize;
                if self.sabotage == Some(Sabotage::ForgetNumbers) {
                    asked.lanes[lane].forget_producers();
                }
                let (answer, notice) = asked.lanes[lane].append(made, &self.retention, append);
                if let AppendAnswer::Done { outcomes, .. } = &answer {
                    let fresh = outcomes.iter().filter_map(fresh).collect();
                    let what = Written::Appended(append.clone(), fresh);
                    shard.write(node, Write { arrives, number: 0, made, what });
                    let shard = &self.shards[partition];
                    let epoch = |node: usize| Some(shard.nodes[node].lanes[lane].head()?.epoch);
                    let is_current = epoch(node) == epoch(shard.master);
                    let by_master = node == shard.master;
                    let other = &shard.nodes[Shard::replica_of(node)];
                    let beside = by_master && other.up && other.is_master;
                    self.note(by_master, beside, is_current, by, request, outcomes);
                }
                Reply::Answer(Answer::Appended(answer), notice)
            }
            Request::PutBackNotes { .. } => unreachable!("nothing is noted"),
            Request::Replicate { .. } => unreachable!("answered above"),
        }
    }

    /// Notes what was appended, to the current history or to another one: no place is given to two events.
    fn note(
        &mut self,
        by_master: bool,
        beside: bool,
        is_current: bool,
        by: Life,
        request: &Request,
        outcomes: &[Outcome],
    ) {
        let Request::Append(append) = request else { return };
        for ((published, place), outcome) in append.events.iter().zip(outcomes) {
            let Outcome::Fresh(offset) = *outcome else {
                self.repeated += u64::from(!append.putting_back);
                continue;
            };
            let key = (append.lane, offset);
            let moved_from = place.filter(|place| *place != offset);
            let ever = Ever { published: published.clone(), moved_from, by, beside };
            let before = self.ever.entry(key).or_insert(ever);
            assert!(is_same(&before.published, published), "{key:?} is given to two events");
            if by_master {
                self.put_back += u64::from(self.lost.remove(&key));
            } else {
                self.lost.insert(key);
                self.ever_lost.insert(key);
                if !is_current {
                    self.forgotten.insert(key);
                }
            }
        }
    }

    /// Lets what has arrived at the replica be written there.
    pub(crate) fn replicate(&mut self, now: Time, partition: usize) {
        let shard = &mut self.shards[partition];
        let replica = Shard::replica_of(shard.master);
        while let Some(write) = shard.to_replica.front() {
            if shard.cut || shard.lags || write.arrives > now || !shard.nodes[replica].up {
                break;
            }
            let Some(write) = shard.to_replica.pop_front() else { break };
            let node = &mut shard.nodes[replica];
            node.has = write.number;
            match write.what {
                Written::Begun(epoch) => {
                    for lane in &mut node.lanes {
                        lane.look(write.made, epoch);
                    }
                }
                Written::Appended(append, _) => {
                    let lane = &mut node.lanes[append.lane.priority() as usize];
                    lane.append(write.made, &self.retention, &append);
                }
            }
        }
    }

    /// Whether a replica has so much.
    pub(crate) fn is_replicated(&self, partition: usize, node: usize, number: u64) -> bool {
        let shard = &self.shards[partition];
        let replica = &shard.nodes[Shard::replica_of(node)];
        node == shard.master && replica.up && replica.has >= number
    }

    /// Whether the master is up, and its replica.
    pub(crate) fn up(&self, partition: usize) -> (bool, bool) {
        let shard = &self.shards[partition];
        (shard.nodes[shard.master].up, shard.nodes[Shard::replica_of(shard.master)].up)
    }

    /// Whether a node takes subscriptions: a master that believes to be one, and the owner of the slot
    /// also while another one has the keys.
    pub(crate) fn takes_subscriptions(&self, partition: usize, node: usize) -> bool {
        let shard = &self.shards[partition];
        let moves = shard.owner != shard.master;
        let believes = shard.nodes[node].is_master && !(moves && node == shard.master);
        shard.nodes[node].up && (believes || node == shard.owner)
    }

    /// Which node carries out what this one is asked: while keys move the owner redirects.
    pub(crate) fn carries_out(&self, partition: usize, node: usize) -> usize {
        let shard = &self.shards[partition];
        if node == shard.owner { shard.master } else { node }
    }

    /// The keys are at another pair of nodes; the cluster does not say so yet.
    pub(crate) fn move_keys(&mut self, partition: usize) {
        let shard = &mut self.shards[partition];
        let (from, to) = (shard.master, shard.target());
        let lanes = shard.nodes[from].lanes.clone();
        for node in [to, Shard::replica_of(to)] {
            let node = &mut shard.nodes[node];
            (node.lanes, node.has, node.up) = (lanes.clone(), shard.written, true);
        }
        shard.nodes[from].is_master = false;
        shard.nodes[to].is_master = true;
        shard.nodes[Shard::replica_of(to)].is_master = false;
        shard.to_replica.clear();
        shard.master = to;
        shard.splits = false;
    }

    /// The cluster says so.
    pub(crate) fn move_slot(&mut self, partition: usize) {
        let shard = &mut self.shards[partition];
        shard.owner = shard.master;
        shard.takeovers += 1;
    }

    /// Everything is gone, on all nodes.
    pub(crate) fn forget(&mut self, now: Time, partition: usize) {
        let shard = &self.shards[partition];
        let lanes = shard.nodes[shard.master].lanes.iter().map(LaneStore::lane);
        for lane in lanes.collect::<Vec<_>>() {
            self.forget_lane(now, lane);
        }
        let shard = &mut self.shards[partition];
        for node in &mut shard.nodes {
            node.lanes = node.lanes.each_ref().map(|lane| LaneStore::new(lane.lane()));
            node.has = shard.written;
        }
        shard.to_replica.clear();
    }

    /// The master's lane is lost as a whole.
    fn forget_lane(&mut self, now: Time, lane: Lane) {
        let shard = &self.shards[usize::from(lane.partition())];
        let node = &shard.nodes[shard.master];
        let store = &node.lanes[lane.priority() as usize];
        // Also what was not retained any more: nobody knows now that it was there.
        for (key, _) in self.ever.range((lane, Offset(0))..=(lane, Offset(u64::MAX))) {
            let retained = store.events().any(|(offset, _)| offset == key.1.0);
            let is_new = self.lost.insert(*key);
            self.losses += u64::from(is_new && retained);
            if is_new || retained {
                self.ever_lost.insert(*key);
                self.forgotten.insert(*key);
            }
        }
        self.forgot.entry(lane).or_default().push(Offset(micros(now) + node.fast));
    }

    pub(crate) fn fail(&mut self, partition: usize, node: usize) {
        self.shards[partition].nodes[node].up = false;
    }

    /// The replica takes over, without what has not arrived.
    pub(crate) fn take_over(&mut self, now: Time, partition: usize) {
        self.replicate(now, partition);
        let shard = &self.shards[partition];
        let (before, next) = (shard.master, Shard::replica_of(shard.master));
        let pairs = shard.nodes[before].lanes.iter().zip(&shard.nodes[next].lanes);
        let unbegun = pairs.filter(|(old, new)| old.head().is_some() && new.head().is_none());
        for lane in unbegun.map(|(old, _)| old.lane()).collect::<Vec<_>>() {
            self.forget_lane(now, lane);
        }
        let shard = &mut self.shards[partition];
        for write in shard.to_replica.drain(..) {
            let Written::Appended(Append { lane, .. }, fresh) = write.what else { continue };
            let new = &shard.nodes[next].lanes[lane.priority() as usize];
            for offset in fresh {
                if !new.events().any(|(at, _)| at == offset.0) && self.lost.insert((lane, offset)) {
                    self.losses += 1;
                    self.ever_lost.insert((lane, offset));
                }
            }
        }
        // A node that was cut off may have what the one after it lacked.
        for (lane, store) in shard.nodes[next].lanes.iter().map(|store| (store.lane(), store)) {
            for (offset, _) in store.events() {
                self.lost.remove(&(lane, Offset(offset)));
            }
        }
        shard.nodes[next].is_master = true;
        shard.written = shard.nodes[next].has;
        shard.master = next;
        shard.owner = next;
        shard.takeovers += 1;
        (shard.cut, shard.lags) = (false, false);
    }

    /// A node comes back, or hears that another one is master: it copies that, if there is one.
    pub(crate) fn come_back(&mut self, partition: usize, node: usize) {
        let shard = &mut self.shards[partition];
        shard.nodes[node].up = true;
        if node == shard.master {
            return;
        }
        let (lanes, has) = (shard.nodes[shard.master].lanes.clone(), shard.written);
        let back = &mut shard.nodes[node];
        (back.lanes, back.has, back.is_master) = (lanes, has, false);
        shard.to_replica.clear();
    }

    fn lane(&self, lane: Lane) -> &LaneStore {
        let shard = &self.shards[usize::from(lane.partition())];
        &shard.nodes[shard.master].lanes[lane.priority() as usize]
    }

    /// Where a lane stands, if it has begun.
    pub(crate) fn head(&self, lane: Lane) -> Option<Place> {
        self.lane(lane).head()
    }

    /// Where events of a lane are now.
    pub(crate) fn places(&self, lane: Lane) -> impl Iterator<Item = Offset> {
        self.lane(lane).events().map(|(offset, _)| Offset(offset))
    }

    /// When lanes were lost as a whole.
    pub(crate) const fn forgot(&self) -> &BTreeMap<Lane, Vec<Offset>> {
        &self.forgot
    }

    /// How many events were put back elsewhere.
    pub(crate) fn moved(&self) -> u64 {
        self.ever.values().filter(|ever| ever.moved_from.is_some()).count() as u64
    }

    /// All that was ever appended; `lives` tells whether a server still lives that life.
    pub(crate) fn history(&self, lives: impl Fn(Life) -> bool) -> BTreeMap<Lane, Vec<Entry>> {
        let mut history: BTreeMap<Lane, Vec<Entry>> = BTreeMap::new();
        for ((lane, offset), ever) in &self.ever {
            let Published { producer, number, event } = &ever.published;
            let moved = ever.moved_from.map(|place| place.0);
            let entry = entry_of(*lane, offset.0, producer.as_bytes(), *number, event, moved);
            history.entry(*lane).or_default().push(Entry {
                offset: *offset,
                event: entry.expect("an event").event,
                producer: Arc::clone(producer),
                seq: *number,
                moved_from: ever.moved_from,
                lost: self.lost.contains(&(*lane, *offset)),
                was_lost: self.ever_lost.contains(&(*lane, *offset)),
                is_forgotten: self.forgotten.contains(&(*lane, *offset)),
                beside: ever.beside,
                publisher_lives: lives(ever.by),
                server: ever.by.0,
            });
        }
        history
    }
}
