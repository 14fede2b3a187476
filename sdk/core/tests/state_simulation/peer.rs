//! A client: its store, its disk, and what is on the way between it and the server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tidings_core::map::Map;
use tidings_core::state::{
    Key, Load, Mutation, Notice, Page, Policy, Record, Store, StoreConfig, Unsaved, Verdict,
    Version,
};

/// From a client to the server.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Mutate(Vec<Arc<Mutation>>),
    Load(Load),
}

/// The server's answer.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Verdicts(Vec<(u64, Verdict)>),
    Page(Load, Page),
    /// The server could not reach where the collection is.
    Refused,
}

/// What survives a restart.
#[derive(Debug, Default)]
struct Disk {
    mutations: Vec<Arc<Mutation>>,
    next_seq: u64,
    /// The confirmed records, and up to where everything is there.
    records: Map<Key, Record>,
    version: Version,
}

/// What became of a mutation, as its maker was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) acknowledged: bool,
    pub(crate) rejected: bool,
    pub(crate) observed: bool,
    /// The server did not remember what became of it.
    pub(crate) unsure: bool,
    /// It was made before a restart.
    pub(crate) unwaited: bool,
}

pub(crate) struct Peer {
    pub(crate) store: Store,
    policy: Policy,
    disk: Disk,
    pub(crate) connected: bool,
    must_load: bool,
    /// One load at a time, as the SDK has it.
    loads: bool,
    /// How much of the log it has been sent.
    pub(crate) cursor: usize,
    pub(crate) asks: VecDeque<Ask>,
    pub(crate) answers: VecDeque<Answer>,
    pub(crate) told: BTreeMap<u64, Told>,
}

fn store(name: &str, policy: &Policy) -> Store {
    let config =
        StoreConfig { policy: policy.clone(), max_batch: 3, max_undo: 5, ..StoreConfig::new(name) };
    let mut store = Store::new(config);
    store.note_unsaved();
    store
}

impl Peer {
    pub(crate) fn new(name: &str, policy: &Policy) -> Self {
        Self {
            store: store(name, policy),
            policy: policy.clone(),
            disk: Disk { next_seq: 1, ..Disk::default() },
            connected: false,
            must_load: false,
            loads: false,
            cursor: 0,
            asks: VecDeque::new(),
            answers: VecDeque::new(),
            told: BTreeMap::new(),
        }
    }

    /// Everything that was made so far is on the disk.
    pub(crate) fn save(&mut self) {
        let next = self.store.next_seq();
        let new = self.disk.next_seq..next;
        self.disk.mutations.extend(new.filter_map(|seq| self.store.mutation(seq).cloned()));
        self.disk.next_seq = next;
        self.store.stored(next - 1);
    }

    /// What has been answered need not be on the disk; what has been confirmed is put there.
    pub(crate) fn tidy(&mut self) {
        if let Some(Unsaved { version, records }) = self.store.unsaved() {
            self.disk.version = version;
            for (key, record) in records {
                match record {
                    Some(record) => self.disk.records.insert(key, record),
                    None => self.disk.records.remove(&key),
                };
            }
        }
        let first = self.store.first_unanswered().unwrap_or(self.disk.next_seq);
        self.disk.mutations.retain(|mutation| number(mutation) >= first);
    }

    /// Its process ends and starts again. What was not on the disk is forgotten.
    pub(crate) fn restart(&mut self) {
        let name = self.store.client().clone();
        self.told.retain(|seq, _| *seq < self.disk.next_seq);
        for told in self.told.values_mut() {
            told.unwaited = true;
        }
        self.store = store(&name, &self.policy);
        self.store.restore_confirmed(self.disk.version, self.disk.records.clone());
        self.store.restore(self.disk.mutations.iter().map(|mutation| Mutation::clone(mutation)));
        self.store.skip_to(self.disk.next_seq);
        self.cut();
    }

    /// What is on the way to it is lost. What is on the way from it is given back.
    pub(crate) fn cut(&mut self) -> VecDeque<Ask> {
        (self.connected, self.loads) = (false, false);
        self.answers.clear();
        self.store.unanswered();
        std::mem::take(&mut self.asks)
    }

    /// It is connected, and has had the log up to `cursor`.
    pub(crate) fn connect(&mut self, cursor: usize, load: bool) {
        self.connected = true;
        self.cursor = cursor;
        if load {
            self.store.missed();
        }
        self.must_load = self.store.is_loading();
    }

    /// Asks for what it needs, some time after it has become connected.
    pub(crate) fn send(&mut self) {
        if self.must_load && !self.loads {
            (self.must_load, self.loads) = (false, true);
            let load = self.store.begin_load(2);
            self.asks.push_back(Ask::Load(load));
        }
        if let Some(batch) = self.store.next_batch() {
            self.asks.push_back(Ask::Mutate(batch));
        }
    }

    pub(crate) fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Verdicts(verdicts) => self.store.answer(verdicts),
            Answer::Refused => self.store.unanswered(),
            Answer::Page(load, page) => {
                let next = self.store.loaded(&load, page);
                self.loads = next.is_some();
                self.asks.extend(next.map(Ask::Load));
            }
        }
    }

    /// Hears what became of its mutations.
    pub(crate) fn hear(&mut self) {
        while let Some(notice) = self.store.poll_notice() {
            let (Notice::Acknowledged { seq, .. }
            | Notice::Rejected { seq, .. }
            | Notice::Observed { seq }) = notice;
            let told = self.told.entry(seq).or_default();
            match notice {
                Notice::Acknowledged { version, .. } => {
                    told.acknowledged = true;
                    told.unsure |= version.is_none();
                }
                Notice::Rejected { .. } => told.rejected = true,
                Notice::Observed { .. } => told.observed = true,
            }
        }
    }

    /// What it shows does not depend on the way in which it has come about.
    pub(crate) fn check(&mut self) {
        let shown = |store: &Store| -> Vec<_> {
            store.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        let before = shown(&self.store);
        self.store.set_policy(self.policy.clone());
        assert_eq!(before, shown(&self.store), "{}: shown before and after", self.store.client());
    }

    pub(crate) fn is_done(&self) -> bool {
        self.store.pending() == 0
            && !self.store.is_loading()
            && self.store.version() > Version(0)
            && self.asks.is_empty()
            && self.answers.is_empty()
    }
}

fn number(mutation: &Mutation) -> u64 {
    mutation.id.as_ref().map_or(0, |id| id.seq)
}
