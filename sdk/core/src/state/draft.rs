//! Mutations of a collection that is kept elsewhere, where all who host it can reach it.
//!
//! Who judges gets the [`Part`] of the collection that some mutations touch, judges them in a
//! [`Draft`] by the same rules as a [`Collection`](super::Collection) does, and asks the store for
//! one step: to make the [`Commit`], unless what was judged has changed meanwhile. Then it begins
//! again with what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::judge::Records;
use super::{Asked, Change, Key, Mutation, MutationId, Record, Rules, Verdict, Version};

/// Versions from here on count changes of a commit, until the store gives them theirs. None that is
/// given is as large.
const DRAFT: u64 = 1 << 62;

/// What has to be known of a collection to judge some mutations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// These records.
    pub keys: BTreeSet<Key>,
    /// What has become of these mutations, should they have come before.
    pub ids: BTreeSet<MutationId>,
}

impl Wanted {
    /// What has to be known to judge these mutations.
    pub fn by<'a>(mutations: impl IntoIterator<Item = &'a Mutation>) -> Self {
        let mut wanted = Self::default();
        for mutation in mutations {
            wanted.keys.extend(mutation.ops.iter().map(|op| op.key.clone()));
            wanted.ids.extend(mutation.id.clone());
        }
        wanted
    }
}

/// What is known of a collection, all of it at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// How many records the collection has.
    pub records: usize,
    /// The last changes of the records that were wanted and are there, or whose deletion is
    /// remembered.
    pub changes: Vec<Change>,
    /// The number of the last mutation of each client that was judged.
    pub judged: BTreeMap<Arc<str>, u64>,
    /// What became of mutations that were judged before, where that is remembered.
    pub verdicts: BTreeMap<MutationId, Arc<Verdict>>,
}

/// What judged mutations come to, to be made in one step or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// Only if these records have had their last change then; zero: if none is known.
    pub unless_changed: BTreeMap<Key, Version>,
    /// What became of the mutations, in order. Only if none of their clients has had a mutation
    /// judged with the number of its first one here, or a later one.
    pub verdicts: Vec<(MutationId, Arc<Verdict>)>,
    /// How many records there are more then, or less. Only if so many fit.
    pub growth: i64,
    /// The changes, in order. Their versions, and those in `alone_since` and `verdicts`, may be
    /// [ranks](rank): the store gives the changes consecutive versions.
    pub changes: Vec<Change>,
}

impl Commit {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.verdicts.is_empty()
    }
}

/// Which change of its commit the version stands for, counted from 0, if it was not given yet.
pub const fn rank(version: Version) -> Option<u64> {
    version.0.checked_sub(DRAFT)
}

/// The version that the store gave, the first change of the commit having `first`.
pub const fn given(version: Version, first: Version) -> Version {
    match rank(version) {
        Some(rank) => Version(first.0 + rank),
        None => version,
    }
}

/// What became of a mutation, the first change of the commit having the version `first`.
pub fn decided(verdict: &Arc<Verdict>, first: Version) -> Arc<Verdict> {
    match &**verdict {
        Verdict::Accepted { version, conflicts } if rank(*version).is_some() => {
            let (version, conflicts) = (given(*version, first), conflicts.clone());
            Arc::new(Verdict::Accepted { version, conflicts })
        }
        _ => Arc::clone(verdict),
    }
}

/// The verdicts that no change tells of, so that they are lost if what has stored them is.
pub fn untold<'a>(
    verdicts: impl IntoIterator<Item = (&'a MutationId, &'a Arc<Verdict>)>,
) -> impl Iterator<Item = (&'a MutationId, &'a Arc<Verdict>)> {
    verdicts.into_iter().filter(|(_, verdict)| match &***verdict {
        Verdict::Accepted { version, .. } => *version == Version(0),
        Verdict::Rejected(_) => true,
        Verdict::Forgotten => false,
    })
}

/// Judges mutations one after the other against a part of a collection.
#[derive(Debug)]
pub struct Draft<'a> {
    rules: &'a Rules,
    known: BTreeMap<Key, Version>,
    records: Drafted,
    judged: BTreeMap<Arc<str>, u64>,
    before: BTreeMap<MutationId, Arc<Verdict>>,
    commit: Commit,
}

/// The records as the mutations so far leave them.
#[derive(Debug)]
struct Drafted {
    there: BTreeMap<Key, Record>,
    count: usize,
}

impl Records for Drafted {
    fn get(&self, key: &str) -> Option<&Record> {
        self.there.get(key)
    }

    fn len(&self) -> usize {
        self.count
    }
}

impl<'a> Draft<'a> {
    /// Nothing is judged yet.
    pub fn new(rules: &'a Rules, part: Part) -> Self {
        let known = part.changes.iter().map(|c| (c.key.clone(), c.stamp.version)).collect();
        let record = |Change { key, value, stamp }| Some((key, Record { value: value?, stamp }));
        let there = part.changes.into_iter().filter_map(record).collect();
        Self {
            rules,
            known,
            records: Drafted { there, count: part.records },
            judged: part.judged,
            before: part.verdicts,
            commit: Commit::default(),
        }
    }

    /// Judges a mutation, all of whose records and whose id were wanted of the part. `now_us` is the
    /// time in microseconds since the Unix epoch. The verdict holds once the commit is made, and is
    /// then to be [`decided`].
    pub fn judge(&mut self, now_us: u64, asked: impl Into<Asked>) -> Arc<Verdict> {
        let mut asked = asked.into();
        if let Some(id) = &asked.mutation.id
            && self.judged.get(&id.client).is_some_and(|last| id.seq <= *last)
        {
            return self.before.get(id).cloned().unwrap_or_else(|| Arc::new(Verdict::Forgotten));
        }
        asked.mutation.date(now_us);
        for op in &asked.mutation.ops {
            let version = self.known.get(&op.key).copied().unwrap_or_default();
            self.commit.unless_changed.entry(op.key.clone()).or_insert(version);
        }
        let first = Version(DRAFT + self.commit.changes.len() as u64);
        let verdict = match self.rules.judge(&self.records, &asked, first) {
            Ok(ruling) => {
                let version = self.take(ruling.changes);
                Verdict::Accepted { version, conflicts: ruling.conflicts }
            }
            Err(rejection) => Verdict::Rejected(rejection),
        };
        let verdict = Arc::new(verdict);
        if let Some(id) = asked.mutation.id {
            self.judged.insert(Arc::clone(&id.client), id.seq);
            self.before.insert(id.clone(), Arc::clone(&verdict));
            self.commit.verdicts.push((id, Arc::clone(&verdict)));
        }
        verdict
    }

    /// Takes in the changes of a mutation; their versions follow on those before. Returns the last.
    fn take(&mut self, changes: Vec<Change>) -> Version {
        let mut last = Version::default();
        for mut change in changes {
            // A record that the mutation has changed twice has left a gap.
            last = Version(DRAFT + self.commit.changes.len() as u64);
            change.stamp.version = last;
            change.stamp.alone_since = change.stamp.alone_since.min(last);
            let Change { key, value, stamp } = change.clone();
            let before = match value {
                Some(value) => self.records.there.insert(key, Record { value, stamp }).is_some(),
                None => self.records.there.remove(&key).is_some(),
            };
            let growth = i64::from(change.value.is_some()) - i64::from(before);
            self.commit.growth += growth;
            self.records.count = self.records.count.saturating_add_signed(growth as isize);
            self.commit.changes.push(change);
        }
        last
    }

    /// What all of them come to.
    pub fn finish(self) -> Commit {
        self.commit
    }
}
