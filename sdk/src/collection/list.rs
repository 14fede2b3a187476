//! A list that is changed anywhere, asked anywhere and handed out as a whole, each at a cost that
//! grows with the logarithm of its length.
//!
//! It is a B+ tree whose nodes know how many elements they have. Nodes are shared: a clone is one
//! reference, and who changes a list copies the few nodes on the way that somebody else has, too.

use std::ops::Range;
use std::sync::Arc;

/// So many elements a leaf has at most, and so many nodes one above.
const MOST: usize = 64;

/// With fewer it is joined with the one beside it.
const LEAST: usize = MOST / 4;

/// How many a node has in a list that is made at once: there is room for more.
const FILLED: usize = MOST * 3 / 4;

#[derive(Debug, Clone)]
pub(super) struct List<E> {
    root: Arc<Node<E>>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node<E> {
    Leaf(Vec<E>),
    /// All are equally high, and none is empty.
    Inner(Vec<Part<E>>),
}

#[derive(Debug, Clone)]
struct Part<E> {
    len: usize,
    node: Arc<Node<E>>,
}

impl<E> Default for List<E> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<E> List<E> {
    /// How many elements it has.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The element at this place.
    pub(super) fn get(&self, at: usize) -> Option<&E> {
        let (leaf, start) = self.leaf(at)?;
        leaf.get(at - start)
    }

    /// The elements at these places, as far as there are any.
    pub(super) fn range(&self, places: Range<usize>) -> Iter<'_, E> {
        let end = places.end.min(self.len);
        let start = places.start.min(end);
        Iter { list: self, places: start..end, first: (&[], 0), last: (&[], 0) }
    }

    pub(super) fn iter(&self) -> Iter<'_, E> {
        self.range(0..self.len)
    }

    /// How many elements come before the first of which `is_before` is false; after that one, it is
    /// false of all.
    pub(super) fn partition_point(&self, is_before: impl Fn(&E) -> bool) -> usize {
        let (mut node, mut passed) = (&*self.root, 0);
        loop {
            match node {
                Node::Leaf(elements) => return passed + elements.partition_point(is_before),
                Node::Inner(parts) => {
                    // The place is in, or behind, the last part that begins before it.
                    let begins_before = |part: &Part<E>| part.node.first().is_some_and(&is_before);
                    let at = parts.partition_point(begins_before).saturating_sub(1);
                    passed += parts.iter().take(at).map(|part| part.len).sum::<usize>();
                    let Some(part) = parts.get(at) else { return passed };
                    node = &part.node;
                }
            }
        }
    }

    /// The leaf with the element at this place, and the place of its first one.
    fn leaf(&self, at: usize) -> Option<(&[E], usize)> {
        let (mut node, mut start) = (&*self.root, 0);
        loop {
            match node {
                Node::Leaf(elements) => return Some((elements, start)),
                Node::Inner(parts) => {
                    let part = parts.iter().find(|part| {
                        let is_in = at < start + part.len;
                        start += if is_in { 0 } else { part.len };
                        is_in
                    })?;
                    node = &part.node;
                }
            }
        }
    }
}

impl<E: Clone> List<E> {
    /// Puts an element at this place, or at the end if the list is shorter; those from there on move.
    pub(super) fn insert(&mut self, at: usize, element: E) {
        let at = at.min(self.len);
        self.len += 1;
        let Some(second) = Arc::make_mut(&mut self.root).insert(at, element) else { return };
        let first = std::mem::take(self).root;
        let parts = vec![Part::of(first), Part::of(second)];
        self.len = parts.iter().map(|part| part.len).sum();
        self.root = Arc::new(Node::Inner(parts));
    }

    /// Takes the element at this place out; those behind it move.
    pub(super) fn remove(&mut self, at: usize) -> Option<E> {
        if at >= self.len {
            return None;
        }
        self.len -= 1;
        let removed = Arc::make_mut(&mut self.root).remove(at);
        if let Node::Inner(parts) = &*self.root
            && let [only] = &parts[..]
        {
            self.root = only.node.clone();
        }
        removed
    }

    /// Puts an element in the place of the one that is there.
    pub(super) fn set(&mut self, at: usize, element: E) {
        if let Some(slot) = Arc::make_mut(&mut self.root).get_mut(at) {
            *slot = element;
        }
    }
}

