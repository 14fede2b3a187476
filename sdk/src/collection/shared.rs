//! What the handles of a collection and its tasks share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_signals::signal::Mutable;
use tidings_core::map::Map;
use tidings_core::state::{Conflict, Document, Key, MutateError, Notice, Reason, Store};
use tokio::sync::{Notify, broadcast, watch};

use super::lines::Lines;
use super::write::{Acknowledged, Progress, Write};

/// How many conflicts wait for a reader that is slow.
const CONFLICTS: usize = 256;

/// A record as it is shown.
#[derive(Debug)]
pub struct Entry<T> {
    /// Its key.
    pub key: Key,
    /// What it is.
    pub value: Arc<T>,
    /// Whether there are changes in it that the server has not confirmed.
    pub pending: bool,
}

impl<T> Clone for Entry<T> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), value: self.value.clone(), pending: self.pending }
    }
}

/// How a collection is doing. Whether there is a connection is the client's to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectionStatus {
    /// Whether everything is there, as of the time of the last connection.
    pub loaded: bool,
    /// How many records are shown.
    pub records: usize,
    /// How many writes the server has not taken, or not shown to everybody.
    pub pending: usize,
    /// How many records are not values of the collection's type; they are not shown.
    pub misfits: usize,
    /// What does not work at the moment, for people; it is tried again.
    pub trouble: Option<Arc<str>>,
    /// That what was pending could not be read when the collection was opened, why, and where it
    /// is now.
    pub set_aside: Option<Arc<str>>,
}

/// What the handles of a collection and its tasks share.
pub(super) struct Shared<T> {
    inner: Mutex<Inner<T>>,
    pub(super) status: Mutable<CollectionStatus>,
    pub(super) conflicts: broadcast::Sender<Conflict>,
    /// Something has to be stored.
    pub(super) keep: Notify,
    /// Confirmed records may have changed.
    pub(super) records: Notify,
    /// Something has to be loaded or sent.
    pub(super) sync: Notify,
    closed: watch::Sender<bool>,
}

/// Told of each record that changes.
pub(super) type Follower<T> = Box<dyn FnMut(&Key, Option<&Entry<T>>) + Send>;

/// Makes a value of a record; why it is none.
pub(super) type Read<T> = fn(&Document) -> Result<T, String>;

/// The store, and what was made of it for the application.
pub(super) struct Inner<T> {
    pub(super) store: Store,
    read: Read<T>,
    shown: Map<Key, (Document, Entry<T>)>,
    misfits: Map<Key, String>,
    writes: Map<u64, Mutable<Progress>>,
    views: Vec<Weak<Lines<T>>>,
    watched: Map<Key, Weak<Mutable<Option<Entry<T>>>>>,
    followers: Vec<Follower<T>>,
    /// Changes may have been missed.
    pub(super) must_load: bool,
    /// The storage does not have what it should have.
    pub(super) dirty: bool,
    pub(super) has_storage: bool,
}

