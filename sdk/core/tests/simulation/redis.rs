//! A Redis cluster that is made up: for each partition a master and a replica that lags, takes
//! over, and then lacks what had not arrived.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_core::lane::{Lane, Offset, Partitioning, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{
    Answer, Append, AppendAnswer, Outcome, Published, Request, entry_of,
};
use tidings_core::{Priority, Time};

use crate::log::{BEGINNING, Entry};
use crate::store::LaneStore;

/// A life of a server: its number, and how often it was started before.
pub(crate) type Life = (usize, u64);

/// A write on its way to the replica.
struct Write {
    arrives: Time,
    number: u64,
    made: u64,
    append: Append,
}

struct Node {
    up: bool,
    /// Whether it believes so.
    is_master: bool,
    lanes: [LaneStore; Priority::COUNT],
    /// The last write that it has.
    has: u64,
}

/// The nodes of one partition.
pub(crate) struct Shard {
    nodes: [Node; 2],
    pub(crate) master: usize,
    pub(crate) takeovers: u64,
    to_replica: VecDeque<Write>,
    written: u64,
    /// The replica gets nothing for now.
    pub(crate) cut: bool,
}

/// An event that was appended, somewhere, at some time.
#[derive(Debug, Clone)]
pub(crate) struct Ever {
    pub(crate) published: Published,
    pub(crate) moved_from: Option<Offset>,
    /// By whose request.
    pub(crate) by: Life,
}

pub(crate) struct Redis {
    pub(crate) shards: Vec<Shard>,
    retention: Retention,
    /// All that was ever appended.
    pub(crate) ever: BTreeMap<(Lane, Offset), Ever>,
    /// What failovers have lost and nobody has put back.
    pub(crate) lost: BTreeSet<(Lane, Offset)>,
    pub(crate) losses: u64,
    pub(crate) put_back: u64,
    /// Publishes that were there already.
    pub(crate) repeated: u64,
}

/// How a node answers.
pub(crate) enum Reply {
    Down,
    Moved,
    /// With the notice that goes out.
    Answer(Answer, Option<Vec<u8>>),
    /// When the replica has written so much.
    WhenWritten(u64),
}

impl Shard {
    /// A node has written something: the replica is to have it, too.
    fn write(&mut self, node: usize, made: u64, arrives: Time, append: Append) {
        self.written += 1;
        self.nodes[node].has = self.written;
        if node == self.master {
            let arrives = self.to_replica.back().map_or(arrives, |last| last.arrives.max(arrives));
            self.to_replica.push_back(Write { arrives, number: self.written, made, append });
        }
    }
}

/// Whether it is the same event; who puts back what was read fills in its id.
fn is_same(one: &Published, other: &Published) -> bool {
    (&one.producer, one.number) == (&other.producer, other.number)
}

fn micros(now: Time) -> u64 {
    BEGINNING + now.since_start().as_micros() as u64
}

