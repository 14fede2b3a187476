//! Places in the log: partitions, lanes, offsets, epochs, cursors.

mod text;

use std::fmt;

pub use self::text::BadCursor;
use crate::event::Priority;
use crate::map::Map;

/// One priority inside a partition: an ordered log of its own.
///
/// On the wire a lane is the number `partition * 4 + priority`, with `low` = 0 and `critical` = 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(u32);

impl Lane {
    /// The lane of `priority` in `partition`.
    pub const fn new(partition: u16, priority: Priority) -> Self {
        Self(partition as u32 * Priority::COUNT as u32 + priority as u32)
    }

    /// The lane with this wire number, if it is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        if number <= u16::MAX as u32 * Priority::COUNT as u32 + 3 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The wire number.
    pub const fn number(self) -> u32 {
        self.0
    }

    /// The partition it belongs to.
    pub const fn partition(self) -> u16 {
        (self.0 / Priority::COUNT as u32) as u16
    }

    /// The priority it carries.
    pub const fn priority(self) -> Priority {
        match self.0 % Priority::COUNT as u32 {
            0 => Priority::Low,
            1 => Priority::Normal,
            2 => Priority::High,
            _ => Priority::Critical,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}/{}", self.partition(), self.priority())
    }
}

/// A place in a lane. Offsets of a lane only grow and are never used again for other content.
///
/// They are time-based (microseconds since the Unix epoch, or one more than the last one if that
/// is later), which keeps them growing across restarts; they stay below 2^53, so that JSON
/// numbers hold them. Zero is before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(pub u64);

/// Tells one history of a lane from another: it changes when a log cannot continue its
/// predecessor, for example after a restart of a server that keeps its log in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u32);

/// An offset together with the epoch in which it means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// The history of the lane.
    pub epoch: Epoch,
    /// The place in that history.
    pub offset: Offset,
}

/// What a client has received: for each lane the place up to which it has everything it asked for.
///
/// The client holds it; no server needs to remember it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor(Map<Lane, Place>);

impl Cursor {
    /// A cursor that knows no lane.
    pub const fn new() -> Self {
        Self(Map::new())
    }

    /// The place reached in `lane`.
    pub fn get(&self, lane: Lane) -> Option<Place> {
        self.0.get(&lane).copied()
    }

    /// Sets the place reached in `lane`, whatever was there.
    pub fn set(&mut self, lane: Lane, place: Place) {
        self.0.insert(lane, place);
    }

    /// Moves `lane` to `offset` if that is later in the epoch it is in. Returns false if the
    /// event at `offset` had been received before, or the lane is unknown.
    pub fn advance(&mut self, lane: Lane, offset: Offset) -> bool {
        match self.0.get_mut(&lane) {
            Some(place) if offset > place.offset => {
                place.offset = offset;
                true
            }
            _ => false,
        }
    }

    /// Forgets `lane`.
    pub fn remove(&mut self, lane: Lane) {
        self.0.remove(&lane);
    }

    /// All lanes and places, by lane.
    pub fn iter(&self) -> impl Iterator<Item = (Lane, Place)> + '_ {
        self.0.iter().map(|(lane, place)| (*lane, *place))
    }

    /// How many lanes it knows.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it knows no lane.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Lane, Place)> for Cursor {
    fn from_iter<I: IntoIterator<Item = (Lane, Place)>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

/// How names are spread over partitions: by a hash of the first segment (the root), or of more
/// segments for roots that are too much for one partition.
///
/// ```
/// use tidings_core::Partitioning;
/// let p = Partitioning::new(16).with_depth("rooms", 2);
/// assert_eq!(p.of_name("orders.eu.created"), p.of_name("orders.us.deleted"));
/// assert_eq!(p.of_pattern("orders.**"), Some(p.of_name("orders.x")));
/// assert_eq!(p.of_pattern("*.created"), None, "may match names of any partition");
/// assert_eq!(p.of_pattern("rooms.*"), None, "rooms are spread over partitions by their number");
/// assert_eq!(p.of_pattern("rooms.17.*"), Some(p.of_name("rooms.17.joined")));
/// ```
#[derive(Debug, Clone)]
pub struct Partitioning {
    count: u16,
    depths: Vec<(String, usize)>,
}

