//! Subscriptions, what has been received of them, and who gets what.

use crate::lane::{Cursor, Lane, Offset, Place};
use crate::map::Map;
use crate::message::{Delivery, Gap, SubId, Subscribe};
use crate::pattern::Pattern;
use crate::pattern_index::{PatternIndex, PatternKey};

use super::io::Recipients;

/// The subscriptions of a client and its cursor.
#[derive(Debug)]
pub(super) struct Subscriptions {
    /// Boxed: they make room for several at once, and most clients have one or two.
    table: Map<SubId, Box<Subscription>>,
    /// Those that the server has.
    index: PatternIndex<SubId>,
    cursor: Cursor,
    /// Lanes in which events up to an offset were published before the connection was there.
    recovering: Map<Lane, Offset>,
    /// How many subscriptions have `starts`.
    starting: usize,
    /// How many subscriptions have `replays`.
    replaying: usize,
    /// Whether some may have to be sent.
    unasked: bool,
    matched: Vec<SubId>,
}

#[derive(Debug)]
struct Subscription {
    pattern: Pattern,
    since: Option<Cursor>,
    /// Whether it was sent on the connection there is, by itself or in the hello.
    asked: bool,
    /// Set when the server has it: every hello states it from then on.
    live: Option<PatternKey>,
    /// The lanes of its pattern, as the server told.
    lanes: Vec<Lane>,
    /// Where it starts in lanes whose cursor stood before that.
    starts: Vec<(Lane, Offset)>,
    /// What is still to come of its `since`. A replay that is cut short begins again on the next
    /// connection, and what is known is dropped.
    replays: Vec<Replay>,
}

