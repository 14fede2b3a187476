//! Live lists of a collection's records.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use futures_signals::signal::Signal;
use futures_signals::signal_vec::SignalVec;

use super::follow::{Diffs, Snapshots};
use super::handle::Handle;
use super::lines::{Entries, Filter, Lines, Order};
use super::shared::Entry;

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
        let mut inner = handle.shared.lock();
        let lines = Arc::new(Lines::new(filter, order, inner.entries()));
        inner.follow(&lines);
        drop(inner);
        View { lines, _handle: handle }
    }
}

/// A live list of some of a collection's records. The collection lives for as long as this does.
///
/// A change costs by the logarithm of the list's length, whoever follows it.
pub struct View<T> {
    lines: Arc<Lines<T>>,
    _handle: Arc<Handle<T>>,
}

impl<T> View<T> {
    /// The records as they are now. They are not copied, however many there are.
    pub fn entries(&self) -> Entries<T> {
        self.lines.entries()
    }

    /// How many there are now.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records, now and whenever one of them has changed: for those who look at the whole, or
    /// at a part of it, each time. They are not copied. Changes that follow each other faster than they
    /// are looked at are seen as one.
    pub fn signal(&self) -> impl Signal<Item = Entries<T>> + Send + Sync + Unpin + use<T>
    where
        T: Send + Sync,
    {
        Snapshots::new(&self.lines)
    }

    /// First the records, and then each change in the list. Who is very slow gets all records
    /// again instead of many changes.
    pub fn signal_vec(&self) -> impl SignalVec<Item = Entry<T>> + Send + Sync + Unpin + use<T>
    where
        T: Send + Sync,
    {
        Diffs::new(&self.lines)
    }

    /// The records as they are now, not copied, and each change in the list from then on, for those
    /// who apply the changes themselves. Who is very slow gets all records again instead of many
    /// changes.
    pub fn changes(
        &self,
    ) -> (Entries<T>, impl SignalVec<Item = Entry<T>> + Send + Sync + Unpin + use<T>)
    where
        T: Send + Sync,
    {
        Diffs::after_entries(&self.lines)
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish_non_exhaustive()
    }
}
