//! Several changes that happen together.

use std::fmt;

use serde::Serialize;
use tidings_core::json::MAX_DEPTH;
use tidings_core::state::{Document, Edit, Key, Patch};

use super::error::ChangeError;
use super::handle::Collection;
use super::write::Write;

/// Changes to records of one collection that happen together, or not at all.
#[must_use = "nothing happens until `commit`"]
pub struct Batch<'a, T> {
    collection: &'a Collection<T>,
    edits: Result<Vec<(Key, Edit)>, ChangeError>,
}

impl<'a, T> Batch<'a, T> {
    pub(super) const fn new(collection: &'a Collection<T>) -> Self {
        Self { collection, edits: Ok(Vec::new()) }
    }

    /// Adds a record.
    pub fn insert(self, key: &str, value: &T) -> Self
    where
        T: Serialize,
    {
        self.with(key, || Ok(Edit::Insert(document(value)?)))
    }

    /// Changes fields of a record: `patch` is a JSON merge patch (RFC 7396).
    pub fn update(self, key: &str, patch: &impl Serialize) -> Self {
        self.with(key, || Ok(Edit::Update(self::patch(patch)?)))
    }

    /// Changes a record as a whole.
    pub fn replace(self, key: &str, value: &T) -> Self
    where
        T: Serialize,
    {
        self.with(key, || Ok(Edit::Replace(document(value)?)))
    }

    /// Removes a record.
    pub fn delete(self, key: &str) -> Self {
        self.with(key, || Ok(Edit::Delete))
    }

    /// Adds to fields of a record, whatever they are by the time it is done: `amounts` has whole
    /// numbers under the names of the fields.
    pub fn increment(self, key: &str, amounts: &impl Serialize) -> Self {
        self.with(key, || Ok(Edit::Increment(patch(amounts)?)))
    }

    fn with(mut self, key: &str, edit: impl FnOnce() -> Result<Edit, ChangeError>) -> Self {
        if let Ok(edits) = &mut self.edits {
            match Key::new(key).map_err(ChangeError::Key).and_then(|key| Ok((key, edit()?))) {
                Ok(edit) => edits.push(edit),
                Err(error) => self.edits = Err(error),
            }
        }
        self
    }
}

impl<T> Batch<'_, T> {
    /// Makes all of the changes, which are shown at once.
    ///
    /// # Errors
    /// If one of them is not possible; then none is made.
    pub fn commit(self) -> Result<Write, ChangeError> {
        self.collection.mutate(self.edits?)
    }
}

impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("edits", &self.edits).finish_non_exhaustive()
    }
}

pub(super) fn document(value: &impl Serialize) -> Result<Document, ChangeError> {
    Ok(Document::parse(&json(value)?, MAX_DEPTH)?)
}

fn patch(value: &impl Serialize) -> Result<Patch, ChangeError> {
    Ok(Patch::parse(&json(value)?, MAX_DEPTH)?)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, ChangeError> {
    serde_json::to_vec(value).map_err(|error| ChangeError::Value(error.to_string()))
}