impl<T> Shared<T> {
    pub(super) fn new(
        store: Store,
        read: Read<T>,
        has_storage: bool,
        set_aside: Option<String>,
    ) -> Self {
        let set_aside = set_aside.map(Arc::from);
        let status = CollectionStatus { set_aside, ..CollectionStatus::default() };
        let inner = Inner {
            store,
            read,
            shown: Map::new(),
            misfits: Map::new(),
            writes: Map::new(),
            views: Vec::new(),
            watched: Map::new(),
            followers: Vec::new(),
            must_load: true,
            dirty: false,
            has_storage,
        };
        Self {
            inner: Mutex::new(inner),
            status: Mutable::new(status),
            conflicts: broadcast::channel(CONFLICTS).0,
            keep: Notify::new(),
            records: Notify::new(),
            sync: Notify::new(),
            closed: watch::channel(false).0,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody uses the collection any more.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
        for (_, progress) in std::mem::take(&mut self.lock().writes) {
            progress.lock_mut().closed = true;
        }
        self.keep.notify_one();
        self.records.notify_one();
        self.sync.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits until nobody uses the collection any more.
    pub(super) async fn closed(&self) {
        // The sender is in `self`, so it is there for as long as this waits.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Tells what does not work at the moment, or that everything does.
    pub(super) fn tell_trouble(&self, trouble: Option<String>) {
        let trouble = trouble.map(Arc::from);
        if self.status.lock_ref().trouble != trouble {
            self.status.lock_mut().trouble = trouble;
        }
    }

    /// Writes up to this one are stored.
    pub(super) fn stored(&self, seq: u64) {
        let mut inner = self.lock();
        inner.store.stored(seq);
        for (_, progress) in inner.writes.iter().take_while(|(other, _)| **other <= seq) {
            if !progress.lock_ref().stored {
                progress.lock_mut().stored = true;
            }
        }
        drop(inner);
        self.sync.notify_one();
    }
}

impl<T> Shared<T> {
    /// Does something with the store, and shows what has come of it.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Inner<T>) -> R) -> R {
        let mut inner = self.lock();
        let result = change(&mut inner);
        inner.show();
        inner.hear(&self.conflicts);
        let status = CollectionStatus {
            loaded: !inner.store.is_loading(),
            records: inner.len(),
            pending: inner.store.pending(),
            misfits: inner.misfits.len(),
            ..self.status.get_cloned()
        };
        // Before another change can be made: the last one told is the last one there was.
        self.status.set_neq(status);
        result
    }

    /// Makes a mutation by `make`, which gives its number.
    pub(super) fn write(
        &self,
        make: impl FnOnce(&mut Store) -> Result<Option<u64>, MutateError>,
    ) -> Result<Option<Write>, MutateError> {
        let (write, has_storage) = self.change(|inner| {
            let Some(seq) = make(&mut inner.store)? else { return Ok((None, true)) };
            let (stored, closed) = (!inner.has_storage, self.is_closed());
            let progress = Mutable::new(Progress { stored, closed, ..Progress::default() });
            if !closed {
                inner.writes.insert(seq, progress.clone());
            }
            inner.dirty = true;
            if !inner.has_storage {
                inner.store.stored(seq);
            }
            Ok::<_, MutateError>((Some(Write::new(seq, progress)), inner.has_storage))
        })?;
        if has_storage {
            self.keep.notify_one()
        } else {
            self.sync.notify_one()
        }
        Ok(write)
    }
}

impl<T> Inner<T> {
    /// Makes values of what has changed in the store, and tells those who follow.
    fn show(&mut self) {
        let mut changed = Vec::new();
        for key in self.store.take_changed() {
            let document = self.store.get(&key).cloned();
            let pending = self.store.is_pending(&key);
            let before = self.shown.get(&key);
            if before.map(|(document, entry)| (document, entry.pending))
                == document.as_ref().map(|document| (document, pending))
            {
                continue;
            }
            let shown = match (document, before) {
                (Some(document), Some((same, entry))) if document == *same => {
                    Some((document, Entry { pending, ..entry.clone() }))
                }
                (Some(document), _) => self.read(&key, document, pending),
                (None, _) => None,
            };
            if shown.is_some() {
                self.misfits.remove(&key);
            }
            let entry = shown.as_ref().map(|(_, entry)| entry.clone());
            match shown {
                Some(shown) => drop(self.shown.insert(key.clone(), shown)),
                None => drop(self.shown.remove(&key)),
            }
            changed.push((key, entry));
        }
        if !changed.is_empty() {
            self.tell(&changed);
        }
    }

    fn read(
        &mut self,
        key: &Key,
        document: Document,
        pending: bool,
    ) -> Option<(Document, Entry<T>)> {
        match (self.read)(&document) {
            Ok(value) => {
                Some((document, Entry { key: key.clone(), value: Arc::new(value), pending }))
            }
            Err(problem) => {
                self.misfits.insert(key.clone(), problem);
                None
            }
        }
    }

    fn tell(&mut self, changed: &[(Key, Option<Entry<T>>)]) {
        self.views.retain(|view| match view.upgrade() {
            Some(view) => {
                view.change(changed);
                true
            }
            None => false,
        });
        for (key, entry) in changed {
            self.followers.iter_mut().for_each(|follower| follower(key, entry.as_ref()));
            match self.watched.get(key).map(Weak::upgrade) {
                Some(Some(watched)) => watched.set(entry.clone()),
                Some(None) => drop(self.watched.remove(key)),
                None => {}
            }
        }
    }

    /// Hears what became of mutations.
    fn hear(&mut self, conflicts: &broadcast::Sender<Conflict>) {
        while let Some(notice) = self.store.poll_notice() {
            let (Notice::Acknowledged { seq, .. }
            | Notice::Rejected { seq, .. }
            | Notice::Observed { seq }) = notice;
            self.dirty = true;
            let progress = self.writes.get(&seq).cloned().unwrap_or_default();
            let mut progress = progress.lock_mut();
            match notice {
                Notice::Acknowledged { version, conflicts: decided, .. } => {
                    // Nobody has to listen.
                    decided.iter().for_each(|conflict| drop(conflicts.send(conflict.clone())));
                    progress.acknowledged = Some(Acknowledged { version, conflicts: decided });
                }
                Notice::Rejected { rejection, .. } => {
                    if let Reason::Conflict(conflict) = &rejection.reason {
                        let _ = conflicts.send((**conflict).clone());
                    }
                    progress.rejected = Some(rejection);
                }
                Notice::Observed { .. } => progress.observed = true,
            }
            if progress.rejected.is_some() || (progress.observed && progress.acknowledged.is_some())
            {
                self.writes.remove(&seq);
            }
        }
    }
}

impl<T> Inner<T> {
    /// A record as it is shown.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry<T>> {
        self.shown.get(key).map(|(_, entry)| entry)
    }

    /// All records as they are shown, by key.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.shown.values().map(|(_, entry)| entry)
    }

    /// How many are shown.
    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// Why records are not values of the collection's type.
    pub(super) const fn misfits(&self) -> &Map<Key, String> {
        &self.misfits
    }

    /// Tells `follower` what is shown, and what changes from now on.
    pub(super) fn add_follower(&mut self, mut follower: Follower<T>) {
        self.entries().for_each(|entry| follower(&entry.key, Some(entry)));
        self.followers.push(follower);
    }

    /// Tells `view` what changes from now on.
    pub(super) fn follow(&mut self, view: &Arc<Lines<T>>) {
        self.views.push(Arc::downgrade(view));
    }

    /// A record as it is shown, now and from now on.
    pub(super) fn watch(&mut self, key: Key) -> Arc<Mutable<Option<Entry<T>>>> {
        if let Some(watched) = self.watched.get(&key).and_then(Weak::upgrade) {
            return watched;
        }
        let watched = Arc::new(Mutable::new(self.entry(&key).cloned()));
        self.watched.retain(|_, watched| watched.strong_count() > 0);
        self.watched.insert(key, Arc::downgrade(&watched));
        watched
    }
}