#[derive(Debug)]
struct Replay {
    lane: Lane,
    /// Up to here it was received.
    reached: Offset,
    /// Up to here it goes, where the subscription's live events begin; the largest offset as long
    /// as the server has not told.
    until: Offset,
    /// Up to here the server replays, and then the lane goes on; unknown before it has answered on
    /// the connection there is. A server that is behind the one before it goes on with what was
    /// received already, which only this subscription needs.
    resumes_after: Option<Offset>,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Routing {
    /// It goes to these.
    Deliver {
        to: Recipients,
        /// Whether it was published before the connection was there.
        recovered: bool,
    },
    /// It was received before.
    Duplicate,
    /// Nobody wants it any more.
    Nobody,
}

impl Subscriptions {
    pub(super) fn new() -> Self {
        Self {
            table: Map::new(),
            index: PatternIndex::new(),
            cursor: Cursor::new(),
            recovering: Map::new(),
            starting: 0,
            replaying: 0,
            unasked: false,
            matched: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, id: SubId, pattern: Pattern, since: Option<Cursor>) {
        let lanes = since.iter().flat_map(Cursor::iter);
        let until = Offset(u64::MAX);
        let replays: Vec<_> = lanes
            .map(|(lane, Place { offset: reached, .. })| Replay {
                lane,
                reached,
                until,
                resumes_after: None,
            })
            .collect();
        self.replaying += usize::from(!replays.is_empty());
        let subscription = Subscription {
            pattern,
            since,
            asked: false,
            live: None,
            lanes: Vec::new(),
            starts: Vec::new(),
            replays,
        };
        self.table.insert(id, Box::new(subscription));
        self.unasked = true;
    }

    /// Forgets a subscription. Returns whether the server may know it.
    pub(super) fn remove(&mut self, id: SubId) -> bool {
        let Some(subscription) = self.table.remove(&id) else { return false };
        self.starting -= usize::from(!subscription.starts.is_empty());
        self.replaying -= usize::from(!subscription.replays.is_empty());
        if let Some(key) = &subscription.live {
            self.index.remove(key);
        }
        for lane in subscription.lanes {
            if !self.table.values().any(|other| other.lanes.contains(&lane)) {
                self.cursor.remove(lane);
                self.recovering.remove(&lane);
            }
        }
        subscription.asked
    }

    pub(super) fn contains(&self, id: SubId) -> bool {
        self.table.contains_key(&id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) const fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Up to where a subscription was given its events, once the server has it.
    pub(super) fn reached(&self, id: SubId) -> Option<Cursor> {
        let subscription =
            self.table.get(&id).filter(|subscription| subscription.live.is_some())?;
        let lanes = subscription.lanes.iter();
        Some(
            lanes.filter_map(|lane| Some((*lane, self.reached_in(subscription, *lane)?))).collect(),
        )
    }

    fn reached_in(&self, subscription: &Subscription, lane: Lane) -> Option<Place> {
        let known = self.cursor.get(lane)?;
        if let Some(replay) = subscription.replays.iter().find(|replay| replay.lane == lane) {
            let asked = subscription.since.as_ref().and_then(|since| since.get(lane));
            let begins = asked.filter(|place| place.offset == replay.reached);
            // What it was given since is of the history that there is now.
            return Some(begins.unwrap_or(Place { offset: replay.reached, ..known }));
        }
        let start = subscription.starts.iter().find(|(starting, _)| *starting == lane);
        let offset = start.map_or(known.offset, |(_, offset)| known.offset.max(*offset));
        Some(Place { offset, ..known })
    }

    /// What a hello states.
    pub(super) fn live(&self) -> Vec<Subscribe> {
        let live = self.table.iter().filter(|(_, s)| s.live.is_some());
        live.map(|(id, s)| Subscribe { id: *id, pattern: s.pattern.to_string(), since: None })
            .collect()
    }

    /// Whether some were sent and not answered.
    pub(super) fn any_unanswered(&self) -> bool {
        self.table.values().any(|s| s.asked && s.live.is_none())
    }

    /// Calls `send` with those that were not sent yet.
    pub(super) fn ask(&mut self, mut send: impl FnMut(Subscribe)) {
        if !std::mem::take(&mut self.unasked) {
            return;
        }
        for (id, subscription) in self.table.iter_mut().filter(|(_, s)| !s.asked) {
            subscription.asked = true;
            let (pattern, since) = (subscription.pattern.to_string(), subscription.since.clone());
            send(Subscribe { id: *id, pattern, since });
        }
    }

    /// What was not answered has to be sent again, and what was replayed in part.
    pub(super) fn connection_lost(&mut self) {
        for subscription in self.table.values_mut() {
            subscription.asked = subscription.live.is_some() && subscription.replays.is_empty();
            for replay in &mut subscription.replays {
                replay.resumes_after = None;
            }
        }
        self.unasked = true;
        self.recovering.clear();
    }

    /// A connection is there; the lanes of what its hello stated stand at `cursor`. What was
    /// published until then is recovered unless there was another connection all the time.
    pub(super) fn welcomed(&mut self, cursor: &Cursor, recovers: bool) {
        for (lane, place) in cursor.iter() {
            match self.cursor.get(lane) {
                // Those who wanted it may have ended since the hello. Which lanes those have that have not, a
                // server may have changed.
                None if self.table.values().any(|s| s.live.is_some()) => {
                    self.cursor.set(lane, place);
                }
                None => {}
                Some(known) if recovers && known.offset < place.offset => {
                    self.recovering.insert(lane, place.offset);
                }
                Some(_) => {}
            }
        }
    }

    /// The server has the subscription; its lanes stand at `cursor`. Returns where it begins, if
    /// that is new: a connection that has just taken over may still be behind the one before it,
    /// and what that one has brought does not come again.
    pub(super) fn subscribed(&mut self, id: SubId, mut cursor: Cursor) -> Option<Cursor> {
        let subscription = self.table.get_mut(&id)?;
        for replay in &mut subscription.replays {
            // A lane that is not one of the pattern's has nothing to replay.
            let stands = cursor.get(replay.lane).unwrap_or_default();
            replay.resumes_after = Some(stands.offset);
            if subscription.live.is_none() {
                let known = self.cursor.get(replay.lane);
                let known = known.filter(|known| known.epoch == stands.epoch).unwrap_or_default();
                replay.until = stands.offset.max(known.offset);
            }
        }
        self.replaying -= usize::from(subscription.end_replays());
        if subscription.live.is_some() {
            return None;
        }
        subscription.live = Some(self.index.insert(&subscription.pattern, id));
        subscription.lanes.extend(cursor.iter().map(|(lane, _)| lane));
        for lane in &subscription.lanes {
            let Some(place) = cursor.get(*lane) else { continue };
            match self.cursor.get(*lane) {
                None => self.cursor.set(*lane, place),
                // Of another history what lies before that place may still be to come, too.
                Some(known) if known.epoch != place.epoch || known.offset < place.offset => {
                    subscription.starts.push((*lane, place.offset));
                }
                Some(known) => cursor.set(*lane, known),
            }
        }
        self.starting += usize::from(!subscription.starts.is_empty());
        Some(cursor)
    }

    /// Who gets an event; moves the cursor.
    pub(super) fn route(&mut self, delivery: &Delivery) -> Routing {
        let name = &delivery.event.name;
        let Some(position) = delivery.position else {
            self.matched.clear();
            self.index.match_into(name, &mut self.matched);
            return self.routing(false);
        };
        let (lane, offset) = (position.lane, position.offset);
        if let Some(id) = delivery.replay_for {
            return self.replay(id, lane, offset);
        }
        let fresh = self.cursor.advance(lane, offset) || self.cursor.get(lane).is_none();
        if !fresh && self.replaying == 0 {
            return Routing::Duplicate;
        }
        self.matching(name, lane, offset, fresh);
        if !fresh && self.matched.is_empty() {
            return Routing::Duplicate;
        }
        let recovered = !fresh || self.passes(lane, offset);
        self.routing(recovered)
    }

    /// Everything up to these places was sent.
    pub(super) fn progress(&mut self, cursor: &Cursor) {
        for (lane, place) in cursor.iter() {
            match self.cursor.get(lane) {
                Some(known) if known.epoch != place.epoch => self.cursor.set(lane, place),
                _ => _ = self.cursor.advance(lane, place.offset),
            }
            self.passes(lane, place.offset);
        }
    }

    /// Events are lost. Returns who is concerned, if anybody is.
    pub(super) fn gap(&mut self, gap: &Gap) -> Option<Recipients> {
        if let Some(id) = gap.replay_for {
            // A log that has gone on meanwhile may have lost more than was still to be replayed.
            let replays = self.table.get(&id).map(|s| s.replays.iter()).unwrap_or_default();
            let until = replays.filter(|r| r.lane == gap.lane).map(|r| r.until).next()?;
            return match self.replay(id, gap.lane, gap.to.min(until)) {
                Routing::Deliver { to, .. } => Some(to),
                Routing::Duplicate | Routing::Nobody => None,
            };
        }
        if let Some(known) = self.cursor.get(gap.lane)
            && known.epoch == gap.epoch
            && known.offset >= gap.to
        {
            let Self { table, replaying, matched, .. } = self;
            matched.clear();
            for (id, subscription) in table.iter_mut() {
                if subscription.takes(gap.lane, gap.to, replaying) {
                    matched.push(*id);
                }
            }
            return Recipients::from_slice(matched);
        }
        self.matched.clear();
        let concerned = self.table.iter().filter(|(_, s)| s.lanes.contains(&gap.lane));
        self.matched.extend(concerned.map(|(id, _)| *id));
        let to = Recipients::from_slice(&self.matched)?;
        self.cursor.set(gap.lane, Place { epoch: gap.epoch, offset: gap.to });
        self.passes(gap.lane, gap.to);
        Some(to)
    }

    fn replay(&mut self, id: SubId, lane: Lane, offset: Offset) -> Routing {
        let Some(subscription) = self.table.get_mut(&id) else { return Routing::Nobody };
        match subscription.replays.iter_mut().find(|replay| replay.lane == lane) {
            Some(replay) if replay.reached < offset && offset <= replay.until => {
                replay.reached = offset;
                self.replaying -= usize::from(subscription.end_replays());
                Routing::Deliver { to: Recipients::One(id), recovered: true }
            }
            _ => Routing::Duplicate,
        }
    }

    /// Finds those who get an event of the log. One that is not `fresh` was received before, and is
    /// only for those whose replay goes on with it.
    fn matching(&mut self, name: &str, lane: Lane, offset: Offset, fresh: bool) {
        self.matched.clear();
        self.index.match_into(name, &mut self.matched);
        if fresh && self.starting == 0 && self.replaying == 0 {
            return;
        }
        let Self { table, starting, replaying, .. } = self;
        self.matched.retain(|id| {
            table.get_mut(id).is_none_or(|subscription| {
                if subscription.takes(lane, offset, replaying) {
                    return true;
                }
                fresh
                    && !subscription.waits(lane, offset)
                    && subscription.has_started(lane, offset, starting)
            })
        });
    }

    fn routing(&self, recovered: bool) -> Routing {
        match Recipients::from_slice(&self.matched) {
            Some(to) => Routing::Deliver { to, recovered },
            None => Routing::Nobody,
        }
    }

    /// The lane has come to `offset`: what waited for that is done. Returns whether `offset` was
    /// there before the connection was.
    fn passes(&mut self, lane: Lane, offset: Offset) -> bool {
        if self.replaying > 0 {
            // What is new in a lane waits for its replays: those have ended.
            for subscription in self.table.values_mut().filter(|s| !s.replays.is_empty()) {
                for replay in subscription.replays.iter_mut().filter(|r| r.lane == lane) {
                    if replay.resumes_after.is_some_and(|after| offset > after) {
                        replay.reached = replay.reached.max(offset.min(replay.until));
                    }
                }
                self.replaying -= usize::from(subscription.end_replays());
            }
        }
        if self.recovering.is_empty() {
            return false;
        }
        let Some(until) = self.recovering.get(&lane).copied() else { return false };
        if offset >= until {
            self.recovering.remove(&lane);
        }
        offset <= until
    }
}

impl Subscription {
    /// Whether it had begun when the event at `offset` was published.
    fn has_started(&mut self, lane: Lane, offset: Offset, starting: &mut usize) -> bool {
        let Some(at) = self.starts.iter().position(|(l, _)| *l == lane) else { return true };
        if offset <= self.starts[at].1 {
            return false;
        }
        self.starts.swap_remove(at);
        *starting -= usize::from(self.starts.is_empty());
        true
    }

    /// Whether its replay goes on with what is at `offset`, which the server sends as part of the
    /// lane.
    fn takes(&mut self, lane: Lane, offset: Offset, replaying: &mut usize) -> bool {
        let goes_on = |replay: &&mut Replay| {
            replay.lane == lane
                && replay.resumes_after.is_some_and(|after| after < offset)
                && replay.reached < offset
                && offset <= replay.until
        };
        let Some(replay) = self.replays.iter_mut().find(goes_on) else { return false };
        replay.reached = offset;
        *replaying -= usize::from(self.end_replays());
        true
    }

    /// Whether the event at `offset` was sent before a replay that was asked for again: that brings
    /// it as well, in its turn.
    fn waits(&mut self, lane: Lane, offset: Offset) -> bool {
        let replays =
            |r: &&mut Replay| r.lane == lane && r.resumes_after.is_none_or(|after| offset <= after);
        let Some(replay) = self.replays.iter_mut().find(replays) else { return false };
        replay.until = replay.until.max(offset);
        true
    }

    /// Drops the replays that have reached their end. Returns whether those were the last ones.
    fn end_replays(&mut self) -> bool {
        let had = !self.replays.is_empty();
        self.replays.retain(|replay| replay.reached < replay.until);
        let ended = had && self.replays.is_empty();
        if ended {
            self.since = None;
        }
        ended
    }
}
