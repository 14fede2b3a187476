//! What one connection still has to get.

mod catching_up;

use std::sync::Arc;

use bytes::Bytes;

use super::ledger::{Ledger, Mark};
use super::outbox::Outbox;
use crate::event::Priority;
use crate::lane::{Cursor, Lane, Offset, Place};
use crate::link::{Framed, Redact, Wire, encode_notice};
use crate::log::LoggedEvent;
use crate::message::{ServerMessage, SubId};
use crate::pattern::{Pattern, PatternSet};
use crate::socketio::Namespace;

/// How much may wait for one connection.
#[derive(Debug, Clone)]
pub struct FeedConfig {
    /// Bytes of events per priority, `low` first. Default 256 KiB each. A single larger event
    /// passes when its queue is empty.
    pub event_bytes: [usize; Priority::COUNT],
    /// Bytes of volatile events; beyond it the oldest go. Default 64 KiB.
    pub volatile_bytes: usize,
    /// Bytes of answers; beyond it nothing more is read from the connection. Default 256 KiB.
    pub control_bytes: usize,
    /// Bytes of what an application sends to its Socket.IO clients; a connection that does not
    /// take them in time is given up. Default 1 MiB. A single larger packet passes when its queue
    /// is empty.
    pub application_bytes: usize,
    /// The most bytes of several messages that are sent as one WebSocket message to a client that
    /// takes them so ([`Hello::batch`](crate::message::Hello::batch)). Default 64 KiB.
    pub batch_bytes: usize,
    /// Where Socket.IO clients speak Tidings. Default `/`.
    pub namespace: Namespace,
    /// What is sensitive in events; see [`Feed::reveal`]. Default `None`: nothing.
    pub redact: Option<Arc<dyn Redact>>,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            event_bytes: [256 << 10; Priority::COUNT],
            volatile_bytes: 64 << 10,
            control_bytes: 256 << 10,
            application_bytes: 1 << 20,
            batch_bytes: 64 << 10,
            namespace: Namespace::MAIN,
            redact: None,
        }
    }
}

/// What a connection's feed has been through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedStats {
    /// Events queued, live and recovered, by priority, `low` first.
    pub events: [u64; Priority::COUNT],
    /// Volatile events queued.
    pub volatile: u64,
    /// Events queued from the log because the connection had missed them or could not keep up.
    pub recovered: u64,
    /// Events of priority `low` dropped because the queue was full.
    pub dropped_low: u64,
    /// Of those, the ones dropped because newer ones needed the room.
    pub dropped_volatile: u64,
    /// How often a lane fell back from live delivery to reading the log.
    pub fell_behind: u64,
    /// Gaps told.
    pub gaps: u64,
}

/// How a lane reaches the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Events are queued as they come.
    Live,
    /// Events are read from the log after the flow's place.
    Behind,
    /// The queue of a `low` lane is full: what comes is dropped, up to this offset so far.
    Dropping(Offset),
}

#[derive(Debug)]
struct Flow {
    lane: Lane,
    /// Everything up to here has been queued, or was not asked for.
    place: Place,
    /// Where that began: everything after it was queued, or was not asked for, from here.
    began: Offset,
    /// The place last told to the client by a progress notice.
    told: Offset,
    mode: Mode,
    /// What comes next is not in memory yet: reading goes on when it has arrived.
    awaits: bool,
}

impl Flow {
    const fn new(lane: Lane, place: Place, mode: Mode) -> Self {
        let offset = place.offset;
        Self { lane, place, began: offset, told: offset, mode, awaits: false }
    }

    fn can_catch_up(&self) -> bool {
        self.mode != Mode::Live && !self.awaits
    }
}

#[derive(Debug)]
struct Subscription {
    id: SubId,
    pattern: Pattern,
    /// Whether it also matches names that are not permitted.
    too_wide: bool,
}

fn is_too_wide(permitted: Option<&PatternSet>, pattern: &Pattern) -> bool {
    permitted.is_some_and(|permitted| !permitted.covers(pattern))
}

