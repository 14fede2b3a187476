//! One lane: what is known of it, its copy, and what the copy lacks.

mod comparing;
mod mending;

use std::collections::BTreeMap;

use crate::lane::{Epoch, Lane, Offset, Place};
use crate::log::{Copied, Entry, LaneLog, Retention};
use crate::time::Time;

use self::comparing::Comparing;
use self::mending::{Mended, PuttingBack};
use super::histories::Histories;
use super::published::Kept;
use super::writing::Writing;
use super::{
    Append, AppendedNotice, Chunk, Direction, Note, Now, Outcome, Published, Request, Settings,
    Standing,
};

/// How many events one read gets at most.
pub(super) const CHUNK: usize = 500;

/// What is known here of one lane.
#[derive(Debug)]
pub(super) struct LaneState<T> {
    pub(super) lane: Lane,
    /// The last place that is known to be in the store, read here or not.
    pub(super) known: Place,
    /// The last offset that is known to have been given out.
    given: Offset,
    /// The copy of its recent events, while the partition is read.
    pub(super) log: Option<LaneLog>,
    /// Events are missing at the end of the copy: to be read.
    pub(super) hole: bool,
    /// A read of what follows the copy is on its way.
    pub(super) filling: bool,
    /// The last place up to which somebody wants to be sure that nothing is missing.
    sought: Option<Place>,
    /// What was sought when the read that is on its way was sent.
    seeking: Option<Place>,
    /// Up to this place nothing is missing, even if the copy ends before it.
    reached: Option<Place>,
    /// Steps are made in it from here, and depend on what was appended.
    pub(super) has_steps: bool,
    /// The store may lack events that are known here: to be put back before anything else.
    pub(super) lost: bool,
    /// Where the store ended when it was found to lack something.
    ends_at: Option<Place>,
    /// Everything known here was put back, and nothing was heard since of what the copy ends with.
    mended: Option<Mended>,
    /// What is being put back, the batch that is on its way first.
    putting_back: Option<PuttingBack>,
    /// Not before this is it tried again to put something back.
    pub(super) put_back_at: Option<Time>,
    comparing: Comparing,
    pub(super) loading: Loading,
    pub(super) histories: Histories,
    pub(super) writing: Writing<T>,
    kept: Kept,
    /// Where events will come that are here already, for their publishers have sent them again; and
    /// where those are.
    again: BTreeMap<Offset, Offset>,
    /// Where events stand that cannot be understood, to be told.
    pub(super) unreadable: Vec<Offset>,
}

/// How a copy stands while the store is asked where the lane does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stood {
    place: Place,
    is_mended: bool,
}

/// How far back somebody wants to read what is not in memory.
#[derive(Debug, Default)]
pub(super) struct Loading {
    /// The earliest place that is waited for.
    pub(super) wanted: Option<Offset>,
    /// A read is on its way.
    pub(super) busy: bool,
    /// Not before this is it tried again.
    pub(super) not_before: Option<Time>,
}

/// What the store told of a lane means for its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It goes on.
    Same,
    /// It began again: readers have something to find out.
    Again,
}

impl<T> LaneState<T> {
    pub(super) fn new(lane: Lane) -> Self {
        Self {
            lane,
            known: Place::default(),
            given: Offset::default(),
            log: None,
            hole: false,
            filling: false,
            sought: None,
            seeking: None,
            reached: None,
            has_steps: false,
            lost: false,
            ends_at: None,
            mended: None,
            putting_back: None,
            put_back_at: None,
            comparing: Comparing::default(),
            loading: Loading::default(),
            histories: Histories::default(),
            writing: Writing::default(),
            kept: Kept::default(),
            again: BTreeMap::new(),
            unreadable: Vec::new(),
        }
    }

    /// The lane has come to this place.
    pub(super) fn learn(&mut self, place: Place) {
        self.given = self.given.max(place.offset);
        if self.known.epoch != place.epoch || self.known.offset < place.offset {
            self.known = place;
        }
    }

    /// Where the lane stands here, for its readers. While it is not read here: now, by this clock, or
    /// the last place known if that is later.
    pub(super) fn head(&self, now: Now) -> Place {
        match &self.log {
            Some(log) => log.end(),
            None => Place {
                epoch: self.known.epoch,
                offset: self.known.offset.max(Offset(now.unix_micros)),
            },
        }
    }

    /// The head of the copy.
    fn copied(&self) -> Option<Place> {
        self.log.as_ref().map(LaneLog::head)
    }

    /// Whether it has to be asked whether the history of `place` is over.
    pub(super) fn doubts(&mut self, place: Place) -> bool {
        let Some(here) = self.copied() else { return false };
        self.histories.doubts(place, here.epoch)
    }