impl Redis {
    pub(crate) fn new(partitioning: &Partitioning, retention: Retention) -> Self {
        let node = |number, is_master| {
            let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
            let lanes = lanes.map(|priority| LaneStore::new(Lane::new(number, priority)));
            Node { up: true, is_master, lanes, has: 0 }
        };
        let shard = |number| Shard {
            nodes: [node(number, true), node(number, false)],
            master: 0,
            takeovers: 0,
            to_replica: VecDeque::new(),
            written: 0,
            cut: false,
        };
        Self {
            shards: (0..partitioning.count()).map(shard).collect(),
            retention,
            ever: BTreeMap::new(),
            lost: BTreeSet::new(),
            losses: 0,
            put_back: 0,
            repeated: 0,
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
        let shard = &mut self.shards[partition];
        let made = micros(now);
        let asked = &mut shard.nodes[node];
        if !asked.up {
            return Reply::Down;
        }
        if let Request::Replicate { .. } = request {
            return Reply::WhenWritten(asked.has);
        }
        if !asked.is_master {
            return Reply::Moved;
        }
        match request {
            Request::Look { new_epoch } => {
                let begins = asked.lanes.iter().any(|lane| lane.head().is_none());
                let lanes = asked.lanes.each_mut();
                let standings = lanes.map(|lane| lane.look(made, *new_epoch));
                // A lane whose beginning is lost is another history; that is not what is shown here.
                for lane in shard.nodes[1 - node].lanes.iter_mut().filter(|_| begins) {
                    lane.look(made, *new_epoch);
                }
                Reply::Answer(Answer::Standing(standings), None)
            }
            Request::Read { lane, direction, from, limit } => {
                let lane = &mut asked.lanes[lane.priority() as usize];
                Reply::Answer(Answer::Chunk(lane.read(made, *direction, *from, *limit)), None)
            }
            Request::Append(append) => {
                let lane = append.lane.priority() as usize;
                let (answer, notice) = asked.lanes[lane].append(made, &self.retention, append);
                if let AppendAnswer::Done { outcomes, .. } = &answer {
                    shard.write(node, made, arrives, append.clone());
                    self.note(node == self.shards[partition].master, by, request, outcomes);
                }
                Reply::Answer(Answer::Appended(answer), notice)
            }
            Request::Replicate { .. } => unreachable!("answered above"),
        }
    }

    /// Notes what was appended: no place is given to two events.
    fn note(&mut self, by_master: bool, by: Life, request: &Request, outcomes: &[Outcome]) {
        let Request::Append(append) = request else { return };
        for ((published, place), outcome) in append.events.iter().zip(outcomes) {
            let Outcome::Fresh(offset) = *outcome else {
                self.repeated += u64::from(!append.putting_back);
                continue;
            };
            let key = (append.lane, offset);
            let moved_from = place.filter(|place| *place != offset);
            let ever = Ever { published: published.clone(), moved_from, by };
            let before = self.ever.entry(key).or_insert(ever);
            assert!(is_same(&before.published, published), "{key:?} is given to two events");
            if by_master {
                self.put_back += u64::from(self.lost.remove(&key));
            } else {
                self.lost.insert(key);
            }
        }
    }

    /// Lets what has arrived at the replica be written there.
    pub(crate) fn replicate(&mut self, now: Time, partition: usize) {
        let shard = &mut self.shards[partition];
        let replica = 1 - shard.master;
        while let Some(write) = shard.to_replica.front() {
            if shard.cut || write.arrives > now || !shard.nodes[replica].up {
                break;
            }
            let Some(write) = shard.to_replica.pop_front() else { break };
            let lane = &mut shard.nodes[replica].lanes[write.append.lane.priority() as usize];
            lane.append(write.made, &self.retention, &write.append);
            shard.nodes[replica].has = write.number;
        }
    }

    /// Whether a replica has so much.
    pub(crate) fn is_replicated(&self, partition: usize, node: usize, number: u64) -> bool {
        let shard = &self.shards[partition];
        node == shard.master && shard.nodes[1 - node].up && shard.nodes[1 - node].has >= number
    }

    /// Whether the master is up, and its replica.
    pub(crate) fn up(&self, partition: usize) -> (bool, bool) {
        let shard = &self.shards[partition];
        (shard.nodes[shard.master].up, shard.nodes[1 - shard.master].up)
    }

    pub(crate) fn is_master(&self, partition: usize, node: usize) -> bool {
        let node = &self.shards[partition].nodes[node];
        node.up && node.is_master
    }

    pub(crate) fn fail(&mut self, partition: usize, node: usize) {
        self.shards[partition].nodes[node].up = false;
    }

    /// The replica takes over, without what has not arrived.
    pub(crate) fn take_over(&mut self, now: Time, partition: usize) {
        self.replicate(now, partition);
        let shard = &mut self.shards[partition];
        let next = 1 - shard.master;
        for write in shard.to_replica.drain(..) {
            let Append { lane, events, .. } = &write.append;
            let old = shard.nodes[shard.master].lanes[lane.priority() as usize].events();
            let here: BTreeMap<u64, _> = old.collect();
            for (published, _) in events {
                for (offset, stored) in &here {
                    let new = &shard.nodes[next].lanes[lane.priority() as usize];
                    if is_same(&stored.published, published)
                        && !new.events().any(|(at, _)| at == *offset)
                        && self.lost.insert((*lane, Offset(*offset)))
                    {
                        self.losses += 1;
                    }
                }
            }
        }
        shard.nodes[next].is_master = true;
        shard.written = shard.nodes[next].has;
        shard.master = next;
        shard.takeovers += 1;
        shard.cut = false;
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
                publisher_lives: lives(ever.by),
            });
        }
        history
    }
}
