//! A partition: its lanes, and what goes on about them.

mod advancing;
mod answers;
mod step;

use std::collections::{BTreeMap, VecDeque};
use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Priority;
use crate::lane::{Epoch, Lane, Place};
use crate::log::{LaneLog, LoggedEvent, Read};
use crate::message::{Position, Refusal};
use crate::time::{Time, earliest};

use super::lane::{LaneState, Stood};
use super::reading::{Phase, Reading};
use super::writing::Waiting;
use super::{AppendedNotice, Now, Published, Request, RequestId, Settings};

pub use step::Footing;

/// Pause after something failed that is not about publishing or a subscription.
const PAUSE: Duration = Duration::from_millis(100);

/// What a partition wants done.
#[derive(Debug)]
pub enum Output<T> {
    /// Make this request; its answer goes to [`Partition::answered`].
    Request(RequestId, Request),
    /// Subscribe to the partition's notices, and tell [`Partition::subscribed`] or
    /// [`Partition::unsubscribed`].
    Subscribe(u64),
    /// End this subscription; nothing more is to be told of it.
    Unsubscribe(u64),
    /// Something new can be read in a lane.
    New(Lane),
    /// Something older of a lane, for which somebody waits, can be read now.
    Loaded(Lane),
    /// Whether the lanes can be read here.
    Readable(bool),
    /// It is known where the lanes stand.
    Known,
    /// The answer to a publish.
    Published {
        /// What came with the publish.
        token: T,
        /// Where the event is, or why it is nowhere as far as is known.
        result: Result<Position, Refusal>,
    },
    /// An event cannot be understood; it is passed over.
    Unreadable(Position),
}

/// What has happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events appended.
    pub appended: u64,
    /// Publishes that were in the log already.
    pub duplicates: u64,
    /// Publishes that waited too long.
    pub refused: u64,
    /// Events that came by notices.
    pub notified: u64,
    /// Events put back.
    pub put_back: u64,
    /// How often a lane lacked what another master had taken, so that those who had read past it are told.
    pub missed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.appended += other.appended;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.notified += other.notified;
        self.put_back += other.put_back;
        self.missed += other.missed;
    }
}

/// What a request was for.
#[derive(Debug)]
enum Pending {
    /// With how the copies stood when it was asked.
    Look([Option<Stood>; Priority::COUNT]),
    /// With the last takeover that was known when it was sent.
    Append(usize, Option<Time>),
    Replicate(usize),
    PutBack(usize),
    Fill(usize, Place),
    Load(usize, Place),
    /// In this history.
    Compare(usize, Epoch),
}

/// One partition of a log that is kept elsewhere; see the [module](super). `T` is what comes with a
/// publish and goes back with its answer.
#[derive(Debug)]
pub struct Partition<T> {
    settings: Arc<Settings>,
    /// By priority, `low` first.
    lanes: [LaneState<T>; Priority::COUNT],
    reading: Reading,
    /// It is known where the lanes stand; until then it is asked.
    is_known: bool,
    is_readable: bool,
    looking: bool,
    look_at: Time,
    /// When another master took over.
    takeover: Option<Time>,
    pending: BTreeMap<RequestId, Pending>,
    last_request: u64,
    outputs: VecDeque<Output<T>>,
    counts: Counts,
}