    /// Whether readers wait to know that, and it was not asked yet.
    pub(super) fn is_doubted(&self) -> bool {
        self.histories.is_waited_for()
    }

    /// How the copy stands.
    pub(super) fn stood(&self) -> Option<Stood> {
        Some(Stood { place: self.copied()?, is_mended: self.mended.is_some() })
    }

    /// The lane stands there. `before` is how the copy stood when that was asked.
    pub(super) fn stands(
        &mut self,
        now: Now,
        standing: Standing,
        before: Option<Stood>,
        settings: &Settings,
    ) -> Found {
        let Standing { head, floor } = standing;
        let same = |place: &Place| place.epoch == head.epoch;
        let ahead = |before: &Stood| same(&before.place) && before.place.offset > head.offset;
        if let Some(before) = before.filter(ahead) {
            return self.lacks(now, head, before, settings);
        }
        let copied = self.copied();
        if copied.filter(same).is_some_and(|here| here.offset < head.offset) {
            self.hole = true;
        }
        self.learn(head);
        if copied.is_none_or(|here| same(&here) && here.offset >= floor) {
            return Found::Same;
        }
        // Another history, or the events after the copy's head are gone.
        if let Some(here) = copied {
            self.histories.is_over(here.epoch, head.epoch);
        }
        let start = Place { epoch: head.epoch, offset: floor };
        let mut copy = LaneLog::copy_of(self.lane, start, settings.retention.clone());
        copy.put_in_front(0, Vec::new(), Some(floor));
        self.log = Some(copy);
        self.mended = None;
        self.comparing = Comparing::default();
        self.hole = true;
        Found::Again
    }

    /// Begins the copy, if there is none.
    pub(super) fn begin(&mut self, retention: &Retention) {
        let (lane, head) = (self.lane, self.known);
        self.log.get_or_insert_with(|| LaneLog::copy_of(lane, head, retention.clone()));
    }

    /// Nobody wants to read it any more.
    pub(super) fn forget_copy(&mut self) {
        self.log = None;
        self.hole = false;
        (self.sought, self.reached) = (None, None);
        self.again.clear();
        self.mended = None;
        self.comparing = Comparing::default();
        self.loading.wanted = None;
    }

    /// Takes in what a notice tells. Returns how many events are new.
    pub(super) fn appended(&mut self, now: Now, notice: AppendedNotice<'_>) -> u64 {
        let Some(log) = &mut self.log else { return 0 };
        if log.head().epoch != notice.epoch {
            self.hole = true;
            return 0;
        }
        let mut news = 0;
        for event in notice {
            let head = log.head().offset;
            if event.offset <= head {
                continue;
            }
            if event.previous > head {
                self.hole = true;
                break;
            }
            if event.previous < head {
                // What comes may be here already, at a place that the store has lost.
                self.lost = true;
                break;
            }
            match event.entry(self.lane) {
                Some(entry) => news += copy(log, &mut self.again, now, entry),
                None => self.unreadable.push(event.offset),
            }
        }
        let head = log.head();
        self.learn(head);
        news
    }

    /// Takes in what was read after `after`. Returns how many events are new.
    pub(super) fn read_after(&mut self, now: Now, after: Place, chunk: Chunk) -> u64 {
        let Some(log) = self.log.as_mut().filter(|log| log.head().epoch == chunk.head.epoch) else {
            return 0;
        };
        if log.head().offset < after.offset {
            // The copy was begun again, further back: what lies between was not read.
            self.hole = true;
            return 0;
        }
        if chunk.there {
            self.mended = None;
        } else if after.offset > chunk.floor {
            let is_mended = self.mended.as_ref().is_some_and(|m| m.copied == after.offset);
            self.lost |= !is_mended;
        }
        let mut news = 0;
        for (offset, entry) in chunk.entries {
            match entry {
                Some(entry) => news += copy(log, &mut self.again, now, entry),
                None => self.unreadable.push(offset),
            }
        }
        self.hole |= chunk.is_full;
        news
    }

    /// Whether nothing up to `place` is missing here; if not, it is read what follows the copy.
    pub(super) fn reaches(&mut self, place: Place) -> bool {
        let covers = |to: Place| to.epoch != place.epoch || to.offset >= place.offset;
        if self.copied().is_some_and(covers) || self.reached.is_some_and(covers) {
            return true;
        }
        let further = self.sought.filter(|sought| covers(*sought));
        self.sought = Some(further.unwrap_or(place));
        self.hole = true;
        false
    }

    /// What follows the copy was read to its end. Returns whether somebody waits for that.
    pub(super) fn has_reached(&mut self) -> bool {
        let Some(place) = self.seeking.take() else { return false };
        self.reached = Some(place);
        self.sought = self.sought.filter(|sought| *sought != place);
        true
    }