/// Older events for one subscription alone, to be read before the lane goes on.
#[derive(Debug)]
struct Replay {
    sub: SubId,
    pattern: Pattern,
    lane: Lane,
    after: Place,
    /// Where it began.
    began: Offset,
    until: Offset,
}

/// What one connection still has to get: for each lane either "what comes" or "what the log has
/// after this place", and the [`Outbox`] in between.
///
/// The host calls [`offer`](Self::offer) for every new event that matches, in lane order, and
/// [`catch_up`](Self::catch_up) when [`wants_catch_up`](Self::wants_catch_up) says so: after
/// subscribing and whenever frames were written.
#[derive(Debug)]
pub struct Feed {
    wire: Wire,
    config: Arc<FeedConfig>,
    outbox: Outbox,
    /// Sorted by lane.
    flows: Vec<Flow>,
    replays: Vec<Replay>,
    subscriptions: Vec<Subscription>,
    /// The names of the events that the session may get; all if there are none.
    permitted: Option<PatternSet>,
    /// How many subscriptions also match names that are not permitted.
    too_wide: usize,
    /// What the names of events begin with that the session may not get.
    hidden: Vec<String>,
    /// The names of the events of which the session may see what is sensitive; of all if it is `None`.
    revealed: Option<PatternSet>,
    /// How many flows are not live.
    not_live: usize,
    stats: FeedStats,
}

impl Feed {
    /// A feed without lanes.
    pub fn new(wire: Wire, config: Arc<FeedConfig>) -> Self {
        Self {
            wire,
            config,
            outbox: Outbox::new(),
            flows: Vec::new(),
            replays: Vec::new(),
            subscriptions: Vec::new(),
            permitted: None,
            too_wide: 0,
            hidden: Vec::new(),
            revealed: Some(PatternSet::default()),
            not_live: 0,
            stats: FeedStats::default(),
        }
    }

    /// Sets the encoding, which is known for certain once the client has said hello. Nothing may
    /// have been queued for another one.
    pub const fn set_wire(&mut self, wire: Wire) {
        self.wire = wire;
    }

    /// The client takes several messages as one WebSocket message of up to so many bytes.
    pub fn set_batch(&mut self, bytes: u32) {
        if self.wire == Wire::WsJson {
            let most = self.config.batch_bytes;
            self.outbox.set_batch(usize::try_from(bytes).unwrap_or(most).min(most));
        }
    }

    /// Events whose names begin with one of these are not sent, whatever is subscribed to.
    pub fn hide(&mut self, prefixes: Vec<String>) {
        self.hidden = prefixes;
    }

    /// From now on events are sent only if one of these patterns matches their names, whatever is
    /// subscribed to; all are if it is `None`. Costs nothing per event as long as the subscriptions
    /// are no wider than that. Returns the subscriptions that cannot get anything any more, for the
    /// host to end.
    pub fn permit(&mut self, permitted: Option<PatternSet>) -> Vec<(SubId, Pattern)> {
        self.permitted = permitted;
        for subscription in &mut self.subscriptions {
            subscription.too_wide = is_too_wide(self.permitted.as_ref(), &subscription.pattern);
        }
        self.too_wide = self.subscriptions.iter().filter(|s| s.too_wide).count();
        let Some(permitted) = &self.permitted else { return Vec::new() };
        let ended = self.subscriptions.iter().filter(|s| !permitted.meets(&s.pattern));
        ended.map(|subscription| (subscription.id, subscription.pattern.clone())).collect()
    }

    /// From now on what is sensitive in events is sent if one of these patterns matches their names,
    /// all of it if it is `None`. To begin with, nothing of it is.
    pub fn reveal(&mut self, revealed: Option<PatternSet>) {
        self.revealed = revealed;
    }

