//! A server of several: what it knows of the log, and the mutations that it judges.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use tidings_core::Time;
use tidings_core::lane::{Offset, Place};
use tidings_core::log::shared::{
    Note, Notice, Now, Output, Partition, Request, RequestId, Settings,
};
use tidings_core::state::draft::{Commit, Draft, Wanted, decided, untold};
use tidings_core::state::{Load, Mutation, MutationId, Rules, Verdict, Version, wire};

use super::redis::{NAME, PRIORITY, Redis, Step};

/// How many requests are judged together at most.
const BATCH: usize = 3;

/// A request of a client, or of a service here.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The client and its connection; `None` for a service.
    pub(super) from: Option<(usize, u64)>,
    pub(super) mutations: Vec<Mutation>,
}

/// What was judged, and is to be committed.
struct Judging {
    waiting: Vec<Waiting>,
    verdicts: Vec<Arc<Verdict>>,
    commit: Commit,
}

/// What became of requests.
pub(super) type Settled = Vec<(Waiting, Vec<Arc<Verdict>>)>;

pub(super) struct Instance {
    pub(super) life: u64,
    pub(super) machine: Partition<()>,
    /// Who commits, and the version of the last change that is known to be its.
    committer: Arc<str>,
    last: Version,
    gave_up: u64,
    /// The changes of its commits that were answered.
    published: BTreeSet<Version>,
    /// The takeover it has heard of.
    pub(super) heard: Option<Time>,
    /// Its subscription, while there is one.
    pub(super) listens: Option<u64>,
    pub(super) notices: VecDeque<Vec<u8>>,
    pub(super) work: VecDeque<(RequestId, Request)>,
    pub(super) queue: VecDeque<Waiting>,
    pub(super) loads: VecDeque<(usize, u64, Load, Time)>,
    judging: Option<Judging>,
}

impl Instance {
    pub(super) fn new(life: u64, settings: &Arc<Settings>, heard: Option<Time>) -> Self {
        Self {
            life,
            machine: Partition::new(0, Arc::clone(settings)),
            committer: format!("instance {life}").into(),
            last: Version(0),
            gave_up: 0,
            published: BTreeSet::new(),
            heard,
            listens: None,
            notices: VecDeque::new(),
            work: VecDeque::new(),
            queue: VecDeque::new(),
            loads: VecDeque::new(),
            judging: None,
        }
    }

