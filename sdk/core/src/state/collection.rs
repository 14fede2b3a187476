//! A collection as the server has it: the records, and what becomes of mutations.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::apply::Rejection;
use super::clients::Clients;
use super::judge::Ruling;
use super::{Asked, Change, Conflict, Key, Policy, Record, Rules, Stamp, Version};

/// What a collection may hold. What would exceed it is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How many records. Default 100,000.
    pub max_records: usize,
    /// How many bytes a record has. Default 64 KiB.
    pub max_record_bytes: usize,
    /// How deep a record is nested. Default 32.
    pub max_depth: usize,
    /// How many ops a mutation has. Default 100.
    pub max_ops: usize,
    /// How many mutations a request has. Default 100.
    pub max_mutations: usize,
    /// How many deletions are remembered; a client that was away for longer loads everything
    /// again. Default 10,000.
    pub max_deletions: usize,
    /// How many clients are remembered, so that their mutations have one effect when they come
    /// twice; the one silent for longest is forgotten first. Default 10,000.
    pub max_clients: usize,
    /// How many verdicts are remembered of each of them; as many as a request may have mutations,
    /// so that one that is sent again finds them all. Default 100.
    pub max_verdicts: usize,
    /// How many bytes these have, as they are written; the oldest are forgotten first. With
    /// `max_clients` it bounds what verdicts take. Default 64 KiB.
    pub max_verdict_bytes: usize,
    /// How many records a page of [`Collection::load`] has at most. Default 1000.
    pub max_page: usize,
    /// How many bytes of records, unless one alone has more. Default 64 KiB.
    pub max_page_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_records: 100_000,
            max_record_bytes: 64 << 10,
            max_depth: 32,
            max_ops: 100,
            max_mutations: 100,
            max_deletions: 10_000,
            max_clients: 10_000,
            max_verdicts: 100,
            max_verdict_bytes: 64 << 10,
            max_page: 1000,
            max_page_bytes: 64 << 10,
        }
    }
}

/// What became of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has had its effect.
    Accepted {
        /// The version of its last change.
        version: Version,
        /// What was decided on the way.
        conflicts: Vec<Conflict>,
    },
    /// It has had none.
    Rejected(Rejection),
    /// It came before, and what became of it is not remembered.
    Forgotten,
}

/// What a mutation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What became of it.
    pub verdict: Arc<Verdict>,
    /// The changes to publish, in this order. None if it was rejected, or had come before.
    pub changes: Vec<Change>,
}

/// What a client asks for when it loads a collection, or what has changed in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    /// Changes after this version; zero for everything.
    pub after: Version,
    /// From the first page on: the version up to which it had everything before.
    pub began: Version,
    /// At most this many records; the collection's own limit holds, too.
    pub limit: usize,
    /// Who asks, to be told which of its mutations are in there.
    pub client: Option<Arc<str>>,
}

/// Changes in the order of their versions, the last one of each record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was before is to be dropped first: too much was deleted since then.
    pub reset: bool,
    /// The changes.
    pub changes: Vec<Change>,
    /// Everything up to this version was there, with this page.
    pub version: Version,
    /// What to ask for next; `None` when this is all.
    pub next: Option<(Version, Version)>,
    /// The number of the last mutation of the client that was judged before this page was made;
    /// 0 if none is known.
    pub judged: u64,
}

/// The records of one collection, and who changed them.
#[derive(Debug)]
pub struct Collection {
    rules: Rules,
    records: BTreeMap<Key, Record>,
    /// The last change of every record that is there, and of those deleted last.
    latest: BTreeMap<Version, Key>,
    deleted: BTreeMap<Key, Stamp>,
    /// The versions of `deleted`.
    deletions: BTreeSet<Version>,
    /// All deletions after this version are remembered.
    floor: Version,
    version: Version,
    clients: Clients,
}

impl Collection {
    /// An empty collection that begins now, in microseconds since the Unix epoch.
    pub fn new(policy: Policy, limits: Limits, now_us: u64) -> Self {
        Self::with_rules(Rules { policy, limits, check: None }, now_us)
    }

    /// As [`new`](Self::new), with all the rules there are.
    pub fn with_rules(rules: Rules, now_us: u64) -> Self {
        let clients = Clients::new(&rules.limits);
        let (floor, version) = (Version(now_us), Version(now_us));
        Self {
            rules,
            records: BTreeMap::new(),
            latest: BTreeMap::new(),
            deleted: BTreeMap::new(),
            deletions: BTreeSet::new(),
            floor,
            version,
            clients,
        }
    }

