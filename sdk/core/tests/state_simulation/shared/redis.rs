//! A Redis that is made up, with one partition in which a collection is: a master, and a replica that
//! lags behind it and takes over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidings_core::lane::{Lane, Offset, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{
    Answer, Append, AppendAnswer, Footing, Note, Outcome, Published, Request, decode, encode,
};
use tidings_core::state::draft::{Commit, Part, Wanted};
use tidings_core::state::{Change, Limits, Load, MutationId, Page, Version, wire};
use tidings_core::{Event, Headers, Payload, Priority, Time};

use super::Sabotage;
use super::stored::{Committed, Stored, changes};
use crate::store::LaneStore;

pub(super) const PRIORITY: Priority = Priority::Normal;
const LANE: usize = PRIORITY as usize;
pub(super) const NAME: &str = "todos";
const PRODUCER: &str = "\u{1}state:todos:";

/// What a node has.
#[derive(Clone)]
struct Node {
    lanes: [LaneStore; Priority::COUNT],
    collection: Stored,
}

/// How a step was answered.
#[derive(Debug)]
pub(super) enum Step<A> {
    Done(A),
    /// The lane lacks something that the caller knows of.
    Behind(Place),
}

/// What a commit came to: where the lane stands, the first version, and the events.
pub(super) type Made = Option<(Place, Version, Vec<(Offset, Published)>)>;

pub(super) struct Redis {
    master: Node,
    /// As the master was a while ago.
    replica: Node,
    /// When the last replica took over.
    pub(super) takeover: Option<Time>,
    pub(super) retention: Retention,
    /// All changes that were ever made.
    pub(super) ever: BTreeMap<Version, Change>,
    pub(super) put_back: u64,
    /// Commits that came again.
    pub(super) repeated: u64,
    sabotage: Option<Sabotage>,
}

/// Who publishes the changes of a committer.
fn producer(committer: &str) -> Arc<str> {
    format!("{PRODUCER}{committer}").into()
}

/// The event of a change.
fn event(change: &Change) -> Arc<[u8]> {
    let event = Event {
        name: wire::change_name(NAME, &change.key).into(),
        payload: Payload::Json(wire::write_change(change).into()),
        id: Arc::default(),
        priority: PRIORITY,
        time: 0,
        headers: Headers::NONE,
    };
    encode(&event).into()
}

impl Redis {
    pub(super) fn new(sabotage: Option<Sabotage>) -> Self {
        let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let lanes = lanes.map(|priority| LaneStore::new(Lane::new(0, priority)));
        let node = Node { lanes, collection: Stored::default() };
        Self {
            master: node.clone(),
            replica: node,
            takeover: None,
            retention: Retention::default(),
            ever: BTreeMap::new(),
            put_back: 0,
            repeated: 0,
            sabotage,
        }
    }

    pub(super) const fn collection(&self) -> &Stored {
        &self.master.collection
    }

    /// The changes whose events are in the log.
    pub(super) fn log(&self) -> impl Iterator<Item = Change> {
        let events = self.master.lanes[LANE].events();
        events.filter_map(|(_, stored)| told(&stored.published))
    }

    pub(super) fn head(&self) -> Place {
        self.master.lanes[LANE].head().unwrap_or_default()
    }

    /// What the replica has not got.
    pub(super) fn unreplicated(&self) -> Vec<Version> {
        let has: BTreeSet<_> =
            self.replica.lanes[LANE].events().map(|(offset, _)| offset).collect();
        let events = self.master.lanes[LANE].events().map(|(offset, _)| offset);
        events.filter(|offset| !has.contains(offset)).map(Version).collect()
    }

    /// The replica has everything.
    pub(super) fn replicate(&mut self) {
        self.replica = self.master.clone();
    }

    /// The replica takes over, without what it has not got.
    pub(super) fn fail_over(&mut self, now: Time) {
        self.master = self.replica.clone();
        self.takeover = Some(now);
    }

    /// Where the lane stands, unless it is behind what the caller knows.
    fn stands(&self, known: Place) -> Step<Place> {
        let head = self.head();
        let is_behind = head.epoch == known.epoch && head.offset < known.offset;
        if is_behind { Step::Behind(head) } else { Step::Done(head) }
    }

    pub(super) fn look(&self, known: Place, wanted: &Wanted) -> Step<Part> {
        match self.stands(known) {
            Step::Done(_) => Step::Done(self.master.collection.look(wanted)),
            Step::Behind(head) => Step::Behind(head),
        }
    }

    pub(super) fn load(
        &mut self,
        now: u64,
        known: Place,
        limits: &Limits,
        load: &Load,
    ) -> Step<Page> {
        match self.stands(known) {
            Step::Done(head) => {
                Step::Done(self.master.collection.load(now, head.offset.0, limits, load))
            }
            Step::Behind(head) => Step::Behind(head),
        }
    }

