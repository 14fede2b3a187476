//! Who is registered: the sets that emissions read, and what is needed to change them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::listener::{Callback, Entry, NoticeEntry, Order};
use super::notice::{ListenerId, ListenerInfo, Notice};
use crate::pattern::Pattern;
use crate::pattern_index::{PatternIndex, PatternKey};

/// The listeners at one moment. Cloning shares nearly everything.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    /// Those of patterns.
    pub(super) named: PatternIndex<Arc<Entry>>,
    /// Those of everything, in the order they are called.
    pub(super) any: Arc<[Arc<Entry>]>,
    /// Those of notices, in order of registration.
    pub(super) notices: Arc<[Arc<NoticeEntry>]>,
}

/// The listeners, and where to find each of them.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) current: Listeners,
    places: BTreeMap<ListenerId, Place>,
    patterns: BTreeMap<Pattern, PatternUse>,
    /// How many listeners were prepended.
    prepended: i64,
    /// How many were appended.
    appended: i64,
}

/// Where a listener is.
enum Place {
    Named(PatternKey),
    Any,
    Notices,
}

/// How a pattern is used.
struct PatternUse {
    first: ListenerId,
    listeners: usize,
    warned: bool,
}

/// A listener that is not registered any more. Kept until no lock is held: dropping what its
/// closure captured runs code of the application.
pub(super) enum Removed {
    Listener(Arc<Entry>),
    Notices,
}

impl Registry {
    /// The place in the order for the next listener.
    pub(super) fn next_order(&mut self, priority: i32, prepend: bool) -> Order {
        let number = if prepend {
            self.prepended += 1;
            -self.prepended
        } else {
            self.appended += 1;
            self.appended
        };
        (Reverse(priority), number)
    }

    /// Adds a listener; tells if its pattern now has more than `limit` for the first time
    /// (0: no limit).
    pub(super) fn add(
        &mut self,
        info: ListenerInfo,
        prepend: bool,
        callback: Callback,
        limit: usize,
    ) -> Option<Notice> {
        let order = self.next_order(info.priority, prepend);
        let (id, pattern) = (info.id, info.pattern.clone());
        let entry = Arc::new(Entry::new(info, order, callback));
        let Some(pattern) = pattern else {
            let at = self.current.any.partition_point(|other| other.order < order);
            self.current.any = with(&self.current.any, at, entry);
            self.places.insert(id, Place::Any);
            return None;
        };
        let key = self.current.named.insert(&pattern, entry);
        self.places.insert(id, Place::Named(key));
        let usage = self.patterns.entry(pattern.clone()).or_insert(PatternUse {
            first: id,
            listeners: 0,
            warned: false,
        });
        usage.listeners += 1;
        let warns = limit > 0 && usage.listeners > limit && !usage.warned;
        usage.warned |= warns;
        warns.then_some(Notice::TooManyListeners { pattern, count: usage.listeners, limit })
    }

    /// Adds a listener to notices.
    pub(super) fn add_notices(&mut self, entry: NoticeEntry) {
        self.places.insert(entry.id, Place::Notices);
        let last = self.current.notices.len();
        self.current.notices = with(&self.current.notices, last, Arc::new(entry));
    }

    /// Takes away whatever has this id.
    pub(super) fn remove(&mut self, id: ListenerId) -> Option<Removed> {
        let entry = match self.places.remove(&id)? {
            Place::Named(key) => {
                if let Some(usage) = self.patterns.get_mut(key.pattern()) {
                    usage.listeners -= 1;
                    if usage.listeners == 0 {
                        self.patterns.remove(key.pattern());
                    }
                }
                self.current.named.remove(&key)?
            }
            Place::Any => {
                let entry = self.current.any.iter().find(|entry| entry.info.id == id)?.clone();
                self.current.any = without(&self.current.any, |entry| entry.info.id == id);
                entry
            }
            Place::Notices => {
                self.current.notices = without(&self.current.notices, |entry| entry.id == id);
                return Some(Removed::Notices);
            }
        };
        Some(Removed::Listener(entry))
    }

    /// The listeners (not those of notices) in order of registration, of all patterns or of the
    /// one given.
    pub(super) fn ids(&self, of: Option<&Pattern>) -> Vec<ListenerId> {
        let wanted = |place: &Place| match place {
            Place::Named(key) => of.is_none_or(|pattern| pattern == key.pattern()),
            Place::Any => of.is_none(),
            Place::Notices => false,
        };
        self.places.iter().filter(|(_, place)| wanted(place)).map(|(id, _)| *id).collect()
    }

    /// The patterns somebody listens to, in the order in which they were first registered.
    pub(super) fn patterns(&self) -> Vec<Pattern> {
        let mut patterns: Vec<_> = self.patterns.iter().collect();
        patterns.sort_unstable_by_key(|(_, usage)| usage.first);
        patterns.into_iter().map(|(pattern, _)| pattern.clone()).collect()
    }

    /// How many different patterns there are.
    pub(super) fn pattern_count(&self) -> usize {
        self.patterns.len()
    }
}

/// A copy of `list` with `item` at `at`.
fn with<T: Clone>(list: &[T], at: usize, item: T) -> Arc<[T]> {
    let (before, after) = list.split_at(at);
    before.iter().cloned().chain([item]).chain(after.iter().cloned()).collect()
}

/// A copy of `list` without the items that `is_gone`.
fn without<T: Clone>(list: &[T], is_gone: impl Fn(&T) -> bool) -> Arc<[T]> {
    list.iter().filter(|item| !is_gone(item)).cloned().collect()
}
