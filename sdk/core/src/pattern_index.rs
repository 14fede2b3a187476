//! Which of many patterns match a name.

mod branches;

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::name::MAX_SEGMENTS;
use crate::pattern::{Pattern, PatternSegment, from_first};
use branches::Branches;

/// Names with up to this many segments, which is nearly all, need less stack to be matched.
const USUAL_SEGMENTS: usize = 8;

/// A set of patterns, each with a value, that finds the values whose patterns match a name.
///
/// It is a tree of the patterns' segments. A match visits each node of the tree at most once,
/// with the set of all places in the name at which that node can be reached (one bit each, hence
/// [`MAX_SEGMENTS`]). So every entry is found exactly once, in however many ways its `**` can
/// match, and no pattern makes a match cost more than nodes times segments. Nothing is allocated
/// on the way.
///
/// A clone costs next to nothing: it shares the tree with its original, and a change to either
/// copies only the nodes on its path. That makes snapshots cheap. An index without clones is
/// changed in place.
///
/// ```
/// use tidings_core::{NameError, Pattern, PatternIndex};
/// let mut index = PatternIndex::new();
/// let orders = index.insert(&Pattern::new("orders.**")?, 1);
/// index.insert(&Pattern::new("*.eu.*")?, 2);
/// let mut found = Vec::new();
/// index.match_into("orders.eu.created", &mut found);
/// found.sort();
/// assert_eq!(found, [1, 2]);
/// assert_eq!(index.remove(&orders), Some(1));
/// assert_eq!(index.remove(&orders), None);
/// # Ok::<(), NameError>(())
/// ```
#[derive(Clone)]
pub struct PatternIndex<T> {
    root: Arc<Node<T>>,
    len: usize,
    next_id: u64,
    /// Seeded differently in every process, because subscribers choose the labels. Nothing that
    /// can be observed depends on it.
    hasher: RandomState,
}

/// Names an entry of a [`PatternIndex`]. It stays good until the entry is removed and is never
/// given to another entry of the same index.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PatternKey {
    pattern: Pattern,
    id: u64,
}

impl PatternKey {
    /// The pattern the entry was inserted with.
    pub const fn pattern(&self) -> &Pattern {
        &self.pattern
    }
}

/// What can follow after some segments of patterns.
#[derive(Debug, Clone)]
struct Node<T> {
    literals: Branches<Self>,
    one: Option<Arc<Self>>,
    any: Option<Arc<Self>>,
    /// The patterns that end here; ids only grow.
    entries: Vec<Entry<T>>,
}

#[derive(Debug, Clone)]
struct Entry<T> {
    id: u64,
    value: T,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { literals: Branches::default(), one: None, any: None, entries: Vec::new() }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
            && self.one.is_none()
            && self.any.is_none()
            && self.literals.is_empty()
    }
}

/// A segment of the name being matched, and its hash.
#[derive(Clone, Copy, Default)]
struct Part<'n> {
    text: &'n [u8],
    hash: u64,
}

impl<T> PatternIndex<T> {
    /// An index without patterns.
    pub fn new() -> Self {
        Self { root: Arc::default(), len: 0, next_id: 0, hasher: RandomState::default() }
    }

    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Calls `found` with the value of every entry whose pattern matches `name`, once each, in no
    /// particular order except that entries with the same pattern come in the order of their
    /// insertion. A text that is not a [`Name`](crate::Name) because it has too many segments is
    /// matched by nothing.
    pub fn for_each_match<'t>(&'t self, name: &str, mut found: impl FnMut(&'t T)) {
        let found = &mut found;
        let mut few = [Part::default(); USUAL_SEGMENTS];
        if let Some(parts) = split(name, &self.hasher, &mut few) {
            return walk(&self.root, parts, 1, found);
        }
        let mut many = [Part::default(); MAX_SEGMENTS];
        if let Some(parts) = split(name, &self.hasher, &mut many) {
            walk(&self.root, parts, 1, found);
        }
    }
}

impl<T: Clone> PatternIndex<T> {
    /// Adds an entry. The same pattern may be inserted any number of times.
    pub fn insert(&mut self, pattern: &Pattern, value: T) -> PatternKey {
        let id = self.next_id;
        self.next_id += 1;
        self.len += 1;
        let mut node = Arc::make_mut(&mut self.root);
        for step in steps(pattern) {
            node = match step {
                PatternSegment::Literal(label) => {
                    node.literals.get_or_insert(hash(&self.hasher, label.as_bytes()), label)
                }
                PatternSegment::One => Arc::make_mut(node.one.get_or_insert_default()),
                PatternSegment::Any => Arc::make_mut(node.any.get_or_insert_default()),
            };
        }
        node.entries.push(Entry { id, value });
        PatternKey { pattern: pattern.clone(), id }
    }