    /// What mutations are judged by.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The version of the last change.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The record with this key.
    pub fn get(&self, key: &str) -> Option<&Record> {
        self.records.get(key)
    }

    /// All records, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.records.iter()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Judges a mutation: all of it has its effect, or nothing, and only the first time it comes.
    /// `now_us` is the time in microseconds since the Unix epoch; a mutation from the future, or
    /// without a time, is taken to be of now.
    pub fn mutate(&mut self, now_us: u64, asked: impl Into<Asked>) -> Judged {
        let mut asked = asked.into();
        if let Some(verdict) = asked.mutation.id.as_ref().and_then(|id| self.clients.find(id)) {
            return Judged { verdict, changes: Vec::new() };
        }
        asked.mutation.date(now_us);
        let first = Version(now_us.max(self.version.0 + 1));
        let (verdict, changes) = match self.rules.judge(&self.records, &asked, first) {
            Ok(Ruling { changes, conflicts }) => {
                changes.iter().for_each(|change| self.store(change.clone()));
                (Verdict::Accepted { version: self.version, conflicts }, changes)
            }
            Err(rejection) => (Verdict::Rejected(rejection), Vec::new()),
        };
        let verdict = Arc::new(verdict);
        if let Some(id) = &asked.mutation.id {
            self.clients.remember(id, verdict.clone());
        }
        Judged { verdict, changes }
    }

    fn store(&mut self, change: Change) {
        let Change { key, value, stamp } = change;
        let version = stamp.version;
        self.version = version;
        let before = match self.records.remove(&key) {
            Some(record) => Some(record.stamp.version),
            None => self.deleted.remove(&key).map(|stamp| stamp.version),
        };
        if let Some(before) = before {
            self.latest.remove(&before);
            self.deletions.remove(&before);
        }
        self.latest.insert(version, key.clone());
        match value {
            Some(value) => {
                self.records.insert(key, Record { value, stamp });
            }
            None => {
                self.deletions.insert(version);
                self.deleted.insert(key, stamp);
            }
        }
        self.forget_deletions();
    }

    fn forget_deletions(&mut self) {
        while self.deletions.len() > self.rules.limits.max_deletions
            && let Some(version) = self.deletions.pop_first()
        {
            if let Some(key) = self.latest.remove(&version) {
                self.deleted.remove(&key);
            }
            self.floor = version;
        }
    }

    /// The last change of this record, if it is there or its deletion is remembered.
    fn change(&self, key: &Key) -> Option<Change> {
        let (value, stamp) = match self.records.get(key) {
            Some(record) => (Some(record.value.clone()), record.stamp.clone()),
            None => (None, self.deleted.get(key)?.clone()),
        };
        Some(Change { key: key.clone(), value, stamp })
    }

    /// The next changes that a client does not have, oldest first. Everything is there when a page
    /// says that nothing is next: what changes while it loads comes in a later page.
    pub fn load(&self, load: &Load) -> Page {
        let known = |version: Version| version >= self.floor && version <= self.version;
        let fresh = load.after == Version(0);
        let reset = !fresh && !known(load.began);
        let (mut after, began) = match (fresh || reset, load.began) {
            (true, _) => (Version(0), self.version),
            (false, began) => (load.after, began),
        };
        let skips_deletions = after == Version(0);
        let most = load.limit.clamp(1, self.rules.limits.max_page.max(1));
        let (mut changes, mut bytes, mut whole) = (Vec::new(), 0, true);
        let newer = (Bound::Excluded(after), Bound::Unbounded);
        for change in self.latest.range(newer).filter_map(|(_, key)| self.change(key)) {
            if change.value.is_none() && skips_deletions {
                continue;
            }
            bytes += change.key.len() + change.value.as_ref().map_or(0, |v| v.bytes().len());
            let full = changes.len() >= most || bytes > self.rules.limits.max_page_bytes;
            if full && !changes.is_empty() {
                whole = false;
                break;
            }
            after = change.stamp.version;
            changes.push(change);
        }
        Page {
            reset,
            changes,
            version: if whole { self.version } else { after },
            next: (!whole).then_some((after, began)),
            judged: load.client.as_ref().map_or(0, |client| self.clients.last_seq(client)),
        }
    }
}
