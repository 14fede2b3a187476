//! Live lists of a collection's records.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures_signals::signal_vec::{MutableVec, MutableVecLockMut, SignalVec};
use tidings_core::state::Key;

use super::handle::Handle;
use super::shared::Entry;

/// So many changes at once are not put in their places one by one.
const MANY: usize = 64;

type Filter<T> = Box<dyn Fn(&Entry<T>) -> bool + Send + Sync>;
type Order<T> = Box<dyn Fn(&Entry<T>, &Entry<T>) -> Ordering + Send + Sync>;

/// Says which records a [`View`] has, and in which order. What it is given is called whenever a
/// record changes: it must be quick, and not use the collection.
#[must_use = "a view begins when `open` is called"]
pub struct ViewBuilder<T> {
    handle: Arc<Handle<T>>,
    filter: Filter<T>,
    order: Order<T>,
}

impl<T> fmt::Debug for ViewBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewBuilder").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> ViewBuilder<T> {
    pub(super) fn new(handle: Arc<Handle<T>>) -> Self {
        let order: Order<T> = Box::new(|_, _| Ordering::Equal);
        Self { handle, filter: Box::new(|_| true), order }
    }

    /// Only records that `filter` likes.
    pub fn filter(mut self, filter: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Box::new(move |entry| filter(&entry.value));
        self
    }

    /// In this order; records that are equal in it are ordered by their keys. Without, all are
    /// ordered by their keys.
    pub fn sort_by(mut self, order: impl Fn(&T, &T) -> Ordering + Send + Sync + 'static) -> Self {
        self.order = Box::new(move |a, b| order(&a.value, &b.value));
        self
    }

    /// In the order of what `key` makes of a record.
    pub fn sort_by_key<K: Ord>(self, key: impl Fn(&T) -> K + Send + Sync + 'static) -> Self {
        self.sort_by(move |a, b| key(a).cmp(&key(b)))
    }

    /// Begins to follow the collection.
    pub fn open(self) -> View<T> {
        let Self { handle, filter, order } = self;
        let lines = Lines { filter, order, entries: MutableVec::new(), keys: Mutex::default() };
        let lines = Arc::new(lines);
        let mut inner = handle.shared.lock();
        lines.fill(inner.entries());
        inner.follow(&lines);
        drop(inner);
        View { lines, _handle: handle }
    }
}

/// The records of a view, kept as the collection changes.
pub(super) struct Lines<T> {
    filter: Filter<T>,
    order: Order<T>,
    entries: MutableVec<Entry<T>>,
    /// The records that are in `entries`.
    keys: Mutex<BTreeMap<Key, Entry<T>>>,
}

impl<T> Lines<T> {
    fn compare(&self, a: &Entry<T>, b: &Entry<T>) -> Ordering {
        (self.order)(a, b).then_with(|| a.key.cmp(&b.key))
    }

    fn fill<'a>(&self, all: impl Iterator<Item = &'a Entry<T>>)
    where
        T: 'a,
    {
        let mut entries: Vec<_> = all.filter(|entry| (self.filter)(entry)).cloned().collect();
        entries.sort_by(|a, b| self.compare(a, b));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.extend(entries.iter().map(|entry| (entry.key.clone(), entry.clone())));
        self.entries.lock_mut().replace_cloned(entries);
    }

    /// Records are this now.
    pub(super) fn change(&self, changed: &[(Key, Option<Entry<T>>)]) {
        if changed.len() > MANY {
            return self.change_many(changed);
        }
        for (key, entry) in changed {
            self.change_one(key, entry.as_ref());
        }
    }

    /// Puts a record where it belongs. What that costs follows from the logarithm of the records,
    /// but for moving those behind it.
    fn change_one(&self, key: &Key, entry: Option<&Entry<T>>) {
        let new = entry.filter(|entry| (self.filter)(entry)).cloned();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let old = match &new {
            Some(new) => keys.insert(key.clone(), new.clone()),
            None => keys.remove(key),
        };
        drop(keys);
        if old.is_none() && new.is_none() {
            return;
        }
        let mut entries = self.entries.lock_mut();
        let at = old.as_ref().and_then(|old| self.place_of(&entries, old));
        match (old, at, new) {
            (Some(old), Some(at), Some(new)) if self.compare(&old, &new).is_eq() => {
                entries.set_cloned(at, new);
            }
            (_, at, new) => {
                if let Some(at) = at {
                    entries.remove(at);
                }
                if let Some(new) = new {
                    let at = entries.partition_point(|entry| self.compare(entry, &new).is_lt());
                    entries.insert_cloned(at, new);
                }
            }
        }
    }

    /// Sorts all records anew, most of which are in order.
    fn change_many(&self, changed: &[(Key, Option<Entry<T>>)]) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let removed = changed.iter().filter(|(key, _)| keys.remove(key).is_some()).count();
        let new = changed.iter().filter_map(|(_, entry)| entry.as_ref());
        let new: Vec<Entry<T>> = new.filter(|entry| (self.filter)(entry)).cloned().collect();
        if removed == 0 && new.is_empty() {
            return;
        }
        let mut entries = self.entries.lock_ref().to_vec();
        entries.retain(|entry| keys.contains_key(&entry.key));
        keys.extend(new.iter().map(|entry| (entry.key.clone(), entry.clone())));
        entries.extend(new);
        entries.sort_by(|a, b| self.compare(a, b));
        self.entries.lock_mut().replace_cloned(entries);
    }

    /// Where an entry stands; an order that contradicts itself is no reason to lose it.
    fn place_of(&self, entries: &MutableVecLockMut<'_, Entry<T>>, old: &Entry<T>) -> Option<usize> {
        match entries.binary_search_by(|entry| self.compare(entry, old)) {
            Ok(at) if entries.get(at).is_some_and(|entry| entry.key == old.key) => Some(at),
            _ => entries.iter().position(|entry| entry.key == old.key),
        }
    }
}

/// A live list of some of a collection's records. The collection lives for as long as this does.
pub struct View<T> {
    lines: Arc<Lines<T>>,
    _handle: Arc<Handle<T>>,
}

impl<T> View<T> {
    /// The records as they are now.
    pub fn entries(&self) -> Vec<Entry<T>> {
        self.lines.entries.lock_ref().to_vec()
    }

    /// How many there are now.
    pub fn len(&self) -> usize {
        self.lines.entries.lock_ref().len()
    }

    /// Whether there is none now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, and each change in the list from now on.
    pub fn signal_vec(&self) -> impl SignalVec<Item = Entry<T>> + use<T> {
        self.lines.entries.signal_vec_cloned()
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish_non_exhaustive()
    }
}