    /// Lets the machine do something, and notes what it wants.
    pub(super) fn with<R>(
        &mut self,
        now: Now,
        act: impl FnOnce(&mut Partition<()>, Now) -> R,
    ) -> R {
        let result = act(&mut self.machine, now);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Request(id, request) => self.work.push_back((id, request)),
                Output::Subscribe(number) => {
                    self.listens = Some(number);
                    self.machine.subscribed(now, number);
                }
                Output::Unsubscribe(_) => self.listens = None,
                Output::Unreadable(position) => panic!("{position:?} cannot be read"),
                Output::New(_) | Output::Loaded(_) | Output::Readable(_) | Output::Known => {}
                Output::Published { .. } => unreachable!("nobody publishes"),
            }
        }
        result
    }

    /// Hears that another master has taken over. What was on its way from the old one is lost.
    pub(super) fn hear_of_takeover(&mut self, now: Now, takeover: Option<Time>) {
        self.heard = takeover;
        self.notices.clear();
        for (id, _) in std::mem::take(&mut self.work) {
            self.with(now, |machine, now| machine.answered(now, id, Err("it is down".to_owned())));
        }
        if let Some(subscription) = self.listens.take() {
            self.with(now, |machine, now| machine.unsubscribed(now, subscription));
        }
        if let Some(at) = takeover {
            self.with(now, |machine, now| machine.taken_over(now, at));
        }
        self.with(now, Partition::hurry);
    }

    /// Makes the first of the requests that are on their way; returns the notice that goes out.
    pub(super) fn ask(&mut self, now: Now, redis: &mut Redis) -> Option<Vec<u8>> {
        if self.heard != redis.takeover {
            return None;
        }
        let (id, request) = self.work.pop_front()?;
        let (answer, notice) = redis.ask(now.unix_micros, &request);
        self.with(now, |machine, now| machine.answered(now, id, Ok(answer)));
        notice
    }

    /// Hears the first of the notices that are on their way.
    pub(super) fn hear(&mut self, now: Now) {
        let Some(notice) = self.notices.pop_front() else { return };
        let Some(Notice::Appended(notice)) = Notice::parse(&notice) else {
            panic!("a notice that cannot be read")
        };
        self.with(now, |machine, now| machine.appended(now, notice));
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.work.is_empty()
            && self.notices.is_empty()
            && self.queue.is_empty()
            && self.loads.is_empty()
            && self.judging.is_none()
            && !self.machine.is_writing()
    }

    /// Whether it knows this change, and not only that there is one: it has made or read it.
    pub(super) fn knows(&mut self, version: Version) -> bool {
        let offset = Offset(version.0);
        let mut events = Vec::new();
        for copy in self.machine.copies().filter(|copy| copy.lane().priority() == PRIORITY) {
            let before = Place { offset: Offset(offset.0 - 1), ..copy.head() };
            let _ = copy.read(before, 1, &mut events);
        }
        self.published.contains(&version) || events.iter().any(|logged| logged.offset() == offset)
    }

    /// The requests that have no answer yet.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Waiting> {
        let judging = self.judging.iter().flat_map(|judging| &judging.waiting);
        self.queue.iter().chain(judging)
    }

    /// Goes on with what is to be judged, by one step. What is settled by it is given back, and a
    /// notice goes out. `is_lost`: the answer to a commit does not come.
    pub(super) fn judge(
        &mut self,
        now: Now,
        rules: &Rules,
        redis: &mut Redis,
        is_lost: bool,
    ) -> (Settled, Option<Vec<u8>>) {
        if self.heard != redis.takeover {
            return Default::default();
        }
        let Some(footing) = self.with(now, |machine, now| machine.footing(now, PRIORITY)) else {
            return Default::default();
        };
        let Some(Judging { waiting, verdicts, commit }) = self.judging.take() else {
            let count = BATCH.min(self.queue.len());
            let waiting: Vec<_> = self.queue.drain(..count).collect();
            return (self.look(now, rules, redis, waiting), None);
        };
        let by = (&self.committer, self.last);
        let (answer, notice) = redis.commit(now.unix_micros, footing, &rules.limits, by, &commit);
        let settled = match answer {
            _ if is_lost => {
                // It is asked again.
                self.judging = Some(Judging { waiting, verdicts, commit });
                Vec::new()
            }
            Step::Behind(head) => {
                self.with(now, |machine, now| machine.fell_behind(now, PRIORITY, head));
                self.judging = Some(Judging { waiting, verdicts, commit });
                Vec::new()
            }
            Step::Done(None) => self.look(now, rules, redis, waiting),
            Step::Done(Some((head, first, events))) => {
                self.published.extend(events.iter().map(|(offset, _)| Version(offset.0)));
                self.last = events.last().map_or(self.last, |(offset, _)| Version(offset.0));
                let notes = untold(commit.verdicts.iter().map(|(id, verdict)| (id, verdict)));
                self.with(now, |machine, now| {
                    machine.stepped(now, PRIORITY, footing, head, events, notes.map(note));
                });
                settle(waiting, &verdicts, first)
            }
        };
        (settled, notice)
    }

    /// It has waited for too long: nobody knows what became of the commit, and whoever asked is refused.
    pub(super) fn give_up(&mut self) -> Vec<Waiting> {
        let Some(judging) = self.judging.take() else { return Vec::new() };
        self.gave_up += 1;
        self.committer = format!("instance {}.{}", self.life, self.gave_up).into();
        self.last = Version(0);
        judging.waiting
    }

    /// Judges what waits by what is there now.
    fn look(&mut self, now: Now, rules: &Rules, redis: &Redis, waiting: Vec<Waiting>) -> Settled {
        if waiting.is_empty() {
            return Vec::new();
        }
        let footing = self.with(now, |machine, now| machine.footing(now, PRIORITY));
        let wanted = Wanted::by(waiting.iter().flat_map(|waiting| &waiting.mutations));
        let part = match footing.map(|f| (f, redis.look(f.known, &wanted))) {
            Some((footing, Step::Done(part))) => {
                self.with(now, |machine, now| {
                    let notes = untold(&part.verdicts).map(note);
                    machine.stepped(now, PRIORITY, footing, footing.known, [], notes);
                });
                part
            }
            Some((_, Step::Behind(head))) => {
                self.with(now, |machine, now| machine.fell_behind(now, PRIORITY, head));
                waiting.into_iter().rev().for_each(|waiting| self.queue.push_front(waiting));
                return Vec::new();
            }
            None => {
                waiting.into_iter().rev().for_each(|waiting| self.queue.push_front(waiting));
                return Vec::new();
            }
        };
        let mut draft = Draft::new(rules, part);
        let mutations = waiting.iter().flat_map(|waiting| &waiting.mutations);
        let verdicts: Vec<_> =
            mutations.map(|mutation| draft.judge(now.unix_micros, mutation.clone())).collect();
        let commit = draft.finish();
        if commit.is_empty() {
            return settle(waiting, &verdicts, Version(0));
        }
        self.judging = Some(Judging { waiting, verdicts, commit });
        Vec::new()
    }
}

/// What is noted of a verdict that no change tells of.
fn note((id, verdict): (&MutationId, &Arc<Verdict>)) -> Note {
    let (about, says) = (Arc::clone(&id.client), wire::write_one_verdict(verdict).into());
    Note { of: NAME.into(), about, number: id.seq, says }
}

fn settle(waiting: Vec<Waiting>, verdicts: &[Arc<Verdict>], first: Version) -> Settled {
    let mut verdicts = verdicts.iter().map(|verdict| decided(verdict, first));
    let settle = |waiting: Waiting| {
        let own = verdicts.by_ref().take(waiting.mutations.len()).collect();
        (waiting, own)
    };
    waiting.into_iter().map(settle).collect()
}