    /// Takes an entry away and returns its value; `None` if it was removed before.
    pub fn remove(&mut self, key: &PatternKey) -> Option<T> {
        let mut steps = steps(&key.pattern);
        let value = take(Arc::make_mut(&mut self.root), &self.hasher, &mut steps, key.id)?;
        self.len -= 1;
        Some(value)
    }

    /// Puts the values of all entries whose pattern matches `name` into `found`, after what is
    /// there, as [`for_each_match`](Self::for_each_match) finds them. Allocates only if `found`
    /// has to grow.
    pub fn match_into(&self, name: &str, found: &mut Vec<T>) {
        self.for_each_match(name, |value| found.push(value.clone()));
    }
}

impl<T> Default for PatternIndex<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for PatternIndex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatternIndex").field("len", &self.len).finish_non_exhaustive()
    }
}

fn hash(hasher: &RandomState, label: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(label);
    state.finish()
}

/// Splits a name into `parts`; `None` if it has more segments than there is room for.
fn split<'p, 'n>(
    name: &'n str,
    hasher: &RandomState,
    parts: &'p mut [Part<'n>],
) -> Option<&'p [Part<'n>]> {
    let mut rest = name.as_bytes();
    let mut length = 0;
    loop {
        let dot = rest.iter().position(|byte| *byte == b'.');
        let (text, after) = rest.split_at(dot.unwrap_or(rest.len()));
        *parts.get_mut(length)? = Part { text, hash: hash(hasher, text) };
        length += 1;
        match after {
            [] => return parts.get(..length),
            [_, after @ ..] => rest = after,
        }
    }
}

/// The way of a pattern through the tree. A `**` right after another adds nothing and is left out.
fn steps(pattern: &Pattern) -> impl Iterator<Item = PatternSegment<'_>> {
    let mut last = None;
    pattern.segments().filter(move |segment| {
        let repeats = *segment == PatternSegment::Any && last == Some(PatternSegment::Any);
        last = Some(*segment);
        !repeats
    })
}

/// Removes the entry `id` at the end of `steps`, and the nodes that lead nowhere after that.
fn take<'p, T: Clone>(
    node: &mut Node<T>,
    hasher: &RandomState,
    steps: &mut dyn Iterator<Item = PatternSegment<'p>>,
    id: u64,
) -> Option<T> {
    let child = match steps.next() {
        None => {
            let index = node.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
            return Some(node.entries.remove(index).value);
        }
        Some(PatternSegment::Literal(label)) => {
            return node
                .literals
                .update(hash(hasher, label.as_bytes()), label, |child| {
                    let value = take(child, hasher, steps, id);
                    (value, child.is_empty())
                })
                .flatten();
        }
        Some(PatternSegment::One) => &mut node.one,
        Some(PatternSegment::Any) => &mut node.any,
    };
    let node = Arc::make_mut(child.as_mut()?);
    let value = take(node, hasher, steps, id);
    if node.is_empty() {
        *child = None;
    }
    value
}

/// Visits `node`, reached at `places` in the name: bit i is set when the first i segments are
/// covered by what led here. There is at least one place.
fn walk<'t, T>(node: &'t Node<T>, name: &[Part<'_>], places: u64, found: &mut impl FnMut(&'t T)) {
    let end = 1_u64 << name.len();
    if places & end != 0 {
        node.entries.iter().for_each(|entry| found(&entry.value));
    }
    if let Some(any) = &node.any {
        walk(any, name, from_first(places, end), found);
    }
    let mut open = places & (end - 1);
    if open == 0 {
        return;
    }
    if let Some(one) = &node.one {
        walk(one, name, open << 1, found);
    }
    if node.literals.is_empty() {
        return;
    }
    while let Some(part) = name.get(open.trailing_zeros() as usize) {
        let mut same = open & open.wrapping_neg();
        if let Some(child) = node.literals.get(part.hash, part.text) {
            if open != same {
                same |= places_of(part, name) & open;
            }
            walk(child, name, same << 1, found);
        }
        open &= !same;
    }
}

