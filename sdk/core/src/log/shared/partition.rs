//! A partition: its lanes, and what goes on about them.

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

use super::lane::{Found, LaneState};
use super::reading::{Phase, Reading};
use super::writing::Waiting;
use super::{
    Answer, AppendAnswer, AppendedNotice, Chunk, Now, Outcome, Published, Request, RequestId,
    Settings, Standing,
};

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
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.appended += other.appended;
        self.duplicates += other.duplicates;
        self.refused += other.refused;
        self.notified += other.notified;
        self.put_back += other.put_back;
    }
}

/// What a request was for.
#[derive(Debug)]
enum Pending {
    /// With where the copies stood when it was asked.
    Look([Option<Place>; Priority::COUNT]),
    /// With the last takeover that was known when it was sent.
    Append(usize, Option<Time>),
    Replicate(usize),
    PutBack(usize),
    Fill(usize, Place),
    Load(usize, Place),
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
                // What was read here is compared when the subscription is made again.
                state.lost |= state.has_published();
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

    /// A request was answered, or failed. One that failed may have been carried out.
    pub fn answered(&mut self, now: Now, id: RequestId, answer: Result<Answer, String>) {
        let Some(pending) = self.pending.remove(&id) else { return };
        let failure = match (&pending, answer) {
            (Pending::Look(before), Ok(Answer::Standing(standings))) => {
                self.looked(now, *before, standings);
                None
            }
            (Pending::Append(lane, takeover), Ok(Answer::Appended(answer))) => {
                // It may be the old master that has it.
                self.lanes[*lane].lost |= *takeover != self.takeover;
                self.batch_appended(now, id, *lane, answer);
                None
            }
            (Pending::Replicate(lane), Ok(Answer::Replicated)) => {
                let outcomes = std::mem::take(&mut self.lanes[*lane].writing.outcomes);
                self.batch_done(*lane, &outcomes);
                None
            }
            (
                Pending::PutBack(lane),
                Ok(Answer::Appended(AppendAnswer::Done { head, outcomes })),
            ) => {
                self.lanes[*lane].learn(head);
                self.lanes[*lane].batch_put_back(&outcomes);
                self.put_back(now, *lane);
                None
            }
            (Pending::Fill(lane, after), Ok(Answer::Chunk(chunk))) => {
                self.filled(now, *lane, *after, chunk);
                None
            }
            (Pending::Load(lane, upto), Ok(Answer::Chunk(chunk))) => {
                self.loaded(now, *lane, *upto, chunk);
                None
            }
            (_, Ok(_)) => Some("this was not asked".to_owned()),
            (_, Err(why)) => Some(why),
        };
        if let Some(why) = failure {
            self.failed(now, pending, why);
        }
        self.advance(now);
    }

    fn failed(&mut self, now: Now, pending: Pending, why: String) {
        match pending {
            Pending::Look(_) => {
                self.looking = false;
                self.look_at = now.time + PAUSE;
                self.reading_failed(now);
            }
            Pending::Append(lane, _) | Pending::Replicate(lane) => {
                self.lanes[lane].writing.failed(now.time, why);
            }
            Pending::PutBack(lane) => self.lanes[lane].put_back_failed(now.time + PAUSE),
            Pending::Fill(lane, _) => {
                self.lanes[lane].filling = false;
                self.lanes[lane].hole = true;
                self.reading_failed(now);
            }
            Pending::Load(lane, _) => {
                self.lanes[lane].loading.busy = false;
                self.lanes[lane].loading.not_before = Some(now.time + PAUSE);
            }
        }
    }

    fn reading_failed(&mut self, now: Now) {
        if self.reading.is_current(self.reading.subscription) {
            self.reading.again(now.time);
        }
    }

    fn looked(
        &mut self,
        now: Now,
        before: [Option<Place>; Priority::COUNT],
        standings: [Standing; Priority::COUNT],
    ) {
        self.looking = false;
        if !std::mem::replace(&mut self.is_known, true) {
            self.outputs.push_back(Output::Known);
        }
        let retention = &self.settings.retention;
        for ((state, standing), before) in self.lanes.iter_mut().zip(standings).zip(before) {
            if state.stands(standing, before, retention) == Found::Again {
                self.outputs.push_back(Output::New(state.lane));
            }
        }
        let following = Phase::Following { check_at: now.time + self.settings.check_interval };
        match self.reading.phase {
            Phase::Looking => {
                for state in &mut self.lanes {
                    state.begin(retention);
                    state.hole = true;
                }
                self.reading.phase = following;
            }
            Phase::Following { .. } => self.reading.phase = following,
            _ => {}
        }
    }

