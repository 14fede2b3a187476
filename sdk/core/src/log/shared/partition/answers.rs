//! What the store's answers lead to.

use crate::event::Priority;
use crate::lane::{Epoch, Place};
use crate::message::Position;

use super::{Output, PAUSE, Partition, Pending};
use crate::log::shared::lane::{Found, Stood};
use crate::log::shared::reading::Phase;
use crate::log::shared::{Answer, AppendAnswer, Chunk, Now, Outcome, Request, RequestId, Standing};

impl<T> Partition<T> {
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
                self.lanes[*lane].batch_put_back(head, &outcomes);
                self.put_back(now, *lane);
                None
            }
            (Pending::PutBack(lane), Ok(Answer::Noted)) => {
                self.lanes[*lane].notes_put_back();
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
            (Pending::Compare(lane, epoch), Ok(Answer::Chunk(chunk))) => {
                self.compared(now, *lane, *epoch, chunk);
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
                self.lanes[lane].filling_failed();
                self.reading_failed(now);
            }
            Pending::Compare(lane, _) => self.lanes[lane].comparing_failed(now.time + PAUSE),
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
        before: [Option<Stood>; Priority::COUNT],
        standings: [Standing; Priority::COUNT],
    ) {
        self.looking = false;
        if !std::mem::replace(&mut self.is_known, true) {
            self.outputs.push_back(Output::Known);
        }
        let settings = &self.settings;
        for ((state, standing), before) in self.lanes.iter_mut().zip(standings).zip(before) {
            if state.stands(now, standing, before, settings) == Found::Again {
                self.outputs.push_back(Output::New(state.lane));
            }
            if state.histories.answered(standing.head.epoch) {
                self.outputs.push_back(Output::Loaded(state.lane));
            }
        }
        let following = Phase::Following { check_at: now.time + settings.check_interval };
        match self.reading.phase {
            Phase::Looking => {
                for state in &mut self.lanes {
                    state.begin(&settings.retention);
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
                state.is_lacking(place);
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
        if chunk.head == Place::default() {
            // The store has lost everything, and no history has begun yet.
            return self.reading.check_now(now.time);
        }
        let standing = Standing { head: chunk.head, floor: chunk.floor };
        if chunk.head.epoch != after.epoch || after.offset < chunk.floor {
            if state.stands(now, standing, None, &self.settings) == Found::Again {
                self.outputs.push_back(Output::New(state.lane));
            }
        } else if state.read_after(now, after, chunk) > 0 {
            self.outputs.push_back(Output::New(state.lane));
        }
    }

    fn compared(&mut self, now: Now, lane: usize, epoch: Epoch, chunk: Chunk) {
        let state = &mut self.lanes[lane];
        if let Some((epoch, request)) = state.compare_with(now, epoch, chunk) {
            return self.request(request, Pending::Compare(lane, epoch));
        }
        if state.tell_missed() {
            self.counts.missed += 1;
            self.outputs.push_back(Output::New(state.lane));
        }
    }

    fn loaded(&mut self, now: Now, lane: usize, upto: Place, chunk: Chunk) {
        let state = &mut self.lanes[lane];
        state.loading.busy = false;
        if chunk.head.epoch != upto.epoch {
            self.reading.check_now(now.time);
        }
        if state.read_upto(now, upto, chunk) {
            self.outputs.push_back(Output::Loaded(state.lane));
        } else {
            state.loading.not_before = Some(now.time + PAUSE);
        }
    }
}
