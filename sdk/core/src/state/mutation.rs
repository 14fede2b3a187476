//! The words of a collection: keys, versions, records, mutations.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::{Document, Patch};
use crate::{MAX_SEGMENTS, Name, NameError};

/// The most bytes a key may have.
pub const MAX_KEY_BYTES: usize = 128;

/// The most bytes the id of a client may have: servers remember many.
pub const MAX_CLIENT_BYTES: usize = 128;

/// Names a record in its collection: 1 to [`MAX_KEY_BYTES`] bytes that can end an event's name,
/// since changes are published as `state.<collection>.<key>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

/// A text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Too many bytes.
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this has {0}")]
    TooLong(usize),
    /// It could not end an event's name.
    #[error("not a key: {0}")]
    Name(#[from] NameError),
}

impl Key {
    /// The key that `text` is.
    ///
    /// # Errors
    /// Says why it is none.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        Name::check(&text)?;
        // The root and the collection come before it.
        let segments = text.split('.').count() + 2;
        if segments > MAX_SEGMENTS {
            return Err(NameError::TooManySegments { segments }.into());
        }
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The moment of a change in its collection. Versions only grow, also over a deletion and
/// insertion of the same key, and no two changes of a collection share one.
///
/// They are time-based (microseconds since the Unix epoch, or one more than the last one if that
/// is later), so that they go on growing when a server forgets, and stay below 2^53. Zero is
/// before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

/// Who made a mutation: the same id has one effect, however often it arrives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MutationId {
    /// The client: random, chosen once, kept with what is pending.
    pub client: Arc<str>,
    /// Its number for this mutation; counted from 1, growing, up to [`MAX_SEQ`](Self::MAX_SEQ).
    pub seq: u64,
}

impl MutationId {
    /// The largest number that everybody can tell from the next one: JavaScript and Redis have no
    /// larger whole numbers (RFC 8259, section 6).
    pub const MAX_SEQ: u64 = (1 << 53) - 1;
}

/// When and by whom a record was changed last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stamp {
    /// When, in the order of the collection.
    pub version: Version,
    /// The mutation that did it, if that had an id.
    pub by: Option<MutationId>,
    /// The version from which on nobody else has changed it than the client in `by`: its
    /// mutations that were made when it had seen this much do not conflict with each other.
    pub alone_since: Version,
    /// When, in milliseconds since the Unix epoch, by the clock of who did it; at most the
    /// server's own time.
    pub time: u64,
}

/// A record as the server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub value: Document,
    /// Its last change.
    pub stamp: Stamp,
}

/// A change to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A new record; refused if there is one with this key.
    Insert(Document),
    /// Changes fields.
    Update(Patch),
    /// Changes the record as a whole.
    Replace(Document),
    /// Removes the record.
    Delete,
    /// Adds to number fields, whatever they are by then: never a conflict.
    Increment(Patch),
}

impl Edit {
    /// The word for it on the wire.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Insert(_) => "insert",
            Self::Update(_) => "update",
            Self::Replace(_) => "replace",
            Self::Delete => "delete",
            Self::Increment(_) => "increment",
        }
    }
}

/// An edit with what its maker knew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// The record.
    pub key: Key,
    /// The version its maker had seen; zero if only its own insertion. `None` claims nothing:
    /// there is no conflict then.
    pub base: Option<Version>,
    /// What the fields that the edit touches were for its maker. `None` claims nothing about them.
    pub was: Option<Patch>,
    /// The change.
    pub edit: Edit,
}

/// Changes to records of one collection that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Who made it; without, it is not known again when it comes twice.
    pub id: Option<MutationId>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub time: u64,
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// What a record has become: what is published as `state.<collection>.<key>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The record.
    pub key: Key,
    /// What it is now; `None` if it was deleted.
    pub value: Option<Document>,
    /// When and by whom.
    pub stamp: Stamp,
}

impl Mutation {
    /// A mutation from the future, or without a time, is taken to be of now, in microseconds since
    /// the Unix epoch.
    pub(super) fn date(&mut self, now_us: u64) {
        let now = now_us / 1000;
        self.time = if self.time == 0 { now } else { self.time.min(now) };
    }

    /// The stamp of a record that this mutation changes.
    pub(super) fn stamp(&self, current: Option<&Record>, version: Version) -> Stamp {
        self.stamp_after(current.map(|record| &record.stamp), version)
    }

    /// The stamp of a record that this mutation changes; `before` is the one it had.
    pub(super) fn stamp_after(&self, before: Option<&Stamp>, version: Version) -> Stamp {
        let alone_since = before.map_or(Version(0), |stamp| match (&stamp.by, &self.id) {
            (Some(last), Some(id)) if last.client == id.client => stamp.alone_since,
            _ => stamp.version,
        });
        Stamp { version, by: self.id.clone(), alone_since, time: self.time }
    }
}