    /// Makes a commit. The notice goes out to all who listen.
    pub(super) fn commit(
        &mut self,
        now: u64,
        footing: Footing,
        limits: &Limits,
        (committer, before): (&Arc<str>, Version),
        commit: &Commit,
    ) -> (Step<Made>, Option<Vec<u8>>) {
        let head = match self.stands(footing.known) {
            Step::Done(head) => head.offset.0,
            Step::Behind(head) => return (Step::Behind(head), None),
        };
        let Node { lanes, collection } = &mut self.master;
        let mut commit = commit.clone();
        match self.sabotage {
            Some(Sabotage::IgnoreChanges) => commit.unless_changed.clear(),
            Some(Sabotage::ForgetVerdicts) => collection.forget_verdicts(),
            Some(Sabotage::ForgetCommits) => lanes[LANE].forget_producers(),
            _ => {}
        }
        let producer = producer(committer);
        let last = (lanes[LANE].last_number(&producer), before);
        let made = collection.commit(now, (head, footing.given.0), limits, last, &commit);
        let published = |change: Change| {
            let version = change.stamp.version.0;
            let (producer, event) = (Arc::clone(&producer), event(&change));
            (Offset(version), Published { producer, number: version, event })
        };
        let first = match made {
            Committed::Changed => return (Step::Done(None), None),
            Committed::Before(first) | Committed::Now(first) => first,
        };
        let events: Vec<_> = changes(&commit, first).map(published).collect();
        if matches!(made, Committed::Before(_)) {
            self.repeated += 1;
            return (Step::Done(Some((self.head(), first, events))), None);
        }
        for change in changes(&commit, first) {
            let last = self.ever.last_key_value().map(|(version, _)| *version);
            assert!(last < Some(change.stamp.version), "versions grow, whatever is lost");
            self.ever.insert(change.stamp.version, change);
        }
        let append = Append {
            lane: lanes[LANE].lane(),
            known: footing.known,
            given: Offset(first.0.saturating_sub(1).max(footing.given.0)),
            new_epoch: footing.new_epoch,
            putting_back: false,
            takeover: footing.takeover,
            events: events.iter().map(|(_, published)| (published.clone(), None)).collect(),
        };
        let (answer, notice) = lanes[LANE].append(now, &self.retention, &append);
        let AppendAnswer::Done { head, outcomes } = answer else { panic!("behind: {answer:?}") };
        for ((offset, _), outcome) in events.iter().zip(outcomes) {
            assert_eq!(outcome, Outcome::Fresh(*offset), "a change's version is its event's place");
        }
        (Step::Done(Some((head, first, events))), notice)
    }

    /// What the log itself asks.
    pub(super) fn ask(&mut self, now: u64, request: &Request) -> (Answer, Option<Vec<u8>>) {
        let lanes = &mut self.master.lanes;
        match request {
            Request::Look { new_epoch } => {
                let standings = lanes.each_mut().map(|lane| lane.look(now, *new_epoch));
                (Answer::Standing(standings), None)
            }
            Request::Read { lane, direction, from, limit } => {
                let lane = &mut lanes[lane.priority() as usize];
                (Answer::Chunk(lane.read(now, *direction, *from, *limit)), None)
            }
            Request::Append(append) => {
                let (answer, notice) = self.put_back(now, append);
                (Answer::Appended(answer), notice)
            }
            Request::PutBackNotes { notes, .. } => {
                self.put_back_notes(now, notes);
                (Answer::Noted, None)
            }
            Request::Replicate { .. } => (Answer::Replicated, None),
        }
    }

    /// `note.lua`: what became of mutations, where no change tells of it.
    fn put_back_notes(&mut self, now: u64, notes: &[Note]) {
        if matches!(self.sabotage, Some(Sabotage::PutNothingBack | Sabotage::PutBackNoRejections)) {
            return;
        }
        for note in notes {
            let id = MutationId { client: Arc::clone(&note.about), seq: note.number };
            let verdict = wire::read_one_verdict(&note.says).expect("a verdict");
            self.master.collection.restore_note(now, &id, Arc::new(verdict));
        }
    }

    /// `restore.lua`: events that a failover has lost, each with its change.
    fn put_back(&mut self, now: u64, append: &Append) -> (AppendAnswer, Option<Vec<u8>>) {
        assert!(append.putting_back, "nobody publishes");
        if self.sabotage == Some(Sabotage::PutNothingBack) {
            let at = |(_, at): &(Published, Option<Offset>)| Outcome::Known(at.unwrap_or_default());
            let outcomes = append.events.iter().map(at).collect();
            return (AppendAnswer::Done { head: self.head(), outcomes }, None);
        }
        let Node { lanes, collection } = &mut self.master;
        let (answer, notice) = lanes[LANE].append(now, &self.retention, append);
        if let AppendAnswer::Done { outcomes, .. } = &answer {
            for ((published, _), outcome) in append.events.iter().zip(outcomes) {
                let Outcome::Fresh(place) = outcome else { continue };
                let change = told(published).expect("a change");
                self.put_back += 1;
                if self.sabotage != Some(Sabotage::PutBackEventsAlone) {
                    collection.restore(&change, place.0);
                }
                if self.sabotage != Some(Sabotage::PutBackNoVerdicts) {
                    collection.restore_verdict(now, &change);
                }
            }
        }
        (answer, notice)
    }
}

/// The change that an event tells of.
fn told(published: &Published) -> Option<Change> {
    let event = decode(PRIORITY, &published.event)?;
    wire::read_change(event.payload.bytes()).ok()
}
