//! Which numbers of one stream one receiver has seen.

/// Holes kept apart per track; beyond it the oldest is written off, which bounds memory.
const MAX_HOLES: usize = 65_536;

/// How an event arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// After everything that came before it in its stream, or after a hole.
    InOrder,
    /// After one with a higher number.
    Late,
    /// Seen before.
    Duplicate,
}

/// An inclusive range of sequence numbers that have not arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    /// The first missing number.
    pub(crate) first: u32,
    /// The last missing number.
    pub(crate) last: u32,
}

impl Hole {
    /// How many events are missing.
    pub(crate) fn len(self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

/// One receiver's view of one stream: exact for every number, in memory that grows with the
/// number of holes alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Track {
    highest: u32,
    holes: Vec<Hole>,
    written_off: u64,
}

impl Track {
    /// Notes the arrival of `seq` (counted from 1).
    pub(crate) fn arrive(&mut self, seq: u32) -> Arrival {
        if seq > self.highest {
            if seq > self.highest + 1 {
                self.open_hole(Hole { first: self.highest + 1, last: seq - 1 });
            }
            self.highest = seq;
            return Arrival::InOrder;
        }
        if self.fill(seq) { Arrival::Late } else { Arrival::Duplicate }
    }

    /// What is missing of a stream whose last published number is `published`.
    pub(crate) fn missing(&self, published: u32) -> impl Iterator<Item = Hole> + '_ {
        let tail =
            (published > self.highest).then(|| Hole { first: self.highest + 1, last: published });
        self.holes.iter().copied().chain(tail)
    }

    /// Missing events that are no longer told apart.
    pub(crate) fn written_off(&self) -> u64 {
        self.written_off
    }

    fn open_hole(&mut self, hole: Hole) {
        if self.holes.len() == MAX_HOLES {
            self.written_off += self.holes.remove(0).len();
        }
        self.holes.push(hole);
    }

    fn fill(&mut self, seq: u32) -> bool {
        let at = self.holes.partition_point(|hole| hole.last < seq);
        let Some(hole) = self.holes.get(at).copied().filter(|hole| hole.first <= seq) else {
            return false;
        };
        let before = (hole.first < seq).then(|| Hole { first: hole.first, last: seq - 1 });
        let after = (hole.last > seq).then(|| Hole { first: seq + 1, last: hole.last });
        self.holes.splice(at..=at, before.into_iter().chain(after));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn missing(track: &Track, published: u32) -> BTreeSet<u32> {
        track.missing(published).flat_map(|hole| hole.first..=hole.last).collect()
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(arrivals in prop::collection::vec(1_u32..60, 0..200)) {
            let mut track = Track::default();
            let mut seen = BTreeSet::new();
            for seq in arrivals {
                let expected = match (seen.contains(&seq), seen.last()) {
                    (true, _) => Arrival::Duplicate,
                    (false, Some(last)) if *last > seq => Arrival::Late,
                    (false, _) => Arrival::InOrder,
                };
                prop_assert_eq!(track.arrive(seq), expected);
                seen.insert(seq);
            }
            let expected: BTreeSet<_> = (1..=70).filter(|n| !seen.contains(n)).collect();
            prop_assert_eq!(missing(&track, 70), expected);
        }
    }

    #[test]
    fn a_stream_in_order_leaves_nothing_behind() {
        let mut track = Track::default();
        for seq in 1..=1000 {
            assert_eq!(track.arrive(seq), Arrival::InOrder);
        }
        assert_eq!(track.missing(1000).count(), 0);
        assert_eq!(track.holes.capacity(), 0);
    }

    #[test]
    fn a_receiver_that_got_nothing_misses_everything() {
        assert_eq!(missing(&Track::default(), 3), BTreeSet::from([1, 2, 3]));
        assert_eq!(missing(&Track::default(), 0), BTreeSet::new());
    }

    #[test]
    fn memory_is_bounded_and_what_is_written_off_is_counted() {
        let mut track = Track::default();
        for n in 1..=(MAX_HOLES as u32 + 10) {
            track.arrive(2 * n);
        }
        assert_eq!(track.holes.len(), MAX_HOLES);
        assert_eq!(track.written_off(), 10);
    }
}
