//! Who gets which event.

use crate::event::Priority;
use crate::lane::{Lane, Partitioning, Place};
use crate::log::LoggedEvent;
use crate::message::SubId;
use crate::pattern::Pattern;
use crate::pattern_index::{PatternIndex, PatternKey};

/// Identifies a connection in a [`Hub`] until it is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HubKey(u32);

/// The connections of one shard and their subscriptions: finds the connections an event is for,
/// each once, however many of its patterns match.
///
/// `S` is the host's handle for a connection. The hub also remembers, for each lane, up to which
/// place events were handed out: that is where new subscriptions start.
#[derive(Debug)]
pub struct Hub<S> {
    partitioning: Partitioning,
    index: PatternIndex<HubKey>,
    slots: Vec<Option<Connection<S>>>,
    free: Vec<u32>,
    /// How many subscriptions need each partition.
    interest: Vec<u32>,
    /// By lane number.
    places: Vec<Place>,
    matched: Vec<HubKey>,
    round: u64,
}

#[derive(Debug)]
struct Connection<S> {
    handle: S,
    subscriptions: Vec<Subscription>,
    /// The last round in which it was handed an event.
    round: u64,
}

#[derive(Debug)]
struct Subscription {
    id: SubId,
    entry: PatternKey,
    partition: Option<u16>,
}

impl<S> Hub<S> {
    /// A hub without connections.
    pub fn new(partitioning: Partitioning) -> Self {
        let partitions = usize::from(partitioning.count());
        Self {
            partitioning,
            index: PatternIndex::new(),
            slots: Vec::new(),
            free: Vec::new(),
            interest: vec![0; partitions],
            places: vec![Place::default(); partitions * Priority::COUNT],
            matched: Vec::new(),
            round: 0,
        }
    }