    fn batch_appended(&mut self, now: Now, id: RequestId, lane: usize, answer: AppendAnswer) {
        let state = &mut self.lanes[lane];
        match answer {
            AppendAnswer::Behind(place) => {
                // Where nothing is known of what is lacking, the log goes on without it.
                state.known = place;
                state.lost = true;
                state.writing.busy = false;
            }
            AppendAnswer::Done { head, outcomes }
                if outcomes.len() == state.writing.batch.len() =>
            {
                state.learn(head);
                // Kept before replicas have it: that is when it can be lost.
                state.keep(head.epoch, &outcomes);
                if state.lane.priority() == Priority::Critical {
                    state.writing.outcomes = outcomes;
                    self.request(Request::Replicate { after: id }, Pending::Replicate(lane));
                } else {
                    self.batch_done(lane, &outcomes);
                }
            }
            AppendAnswer::Done { .. } => {
                state.writing.failed(now.time, "not all events were answered".to_owned());
            }
        }
    }

    fn batch_done(&mut self, lane: usize, outcomes: &[Outcome]) {
        let state = &mut self.lanes[lane];
        state.writing.done();
        for (waiting, outcome) in state.writing.batch.drain(..).zip(outcomes) {
            match outcome {
                Outcome::Fresh(_) => self.counts.appended += 1,
                Outcome::Known(_) => self.counts.duplicates += 1,
            }
            let result = Ok(Position { lane: state.lane, offset: outcome.offset() });
            self.outputs.push_back(Output::Published { token: waiting.token, result });
        }
    }

    fn filled(&mut self, now: Now, lane: usize, after: Place, chunk: Chunk) {
        let state = &mut self.lanes[lane];
        state.filling = false;
        if !chunk.is_full && state.has_reached() {
            self.outputs.push_back(Output::Loaded(state.lane));
        }
        let standing = Standing { head: chunk.head, floor: chunk.floor };
        if chunk.head.epoch != after.epoch || after.offset < chunk.floor {
            if state.stands(standing, None, &self.settings.retention) == Found::Again {
                self.outputs.push_back(Output::New(state.lane));
            }
        } else if state.read_after(now, after, chunk) > 0 {
            self.outputs.push_back(Output::New(state.lane));
        }
    }

    fn loaded(&mut self, now: Now, lane: usize, upto: Place, chunk: Chunk) {
        let state = &mut self.lanes[lane];
        state.loading.busy = false;
        state.read_upto(now, upto, chunk);
        self.outputs.push_back(Output::Loaded(state.lane));
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

    /// Until when nothing new may be appended to a lane.
    fn settled_at(&self, state: &LaneState<T>) -> Option<Time> {
        let takeover = self.takeover.filter(|_| state.writing.settled != self.takeover)?;
        Some(takeover + self.settings.settle)
    }

    fn request(&mut self, request: Request, pending: Pending) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.pending.insert(id, pending);
        self.outputs.push_back(Output::Request(id, request));
    }

    /// Begins whatever can begin now, the most urgent lane first.
    fn advance(&mut self, now: Now) {
        self.advance_reading(now);
        for lane in (0..Priority::COUNT).rev() {
            self.expire(now, lane);
            let state = &self.lanes[lane];
            if state.lost
                && !state.is_putting_back()
                && state.put_back_at.is_none_or(|at| at <= now.time)
            {
                self.put_back(now, lane);
            }
            self.advance_writing(now, lane);
            self.fill(lane);
            self.load(now, lane);
            let state = &mut self.lanes[lane];
            for offset in state.unreadable.drain(..) {
                let position = Position { lane: state.lane, offset };
                self.outputs.push_back(Output::Unreadable(position));
            }
        }
        self.become_readable();
    }