impl<T> Partition<T> {
    /// The partition of this number. It asks where its lanes stand at its first
    /// [time-out](Self::handle_timeout).
    pub fn new(number: u16, settings: Arc<Settings>) -> Self {
        let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        Self {
            settings,
            lanes: lanes.map(|priority| LaneState::new(Lane::new(number, priority))),
            reading: Reading::new(),
            is_known: false,
            is_readable: false,
            looking: false,
            look_at: Time::ZERO,
            takeover: None,
            pending: BTreeMap::new(),
            last_request: 0,
            outputs: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// What has happened since the start.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the lanes can be read here.
    pub const fn is_readable(&self) -> bool {
        self.is_readable
    }

    /// Where a lane stands here. While it is not read here: now, by this clock, or the last place
    /// known if that is later.
    pub fn head(&self, now: Now, priority: Priority) -> Place {
        self.lanes[priority as usize].head(now)
    }

    /// The copies of the lanes that are read.
    pub fn copies(&mut self) -> impl Iterator<Item = &mut LaneLog> {
        self.lanes.iter_mut().filter_map(|state| state.log.as_mut())
    }

    /// Publishes an event. The answer comes as [`Output::Published`].
    ///
    /// `sends_again`: whether the producer publishes again, with the same number and before
    /// anything newer, what is refused. What it has published after that is then refused, too, so
    /// that its order stays; one that gives up what is refused would only lose more by it.
    pub fn publish(
        &mut self,
        now: Now,
        priority: Priority,
        published: Published,
        sends_again: bool,
        token: T,
    ) {
        let until = now.time + self.settings.publish_timeout;
        let waiting = Waiting { published, sends_again, until, token };
        let writing = &mut self.lanes[priority as usize].writing;
        if let Err(waiting) = writing.push(now.time, waiting) {
            self.refuse(priority as usize, waiting);
        }
        self.advance(now);
    }

    /// Somebody wants to read the partition, or still wants to.
    pub fn want(&mut self, now: Now) {
        if self.reading.want(now.time) {
            self.advance(now);
        }
    }

    /// Reads a lane; see [`LaneLog::read`]. What is not in memory is fetched; then [`Output::New`] or [`Output::Loaded`] tells that it is there.
    pub fn read(
        &mut self,
        now: Now,
        priority: Priority,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        let state = &mut self.lanes[priority as usize];
        if state.doubts(after) {
            self.advance(now);
            return Read::Later;
        }
        match state.log.as_ref().map(|log| log.read(after, limit, out)) {
            Some(Read::Done(gap)) => return Read::Done(gap),
            Some(Read::Later) => {
                state.load(after);
                self.advance(now);
            }
            None => self.want(now),
        }
        Read::Later
    }

    /// Whether nothing of a lane up to `place` is missing here, even if the copy ends before it. If
    /// not it is fetched; then [`Output::Loaded`] tells that it is there.
    pub fn reaches(&mut self, now: Now, priority: Priority, place: Place) -> bool {
        let reaches = self.lanes[priority as usize].reaches(place);
        if !reaches {
            self.want(now);
            self.advance(now);
        }
        reaches
    }

    /// Whether something waits to be appended, or to be put back.
    pub fn is_writing(&self) -> bool {
        self.lanes
            .iter()
            .any(|state| !state.writing.is_idle() || state.lost || state.is_putting_back())
    }

    /// Another master has taken over, then. What it lacks is put back before anything new is
    /// appended: then it gets the places it had. Other instances do the same; they are given time.
    pub fn taken_over(&mut self, now: Now, at: Time) {
        if self.takeover.is_none_or(|before| before < at) {
            self.takeover = Some(at);
            for state in &mut self.lanes {
                state.taken_over(now);
            }
        }
        self.advance(now);
    }

    /// Something about the store has changed: what failed is tried again at once.
    pub fn hurry(&mut self, now: Now) {
        self.reading.hurry(now.time);
        for state in &mut self.lanes {
            state.writing.hurry();
            state.put_back_at = None;
        }
        self.advance(now);
    }

    /// The subscription is there: everything published from now on comes as notices.
    pub fn subscribed(&mut self, now: Now, subscription: u64) {
        if self.reading.phase == Phase::Subscribing && self.reading.is_current(subscription) {
            self.reading.phase = Phase::Looking;
            self.advance(now);
        }
    }

    /// There is no subscription, or it has ended.
    pub fn unsubscribed(&mut self, now: Now, subscription: u64) {
        if self.reading.is_current(subscription) {
            self.reading.again(now.time);
            self.advance(now);
        }
    }

    /// Events were appended.
    pub fn appended(&mut self, now: Now, notice: AppendedNotice<'_>) {
        let state = &mut self.lanes[notice.priority as usize];
        let news = state.appended(now, notice);
        if news > 0 {
            self.counts.notified += news;
            self.outputs.push_back(Output::New(state.lane));
        }
        self.advance(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn next_timeout(&self) -> Option<Time> {
        let mut next = None;
        let mut at = |time: Option<Time>| next = earliest(next, time);
        match self.reading.phase {
            Phase::Off if !self.is_known && !self.looking => at(Some(self.look_at)),
            Phase::Paused(until) => at(Some(until)),
            Phase::Following { check_at } if !self.looking => at(Some(check_at)),
            _ => {}
        }
        for state in &self.lanes {
            at(state.writing.expires_at());
            if state.lost {
                at(state.put_back_at.filter(|_| !state.is_putting_back()));
            } else if !state.is_putting_back() {
                at(state.writing.send_at(self.settled_at(state)));
            }
            at(state.compares_at().filter(|_| self.reading.is_following()));
            let loading = &state.loading;
            at(loading.not_before.filter(|_| loading.wanted.is_some() && !loading.busy));
        }
        next
    }

    /// What was to happen at this time happens.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance(now);
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }
}

/// The epoch for a history that begins now, after one with epoch `before`.
pub(super) fn new_epoch(now: Now, before: Epoch) -> Epoch {
    let seconds = u32::try_from(now.unix_micros / 1_000_000).unwrap_or(u32::MAX);
    Epoch(seconds.max(before.0.saturating_add(1)))
}
