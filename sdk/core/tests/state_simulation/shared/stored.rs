//! A collection as a Redis has it, and what the scripts of the server do with it: line by line what
//! `look.lua`, `commit.lua`, `load.lua` and `restore.lua` say. A test of the server takes the same steps
//! with this and with a real Redis (`server-reference/src/backplane/redis/collections/model.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidings_core::state::draft::{Commit, Part, Wanted, decided, given};
use tidings_core::state::{Change, Key, Limits, Load, MutationId, Page, Verdict, Version, wire};

/// What is remembered of a client.
#[derive(Debug, Clone, Default)]
struct Judged {
    last: u64,
    /// What became of the last ones.
    verdicts: BTreeMap<u64, Arc<Verdict>>,
}

/// When a collection begins.
#[derive(Debug, Clone, Copy)]
struct Begun {
    version: Version,
    /// All deletions after this are remembered.
    floor: Version,
    /// Who has loaded no more than this loads everything.
    anew: Version,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Committed {
    /// What was judged has changed.
    Changed,
    /// It was made before, and its first change has this version.
    Before(Version),
    /// The changes get versions from this one on.
    Now(Version),
}

/// A collection in a store. All times are microseconds since the Unix epoch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    begun: Option<Begun>,
    /// The last change of each record, and of those deleted that are remembered.
    changes: BTreeMap<Key, Change>,
    judged: BTreeMap<Arc<str>, Judged>,
    /// When clients were heard last.
    heard: BTreeMap<Arc<str>, u64>,
    verdicts: u64,
    verdict_bytes: usize,
}

impl Stored {
    fn open(&mut self, begin: u64) -> &mut Begun {
        let version = Version(begin);
        self.verdicts = self.verdicts.max(1);
        self.begun.get_or_insert(Begun { version, floor: version, anew: Version(0) })
    }