    /// Adds a connection without subscriptions.
    pub fn insert(&mut self, handle: S) -> HubKey {
        let connection = Connection { handle, subscriptions: Vec::new(), round: 0 };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize] = Some(connection);
        HubKey(slot)
    }

    /// Removes a connection and its subscriptions. Returns its handle.
    pub fn remove(&mut self, key: HubKey) -> Option<S> {
        let connection = self.slots.get_mut(key.0 as usize)?.take()?;
        self.free.push(key.0);
        for subscription in connection.subscriptions {
            self.index.remove(&subscription.entry);
            self.count_interest(subscription.partition, false);
        }
        Some(connection.handle)
    }

    /// How many connections there are.
    pub const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is no connection.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connections' handles.
    pub fn handles(&self) -> impl Iterator<Item = &S> {
        self.slots.iter().flatten().map(|connection| &connection.handle)
    }

    /// The lanes in which names that `pattern` matches can be.
    pub fn lanes_of(&self, pattern: &Pattern) -> impl Iterator<Item = Lane> + use<S> {
        let partitions = match self.partitioning.of_pattern(pattern.as_str()) {
            Some(partition) => partition..partition + 1,
            None => 0..self.partitioning.count(),
        };
        partitions.flat_map(|partition| {
            Priority::URGENT_FIRST.into_iter().map(move |priority| Lane::new(partition, priority))
        })
    }

    /// Adds a subscription, replacing the connection's subscription with the same id.
    pub fn subscribe(&mut self, key: HubKey, id: SubId, pattern: &Pattern) {
        self.unsubscribe(key, id);
        let partition = self.partitioning.of_pattern(pattern.as_str());
        if let Some(connection) = self.slots.get_mut(key.0 as usize).and_then(Option::as_mut) {
            let entry = self.index.insert(pattern, key);
            connection.subscriptions.push(Subscription { id, entry, partition });
            self.count_interest(partition, true);
        }
    }

    /// Ends a subscription. Returns whether there was one.
    pub fn unsubscribe(&mut self, key: HubKey, id: SubId) -> bool {
        let Some(connection) = self.slots.get_mut(key.0 as usize).and_then(Option::as_mut) else {
            return false;
        };
        let Some(at) = connection.subscriptions.iter().position(|s| s.id == id) else {
            return false;
        };
        let subscription = connection.subscriptions.swap_remove(at);
        self.index.remove(&subscription.entry);
        self.count_interest(subscription.partition, false);
        true
    }

    /// Whether any of the connection's subscriptions needs `lane`.
    pub fn needs(&self, key: HubKey, lane: Lane) -> bool {
        let connection = self.slots.get(key.0 as usize).and_then(Option::as_ref);
        connection.is_some_and(|connection| {
            let wanted = |s: &Subscription| s.partition.is_none_or(|p| p == lane.partition());
            connection.subscriptions.iter().any(wanted)
        })
    }

    /// Whether any subscription needs `partition`.
    pub fn is_interested(&self, partition: u16) -> bool {
        self.interest.get(usize::from(partition)).is_some_and(|count| *count > 0)
    }

    /// Up to where events of `lane` were handed out.
    pub fn place(&self, lane: Lane) -> Place {
        self.places.get(lane.number() as usize).copied().unwrap_or_default()
    }

    /// Sets the place of `lane`: what lies before it is not handed out by this hub.
    pub fn set_place(&mut self, lane: Lane, place: Place) {
        if let Some(known) = self.places.get_mut(lane.number() as usize) {
            *known = place;
        }
    }

    /// The lane ends at `head`, as far as can be read. Returns whether the place of the lane was beyond
    /// that, or in another history: it came from a clock that is fast, or what was there is gone. The
    /// place is `head` from then on, and each connection has to
    /// [read the log](super::Feed::fall_behind) by itself, for it may not have come so far.
    pub fn ends_at(&mut self, lane: Lane, head: Place) -> bool {
        let Some(known) = self.places.get_mut(lane.number() as usize) else { return false };
        let is_beyond = known.epoch != head.epoch || known.offset > head.offset;
        if is_beyond {
            *known = head;
        }
        is_beyond
    }

    /// Hands an event out: calls `deliver` once for each connection with a matching subscription.
    /// The events of a lane must come in order.
    pub fn forward(&mut self, logged: &LoggedEvent, deliver: impl FnMut(&S)) {
        if let Some(place) = self.places.get_mut(logged.lane().number() as usize) {
            place.offset = logged.offset();
        }
        self.for_each_match(&logged.event().name, deliver);
    }

    /// Calls `deliver` once for each connection with a subscription that matches `name`.
    pub fn for_each_match(&mut self, name: &str, mut deliver: impl FnMut(&S)) {
        self.round += 1;
        self.matched.clear();
        self.index.match_into(name, &mut self.matched);
        for key in &self.matched {
            let slot = self.slots.get_mut(key.0 as usize).and_then(Option::as_mut);
            if let Some(connection) = slot
                && connection.round != self.round
            {
                connection.round = self.round;
                deliver(&connection.handle);
            }
        }
    }

    fn count_interest(&mut self, partition: Option<u16>, more: bool) {
        let partitions = match partition {
            Some(partition) => usize::from(partition)..usize::from(partition) + 1,
            None => 0..self.interest.len(),
        };
        for count in &mut self.interest[partitions] {
            *count = if more { *count + 1 } else { count.saturating_sub(1) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Priority;
    use crate::lane::{Epoch, Offset};

    #[test]
    fn a_place_that_the_lane_has_not_come_to_is_taken_back() {
        let lane = Lane::new(0, Priority::Normal);
        let at = |epoch, offset| Place { epoch: Epoch(epoch), offset: Offset(offset) };
        let mut hub = Hub::<()>::new(Partitioning::new(1));
        hub.set_place(lane, at(1, 20));
        assert!(!hub.ends_at(lane, at(1, 20)) && !hub.ends_at(lane, at(1, 30)));
        assert_eq!(hub.place(lane), at(1, 20), "what follows is still to be handed out");
        assert!(hub.ends_at(lane, at(1, 10)));
        assert_eq!(hub.place(lane), at(1, 10));
        assert!(hub.ends_at(lane, at(2, 15)), "another history");
        assert_eq!(hub.place(lane), at(2, 15));
    }
}
