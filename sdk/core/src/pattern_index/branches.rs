//! The literal children of a node: a hash trie that shares its parts between copies.

use std::sync::Arc;

/// How many children are searched one by one before they are spread over slots.
const FEW: usize = 16;

/// How many bits of the hash choose a slot.
const BITS: u32 = 4;

/// How many slots there are.
const SLOTS: usize = 1 << BITS;

/// Children by label.
///
/// Up to [`FEW`] of them are a list; more are spread over sixteen such maps by four bits of the
/// label's hash at a time. A copy shares everything with its original; changing one of them
/// copies only the path to the change: some lists of at most sixteen entries, however many
/// children there are. Without copies it is changed in place.
#[derive(Debug, Clone)]
pub(super) enum Branches<N> {
    /// In no particular order.
    Few(Vec<Branch<N>>),
    /// By the next bits of the hash.
    Many(Box<[Option<Arc<Self>>; SLOTS]>),
}

/// A child and its label.
#[derive(Debug, Clone)]
pub(super) struct Branch<N> {
    hash: u64,
    label: Arc<str>,
    node: Arc<N>,
}

impl<N> Default for Branches<N> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl<N> Branches<N> {
    /// Whether there are no children.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(list) => list.is_empty(),
            Self::Many(slots) => slots.iter().all(Option::is_none),
        }
    }

    /// The child with this label; `hash` is the label's hash.
    #[inline]
    pub(super) fn get(&self, hash: u64, label: &[u8]) -> Option<&N> {
        let mut here = self;
        let mut rest = hash;
        loop {
            match here {
                Self::Few(list) => {
                    return list
                        .iter()
                        .find(|b| b.hash == hash && b.label.as_bytes() == label)
                        .map(|b| &*b.node);
                }
                Self::Many(slots) => {
                    here = slots[slot(rest)].as_deref()?;
                    rest >>= BITS;
                }
            }
        }
    }
}

impl<N: Clone + Default> Branches<N> {
    /// The child with this label, ready to be changed; made if there was none.
    pub(super) fn get_or_insert(&mut self, hash: u64, label: &str) -> &mut N {
        self.get_or_insert_below(hash, 0, label)
    }

    /// The same; the first `used` bits of the hash have chosen slots above.
    fn get_or_insert_below(&mut self, hash: u64, used: u32, label: &str) -> &mut N {
        if let Self::Few(list) = self
            && list.len() >= FEW
            && used < u64::BITS
            && !list.iter().any(|b| b.hash == hash && &*b.label == label)
        {
            *self = Self::Many(spread(std::mem::take(list), used));
        }
        match self {
            Self::Few(list) => {
                let found = list.iter().position(|b| b.hash == hash && &*b.label == label);
                let index = found.unwrap_or_else(|| {
                    list.push(Branch { hash, label: label.into(), node: Arc::default() });
                    list.len() - 1
                });
                Arc::make_mut(&mut list[index].node)
            }
            Self::Many(slots) => Arc::make_mut(slots[slot(hash >> used)].get_or_insert_default())
                .get_or_insert_below(hash, used + BITS, label),
        }
    }

    /// Changes the child with this label, if there is one, and takes it away if `change` says
    /// (second value) that nothing is left of it.
    pub(super) fn update<R>(
        &mut self,
        hash: u64,
        label: &str,
        change: impl FnOnce(&mut N) -> (R, bool),
    ) -> Option<R> {
        self.update_below(hash, hash, label, change)
    }

    /// The same; `rest` is what is left of the hash to choose slots with.
    fn update_below<R>(
        &mut self,
        hash: u64,
        rest: u64,
        label: &str,
        change: impl FnOnce(&mut N) -> (R, bool),
    ) -> Option<R> {
        match self {
            Self::Few(list) => {
                let index = list.iter().position(|b| b.hash == hash && &*b.label == label)?;
                let (result, is_gone) = change(Arc::make_mut(&mut list[index].node));
                if is_gone {
                    list.swap_remove(index);
                }
                Some(result)
            }
            Self::Many(slots) => {
                let place = &mut slots[slot(rest)];
                let below = Arc::make_mut(place.as_mut()?);
                let result = below.update_below(hash, rest >> BITS, label, change);
                if below.is_empty() {
                    *place = None;
                }
                if self.is_empty() {
                    *self = Self::default();
                }
                result
            }
        }
    }
}

/// The slot chosen by the lowest bits.
const fn slot(bits: u64) -> usize {
    bits as usize % SLOTS
}

/// Distributes a full list by the bits of the hash that come after the `used` ones.
fn spread<N: Clone>(list: Vec<Branch<N>>, used: u32) -> Box<[Option<Arc<Branches<N>>>; SLOTS]> {
    let mut lists: [Vec<Branch<N>>; SLOTS] = Default::default();
    for branch in list {
        lists[slot(branch.hash >> used)].push(branch);
    }
    Box::new(lists.map(|list| (!list.is_empty()).then(|| Arc::new(Branches::Few(list)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(i: u64) -> String {
        format!("label{i}")
    }

    /// Inserts, reads back from a copy and removes `count` children whose hashes are `hash(i)`.
    fn fill_and_drain(count: u64, hash: impl Fn(u64) -> u64) {
        let mut branches = Branches::<u64>::default();
        for i in 0..count {
            *branches.get_or_insert(hash(i), &label(i)) = i;
            assert_eq!(*branches.get_or_insert(hash(i), &label(i)), i, "not made twice");
        }
        let copy = branches.clone();
        for i in 0..count {
            assert_eq!(branches.get(hash(i), label(i).as_bytes()), Some(&i));
            assert_eq!(branches.get(hash(i), b"other"), None);
            assert_eq!(branches.update(hash(i), "other", |_| ((), true)), None);
            assert_eq!(branches.update(hash(i), &label(i), |n| (*n, false)), Some(i));
            assert_eq!(branches.update(hash(i), &label(i), |n| (*n, true)), Some(i));
            assert_eq!(branches.get(hash(i), label(i).as_bytes()), None);
        }
        assert!(branches.is_empty());
        for i in 0..count {
            assert_eq!(copy.get(hash(i), label(i).as_bytes()), Some(&i), "the copy is as it was");
        }
    }

    #[test]
    fn children_are_found_whatever_their_hashes_are() {
        for count in [0, 1, FEW as u64, FEW as u64 + 1, 1000] {
            fill_and_drain(count, |i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            fill_and_drain(count, |_| 7);
            fill_and_drain(count, |i| i << 60);
            fill_and_drain(count, |i| i & 3);
        }
    }
}
