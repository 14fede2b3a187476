//! What a mutation makes of a record: one function for the server, which decides, and for the
//! client, which shows what will probably be decided.

use super::tree::{Members, owned};
use super::{
    Conflict, Document, Edit, IncrementError, Key, Mutation, Op, Outcome, Patch, Policy, Record,
    Resolution, Stamp, Version, fields,
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

/// A record taken apart, for as long as ops are applied to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Apart<'a> {
    members: Members<'a>,
    pub(super) stamp: Stamp,
}

impl<'a> Apart<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        Self { members: record.value.members(), stamp: record.stamp.clone() }
    }

    pub(super) fn document(&self) -> Document {
        Document::of(&self.members)
    }
}

/// Why an op is not possible, as far as it need not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Exists,
    Missing,
    Conflict,
    Increment(IncrementError),
}

impl Refusal {
    /// The reason to tell; `record` is what the op met.
    fn reason(self, record: Option<&Apart<'_>>, op: &Op) -> Reason {
        match (self, record) {
            (Self::Exists, _) => Reason::Exists,
            (Self::Conflict, Some(record)) => {
                Reason::Conflict(Box::new(conflict(record, op, Outcome::Theirs)))
            }
            (Self::Missing | Self::Conflict, _) => Reason::Missing,
            (Self::Increment(error), _) => Reason::Increment(error.to_string()),
        }
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
    let mut apart = current.map(Apart::of);
    let mut conflicts = Vec::new();
    match apply_to(policy, &mut apart, mutation, op, Some(&mut conflicts)) {
        Ok(()) => {
            let value = apart.map(|apart| apart.document());
            Ok(Applied { value, conflict: conflicts.pop() })
        }
        Err(refusal) => Err(refusal.reason(apart.as_ref(), op)),
    }
}

/// Applies an op of `mutation` to a record that is taken apart; a refused one leaves it as it is.
/// Conflicts that were decided on the way are `told`, if anybody wants to know. The stamp stays the
/// one that was there, but for that of a new record.
pub(super) fn apply_to<'a>(
    policy: &Policy,
    record: &mut Option<Apart<'a>>,
    mutation: &Mutation,
    op: &'a Op,
    told: Option<&mut Vec<Conflict>>,
) -> Result<(), Refusal> {
    let Some(current) = record else {
        let Edit::Insert(value) = &op.edit else { return Err(Refusal::Missing) };
        *record = Some(Apart { members: value.members(), stamp: Stamp::default() });
        return Ok(());
    };
    match &op.edit {
        Edit::Insert(_) => return Err(Refusal::Exists),
        Edit::Increment(amounts) => {
            let sums = fields::sums(&current.members, &amounts.members(), "");
            fields::merge(&mut current.members, sums.map_err(Refusal::Increment)?);
            return Ok(());
        }
        Edit::Update(_) | Edit::Replace(_) | Edit::Delete => {}
    }
    let unseen = was_changed_unseen(&current.stamp, mutation, op.base);
    match (policy, &op.edit) {
        (Policy::Merge, Edit::Update(_) | Edit::Replace(_)) if unseen => {
            merge(current, op, told);
            Ok(())
        }
        _ if unseen => decide(policy, record, mutation, op, told),
        _ => {
            enforce(record, op);
            Ok(())
        }
    }
}

/// Whether somebody else has changed a record with this stamp since `base`.
fn was_changed_unseen(stamp: &Stamp, mutation: &Mutation, base: Option<Version>) -> bool {
    let Some(base) = base.filter(|base| *base != stamp.version) else { return false };
    let own = match (&stamp.by, &mutation.id) {
        (Some(last), Some(id)) => last.client == id.client && base >= stamp.alone_since,
        _ => false,
    };
    !own
}

/// What the op makes of the record, whoever has changed it.
fn enforce<'a>(record: &mut Option<Apart<'a>>, op: &'a Op) {
    match (&op.edit, record) {
        (Edit::Update(patch), Some(current)) => {
            fields::merge(&mut current.members, patch.members());
        }
        (Edit::Replace(value), Some(current)) => current.members = value.members(),
        (Edit::Delete, record) => *record = None,
        _ => {}
    }
}

/// Both changes, field by field.
fn merge<'a>(record: &mut Apart<'a>, op: &'a Op, told: Option<&mut Vec<Conflict>>) {
    let patch = match (&op.edit, &op.was) {
        (Edit::Update(patch), _) => patch.members(),
        (Edit::Replace(value), None) => {
            record.members = value.members();
            return;
        }
        (Edit::Replace(value), Some(was)) => {
            let mut was = was.members();
            fields::remove_nulls(&mut was);
            fields::difference(&was, &value.members())
        }
        _ => return,
    };
    if let (Some(told), Some(was)) = (told, &op.was)
        && let Some([base, mine, theirs]) = fields::clash(&was.members(), &patch, &record.members)
    {
        let [base, mine, theirs] = [base, mine, theirs].map(Document::new);
        told.push(Conflict {
            key: op.key.clone(),
            base: Some(base),
            mine: Some(mine),
            theirs,
            outcome: Outcome::Merged,
        });
    }
    fields::merge(&mut record.members, patch);
}

/// One of them, or what the application makes of them.
fn decide<'a>(
    policy: &Policy,
    record: &mut Option<Apart<'a>>,
    mutation: &Mutation,
    op: &'a Op,
    told: Option<&mut Vec<Conflict>>,
) -> Result<(), Refusal> {
    let Some(current) = record else { return Ok(()) };
    let resolution = match policy {
        Policy::Merge | Policy::ServerWins => Resolution::Theirs,
        Policy::ClientWins => Resolution::Mine,
        Policy::LastWriteWins if mutation.time >= current.stamp.time => Resolution::Mine,
        Policy::LastWriteWins => Resolution::Theirs,
        // It is asked before there is an outcome.
        Policy::Custom(resolve) => resolve(&conflict(current, op, Outcome::Theirs)),
    };
    let outcome = match &resolution {
        Resolution::Theirs => return Err(Refusal::Conflict),
        Resolution::Mine => Outcome::Mine,
        Resolution::Merged(_) => Outcome::Merged,
    };
    if let Some(told) = told {
        told.push(conflict(current, op, outcome));
    }
    match resolution {
        Resolution::Merged(value) => current.members = owned(value.members()),
        _ => enforce(record, op),
    }
    Ok(())
}

/// An op that met a record which somebody else has changed.
fn conflict(record: &Apart<'_>, op: &Op, outcome: Outcome) -> Conflict {
    let mut mine = Some(record.clone());
    enforce(&mut mine, op);
    Conflict {
        key: op.key.clone(),
        base: op.was.as_ref().map(Patch::to_document),
        mine: mine.map(|mine| mine.document()),
        theirs: record.document(),
        outcome,
    }
}