impl<E: Clone> FromIterator<E> for List<E> {
    fn from_iter<I: IntoIterator<Item = E>>(elements: I) -> Self {
        let elements: Vec<E> = elements.into_iter().collect();
        let leaf = |chunk: &[E]| Arc::new(Node::Leaf(chunk.to_vec()));
        let mut nodes: Vec<Arc<Node<E>>> = evenly(&elements).map(leaf).collect();
        while nodes.len() > 1 {
            let inner = |chunk: &[Arc<Node<E>>]| {
                Arc::new(Node::Inner(chunk.iter().cloned().map(Part::of).collect()))
            };
            nodes = evenly(&nodes).map(inner).collect();
        }
        match nodes.pop() {
            Some(root) => Self { root, len: elements.len() },
            None => Self::default(),
        }
    }
}

/// Parts of nearly the same size, as many as are needed for nodes that have room for more.
fn evenly<A>(all: &[A]) -> impl Iterator<Item = &[A]> {
    let parts = all.len().div_ceil(FILLED);
    let begin = move |n: usize| n * all.len() / parts.max(1);
    (0..parts).map(move |n| all.get(begin(n)..begin(n + 1)).unwrap_or_default())
}

impl<E> Part<E> {
    fn of(node: Arc<Node<E>>) -> Self {
        Self { len: node.len(), node }
    }
}

impl<E> Node<E> {
    fn len(&self) -> usize {
        match self {
            Self::Leaf(elements) => elements.len(),
            Self::Inner(parts) => parts.iter().map(|part| part.len).sum(),
        }
    }

    /// How many elements it has, or nodes below it.
    const fn width(&self) -> usize {
        match self {
            Self::Leaf(elements) => elements.len(),
            Self::Inner(parts) => parts.len(),
        }
    }

    fn first(&self) -> Option<&E> {
        match self {
            Self::Leaf(elements) => elements.first(),
            Self::Inner(parts) => parts.first()?.node.first(),
        }
    }
}

/// The part with this place, and the place within it; the last part for the place behind all.
fn find<E>(parts: &[Part<E>], mut at: usize) -> (usize, usize) {
    for (n, part) in parts.iter().enumerate() {
        if at < part.len || n + 1 == parts.len() {
            return (n, at);
        }
        at -= part.len;
    }
    (0, at)
}

impl<E: Clone> Node<E> {
    fn get_mut(&mut self, at: usize) -> Option<&mut E> {
        match self {
            Self::Leaf(elements) => elements.get_mut(at),
            Self::Inner(parts) => {
                let (n, at) = find(parts, at);
                Arc::make_mut(&mut parts.get_mut(n)?.node).get_mut(at)
            }
        }
    }

    /// Gives back the second half if it has become too wide.
    fn insert(&mut self, at: usize, element: E) -> Option<Arc<Self>> {
        match self {
            Self::Leaf(elements) => elements.insert(at, element),
            Self::Inner(parts) => {
                let (n, at) = find(parts, at);
                let part = parts.get_mut(n)?;
                part.len += 1;
                if let Some(second) = Arc::make_mut(&mut part.node).insert(at, element) {
                    let second = Part::of(second);
                    part.len -= second.len;
                    parts.insert(n + 1, second);
                }
            }
        }
        self.split()
    }

    fn split(&mut self) -> Option<Arc<Self>> {
        let half = self.width() / 2;
        if self.width() <= MOST {
            return None;
        }
        Some(Arc::new(match self {
            Self::Leaf(elements) => Self::Leaf(elements.split_off(half)),
            Self::Inner(parts) => Self::Inner(parts.split_off(half)),
        }))
    }

    fn remove(&mut self, at: usize) -> Option<E> {
        match self {
            Self::Leaf(elements) => (at < elements.len()).then(|| elements.remove(at)),
            Self::Inner(parts) => {
                let (n, at) = find(parts, at);
                let part = parts.get_mut(n)?;
                part.len -= 1;
                let node = Arc::make_mut(&mut part.node);
                let removed = node.remove(at);
                if node.width() < LEAST {
                    join(parts, n);
                }
                removed
            }
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Leaf(elements), Self::Leaf(more)) => elements.extend(more),
            (Self::Inner(parts), Self::Inner(more)) => parts.extend(more),
            // All are equally high.
            _ => {}
        }
    }
}

