//! Ordered maps and sets whose code is small.
//!
//! They do what `BTreeMap` and `BTreeSet` do, which a module for browsers would contain once for each
//! type that is kept in one, several kilobytes each: half of a page's download was that.
//!
//! Entries are sorted, in chunks of a few dozen. Finding one takes steps that grow with the logarithm of
//! their number; putting one in or taking one out moves those behind it in its chunk, and when a
//! chunk comes or goes, once in dozens of times, the chunks behind it, each of which is three words.

use std::borrow::Borrow;
use std::fmt;

/// So many entries a chunk has at most.
const MOST: usize = 64;

/// With so few it is joined with one beside it, if both together are no more than half full.
const FEW: usize = MOST / 8;

/// Values by their keys, in the order of the keys.
#[derive(Clone)]
pub struct Map<K, V> {
    /// None is empty.
    chunks: Vec<Vec<(K, V)>>,
    len: usize,
}

impl<K, V> Map<K, V> {
    /// A map without entries.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }

    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.chunks.iter().flatten().map(|(key, value)| (key, value))
    }

    /// All entries, in order, with values that can be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.chunks.iter_mut().flatten().map(|(key, value)| (&*key, value))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> + Clone {
        self.chunks.iter().flatten().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> + Clone {
        self.chunks.iter().flatten().map(|(_, value)| value)
    }

    /// All values, in the order of their keys, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.chunks.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Takes the entry with the smallest key out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        (self.len > 0).then(|| self.take(0, 0))
    }

    /// Keeps the entries of which `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for chunk in &mut self.chunks {
            chunk.retain_mut(|(key, value)| keep(key, value));
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len = self.chunks.iter().map(Vec::len).sum();
    }

    /// Takes the entries out of which `take` is true, in order.
    pub fn take_if(&mut self, mut take: impl FnMut(&K, &V) -> bool) -> Vec<(K, V)> {
        let mut taken = Vec::new();
        for chunk in &mut self.chunks {
            taken.extend(chunk.extract_if(.., |(key, value)| take(key, value)));
        }
        self.chunks.retain(|chunk| !chunk.is_empty());
        self.len -= taken.len();
        taken
    }

    /// Takes all entries out.
    pub fn clear(&mut self) {
        self.chunks.clear();
        self.len = 0;
    }

    /// Takes the entry at this place of this chunk out.
    fn take(&mut self, chunk: usize, at: usize) -> (K, V) {
        self.len -= 1;
        let entries = &mut self.chunks[chunk];
        let taken = entries.remove(at);
        let left = entries.len();
        if left == 0 {
            self.chunks.remove(chunk);
        } else if left <= FEW && !self.join(chunk) && chunk > 0 {
            self.join(chunk - 1);
        }
        taken
    }

    /// Puts what the chunk behind this one has into it, if both have little. Whether it did.
    fn join(&mut self, chunk: usize) -> bool {
        let joins = match &self.chunks[chunk..] {
            [first, second, ..] => first.len() + second.len() <= MOST / 2,
            _ => false,
        };
        if joins {
            let mut second = self.chunks.remove(chunk + 1);
            self.chunks[chunk].append(&mut second);
        }
        joins
    }
}

impl<K: Ord, V> Map<K, V> {
    /// The chunk in which the key is or would be, and its place there.
    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let begins_before = |chunk: &Vec<(K, V)>| chunk[0].0.borrow() <= key;
        let chunk = self.chunks.partition_point(begins_before).saturating_sub(1);
        let entries = self.chunks.get(chunk).map_or(&[][..], |entries| entries);
        (chunk, entries.binary_search_by(|(other, _)| other.borrow().cmp(key)))
    }

    /// The value with this key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key);
        let at = at.ok()?;
        Some(&self.chunks[chunk][at].1)
    }

    /// The value with this key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key);
        let at = at.ok()?;
        Some(&mut self.chunks[chunk][at].1)
    }

    /// Whether there is a value with this key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.find(key).1.is_ok()
    }

    /// Puts a value in; the one with this key that was there comes back.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            (chunk, Ok(at)) => Some(std::mem::replace(&mut self.chunks[chunk][at].1, value)),
            (chunk, Err(at)) => {
                self.put(chunk, at, (key, value));
                None
            }
        }
    }

    /// The value with this key; made if it is not there.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let (chunk, at) = match self.find(&key) {
            (chunk, Ok(at)) => (chunk, at),
            (chunk, Err(at)) => self.put(chunk, at, (key, make())),
        };
        &mut self.chunks[chunk][at].1
    }

    /// Puts an entry where it belongs; says where it is then.
    fn put(&mut self, mut chunk: usize, mut at: usize, entry: (K, V)) -> (usize, usize) {
        self.len += 1;
        match self.chunks.get_mut(chunk) {
            None => self.chunks.push(Vec::new()),
            Some(entries) if entries.len() == MOST => {
                // Keys that grow leave full chunks behind.
                let half = if at == MOST { MOST } else { MOST / 2 };
                let behind = entries.split_off(half);
                self.chunks.insert(chunk + 1, behind);
                if at > half || at == MOST {
                    (chunk, at) = (chunk + 1, at - half);
                }
            }
            Some(_) => {}
        }
        self.chunks[chunk].insert(at, entry);
        (chunk, at)
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key);
        Some(self.take(chunk, at.ok()?).1)
    }

    /// The entries from this key on, in order.
    pub fn range_from(&self, key: &K) -> impl Iterator<Item = (&K, &V)> + use<'_, K, V> {
        let (chunk, Ok(at) | Err(at)) = self.find(key);
        let chunks = self.chunks.get(chunk..).unwrap_or_default();
        chunks.iter().flatten().skip(at).map(|(key, value)| (key, value))
    }

    /// The first entry from this key on, with its value to be changed.
    pub fn first_from(&mut self, key: &K) -> Option<(&K, &mut V)> {
        let (chunk, Ok(at) | Err(at)) = self.find(key);
        let chunks = self.chunks.get_mut(chunk..).unwrap_or_default();
        chunks.iter_mut().flatten().nth(at).map(|(key, value)| (&*key, value))
    }
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Map<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for Map<K, V> {}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Map<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: Ord, V> Extend<(K, V)> for Map<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Map<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K, V> IntoIterator for Map<K, V> {
    type Item = (K, V);
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<(K, V)>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.chunks.into_iter().flatten()
    }
}

