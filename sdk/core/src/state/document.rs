//! Records and changes to them as canonical JSON text.
//!
//! Text rather than trees: events, requests, storages and browsers have text, so a record costs
//! its bytes and is passed on without being taken apart. It is taken apart where two versions of
//! it meet, and only for that moment.

use std::fmt;

use bytes::Bytes;

use super::fields;
use super::tree::{self, Members};
use crate::json::{self, Kind, Value};

/// A text is not a record or a patch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It is not JSON.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// It is JSON, but no object.
    #[error("a record must be a JSON object, this is {0}")]
    NotAnObject(&'static str),
}

/// Why a field cannot be incremented.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IncrementError {
    /// The field, or the amount, is not a whole number of 64 bits.
    #[error("{field} is {value}, not a whole number of 64 bits")]
    NotANumber {
        /// Where, with dots between the names of nested fields.
        field: String,
        /// What is there.
        value: String,
    },
    /// The sum has more than 64 bits.
    #[error("{field} would become too large for 64 bits")]
    Overflow {
        /// Where.
        field: String,
    },
}

/// A record's value: a JSON object in canonical form, so that equal values have equal bytes.
///
/// Canonical: no white space, members in the order of their keys, each once, no needless escapes.
/// A member that is `null` is left out: RFC 7396 cannot tell it from one that is absent. Numbers
/// stay as they were written; `1` and `1.0` are different.
///
/// ```
/// use tidings_core::state::{Document, Patch};
/// let todo = Document::parse(br#"{"title": "Tea", "done": false, "by": null}"#, 32)?;
/// assert_eq!(todo.as_str(), r#"{"done":false,"title":"Tea"}"#);
/// let done = todo.patched(&Patch::parse(br#"{"done": true}"#, 32)?);
/// assert_eq!(todo.patch_to(&done).as_str(), r#"{"done":true}"#);
/// # Ok::<(), tidings_core::state::DocumentError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Document(Bytes);

impl Default for Document {
    /// The record without fields.
    fn default() -> Self {
        Self(Bytes::from_static(b"{}"))
    }
}

/// What changes in a record: a JSON merge patch (RFC 7396). Members replace those of the record,
/// objects are merged member by member, `null` removes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Patch(Bytes);

impl Document {
    /// The record that `json` is, nested at most `max_depth` levels.
    ///
    /// # Errors
    /// If it is not JSON, nested deeper, or not an object.
    pub fn parse(json: &[u8], max_depth: usize) -> Result<Self, DocumentError> {
        Ok(Self::from_value(object(json::parse(json, max_depth)?)?))
    }

    /// The record that a checked object is; what is not an object becomes an empty record.
    pub(super) fn from_value(object: Value<'_>) -> Self {
        Self::new(tree::members(object))
    }

    pub(super) fn new(mut members: Members<'_>) -> Self {
        fields::remove_nulls(&mut members);
        Self::of(&members)
    }

    /// The record with these members, none of which is `null`.
    pub(super) fn of(members: &Members<'_>) -> Self {
        Self(tree::text(members).into())
    }

    pub(super) fn members(&self) -> Members<'_> {
        members_of(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        text_of(&self.0)
    }

    /// The text's bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// This record with a patch applied (RFC 7396).
    pub fn patched(&self, patch: &Patch) -> Self {
        let mut members = self.members();
        fields::merge(&mut members, patch.members());
        Self::new(members)
    }

    /// The smallest patch that makes this record into `to`.
    pub fn patch_to(&self, to: &Self) -> Patch {
        Patch(tree::text(&fields::difference(&self.members(), &to.members())).into())
    }

    /// What this record has in the fields that `patch` touches; `null` where it has nothing.
    /// Applied as a patch it takes the change of those fields back.
    pub fn fields_of(&self, patch: &Patch) -> Patch {
        Patch(tree::text(&fields::of(&self.members(), &patch.members())).into())
    }

    /// What takes back, in this record, the change from `before` to `after`: the fields that still
    /// are as in `after`. Fields that have changed since are left alone.
    pub fn reverted(&self, before: &Self, after: &Self) -> Patch {
        let [before, after, now] = [before, after, self].map(Self::members);
        Patch(tree::text(&fields::reverted(&now, &before, &after)).into())
    }

    /// This record with every number in `amounts` added to the field of that name; a field that is
    /// not there counts as 0.
    ///
    /// # Errors
    /// If a field or an amount is not a whole number, or the sum is too large.
    pub fn incremented(&self, amounts: &Patch) -> Result<Self, IncrementError> {
        let mut members = self.members();
        let sums = fields::sums(&members, &amounts.members(), "")?;
        fields::merge(&mut members, sums);
        Ok(Self::of(&members))
    }
}

impl Patch {
    /// The patch that `json` is, nested at most `max_depth` levels.
    ///
    /// # Errors
    /// If it is not JSON, nested deeper, or not an object.
    pub fn parse(json: &[u8], max_depth: usize) -> Result<Self, DocumentError> {
        Ok(Self::from_value(object(json::parse(json, max_depth)?)?))
    }

    pub(super) fn from_value(object: Value<'_>) -> Self {
        Self(tree::text(&tree::members(object)).into())
    }

    pub(super) fn members(&self) -> Members<'_> {
        members_of(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        text_of(&self.0)
    }

    /// The text's bytes.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.as_str() == "{}"
    }

    /// The record that the patch makes of an empty one.
    pub fn to_document(&self) -> Document {
        Document::new(self.members())
    }

    /// The amounts that take these amounts back.
    ///
    /// # Errors
    /// If one is not a whole number, or has no negative of 64 bits.
    pub fn negated(&self) -> Result<Self, IncrementError> {
        let mut members = self.members();
        fields::negate(&mut members, "")?;
        Ok(Self(tree::text(&members).into()))
    }
}

impl From<&Document> for Patch {
    /// The patch that sets every field of the document.
    fn from(document: &Document) -> Self {
        Self(document.0.clone())
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Patch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `value`, if it is an object.
pub(super) fn object(value: Value<'_>) -> Result<Value<'_>, DocumentError> {
    let what = match value.kind() {
        Kind::Object => return Ok(value),
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
    };
    Err(DocumentError::NotAnObject(what))
}

fn text_of(canonical: &Bytes) -> &str {
    std::str::from_utf8(canonical).unwrap_or_default()
}

fn members_of(canonical: &Bytes) -> Members<'_> {
    json::parse(canonical, json::MAX_DEPTH).map(tree::members).unwrap_or_default()
}
