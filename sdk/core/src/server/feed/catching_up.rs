//! Reading the log for lanes that are not live.

use super::{Feed, Mode, fits, mark};
use crate::event::Priority;
use crate::lane::{Epoch, Offset, Place};
use crate::link::{encode_event, encode_notice};
use crate::log::Read;
use crate::message::{Delivery, Gap, ServerMessage};
use crate::server::log_reader::LogReader;

/// How many events are read from the log at once while a connection catches up.
const READ_AHEAD: usize = 64;

impl Feed {
    /// Queues what the log has for lanes that are not live, most urgent first, as far as the queues
    /// have room; lanes that reach the end of the log become live.
    pub fn catch_up(&mut self, log: &(impl LogReader + ?Sized)) {
        for priority in Priority::URGENT_FIRST {
            for at in 0..self.flows.len() {
                if self.flows[at].lane.priority() == priority {
                    self.catch_up_flow(at, log);
                }
            }
        }
    }

    fn catch_up_flow(&mut self, at: usize, log: &(impl LogReader + ?Sized)) {
        while self.flows[at].can_catch_up() && self.has_room(self.flows[at].lane.priority()) {
            let lane = self.flows[at].lane;
            if let Some(next) = self.replays.iter().position(|replay| replay.lane == lane) {
                self.flows[at].awaits = !self.continue_replay(next, log);
            } else if let Mode::Dropping(until) = self.flows[at].mode {
                self.end_dropping(at, until);
            } else {
                self.continue_flow(at, log);
            }
        }
    }

    /// Tells what a full `low` queue made us drop, and goes on live.
    pub(super) fn end_dropping(&mut self, at: usize, until: Offset) {
        let flow = &mut self.flows[at];
        let gap = Gap {
            lane: flow.lane,
            from: flow.place.offset,
            to: until,
            epoch: flow.place.epoch,
            replay_for: None,
        };
        flow.place.offset = until;
        flow.mode = Mode::Live;
        self.not_live -= 1;
        self.tell_gap(gap);
    }

    fn continue_flow(&mut self, at: usize, log: &(impl LogReader + ?Sized)) {
        let lane = self.flows[at].lane;
        let mut events = Vec::new();
        match log.read(lane, self.flows[at].place, READ_AHEAD, &mut events) {
            Read::Done(None) => {}
            Read::Done(Some(gap)) => {
                let flow = &mut self.flows[at];
                if gap.epoch != flow.place.epoch {
                    flow.began = gap.to;
                }
                flow.place = Place { epoch: gap.epoch, offset: gap.to };
                self.tell_gap(gap);
            }
            Read::Later => {
                self.flows[at].awaits = true;
                return;
            }
        }
        if events.is_empty() {
            self.flows[at].mode = Mode::Live;
            self.not_live -= 1;
            return;
        }
        for logged in events {
            let priority = logged.event().priority;
            if !fits(&self.outbox, &self.config, priority, 0) {
                return;
            }
            let name = &logged.event().name;
            let is_new = !logged.was_read_from(self.flows[at].began);
            let is_wanted = is_new && self.subscriptions.iter().any(|s| s.pattern.matches(name));
            if is_wanted && !self.hides(name) {
                let frame = self.frame(logged.framed()).clone();
                self.outbox.push_event(priority, frame, Some(mark(&logged)));
                self.stats.events[priority as usize] += 1;
                self.stats.recovered += 1;
            }
            self.flows[at].place.offset = logged.offset();
        }
    }

    /// Returns false if what comes next is not in memory yet.
    fn continue_replay(&mut self, index: usize, log: &(impl LogReader + ?Sized)) -> bool {
        let replay = &self.replays[index];
        let (sub, lane) = (replay.sub, replay.lane);
        let mut events = Vec::new();
        match log.read(lane, replay.after, READ_AHEAD, &mut events) {
            // It began at the oldest event retained: from here on it is at a place of the lane's.
            Read::Done(None) if replay.after.epoch == Epoch(0) => {
                let flow = self.find(lane).ok().map(|at| self.flows[at].place.epoch);
                self.replays[index].after.epoch = flow.unwrap_or_default();
            }
            Read::Done(None) => {}
            Read::Done(Some(mut gap)) => {
                gap.replay_for = Some(sub);
                if gap.epoch != self.replays[index].after.epoch {
                    self.replays[index].began = gap.to;
                }
                self.replays[index].after = Place { epoch: gap.epoch, offset: gap.to };
                self.tell_gap(gap);
            }
            Read::Later => return false,
        }
        let replay = &self.replays[index];
        let mut finished = events.is_empty();
        if finished && replay.after.offset < replay.until {
            let until = Place { offset: replay.until, ..replay.after };
            if !log.reaches(lane, until) {
                return false;
            }
        }
        for logged in events {
            if logged.offset() > self.replays[index].until {
                finished = true;
                break;
            }
            let priority = logged.event().priority;
            if !fits(&self.outbox, &self.config, priority, 0) {
                return true;
            }
            let name = &logged.event().name;
            let is_new = !logged.was_read_from(self.replays[index].began);
            if is_new && self.replays[index].pattern.matches(name) && !self.hides(name) {
                let delivery = self.version(logged.framed()).delivery().clone();
                let delivery = Delivery { replay_for: Some(sub), ..delivery };
                let frame = encode_event(self.wire, &self.config.namespace, &delivery);
                self.outbox.push_event(priority, frame, None);
                self.stats.events[priority as usize] += 1;
                self.stats.recovered += 1;
            }
            self.replays[index].after.offset = logged.offset();
        }
        if finished {
            self.replays.remove(index);
        }
        true
    }

    fn tell_gap(&mut self, gap: Gap) {
        self.stats.gaps += 1;
        if let Some(frame) =
            encode_notice(self.wire, &self.config.namespace, &ServerMessage::Gap(gap))
        {
            self.outbox.push_event(gap.lane.priority(), frame, None);
        }
    }
}
