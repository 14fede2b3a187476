//! The records of a view in their order.
//!
//! A record is put in its place or taken out of it in logarithmic time, and the list as a whole is
//! handed out without copying it.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_signals::signal_vec::VecDiff;
use tidings_core::map::Map;
use tidings_core::state::Key;

use super::follow::Queue;
use super::list::List;
use super::shared::Entry;

/// When one in so many records changes at once, the list is made anew rather than changed.
const MANY: usize = 16;

pub(super) type Filter<T> = Box<dyn Fn(&Entry<T>) -> bool + Send + Sync>;
pub(super) type Order<T> = Box<dyn Fn(&Entry<T>, &Entry<T>) -> Ordering + Send + Sync>;

/// The records of a [`View`](super::View) at one moment. Clones are cheap: what is the same is
/// shared.
pub struct Entries<T> {
    list: List<Entry<T>>,
}

impl<T> Clone for Entries<T> {
    fn clone(&self) -> Self {
        Self { list: self.list.clone() }
    }
}

impl<T> Entries<T> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record at this place, counted from 0.
    pub fn get(&self, at: usize) -> Option<&Entry<T>> {
        self.list.get(at)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry<T>> + ExactSizeIterator {
        self.list.iter()
    }

    /// Those at these places, as far as there are any: what fits on a screen, say.
    pub fn range(&self, places: impl RangeBounds<usize>) -> impl Iterator<Item = &Entry<T>> {
        self.list.range(bounds(&places))
    }

    /// A copy of all of them.
    pub fn to_vec(&self) -> Vec<Entry<T>> {
        self.list.iter().cloned().collect()
    }
}

impl<T: fmt::Debug> fmt::Debug for Entries<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn bounds(places: &impl RangeBounds<usize>) -> Range<usize> {
    let start = match places.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match places.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => usize::MAX,
    };
    start..end
}

/// The records of a view, kept as the collection changes.
pub(super) struct Lines<T> {
    filter: Filter<T>,
    order: Order<T>,
    list: Mutex<Followed<T>>,
}

/// The records, and who is told of changes in them.
pub(super) struct Followed<T> {
    entries: List<Entry<T>>,
    /// The records that are in `entries`.
    keys: Map<Key, Entry<T>>,
    queues: Vec<Weak<Queue<T>>>,
}

impl<T> Drop for Lines<T> {
    fn drop(&mut self) {
        self.lock().each_queue(Queue::end);
    }
}

impl<T> Lines<T> {
    /// Those of `all` that `filter` likes, in this order.
    pub(super) fn new<'a>(
        filter: Filter<T>,
        order: Order<T>,
        all: impl Iterator<Item = &'a Entry<T>>,
    ) -> Self
    where
        T: 'a,
    {
        let list = Followed { entries: List::default(), keys: Map::new(), queues: Vec::new() };
        let lines = Self { filter, order, list: Mutex::new(list) };
        let chosen: Vec<_> = all.filter(|entry| (lines.filter)(entry)).cloned().collect();
        let mut list = lines.lock();
        list.keys = chosen.iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
        lines.replace(&mut list, chosen);
        drop(list);
        lines
    }

    /// The records as they are now.
    pub(super) fn entries(&self) -> Entries<T> {
        self.lock().entries()
    }

    /// How many there are now.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Nothing changes while this is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Followed<T>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records are this now.
    pub(super) fn change(&self, changed: &[(Key, Option<Entry<T>>)]) {
        let mut list = self.lock();
        if changed.len() > 1 + list.entries.len() / MANY {
            return self.change_many(&mut list, changed);
        }
        for (key, entry) in changed {
            self.change_one(&mut list, key, entry.as_ref());
        }
    }

    fn compare(&self, a: &Entry<T>, b: &Entry<T>) -> Ordering {
        (self.order)(a, b).then_with(|| a.key.cmp(&b.key))
    }

    /// Puts a record where it belongs.
    fn change_one(&self, list: &mut Followed<T>, key: &Key, entry: Option<&Entry<T>>) {
        let new = entry.filter(|entry| (self.filter)(entry)).cloned();
        let old = match &new {
            Some(new) => list.keys.insert(key.clone(), new.clone()),
            None => list.keys.remove(key),
        };
        let at = old.as_ref().and_then(|old| self.place_of(list, old));
        match (old, at, new) {
            (Some(old), Some(index), Some(value)) if self.compare(&old, &value).is_eq() => {
                list.entries.set(index, value.clone());
                list.tell(|| VecDiff::UpdateAt { index, value: value.clone() });
            }
            (_, at, new) => {
                if let Some(index) = at {
                    list.entries.remove(index);
                    list.tell(|| VecDiff::RemoveAt { index });
                }
                if let Some(value) = new {
                    let is_before = |entry: &Entry<T>| self.compare(entry, &value).is_lt();
                    let index = list.entries.partition_point(is_before);
                    list.entries.insert(index, value.clone());
                    list.tell(|| VecDiff::InsertAt { index, value: value.clone() });
                }
            }
        }
    }

    /// Sorts all records anew, most of which are in order.
    fn change_many(&self, list: &mut Followed<T>, changed: &[(Key, Option<Entry<T>>)]) {
        let removed = changed.iter().filter(|(key, _)| list.keys.remove(key).is_some()).count();
        let new = changed.iter().filter_map(|(_, entry)| entry.as_ref());
        let new: Vec<Entry<T>> = new.filter(|entry| (self.filter)(entry)).cloned().collect();
        if removed == 0 && new.is_empty() {
            return;
        }
        let keys = &mut list.keys;
        let kept = list.entries.iter().filter(|entry| keys.contains_key(&entry.key));
        let entries: Vec<_> = kept.chain(&new).cloned().collect();
        keys.extend(new.into_iter().map(|entry| (entry.key.clone(), entry)));
        self.replace(list, entries);
    }

    fn replace(&self, list: &mut Followed<T>, mut entries: Vec<Entry<T>>) {
        entries.sort_by(|a, b| self.compare(a, b));
        list.entries = entries.into_iter().collect();
        list.each_queue(Queue::fall_behind);
    }

    /// Where an entry stands; an order that contradicts itself is no reason to lose it.
    fn place_of(&self, list: &Followed<T>, old: &Entry<T>) -> Option<usize> {
        let at = list.entries.partition_point(|entry| self.compare(entry, old).is_lt());
        match list.entries.get(at) {
            Some(entry) if entry.key == old.key => Some(at),
            _ => list.entries.iter().position(|entry| entry.key == old.key),
        }
    }
}

impl<T> Followed<T> {
    /// The records as they are now.
    pub(super) fn entries(&self) -> Entries<T> {
        Entries { list: self.entries.clone() }
    }

    /// Tells `queue` what changes from now on.
    pub(super) fn follow(&mut self, queue: &Arc<Queue<T>>) {
        self.queues.push(Arc::downgrade(queue));
    }

    fn tell(&mut self, diff: impl Fn() -> VecDiff<Entry<T>>) {
        self.each_queue(|queue| queue.push(diff()));
    }

    fn each_queue(&mut self, act: impl Fn(&Queue<T>)) {
        self.queues.retain(|queue| queue.upgrade().inspect(|queue| act(queue)).is_some());
    }
}
