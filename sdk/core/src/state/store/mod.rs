//! A collection as a client has it: what is confirmed, what is pending, and what they show.

mod editing;
mod history;
mod pending;
mod saving;
mod syncing;

use std::collections::VecDeque;
use std::sync::Arc;

use self::history::History;
use self::pending::{Pending, Stack};
pub use self::saving::Unsaved;
use super::{Conflict, Document, Key, Policy, Record, Rejection, Version};
use crate::map::{Map, Set};

/// How a client keeps a collection.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Who makes its mutations: random, and kept for as long as something is pending.
    pub client: Arc<str>,
    /// How the server decides, as far as known: what is shown follows it.
    pub policy: Policy,
    /// How many mutations may be pending. Default 10,000.
    pub max_pending: usize,
    /// How many bytes they may have together. Default 8 MiB.
    pub max_pending_bytes: usize,
    /// How many mutations can be undone. Default 100.
    pub max_undo: usize,
    /// How many mutations are sent at once. Default 50.
    pub max_batch: usize,
    /// How many bytes are sent at once, unless one mutation alone has more. Default 64 KiB.
    pub max_batch_bytes: usize,
}

impl StoreConfig {
    /// The defaults, for this client.
    pub fn new(client: impl Into<Arc<str>>) -> Self {
        Self {
            client: client.into(),
            policy: Policy::default(),
            max_pending: 10_000,
            max_pending_bytes: 8 << 20,
            max_undo: 100,
            max_batch: 50,
            max_batch_bytes: 64 << 10,
        }
    }
}

/// A mutation was not made; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MutateError {
    /// It is not possible with what is shown.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too much is pending.
    #[error(
        "{pending} mutations of {bytes} bytes wait for the server: no more fit (max_pending, max_pending_bytes)"
    )]
    Full {
        /// How many mutations.
        pending: usize,
        /// How many bytes they have.
        bytes: usize,
    },
}

/// What became of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The server has taken it.
    Acknowledged {
        /// Which one.
        seq: u64,
        /// The version of its last change, unless the server does not remember.
        version: Option<Version>,
        /// What was decided on the way.
        conflicts: Vec<Conflict>,
    },
    /// The server has rejected it; it is not shown any more.
    Rejected {
        /// Which one.
        seq: u64,
        /// Why.
        rejection: Rejection,
    },
    /// All its changes are in what the server has sent: everybody sees them.
    Observed {
        /// Which one.
        seq: u64,
    },
}

/// What is known of a load that is not complete.
#[derive(Debug, Default)]
struct Loading {
    /// While everything is loaded: which records were on a page.
    listed: Option<Set<Key>>,
    /// Whose changes have come since it began, otherwise than on a page.
    heard: Set<Key>,
    /// What is shown only because it was there before a page that says to drop it, whatever its
    /// version: the server may be an older one that was restored.
    doubted: Set<Key>,
    /// What was acknowledged before it began, and not seen.
    owed: Vec<u64>,
}

/// A client's copy of a collection.
///
/// What it [shows](Self::get) is what the server has confirmed and, on top of it, what is pending.
/// A confirmed change has only the pending changes of the same record applied anew.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    confirmed: Map<Key, Record>,
    /// Deletions after `loaded`: older changes of these records may follow, on a page, or because a
    /// failover had lost them and they were put back late.
    deleted: Map<Key, Version>,
    /// The last change in `confirmed`: what comes after it is to be loaded.
    version: Version,
    /// All changes up to here are in `confirmed`, or of no interest any more.
    loaded: Version,
    loading: bool,
    /// Changes may have been missed since the load began.
    missed: bool,
    /// What is known of the load that is on its way.
    load: Loading,
    /// If they are stored: the confirmed records that have changed since they were.
    unsaved: Option<Set<Key>>,
    pending: Map<u64, Pending>,
    pending_bytes: usize,
    /// The pending changes of each record that has some.
    stacks: Map<Key, Stack>,
    next_seq: u64,
    /// Mutations up to this one are stored durably, and may be sent.
    durable: u64,
    /// The mutations up to this one have their verdicts.
    answered: u64,
    in_flight: bool,
    history: History,
    changed: Set<Key>,
    notices: VecDeque<Notice>,
}

impl Store {
    /// A copy that knows nothing yet.
    pub fn new(config: StoreConfig) -> Self {
        let history = History::new(config.max_undo);
        Self {
            config,
            confirmed: Map::new(),
            deleted: Map::new(),
            version: Version(0),
            loaded: Version(0),
            loading: true,
            missed: false,
            load: Loading::default(),
            unsaved: None,
            pending: Map::new(),
            pending_bytes: 0,
            stacks: Map::new(),
            next_seq: 1,
            durable: 0,
            answered: 0,
            in_flight: false,
            history,
            changed: Set::new(),
            notices: VecDeque::new(),
        }
    }

    /// The client.
    pub const fn client(&self) -> &Arc<str> {
        &self.config.client
    }

    /// Decides from now on as the server says that it does.
    pub fn set_policy(&mut self, policy: Policy) {
        self.config.policy = policy;
        self.refold(self.stacks.keys().cloned().collect::<Vec<_>>());
    }

    /// The record as it is shown.
    pub fn get(&self, key: &str) -> Option<&Document> {
        self.shown(key).map(|record| &record.value)
    }

    /// The record as it is shown, under the stamp that the server is expected to give it.
    fn shown(&self, key: &str) -> Option<&Record> {
        match self.stacks.get(key) {
            Some(stack) => stack.top(),
            None => self.confirmed.get(key),
        }
    }

    /// All records as they are shown, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Document)> {
        let only_pending = self.stacks.keys().filter(|key| !self.confirmed.contains_key(*key));
        let mut keys = self.confirmed.keys().peekable();
        let mut new = only_pending.peekable();
        let merged = std::iter::from_fn(move || match (keys.peek(), new.peek()) {
            (Some(key), Some(other)) if other < key => new.next(),
            (Some(_), _) => keys.next(),
            (None, _) => new.next(),
        });
        merged.filter_map(|key| Some((key, self.get(key)?)))
    }

    /// The record as the server has confirmed it.
    pub fn confirmed(&self, key: &str) -> Option<&Record> {
        self.confirmed.get(key)
    }

    /// Whether something is pending for this record.
    pub fn is_pending(&self, key: &str) -> bool {
        self.stacks.contains_key(key)
    }

    /// How many mutations are pending: not acknowledged, or not observed.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Up to which version everything is there; zero before the first load is complete.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whether a load is not complete.
    pub const fn is_loading(&self) -> bool {
        self.loading
    }

    /// The records that may look different since this was asked last.
    pub fn take_changed(&mut self) -> Set<Key> {
        std::mem::take(&mut self.changed)
    }

    /// What became of a mutation since this was asked last.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }
}
