//! What the store lacks, and what can be done about it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::comparing::Comparing;
use super::{Found, LaneState, Stood};
use crate::lane::{Offset, Place};
use crate::log::LaneLog;
use crate::log::shared::{Note, Now, Outcome, Published, Request, Settings, encode};
use crate::time::Time;

/// How far back a failover can have lost something. Replication lags by far less.
const WINDOW: Duration = Duration::from_secs(60);

/// How far the clock here may be from the store's.
const CLOCKS_DIFFER: Duration = Duration::from_secs(600);

/// How many events, or notes, one request puts back.
const BATCH: usize = 128;

/// What is being put back, the batch that is on its way first.
#[derive(Debug)]
pub(super) struct PuttingBack {
    rest: BTreeMap<Offset, Published>,
    /// After the events.
    notes: VecDeque<Note>,
    count: u64,
    /// Where the store stood after the last request.
    head: Option<Place>,
}

/// How things were when everything known here had been put back.
#[derive(Debug)]
pub(super) struct Mended {
    at: Time,
    /// Where the copy stood.
    pub(super) copied: Offset,
    /// Where the store stood, if something was put back.
    head: Option<Place>,
}

impl<T> LaneState<T> {
    /// The store ends at `head`, before what the copy had come to. What is known here is put back, and
    /// others are given time to do the same. If it still ends there, everybody who knew what came after
    /// it is gone: who has not had it is told, and the lane goes on from what there is.
    pub(super) fn lacks(
        &mut self,
        now: Now,
        head: Place,
        before: Stood,
        settings: &Settings,
    ) -> Found {
        let mended = self.mended.as_ref().filter(|mended| {
            let is_still_so =
                !self.lost && before.is_mended && mended.copied == before.place.offset;
            is_still_so && (self.last_known() <= head.offset || mended.head == Some(head))
        });
        match mended {
            None => {
                self.is_lacking(head);
                Found::Same
            }
            Some(mended) if now.time - mended.at < settings.settle => Found::Same,
            Some(_) => {
                let mut copy = LaneLog::copy_of(self.lane, head, settings.retention.clone());
                copy.tear(head.offset, before.place.offset);
                self.log = Some(copy);
                self.known = head;
                self.mended = None;
                self.comparing = Comparing::default();
                self.hole = true;
                Found::Again
            }
        }
    }

    /// The store ends at `head` and lacks something that comes after it.
    pub(in crate::log::shared) fn is_lacking(&mut self, head: Place) {
        self.lost = true;
        self.ends_at = Some(head);
    }

    /// The last event that is here, read or published.
    fn last_known(&self) -> Offset {
        let read = self.log.as_ref().and_then(LaneLog::last).unwrap_or_default();
        read.max(self.kept.last(self.known.epoch).unwrap_or_default())
    }

    /// The store may have been replaced. Where the lane ends does not tell whether something is lacking
    /// before that: others may have put back what came last. Nobody is to build on that.
    pub(in crate::log::shared) fn taken_over(&mut self, now: Now) {
        let builds = self.has_steps && self.log.is_some();
        // Otherwise what was only read is compared when the subscription is made again.
        self.lost |= builds || !self.kept.is_empty();
        self.mended = None;
        self.doubt_copy(now);
    }

    /// Begins to put back all that is known here of the lane's last minute, or goes on with it.
    /// `None` if nothing is left.
    pub(in crate::log::shared) fn put_back(
        &mut self,
        now: Now,
        takeover: Option<Time>,
    ) -> Option<Request> {
        if self.putting_back.is_none() {
            let rest = self.recent(now);
            // Set again by what is heard meanwhile.
            self.lost = false;
            let since = Time::from_start(now.time.since_start().saturating_sub(WINDOW));
            let notes = self.kept.recent_notes(self.known.epoch, since);
            self.putting_back = Some(PuttingBack { rest, notes, count: 0, head: None });
        }
        let PuttingBack { rest, notes, .. } = self.putting_back.as_ref()?;
        let batch: Vec<_> =
            rest.iter().take(BATCH).map(|(at, event)| (event.clone(), Some(*at))).collect();
        if !batch.is_empty() {
            return Some(self.append_of(now, takeover, true, batch));
        }
        let notes: Vec<_> = notes.iter().take(BATCH).cloned().collect();
        (!notes.is_empty()).then_some(Request::PutBackNotes { lane: self.lane, notes })
    }

    pub(in crate::log::shared) const fn is_putting_back(&self) -> bool {
        self.putting_back.is_some()
    }

    /// What became of the batch that was put back; goes on with the next.
    pub(in crate::log::shared) fn batch_put_back(&mut self, head: Place, outcomes: &[Outcome]) {
        self.learn(head);
        let Some(putting_back) = &mut self.putting_back else { return };
        putting_back.head = Some(head);
        for outcome in outcomes {
            let Some((place, _)) = putting_back.rest.pop_first() else { break };
            match *outcome {
                Outcome::Fresh(_) => putting_back.count += 1,
                Outcome::Known(offset) if offset > place => drop(self.again.insert(offset, place)),
                Outcome::Known(_) => {}
            }
        }
    }

    /// The batch of notes is there; goes on with the next.
    pub(in crate::log::shared) fn notes_put_back(&mut self) {
        let Some(PuttingBack { notes, .. }) = &mut self.putting_back else { return };
        notes.drain(..BATCH.min(notes.len()));
    }

    /// Everything known here is in the store again. Returns how many events were put back.
    pub(in crate::log::shared) fn all_put_back(&mut self, now: Now) -> u64 {
        let Some(PuttingBack { count, head, .. }) = self.putting_back.take() else { return 0 };
        let mended = |place: Place| Mended { at: now.time, copied: place.offset, head };
        self.mended = self.copied().map(mended);
        self.hole = self.log.is_some();
        count
    }

    /// Not everything could be put back.
    pub(in crate::log::shared) fn put_back_failed(&mut self, at: Time) {
        self.putting_back = None;
        self.lost = true;
        self.put_back_at = Some(at);
    }

    /// When the lane's last minute began. Places go by the store's clock; the one here may be fast: the
    /// last place that was given out tells better what time it is, if that was lately.
    pub(super) fn last_minute(&self, now: Now) -> u64 {
        let is_late =
            self.given.0.saturating_add(CLOCKS_DIFFER.as_micros() as u64) >= now.unix_micros;
        let latest = if is_late { self.given.0.min(now.unix_micros) } else { now.unix_micros };
        latest.saturating_sub(WINDOW.as_micros() as u64)
    }

    /// What is known here of the lane's last minute, or since the store's end if that is earlier: what
    /// was read, and what was published here.
    fn recent(&mut self, now: Now) -> BTreeMap<Offset, Published> {
        let epoch = self.known.epoch;
        let end = self.ends_at.take().filter(|end| end.epoch == epoch);
        let since =
            end.map_or(self.last_minute(now), |end| self.last_minute(now).min(end.offset.0));
        let mut recent = self.kept.recent(epoch, Offset(since));
        let log = self.log.as_ref().filter(|log| log.head().epoch == epoch);
        for logged in log.into_iter().flat_map(|log| log.recent(since / 1000)) {
            if let Some((producer, number)) = logged.publisher() {
                recent.entry(logged.offset()).or_insert_with(|| Published {
                    producer: Arc::clone(producer),
                    number: *number,
                    event: encode(logged.event()).into(),
                });
            }
        }
        recent
    }
}