    fn advance_reading(&mut self, now: Now) {
        let unwanted = self.reading.is_unwanted(now.time, self.settings.linger);
        match self.reading.phase {
            Phase::Off if !self.is_known && self.look_at <= now.time => self.look(now),
            Phase::Paused(until) if until <= now.time => {
                if unwanted {
                    return self.stop_reading();
                }
                let subscription = self.reading.subscribe(now.time);
                self.outputs.push_back(Output::Subscribe(subscription));
            }
            Phase::Looking => self.look(now),
            Phase::Following { check_at } if check_at <= now.time => {
                if unwanted {
                    self.outputs.push_back(Output::Unsubscribe(self.reading.subscription));
                    return self.stop_reading();
                }
                self.look(now);
            }
            _ => {}
        }
    }

    fn look(&mut self, now: Now) {
        if std::mem::replace(&mut self.looking, true) {
            return;
        }
        let before = self.lanes.each_ref().map(LaneState::copied);
        let epoch = self.lanes.iter().map(|state| state.known.epoch).max().unwrap_or_default();
        let new_epoch = new_epoch(now, epoch);
        self.request(Request::Look { new_epoch }, Pending::Look(before));
    }

    fn stop_reading(&mut self) {
        self.reading.phase = Phase::Off;
        for state in &mut self.lanes {
            state.forget_copy();
        }
        if std::mem::take(&mut self.is_readable) {
            self.outputs.push_back(Output::Readable(false));
        }
    }

    /// Refuses what has waited too long.
    fn expire(&mut self, now: Now, lane: usize) {
        let writing = &mut self.lanes[lane].writing;
        if writing.busy {
            return;
        }
        for waiting in writing.expire(now.time) {
            self.refuse(lane, waiting);
        }
    }

    fn refuse(&mut self, lane: usize, waiting: Waiting<T>) {
        self.counts.refused += 1;
        let result = Err(self.lanes[lane].writing.refusal());
        self.outputs.push_back(Output::Published { token: waiting.token, result });
    }

    fn put_back(&mut self, now: Now, lane: usize) {
        let state = &mut self.lanes[lane];
        match state.put_back(now, self.takeover) {
            Some(request) => self.request(request, Pending::PutBack(lane)),
            None => self.counts.put_back += state.all_put_back(),
        }
    }

    fn advance_writing(&mut self, now: Now, lane: usize) {
        let settled_at = self.settled_at(&self.lanes[lane]);
        let state = &mut self.lanes[lane];
        let free = !state.lost && !state.is_putting_back();
        if free && state.writing.send_at(settled_at).is_some_and(|at| at <= now.time) {
            state.writing.settled = self.takeover;
            state.writing.fill_batch();
            state.writing.busy = true;
            let request = state.append(now, self.takeover);
            self.request(request, Pending::Append(lane, self.takeover));
        }
    }

    fn fill(&mut self, lane: usize) {
        let state = &mut self.lanes[lane];
        let free = !state.lost && !state.is_putting_back() && !state.filling;
        if free
            && self.reading.is_following()
            && state.hole
            && let Some((after, request)) = state.fill()
        {
            state.hole = false;
            state.filling = true;
            self.request(request, Pending::Fill(lane, after));
        }
    }

    fn load(&mut self, now: Now, lane: usize) {
        let state = &mut self.lanes[lane];
        let loading = &state.loading;
        if loading.busy
            || loading.wanted.is_none()
            || loading.not_before.is_some_and(|at| at > now.time)
        {
            return;
        }
        state.loading.not_before = None;
        if let Some((upto, request)) = state.older() {
            state.loading.busy = true;
            self.request(request, Pending::Load(lane, upto));
        } else {
            state.loading.wanted = None;
            // Those who came last found it complete, or not read any more: they look again.
            self.outputs.push_back(Output::Loaded(state.lane));
        }
    }

    fn become_readable(&mut self) {
        let whole = |state: &LaneState<T>| {
            !state.hole && !state.filling && !state.lost && !state.is_putting_back()
        };
        if self.is_readable || !self.reading.is_following() || !self.lanes.iter().all(whole) {
            return;
        }
        self.is_readable = true;
        self.outputs.push_back(Output::Readable(true));
        for state in &self.lanes {
            self.outputs.push_back(Output::Loaded(state.lane));
        }
    }
}

/// The epoch for a history that begins now, after one with epoch `before`.
pub(super) fn new_epoch(now: Now, before: Epoch) -> Epoch {
    let seconds = u32::try_from(now.unix_micros / 1_000_000).unwrap_or(u32::MAX);
    Epoch(seconds.max(before.0.saturating_add(1)))
}
