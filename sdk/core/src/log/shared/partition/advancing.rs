//! What can begin now.

use crate::event::Priority;
use crate::message::Position;
use crate::time::Time;

use super::{Output, Partition, Pending, new_epoch};
use crate::log::shared::lane::LaneState;
use crate::log::shared::reading::Phase;
use crate::log::shared::writing::Waiting;
use crate::log::shared::{Now, Request, RequestId};

impl<T> Partition<T> {
    /// Until when nothing new may be appended to a lane.
    pub(super) fn settled_at(&self, state: &LaneState<T>) -> Option<Time> {
        let takeover = self.takeover.filter(|_| state.writing.settled != self.takeover)?;
        Some(takeover + self.settings.settle)
    }

    pub(super) fn request(&mut self, request: Request, pending: Pending) {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.pending.insert(id, pending);
        self.outputs.push_back(Output::Request(id, request));
    }

    /// Begins whatever can begin now, the most urgent lane first.
    pub(super) fn advance(&mut self, now: Now) {
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
            self.compare(now, lane);
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
            Phase::Following { .. } if self.lanes.iter().any(LaneState::is_doubted) => {
                self.look(now)
            }
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
        let before = self.lanes.each_ref().map(LaneState::stood);
        for state in &mut self.lanes {
            state.histories.ask();
        }
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

    pub(super) fn refuse(&mut self, lane: usize, waiting: Waiting<T>) {
        self.counts.refused += 1;
        let result = Err(self.lanes[lane].writing.refusal());
        self.outputs.push_back(Output::Published { token: waiting.token, result });
    }

    pub(super) fn put_back(&mut self, now: Now, lane: usize) {
        let state = &mut self.lanes[lane];
        match state.put_back(now, self.takeover) {
            Some(request) => self.request(request, Pending::PutBack(lane)),
            None => self.counts.put_back += state.all_put_back(now),
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

    fn compare(&mut self, now: Now, lane: usize) {
        let state = &mut self.lanes[lane];
        if self.reading.is_following()
            && let Some((epoch, request)) = state.compare(now)
        {
            self.request(request, Pending::Compare(lane, epoch));
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