/// The entries of a map, in order.
pub type Iter<'a, K, V> = std::iter::Map<
    std::iter::Flatten<std::slice::Iter<'a, Vec<(K, V)>>>,
    fn(&'a (K, V)) -> (&'a K, &'a V),
>;

impl<'a, K, V> IntoIterator for &'a Map<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Different values, in order.
#[derive(Clone, PartialEq, Eq)]
pub struct Set<K>(Map<K, ()>);

impl<K> Set<K> {
    /// A set without values.
    pub const fn new() -> Self {
        Self(Map::new())
    }

    /// How many values it has.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All values, in order.
    pub fn iter(&self) -> impl Iterator<Item = &K> + Clone {
        self.0.keys()
    }

    /// Takes the smallest value out.
    pub fn pop_first(&mut self) -> Option<K> {
        self.0.pop_first().map(|(key, ())| key)
    }

    /// Takes all values out.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<K: Ord> Set<K> {
    /// Whether the value is there.
    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Puts a value in. Whether it was not there.
    pub fn insert(&mut self, key: K) -> bool {
        self.0.insert(key, ()).is_none()
    }

    /// Takes a value out. Whether it was there.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.remove(key).is_some()
    }
}

impl<K> Default for Set<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug> fmt::Debug for Set<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<K: Ord> Extend<K> for Set<K> {
    fn extend<I: IntoIterator<Item = K>>(&mut self, keys: I) {
        self.0.extend(keys.into_iter().map(|key| (key, ())));
    }
}

impl<K: Ord> FromIterator<K> for Set<K> {
    fn from_iter<I: IntoIterator<Item = K>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key, ())).collect())
    }
}

impl<K> IntoIterator for Set<K> {
    type Item = K;
    type IntoIter = std::iter::Map<<Map<K, ()> as IntoIterator>::IntoIter, fn((K, ())) -> K>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(key, ())| key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16),
        GetOrInsert(u16),
        Remove(u16),
        PopFirst,
        Retain(u16),
        TakeIf(u16),
        Look(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Few enough different keys for some to be there, enough of them for several chunks.
        let key = || 0..2000_u16;
        let step = prop_oneof![
            10 => key().prop_map(Step::Insert),
            2 => key().prop_map(Step::GetOrInsert),
            6 => key().prop_map(Step::Remove),
            2 => Just(Step::PopFirst),
            1 => (2..40_u16).prop_map(Step::Retain),
            1 => (2..40_u16).prop_map(Step::TakeIf),
            3 => key().prop_map(Step::Look),
        ];
        (proptest::collection::vec(step, 1..400), proptest::bool::ANY).prop_map(
            |(steps, growing)| match growing {
                // Numbers that grow, as those of publishes do.
                true => (0..500).map(Step::Insert).chain(steps).collect(),
                false => (0..500).map(|n| Step::Insert(n * 37 % 2000)).chain(steps).collect(),
            },
        )
    }

    fn check(map: &Map<u16, usize>, same: &BTreeMap<u16, usize>) {
        assert_eq!(map.len(), same.len());
        assert!(map.iter().eq(same.iter()));
        assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= MOST));
    }

    proptest! {
        #[test]
        fn it_is_as_the_one_of_the_standard_library(steps in steps()) {
            let (mut map, mut same) = (Map::new(), BTreeMap::new());
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(key) => assert_eq!(map.insert(key, n), same.insert(key, n)),
                    Step::GetOrInsert(key) => {
                        *map.get_or_insert_with(key, || n) += 1;
                        *same.entry(key).or_insert(n) += 1;
                    }
                    Step::Remove(key) => assert_eq!(map.remove(&key), same.remove(&key)),
                    Step::PopFirst => assert_eq!(map.pop_first(), same.pop_first()),
                    Step::Retain(part) => {
                        map.retain(|key, _| key % part != 0);
                        same.retain(|key, _| key % part != 0);
                    }
                    Step::TakeIf(part) => {
                        let taken = map.take_if(|key, _| key % part == 0);
                        assert!(taken.into_iter().eq(same.extract_if(.., |key, _| key % part == 0)));
                    }
                    Step::Look(key) => {
                        assert_eq!(map.get(&key), same.get(&key));
                        assert!(map.range_from(&key).eq(same.range(key..)));
                        assert_eq!(map.first_from(&key), same.range_mut(key..).next());
                    }
                }
                if n % 16 == 0 {
                    check(&map, &same);
                }
            }
            check(&map, &same);
            assert!(map.clone().into_iter().eq(same.clone()));
            assert_eq!(map, same.into_iter().rev().collect());
        }
    }

    #[test]
    fn chunks_that_are_nearly_empty_are_joined() {
        let mut map: Map<u32, ()> = (0..6400).map(|key| (key, ())).collect();
        map.chunks.iter().for_each(|chunk| assert_eq!(chunk.len(), MOST, "keys have grown"));
        for key in (0..6400).filter(|key| key % 64 > 1) {
            map.remove(&key);
        }
        assert_eq!(map.len(), 200);
        assert!(map.chunks.len() <= 200 / FEW, "{} chunks", map.chunks.len());
    }
}