/// Joins a part that has become narrow with one beside it, unless it is alone.
fn join<E: Clone>(parts: &mut Vec<Part<E>>, narrow: usize) {
    let first = narrow.saturating_sub(1);
    if first + 1 >= parts.len() {
        return;
    }
    let second = parts.remove(first + 1);
    let Some(part) = parts.get_mut(first) else { return };
    let node = Arc::make_mut(&mut part.node);
    node.append(Arc::unwrap_or_clone(second.node));
    let rest = node.split().map(Part::of);
    part.len = part.len + second.len - rest.as_ref().map_or(0, |rest| rest.len);
    if let Some(rest) = rest {
        parts.insert(first + 1, rest);
    }
}

/// Elements of a list, in order.
pub(super) struct Iter<'a, E> {
    list: &'a List<E>,
    places: Range<usize>,
    /// The leaf in which it is at the front, and its place; and at the back.
    first: (&'a [E], usize),
    last: (&'a [E], usize),
}

/// The element at `at`, if it is in the leaf.
fn within<E>((leaf, start): (&[E], usize), at: usize) -> Option<&E> {
    leaf.get(at.checked_sub(start)?)
}

impl<'a, E> Iterator for Iter<'a, E> {
    type Item = &'a E;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.places.next()?;
        if within(self.first, at).is_none() {
            self.first = self.list.leaf(at)?;
        }
        within(self.first, at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

impl<E> DoubleEndedIterator for Iter<'_, E> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let at = self.places.next_back()?;
        if within(self.last, at).is_none() {
            self.last = self.list.leaf(at)?;
        }
        within(self.last, at)
    }
}

impl<E> ExactSizeIterator for Iter<'_, E> {}

#[cfg(test)]
mod tests {
    use tidings_core::rng::Rng;

    use super::*;

    /// All nodes but the root are wide enough, and know how many elements they have.
    fn check<E>(node: &Node<E>, is_root: bool) -> (usize, usize) {
        assert!(node.width() <= MOST);
        assert!(is_root || node.width() >= LEAST, "{} is narrow", node.width());
        let Node::Inner(parts) = node else { return (node.len(), 0) };
        let below: Vec<_> = parts.iter().map(|part| check(&part.node, false)).collect();
        assert!(below.iter().zip(parts).all(|((len, _), part)| *len == part.len));
        assert!(below.iter().all(|(_, height)| *height == below[0].1), "equally high");
        (below.iter().map(|(len, _)| len).sum(), below[0].1 + 1)
    }

    fn is_same(list: &List<u64>, plain: &[u64]) {
        assert_eq!(check(&list.root, true).0, list.len());
        assert!(list.iter().eq(plain));
        assert!(list.iter().rev().eq(plain.iter().rev()));
    }

    #[test]
    fn it_is_what_a_vector_would_be_and_what_was_handed_out_stays() {
        let mut rng = Rng::new(3);
        for begin in [0, 1, 64, 65, 5000] {
            let mut plain: Vec<u64> = (0..begin).collect();
            let mut list: List<u64> = plain.iter().copied().collect();
            let handed_out = (list.clone(), plain.clone());
            // It grows, is changed, and shrinks to nothing.
            for (chance, rounds) in [(800, 6000), (500, 2000), (200, 20_000)] {
                for round in 0..rounds {
                    let at = rng.below(plain.len() as u64 + 1) as usize;
                    match (rng.chance(chance), plain.get_mut(at)) {
                        (false, Some(_)) => assert_eq!(list.remove(at), Some(plain.remove(at))),
                        (false, None) => assert_eq!(list.remove(at), None),
                        (true, Some(slot)) if rng.chance(100) => {
                            *slot = round;
                            list.set(at, round);
                        }
                        (true, _) => {
                            plain.insert(at, round);
                            list.insert(at, round);
                        }
                    }
                    assert_eq!(list.len(), plain.len());
                    assert_eq!(list.get(at), plain.get(at));
                }
                is_same(&list, &plain);
                let from = rng.below(plain.len() as u64 + 1) as usize;
                let part = list.range(from..from + 100);
                assert!(part.eq(plain.iter().skip(from).take(100)));
            }
            assert!(plain.len() < 50, "it has shrunk");
            is_same(&handed_out.0, &handed_out.1);
        }
    }

    #[test]
    fn places_are_found_by_bisection() {
        for len in [0, 1, 47, 48, 49, 3000] {
            let list: List<u64> = (0..len).map(|n| n * 2).collect();
            for wanted in 0..=len * 2 {
                let expected = wanted.div_ceil(2).min(len) as usize;
                assert_eq!(list.partition_point(|n| *n < wanted), expected, "{wanted} of {len}");
            }
        }
    }
}
