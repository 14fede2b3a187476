//! What a mutation makes of a record: one function for the server, which decides, and for the
//! client, which shows what will probably be decided.

use super::{
    Conflict, Document, Edit, Key, Mutation, Op, Outcome, Patch, Policy, Record, Resolution,
    Version,
};

/// Why a mutation was rejected. It has had no effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Rejection {
    /// The record that was the reason; the mutation's other ops have had no effect, either.
    pub key: Key,
    /// Why.
    pub reason: Reason,
}

/// Why an op is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// An insertion of a record that exists.
    #[error("it exists already: update or replace it, or insert under another key")]
    Exists,
    /// A change to a record that does not exist (any more).
    #[error("there is no such record (any more): insert it first")]
    Missing,
    /// The policy has decided for theirs.
    #[error("it was changed by somebody else meanwhile: look at it again")]
    Conflict(Box<Conflict>),
    /// An increment of something else than a whole number, or beyond 64 bits.
    #[error("{0}")]
    Increment(String),
    /// The server has a rule that the record would break: a limit, or the application's own.
    #[error("{0}")]
    Refused(String),
}

impl Reason {
    /// The word for it on the wire.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exists => "exists",
            Self::Missing => "missing",
            Self::Conflict(_) => "conflict",
            Self::Increment(_) => "increment",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether it is that somebody else was first.
    pub const fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

/// What an op makes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// What the record is then; `None` if deleted.
    pub(super) value: Option<Document>,
    /// The conflict that was decided on the way.
    pub(super) conflict: Option<Conflict>,
}

/// Applies an op of `mutation` to the record as it is.
pub(super) fn apply(
    policy: &Policy,
    current: Option<&Record>,
    mutation: &Mutation,
    op: &Op,
) -> Result<Applied, Reason> {
    let Some(record) = current else {
        return match &op.edit {
            Edit::Insert(value) => Ok(Applied { value: Some(value.clone()), conflict: None }),
            _ => Err(Reason::Missing),
        };
    };
    let mine = match &op.edit {
        Edit::Insert(_) => return Err(Reason::Exists),
        Edit::Increment(amounts) => {
            let sum = record.value.incremented(amounts);
            let value = sum.map_err(|error| Reason::Increment(error.to_string()))?;
            return Ok(Applied { value: Some(value), conflict: None });
        }
        Edit::Update(patch) => Some(record.value.patched(patch)),
        Edit::Replace(value) => Some(value.clone()),
        Edit::Delete => None,
    };
    if !was_changed_unseen(record, mutation, op.base) {
        return Ok(Applied { value: mine, conflict: None });
    }
    if let (Policy::Merge, Some(value)) = (policy, &mine) {
        return Ok(merge(record, op, value));
    }
    decide(policy, record, mutation, op, mine)
}

/// Whether somebody else has changed the record since `base`.
fn was_changed_unseen(record: &Record, mutation: &Mutation, base: Option<Version>) -> bool {
    let stamp = &record.stamp;
    let Some(base) = base.filter(|base| *base != stamp.version) else { return false };
    let own = match (&stamp.by, &mutation.id) {
        (Some(last), Some(id)) => last.client == id.client && base >= stamp.alone_since,
        _ => false,
    };
    !own
}

/// Both changes, field by field.
fn merge(record: &Record, op: &Op, mine: &Document) -> Applied {
    let Some(was) = &op.was else {
        return Applied { value: Some(mine.clone()), conflict: None };
    };
    let patch = match &op.edit {
        Edit::Update(patch) => patch.clone(),
        _ => was.to_document().patch_to(mine),
    };
    let conflict = record.value.clash(was, &patch).map(|clash| Conflict {
        key: op.key.clone(),
        base: Some(clash.base),
        mine: Some(clash.mine),
        theirs: clash.theirs,
        outcome: Outcome::Merged,
    });
    Applied { value: Some(record.value.patched(&patch)), conflict }
}

/// One of them, or what the application makes of them.
fn decide(
    policy: &Policy,
    record: &Record,
    mutation: &Mutation,
    op: &Op,
    mine: Option<Document>,
) -> Result<Applied, Reason> {
    let conflict = |outcome| Conflict {
        key: op.key.clone(),
        base: op.was.as_ref().map(Patch::to_document),
        mine: mine.clone(),
        theirs: record.value.clone(),
        outcome,
    };
    let resolution = match policy {
        Policy::Merge | Policy::ServerWins => Resolution::Theirs,
        Policy::ClientWins => Resolution::Mine,
        Policy::LastWriteWins if mutation.time >= record.stamp.time => Resolution::Mine,
        Policy::LastWriteWins => Resolution::Theirs,
        // It is asked before there is an outcome.
        Policy::Custom(resolve) => resolve(&conflict(Outcome::Theirs)),
    };
    Ok(match resolution {
        Resolution::Theirs => return Err(Reason::Conflict(Box::new(conflict(Outcome::Theirs)))),
        Resolution::Mine => {
            let conflict = Some(conflict(Outcome::Mine));
            Applied { value: mine, conflict }
        }
        Resolution::Merged(value) => {
            let conflict = Some(conflict(Outcome::Merged));
            Applied { value: Some(value), conflict }
        }
    })
}