/// Before which places of the name this segment stands.
fn places_of(part: &Part<'_>, name: &[Part<'_>]) -> u64 {
    name.iter().enumerate().fold(0, |places, (i, other)| {
        let equal = other.hash == part.hash && other.text == part.text;
        places | (u64::from(equal) << i)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index_of(patterns: &[&str]) -> (PatternIndex<usize>, Vec<PatternKey>) {
        let mut index = PatternIndex::default();
        let keys = patterns
            .iter()
            .enumerate()
            .map(|(i, pattern)| index.insert(&Pattern::new(*pattern).unwrap(), i))
            .collect();
        (index, keys)
    }

    fn matches(index: &PatternIndex<usize>, name: &str) -> Vec<usize> {
        let mut found = Vec::new();
        index.match_into(name, &mut found);
        found.sort_unstable();
        found
    }

    #[test]
    fn each_entry_is_found_once_however_often_it_matches() {
        let (index, _) =
            index_of(&["**.a.**", "**.**", "a.**.a", "**.a.**.a.**", "a.a.a", "*.a.*"]);
        assert_eq!(matches(&index, "a.a.a"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(matches(&index, "a"), [0, 1]);
        assert_eq!(matches(&index, "a.b.b.a"), [0, 1, 2, 3]);
    }

    #[test]
    fn matching_backtracks() {
        let (index, _) = index_of(&["**.b.c", "**.b.b.c", "a.**.b.*.c"]);
        assert_eq!(matches(&index, "a.b.b.c"), [0, 1, 2]);
        assert_eq!(matches(&index, "b.c"), [0]);
        assert_eq!(matches(&index, "a.b.b.d"), []);
    }

    #[test]
    fn equal_patterns_are_separate_entries_in_order_of_insertion() {
        let (mut index, keys) = index_of(&["a.*", "a.*", "a.*"]);
        assert_eq!(index.remove(&keys[1]), Some(1));
        assert_eq!(index.remove(&keys[1]), None);
        let late = index.insert(keys[0].pattern(), 9);
        let mut found = Vec::new();
        index.for_each_match("a.b", |value| found.push(*value));
        assert_eq!(found, [0, 2, 9]);
        assert_ne!(late, keys[1]);
    }

    #[test]
    fn an_emptied_index_keeps_no_nodes() {
        let patterns = ["a", "a.b", "a.*.c", "**.x", "a.**.**.b", "*", "**"];
        let (mut index, keys) = index_of(&patterns);
        assert_eq!(index.len(), patterns.len());
        for (i, key) in keys.iter().enumerate() {
            assert_eq!(index.remove(key), Some(i));
        }
        assert!(index.is_empty() && index.root.is_empty());
        assert_eq!(matches(&index, "a"), []);
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let (mut index, _) = index_of(&["a.b"]);
        for pattern in ["a", "a.b", "a.*", "a.**", "x.y"] {
            let key = PatternKey { pattern: Pattern::new(pattern).unwrap(), id: 77 };
            assert_eq!(index.remove(&key), None);
        }
        assert_eq!(matches(&index, "a.b"), [0]);
        assert_eq!(format!("{index:?}"), "PatternIndex { len: 1, .. }");
    }

    #[test]
    fn a_clone_is_a_snapshot() {
        let (mut index, keys) = index_of(&["a.*", "a.**"]);
        let snapshot = index.clone();
        index.remove(&keys[0]);
        index.insert(&Pattern::new("a.b").unwrap(), 5);
        assert_eq!(matches(&snapshot, "a.b"), [0, 1]);
        assert_eq!(matches(&index, "a.b"), [1, 5]);
    }

    #[test]
    fn names_may_be_as_long_as_they_are_allowed_to_be() {
        let (index, _) = index_of(&["**", "a.**", "**.a", "**.a.**.a"]);
        for length in 2..=MAX_SEGMENTS {
            assert_eq!(matches(&index, &vec!["a"; length].join(".")), [0, 1, 2, 3], "{length}");
        }
        assert_eq!(matches(&index, &vec!["a"; MAX_SEGMENTS + 1].join(".")), []);
    }

    /// There are more than 10^17 ways to match these: trying them one by one would never end.
    #[test]
    fn hostile_patterns_do_not_blow_up() {
        let many_any = vec!["**.a"; 31].join(".");
        let hostile: Vec<String> =
            (1..=30).map(|n| vec!["**.a"; n].join(".") + ".**.b").chain([many_any]).collect();
        let (index, _) = index_of(&hostile.iter().map(String::as_str).collect::<Vec<_>>());
        let name = vec!["a"; MAX_SEGMENTS].join(".");
        assert_eq!(matches(&index, &name), [30], "only the one that does not end in b");
        let one_b = format!("{}.b", vec!["a"; MAX_SEGMENTS - 1].join("."));
        assert_eq!(matches(&index, &one_b), (0..30).collect::<Vec<_>>());
    }
}