    /// The version of an event that the session gets. Costs nothing per event where nothing is
    /// sensitive, and a look at a flag where this event is not.
    fn version<'a>(&self, framed: &'a Framed) -> &'a Framed {
        let Some(redact) = self.config.redact.as_deref() else { return framed };
        match (framed.redacted(redact), &self.revealed) {
            (Some(redacted), Some(revealed))
                if !revealed.matches(&framed.delivery().event.name) =>
            {
                redacted
            }
            _ => framed,
        }
    }

    /// The finished frames of an event for this connection.
    fn frame<'a>(&self, framed: &'a Framed) -> &'a Bytes {
        self.version(framed).frame(self.wire, &self.config.namespace)
    }

    /// Whether the session may not get events of this name although one of its subscriptions matches
    /// it.
    pub fn hides(&self, name: &str) -> bool {
        self.hidden.iter().any(|prefix| name.starts_with(&**prefix))
            || self.too_wide > 0 && self.permitted.as_ref().is_some_and(|p| !p.matches(name))
    }

    /// The encoding the connection takes.
    pub const fn wire(&self) -> Wire {
        self.wire
    }

    /// Where Socket.IO clients speak Tidings.
    pub fn namespace(&self) -> &Namespace {
        &self.config.namespace
    }

    /// The subscriptions, and what was sent, of a client that may come back. `None` if nothing was
    /// remembered, or if a replay was not through: how far it came cannot be told.
    pub fn remembered(&mut self) -> Option<(Vec<(SubId, Pattern)>, Ledger)> {
        let ledger = self.outbox.ledger_mut()?.clone();
        let subscriptions = self.subscriptions.iter().map(|s| (s.id, s.pattern.clone()));
        self.replays.is_empty().then(|| (subscriptions.collect(), ledger))
    }

    /// Ends all subscriptions, and forgets all lanes and what was counted. What is queued stays.
    pub fn leave(&mut self) {
        self.stats = FeedStats::default();
        self.outbox.forget();
        self.flows.clear();
        self.replays.clear();
        self.subscriptions.clear();
        self.too_wide = 0;
        self.not_live = 0;
    }

    /// The frames waiting to be written.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The frames waiting to be written, to take them or to add answers.
    pub const fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What it has been through.
    pub const fn stats(&self) -> FeedStats {
        self.stats
    }

    /// Whether so many answers wait that nothing more should be read from the connection.
    pub fn is_choked(&self) -> bool {
        self.outbox.control_bytes() > self.config.control_bytes
    }

    /// Queues a packet of the application. Returns false, and queues nothing, when too much waits
    /// already.
    pub fn offer_application(&mut self, frames: Bytes, mark: Option<Mark>) -> bool {
        let waiting = self.outbox.application_bytes();
        let fits = waiting == 0 || waiting + frames.len() <= self.config.application_bytes;
        if fits {
            self.outbox.push_application(frames, mark);
        }
        fits
    }

    /// Adds a subscription, replacing one with the same id. The lanes it needs are added by
    /// [`watch`](Self::watch), [`resume`](Self::resume) and [`replay`](Self::replay).
    pub fn subscribe(&mut self, id: SubId, pattern: Pattern) {
        self.unsubscribe(id);
        let too_wide = is_too_wide(self.permitted.as_ref(), &pattern);
        self.too_wide += usize::from(too_wide);
        self.subscriptions.push(Subscription { id, pattern, too_wide });
    }

    /// Ends a subscription. Returns whether there was one.
    pub fn unsubscribe(&mut self, id: SubId) -> bool {
        self.replays.retain(|replay| replay.sub != id);
        let Some(at) = self.subscriptions.iter().position(|s| s.id == id) else { return false };
        self.too_wide -= usize::from(self.subscriptions.remove(at).too_wide);
        true
    }

    /// Forgets the lanes for which `needed` is false: no subscription wants them any more.
    pub fn retain_lanes(&mut self, needed: impl Fn(Lane) -> bool) {
        self.flows.retain(|flow| needed(flow.lane));
        self.not_live = self.flows.iter().filter(|flow| flow.mode != Mode::Live).count();
    }

    /// How many subscriptions there are.
    pub const fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// The patterns of the subscriptions.
    pub fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.subscriptions.iter().map(|subscription| &subscription.pattern)
    }

    /// Lane `lane` is delivered from `now` on, unless it is delivered already. Returns where it
    /// stands.
    pub fn watch(&mut self, lane: Lane, now: Place) -> Place {
        match self.find(lane) {
            Ok(at) => {
                let flow = &mut self.flows[at];
                // Nobody asked for what lies between: the next subscription begins after it.
                let is_ahead = now.epoch == flow.place.epoch && now.offset > flow.place.offset;
                match flow.mode {
                    Mode::Live if is_ahead => flow.place = now,
                    // What only the next subscription would have matched was not offered either.
                    Mode::Dropping(until) if is_ahead => {
                        flow.mode = Mode::Dropping(until.max(now.offset));
                    }
                    _ => {}
                }
                flow.place
            }
            Err(at) => {
                self.flows.insert(at, Flow::new(lane, now, Mode::Live));
                if let Some(ledger) = self.outbox.ledger_mut() {
                    ledger.watch(lane, now);
                }
                now
            }
        }
    }

    /// Lane `lane` is delivered from `after` on, unless it is delivered already: what the log has
    /// comes first.
    pub fn resume(&mut self, lane: Lane, after: Place) {
        if let Err(at) = self.find(lane) {
            self.flows.insert(at, Flow::new(lane, after, Mode::Behind));
            if let Some(ledger) = self.outbox.ledger_mut() {
                ledger.watch(lane, after);
            }
            self.not_live += 1;
        }
    }

    /// The subscription `sub` also gets what the log has of `lane` after `after`; `now` is where
    /// the lane stands. Newer events wait until the replay is through, so that order is kept.
    pub fn replay(&mut self, sub: SubId, pattern: Pattern, lane: Lane, after: Place, now: Place) {
        self.watch(lane, now);
        let Ok(at) = self.find(lane) else { return };
        let flow = &mut self.flows[at];
        // Not `now`: a connection that has read the log by itself may be ahead of the host.
        let until = flow.place.offset;
        if flow.mode == Mode::Live {
            flow.mode = Mode::Behind;
            self.not_live += 1;
        }
        self.replays.push(Replay { sub, pattern, lane, after, began: after.offset, until });
    }

    /// A new event that one of the subscriptions matches. Returns whether a frame was queued.
    pub fn offer(&mut self, logged: &LoggedEvent) -> bool {
        let Ok(at) = self.find(logged.lane()) else { return false };
        let priority = logged.event().priority;
        if logged.offset() <= self.flows[at].place.offset || self.hides(&logged.event().name) {
            return false;
        }
        let flow = &mut self.flows[at];
        if logged.was_read_from(flow.began) {
            return false;
        }
        match flow.mode {
            Mode::Behind => return false,
            Mode::Dropping(_) => {
                flow.mode = Mode::Dropping(logged.offset());
                self.stats.dropped_low += 1;
                return false;
            }
            Mode::Live => {}
        }
        let frame = self.frame(logged.framed());
        let flow = &mut self.flows[at];
        if fits(&self.outbox, &self.config, priority, frame.len()) {
            flow.place.offset = logged.offset();
            self.outbox.push_event(priority, frame.clone(), Some(mark(logged)));
            self.stats.events[priority as usize] += 1;
            return true;
        }
        flow.place.offset = flow.place.offset.max(logged.previous());
        self.not_live += 1;
        if priority == Priority::Low {
            flow.mode = Mode::Dropping(logged.offset());
            self.stats.dropped_low += 1;
        } else {
            flow.mode = Mode::Behind;
            self.stats.fell_behind += 1;
        }
        false
    }

    /// The host cannot hand out what follows `reached` in `lane`: if the lane is not read from the log
    /// here already, it is from there on. Returns whether that is so.
    pub fn fall_behind(&mut self, lane: Lane, reached: Place) -> bool {
        let Ok(at) = self.find(lane) else { return false };
        if let Mode::Dropping(until) = self.flows[at].mode {
            // What comes is not offered any more, so that it would be neither dropped nor told.
            self.end_dropping(at, until);
        }
        let flow = &mut self.flows[at];
        if flow.mode != Mode::Live {
            return false;
        }
        flow.place.offset = flow.place.offset.max(reached.offset);
        flow.mode = Mode::Behind;
        self.not_live += 1;
        self.stats.fell_behind += 1;
        true
    }

    /// A volatile event that one of the subscriptions matches. Returns whether a frame was queued.
    pub fn offer_volatile(&mut self, framed: &Framed) -> bool {
        if self.hides(&framed.delivery().event.name) {
            return false;
        }
        let frame = self.frame(framed).clone();
        let dropped = self.outbox.push_volatile(frame, self.config.volatile_bytes);
        self.stats.volatile += 1;
        self.stats.dropped_volatile += dropped as u64;
        true
    }

    /// Whether [`catch_up`](Self::catch_up) would find something to do now: a lane is not live, what
    /// it needs is in memory, and its queue is at most half full.
    pub fn wants_catch_up(&self) -> bool {
        self.not_live > 0
            && self
                .flows
                .iter()
                .any(|flow| flow.can_catch_up() && self.has_room(flow.lane.priority()))
    }

    /// What was not in memory of `lane` has come. Returns whether reading goes on because of it.
    pub fn arrived(&mut self, lane: Lane) -> bool {
        let Ok(at) = self.find(lane) else { return false };
        std::mem::take(&mut self.flows[at].awaits)
    }

    /// Whether every lane is live.
    pub const fn is_live(&self) -> bool {
        self.not_live == 0
    }

    /// Queues notices of how far each live lane has come, for lanes that have moved since the last
    /// notice; `head` tells up to where the host has offered events. The client's cursor then
    /// stays near the head even where nothing matches.
    pub fn tell_progress(&mut self, head: impl Fn(Lane) -> Offset) {
        for priority in Priority::URGENT_FIRST {
            let mut cursor = Cursor::new();
            for flow in &mut self.flows {
                if flow.lane.priority() != priority || flow.mode != Mode::Live {
                    continue;
                }
                let offset = head(flow.lane).max(flow.place.offset);
                if offset > flow.told {
                    flow.told = offset;
                    flow.place.offset = offset;
                    cursor.set(flow.lane, flow.place);
                }
            }
            if cursor.is_empty() {
                continue;
            }
            let notice =
                encode_notice(self.wire, &self.config.namespace, &ServerMessage::Progress(cursor));
            if let Some(frame) = notice {
                self.outbox.push_event(priority, frame, None);
            }
        }
    }

    /// Whether what waits may wait for more, to be one message with it: events, none of them in the queue
    /// of critical ones, that are not as many bytes yet as one message may have. Nothing waits in a queue
    /// that is more than half full: there has to be room for what comes.
    pub fn may_wait(&self) -> bool {
        let has_room = |priority| self.has_room(priority);
        self.outbox.may_wait()
            && self.outbox.volatile_bytes() <= self.config.volatile_bytes / 2
            && Priority::URGENT_FIRST.into_iter().all(has_room)
    }

    fn has_room(&self, priority: Priority) -> bool {
        let limit = self.config.event_bytes[priority as usize];
        self.outbox.event_bytes(priority) <= limit / 2
    }

    fn find(&self, lane: Lane) -> Result<usize, usize> {
        self.flows.binary_search_by_key(&lane, |flow| flow.lane)
    }
}

fn mark(logged: &LoggedEvent) -> Mark {
    Mark::Event(logged.lane(), logged.offset())
}

/// Whether `len` more bytes fit the queue of `priority`; an empty queue takes anything.
fn fits(outbox: &Outbox, config: &FeedConfig, priority: Priority, len: usize) -> bool {
    let waiting = outbox.event_bytes(priority);
    waiting == 0 || waiting + len <= config.event_bytes[priority as usize]
}

#[cfg(test)]
mod tests;
