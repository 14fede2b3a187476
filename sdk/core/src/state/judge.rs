//! Judging one mutation: what it makes of records, or why it is rejected.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::apply::{Rejection, apply};
use super::{
    Change, Conflict, Document, Key, Limits, Mutation, Policy, Reason, Record, Stamp, Version,
};

/// Says of a record that is to be what is wrong with it, if anything.
pub type Check = Arc<dyn Fn(&Key, &Document) -> Result<(), String> + Send + Sync>;

/// Says what a record is to be that was, if it was there, and that an op would have so.
type Kept = dyn Fn(&Key, Option<&Document>, Document) -> Result<Document, String> + Send + Sync;

/// Has a record stay as it was where whoever changes it does not see all of it.
#[derive(Clone)]
pub struct Keep(Arc<Kept>);

impl Keep {
    /// `keep` is given a record as it was, if there was one, and as an op would have it. It says what
    /// the record is to be, or what the op cannot do.
    pub fn new(
        keep: impl Fn(&Key, Option<&Document>, Document) -> Result<Document, String>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(keep))
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

impl PartialEq for Keep {
    /// Whether they are the same, not whether they do the same.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Keep {}

/// What the mutations of a collection are judged by.
#[derive(Clone, Default)]
pub struct Rules {
    /// How conflicts are decided.
    pub policy: Policy,
    /// What the collection may hold.
    pub limits: Limits,
    /// What its records must be beyond that.
    pub check: Option<Check>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("policy", &self.policy)
            .field("limits", &self.limits)
            .field("check", &self.check.is_some())
            .finish()
    }
}

/// The records that a mutation meets.
pub(super) trait Records {
    /// The record with this key.
    fn get(&self, key: &str) -> Option<&Record>;
    /// How many there are, with those of no interest.
    fn len(&self) -> usize;
}

impl Records for BTreeMap<Key, Record> {
    fn get(&self, key: &str) -> Option<&Record> {
        self.get(key)
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// A mutation, and why it is not to be made, if so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The mutation.
    pub mutation: Mutation,
    /// Why it is rejected whatever it would do: it is not allowed, or not understood. The verdict is
    /// remembered as any other is: what its client sends later must not be judged before it.
    pub refused: Option<String>,
    /// What has to stay as it was, as its maker does not see it.
    pub keep: Option<Keep>,
}

impl From<Mutation> for Asked {
    fn from(mutation: Mutation) -> Self {
        Self { mutation, refused: None, keep: None }
    }
}

/// What a mutation would do.
pub(super) struct Ruling {
    /// The last change of each record that it touches, in the order of their versions.
    pub(super) changes: Vec<Change>,
    /// What was decided on the way.
    pub(super) conflicts: Vec<Conflict>,
}

/// Records as a mutation would have them.
type Staged = BTreeMap<Key, (Option<Document>, Stamp)>;

impl Rules {
    /// What the mutation would do to these records, its first change having the version `first`.
    pub(super) fn judge(
        &self,
        records: &impl Records,
        asked: &Asked,
        first: Version,
    ) -> Result<Ruling, Rejection> {
        let mutation = &asked.mutation;
        if let (Some(why), Some(op)) = (&asked.refused, mutation.ops.first()) {
            return Err(refused(&op.key, why.clone()));
        }
        let mut staged = Staged::new();
        let mut conflicts = Vec::new();
        if let Some(op) = mutation.ops.get(self.limits.max_ops) {
            let most = self.limits.max_ops;
            return Err(refused(&op.key, format!("a mutation has at most {most} ops (max_ops)")));
        }
        let mut version = first;
        for op in &mutation.ops {
            let earlier = staged.get(&op.key).map(|(value, stamp)| {
                let stamp = stamp.clone();
                value.clone().map(|value| Record { value, stamp })
            });
            let current = match &earlier {
                Some(earlier) => earlier.as_ref(),
                None => records.get(&op.key),
            };
            let applied = apply(&self.policy, current, mutation, op)
                .map_err(|reason| Rejection { key: op.key.clone(), reason })?;
            let value = match (&asked.keep, applied.value) {
                (Some(Keep(keep)), Some(value)) => {
                    let before = current.map(|record| &record.value);
                    Some(keep(&op.key, before, value).map_err(|why| refused(&op.key, why))?)
                }
                (_, value) => value,
            };
            if let Some(value) = &value {
                self.check_size(&op.key, value)?;
            }
            conflicts.extend(applied.conflict);
            // A record that is changed twice has changed once, when it was last.
            staged.insert(op.key.clone(), (value, mutation.stamp(current, version)));
            version.0 += 1;
        }
        self.check_count(records, &staged)?;
        self.check_records(&staged)?;
        let change = |(key, (value, stamp))| Change { key, value, stamp };
        let mut changes: Vec<Change> = staged.into_iter().map(change).collect();
        changes.sort_by_key(|change| change.stamp.version);
        Ok(Ruling { changes, conflicts })
    }

    fn check_count(&self, records: &impl Records, staged: &Staged) -> Result<(), Rejection> {
        let (mut more, mut less) = (0, 0);
        for (key, (value, _)) in staged {
            match (records.get(key).is_some(), value.is_some()) {
                (false, true) => more += 1,
                (true, false) => less += 1,
                _ => {}
            }
        }
        let most = self.limits.max_records;
        match staged.first_key_value() {
            Some((key, _)) if more > less && records.len() + more > most + less => {
                Err(refused(key, format!("the collection has {most} records (max_records)")))
            }
            _ => Ok(()),
        }
    }

    fn check_size(&self, key: &Key, value: &Document) -> Result<(), Rejection> {
        let (bytes, most) = (value.bytes().len(), self.limits.max_record_bytes);
        if bytes <= most {
            return Ok(());
        }
        let message =
            format!("the record would have {bytes} bytes, {most} are allowed (max_record_bytes)");
        Err(refused(key, message))
    }

    /// Records need be right only when all ops have had their effect.
    fn check_records(&self, staged: &Staged) -> Result<(), Rejection> {
        let Some(check) = &self.check else { return Ok(()) };
        for (key, (value, _)) in staged {
            if let Some(value) = value {
                check(key, value).map_err(|message| refused(key, message))?;
            }
        }
        Ok(())
    }
}

fn refused(key: &Key, message: String) -> Rejection {
    Rejection { key: key.clone(), reason: Reason::Refused(message) }
}