    /// The records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Change> {
        self.changes.values().filter(|change| change.value.is_some())
    }

    fn version_of(&self, key: &Key) -> Version {
        self.changes.get(key).map_or(Version(0), |change| change.stamp.version)
    }

    fn last_judged(&self, client: &str) -> u64 {
        self.judged.get(client).map_or(0, |judged| judged.last)
    }

    fn verdict_of(&self, id: &MutationId) -> Option<&Arc<Verdict>> {
        self.judged.get(&id.client)?.verdicts.get(&id.seq)
    }

    /// Forgets what has become of mutations.
    pub(crate) fn forget_verdicts(&mut self) {
        self.judged.clear();
    }

    /// `look.lua`.
    pub(crate) fn look(&self, wanted: &Wanted) -> Part {
        let found = |key: &Key| self.changes.get(key).cloned();
        let last = |id: &MutationId| (Arc::clone(&id.client), self.last_judged(&id.client));
        let verdict = |id: &MutationId| Some((id.clone(), Arc::clone(self.verdict_of(id)?)));
        Part {
            records: self.records().count(),
            changes: wanted.keys.iter().filter_map(found).collect(),
            judged: wanted.ids.iter().map(last).collect(),
            verdicts: wanted.ids.iter().filter_map(verdict).collect(),
        }
    }

    /// `commit.lua`, with the lane's head and the offset up to which none may be given, and the version of
    /// the committer's last change as the lane knows it and as itself does. The changes are to be
    /// appended to the lane as [`changes`] tells them.
    pub(crate) fn commit(
        &mut self,
        now: u64,
        (head, given): (u64, u64),
        limits: &Limits,
        (last, before): (Option<u64>, Version),
        commit: &Commit,
    ) -> Committed {
        let count = commit.changes.len() as u64;
        if let Some(last) = last.filter(|last| *last > before.0 && count > 0) {
            let first = Version(last - count + 1);
            for (id, verdict) in &commit.verdicts {
                if self.verdict_of(id).is_none() {
                    self.remember(id, decided(verdict, first), now);
                }
            }
            return Committed::Before(first);
        }
        let differs = |(key, version): (&Key, &Version)| self.version_of(key) != *version;
        let too_many = self.records().count() as i64 + commit.growth > limits.max_records as i64;
        let mut seen = BTreeSet::new();
        let firsts = commit.verdicts.iter().map(|(id, _)| id).filter(|id| seen.insert(&id.client));
        let is_old = { firsts }.any(|id| self.last_judged(&id.client) >= id.seq);
        if commit.unless_changed.iter().any(differs) || (commit.growth > 0 && too_many) || is_old {
            return Committed::Changed;
        }
        let version = self.open(now.max(head + 1).max(given + 1) - 1).version;
        self.verdicts = limits.max_verdicts.max(1) as u64;
        self.verdict_bytes = limits.max_verdict_bytes;
        let first = Version(now.max(head + 1).max(given.max(version.0) + 1));
        for change in changes(commit, first) {
            self.open(0).version = change.stamp.version;
            self.changes.insert(change.key.clone(), change);
            self.forget_deletions(limits.max_deletions);
        }
        for (id, verdict) in &commit.verdicts {
            self.remember(id, decided(verdict, first), now);
        }
        while self.heard.len() > limits.max_clients
            && let Some(silent) = self.heard.iter().min_by_key(|(client, at)| (**at, *client))
        {
            let silent = Arc::clone(silent.0);
            self.heard.remove(&silent);
            self.judged.remove(&silent);
        }
        Committed::Now(if commit.changes.is_empty() { Version(0) } else { first })
    }

    fn remember(&mut self, id: &MutationId, verdict: Arc<Verdict>, now: u64) {
        let judged = self.judged.entry(Arc::clone(&id.client)).or_default();
        judged.last = judged.last.max(id.seq);
        judged.verdicts.insert(id.seq, verdict);
        let last = judged.last;
        judged.verdicts.retain(|seq, _| seq + self.verdicts > last);
        let bytes = |verdict: &Arc<Verdict>| wire::write_one_verdict(verdict).len();
        while judged.verdicts.values().map(bytes).sum::<usize>() > self.verdict_bytes {
            judged.verdicts.pop_first();
        }
        self.heard.insert(Arc::clone(&id.client), now);
    }

    fn forget_deletions(&mut self, most: usize) {
        let deleted = self.changes.values().filter(|change| change.value.is_none());
        let mut deletions: Vec<_> = deleted.map(|c| (c.stamp.version, c.key.clone())).collect();
        deletions.sort();
        for (version, key) in &deletions[..deletions.len().saturating_sub(most)] {
            self.changes.remove(key);
            let begun = self.open(0);
            begun.floor = begun.floor.max(*version);
        }
    }

    /// `load.lua`.
    pub(crate) fn load(&mut self, now: u64, head: u64, limits: &Limits, load: &Load) -> Page {
        let Begun { version, floor, anew } = *self.open(now.max(head));
        let floor = floor.max(anew);
        let fresh = load.after == Version(0);
        let reset = !fresh && (load.began < floor || load.began > version);
        let after = if reset { Version(0) } else { load.after };
        let skips_deletions = after == Version(0);
        let is_wanted = |change: &&Change| {
            change.stamp.version > after && !(skips_deletions && change.value.is_none())
        };
        let mut changes: Vec<_> = self.changes.values().filter(is_wanted).cloned().collect();
        changes.sort_by_key(|change| change.stamp.version);
        let most = load.limit.clamp(1, limits.max_page.max(1));
        let whole = changes.len() <= most;
        changes.truncate(most);
        let last = changes.last().map_or(load.after, |change| change.stamp.version);
        let began = if fresh || reset { version } else { load.began };
        Page {
            reset,
            version: if whole { version } else { last },
            next: (!whole).then_some((last, began)),
            judged: load.client.as_ref().map_or(0, |client| self.last_judged(client)),
            changes,
        }
    }

    /// `restore.lua`, for one change whose event stands at this place.
    pub(crate) fn restore(&mut self, change: &Change, place: u64) {
        let version = change.stamp.version;
        let known = *self.open(version.0 - 1);
        if version <= known.floor || version <= self.version_of(&change.key) {
            return;
        }
        self.changes.insert(change.key.clone(), change.clone());
        let begun = self.open(0);
        if place != version.0 {
            begun.anew = Version(place);
        }
        begun.version = begun.version.max(Version(place));
    }

    /// `note.lua`, for one verdict.
    pub(crate) fn restore_note(&mut self, now: u64, id: &MutationId, verdict: Arc<Verdict>) {
        if self.verdict_of(id).is_none() {
            self.remember(id, verdict, now);
        }
    }

    /// The verdict that a change tells of.
    pub(crate) fn restore_verdict(&mut self, now: u64, change: &Change) {
        let Some(by) = &change.stamp.by else { return };
        if by.seq >= self.last_judged(&by.client) || self.verdict_of(by).is_none() {
            let version = change.stamp.version;
            let verdict = Verdict::Accepted { version, conflicts: Vec::new() };
            self.remember(by, Arc::new(verdict), now);
        }
    }
}

/// The changes of a commit with the versions that they are given.
pub(crate) fn changes(commit: &Commit, first: Version) -> impl Iterator<Item = Change> {
    commit.changes.iter().map(move |change| {
        let mut change = change.clone();
        change.stamp.version = given(change.stamp.version, first);
        change.stamp.alone_since = given(change.stamp.alone_since, first);
        change
    })
}