impl Partitioning {
    /// The number of partitions used when nothing else is configured.
    pub const DEFAULT_COUNT: u16 = 16;

    /// Names are spread over `count` partitions (at least one) by their first segment.
    pub fn new(count: u16) -> Self {
        Self { count: count.max(1), depths: Vec::new() }
    }

    /// Names whose root is `root` are spread by their first `depth` segments instead of one.
    #[must_use]
    pub fn with_depth(mut self, root: impl Into<String>, depth: usize) -> Self {
        self.depths.push((root.into(), depth.max(1)));
        self
    }

    /// How many partitions there are.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The partition of a name.
    pub fn of_name(&self, name: &str) -> u16 {
        let root = name.split('.').next().unwrap_or(name);
        let depth = self.depth_of(root);
        let end = name.match_indices('.').nth(depth - 1).map_or(name.len(), |(at, _)| at);
        self.of_key(&name[..end])
    }

    /// The partition of all names that a pattern can match, or `None` if they can be in any.
    pub fn of_pattern(&self, pattern: &str) -> Option<u16> {
        let mut segments = pattern.split('.');
        let root = segments.next()?;
        if is_wild(root) {
            return None;
        }
        let depth = self.depth_of(root);
        let mut end = root.len();
        for _ in 1..depth {
            match segments.next() {
                Some(segment) if is_wild(segment) => return None,
                Some(segment) => end += 1 + segment.len(),
                None => break,
            }
        }
        Some(self.of_key(&pattern[..end]))
    }

    /// How many segments choose the partition of names with this root.
    pub fn depth_of(&self, root: &str) -> usize {
        self.depths.iter().find(|(r, _)| r == root).map_or(1, |(_, depth)| *depth)
    }

    /// FNV-1a over the key's bytes, finished by a multiplicative mix, reduced to the count.
    fn of_key(&self, key: &str) -> u16 {
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mixed) * u128::from(self.count)) >> 64) as u16
    }
}

fn is_wild(segment: &str) -> bool {
    segment == "*" || segment == "**"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_number_partitions_and_priorities() {
        for partition in [0, 1, 15, u16::MAX] {
            for priority in Priority::URGENT_FIRST {
                let lane = Lane::new(partition, priority);
                assert_eq!((lane.partition(), lane.priority()), (partition, priority));
                assert_eq!(Lane::from_number(lane.number()), Some(lane));
            }
        }
        assert_eq!(Lane::from_number(u32::MAX), None);
        assert_eq!(Lane::new(3, Priority::High).number(), 14);
    }

    #[test]
    fn cursors_only_move_forward() {
        let lane = Lane::new(0, Priority::Normal);
        let mut cursor = Cursor::new();
        assert!(!cursor.advance(lane, Offset(5)), "unknown lanes do not start by themselves");
        cursor.set(lane, Place { epoch: Epoch(1), offset: Offset(5) });
        assert!(!cursor.advance(lane, Offset(5)));
        assert!(cursor.advance(lane, Offset(9)));
        assert_eq!(cursor.get(lane), Some(Place { epoch: Epoch(1), offset: Offset(9) }));
    }

    #[test]
    fn names_spread_over_all_partitions() {
        let p = Partitioning::new(16);
        let mut hit = [0; 16];
        for i in 0..1600 {
            hit[usize::from(p.of_name(&format!("root{i}.x")))] += 1;
        }
        assert!(hit.iter().all(|n| *n > 50), "{hit:?}");
    }

    #[test]
    fn a_pattern_shorter_than_the_depth_still_covers_its_names() {
        let p = Partitioning::new(64).with_depth("rooms", 2);
        assert_eq!(p.of_pattern("rooms"), Some(p.of_name("rooms")));
        assert_eq!(p.of_pattern("rooms.**"), None);
    }
}