    /// The read that gets what follows the copy.
    pub(super) fn fill(&mut self) -> Option<(Place, Request)> {
        let after = self.copied()?;
        self.seeking = self.sought;
        Some((after, self.read(Direction::After, after.offset)))
    }

    /// That could not be read.
    pub(super) fn filling_failed(&mut self) {
        self.filling = false;
        self.hole = true;
        // It is found out anew what is missing: that may have changed.
        self.mended = None;
    }

    fn read(&self, direction: Direction, from: Offset) -> Request {
        Request::Read { lane: self.lane, direction, from, limit: CHUNK }
    }

    /// Somebody wants to read from after `after`, which is not in memory.
    pub(super) fn load(&mut self, after: Place) {
        let from = if after.epoch == self.known.epoch { after.offset } else { Offset::default() };
        let wanted = &mut self.loading.wanted;
        *wanted = Some(wanted.map_or(from, |earliest| earliest.min(from)));
    }

    /// The read that gets older events that are wanted; `None` if none are missing.
    pub(super) fn older(&self) -> Option<(Place, Request)> {
        let log = self.log.as_ref().filter(|log| !log.is_whole())?;
        let floor = log.floor();
        let missing = self.loading.wanted.is_some_and(|wanted| wanted < floor.offset);
        missing.then(|| (floor, self.read(Direction::UpTo, floor.offset)))
    }

    /// Takes in older events, which were read up to `upto`. Returns false if that cannot be done yet.
    pub(super) fn read_upto(&mut self, now: Now, upto: Place, chunk: Chunk) -> bool {
        let Some(log) = &mut self.log else { return true };
        // The copy was begun again meanwhile.
        if log.floor() != upto || log.is_whole() {
            return true;
        }
        if upto.epoch != chunk.head.epoch {
            // The store has another history: that is found out first.
            return false;
        }
        // The event that the copy began with, known here by its place alone, is not there.
        let is_torn = upto.offset == log.start() && !chunk.there && upto.offset > chunk.floor;
        if is_torn {
            if chunk.head.offset < upto.offset {
                // It may still be put back there.
                return false;
            }
            let last = chunk.entries.first().map_or(chunk.floor, |(offset, _)| *offset);
            log.tear(last, upto.offset);
        }
        let start = (!chunk.is_full).then_some(chunk.floor);
        let entries = chunk.entries.into_iter().rev().filter_map(|(_, entry)| entry).collect();
        log.put_in_front(millis(now), entries, start);
        true
    }

    /// What became of the batch that was published.
    pub(super) fn keep(&mut self, epoch: Epoch, outcomes: &[Outcome]) {
        for (outcome, waiting) in outcomes.iter().zip(&self.writing.batch) {
            if let Outcome::Fresh(offset) = *outcome {
                self.kept.keep(Place { epoch, offset }, waiting.published.clone());
            }
        }
    }

    /// An event was published here by a step of somebody else's.
    pub(super) fn keep_at(&mut self, place: Place, published: Published) {
        self.kept.keep(place, published);
    }

    /// So was a note.
    pub(super) fn keep_note(&mut self, epoch: Epoch, now: Now, note: Note) {
        self.kept.keep_note(epoch, now.time, note);
    }

    /// No offset up to this one may be given out again.
    pub(super) const fn given(&self) -> Offset {
        self.given
    }

    /// The request that appends the batch.
    pub(super) fn append(&self, now: Now, takeover: Option<Time>) -> Request {
        let batch = &self.writing.batch;
        let events = batch.iter().map(|waiting| (waiting.published.clone(), None)).collect();
        self.append_of(now, takeover, false, events)
    }

    fn append_of(
        &self,
        now: Now,
        takeover: Option<Time>,
        putting_back: bool,
        events: Vec<(Published, Option<Offset>)>,
    ) -> Request {
        let new_epoch = super::partition::new_epoch(now, self.known.epoch);
        let (lane, known, given) = (self.lane, self.known, self.given);
        Request::Append(Append { lane, known, given, new_epoch, putting_back, takeover, events })
    }
}

/// Adds an entry to a copy. Returns how many are new.
fn copy(
    log: &mut LaneLog,
    again: &mut BTreeMap<Offset, Offset>,
    now: Now,
    mut entry: Entry,
) -> u64 {
    if !again.is_empty() {
        entry.moved_from = again.remove(&entry.offset).or(entry.moved_from);
        again.retain(|offset, _| *offset > entry.offset);
    }
    u64::from(log.copy(millis(now), entry) == Copied::New)
}

const fn millis(now: Now) -> u64 {
    now.unix_micros / 1000
}
