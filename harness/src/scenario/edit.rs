//! Who edits shared records.

use serde::{Deserialize, Serialize};

/// Edits of the records of a collection, at a constant rate. Each sets the record's title, which
/// others set as well, notes its maker's number in a field of the maker's own, and counts up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// The group whose clients edit, in turns; it has a `collection`.
    pub from: String,
    /// How many edits per second, all editors together.
    pub rate: f64,
    /// How many records there are to edit. Fewer have more conflicts.
    #[serde(default = "records")]
    pub records: usize,
    /// How many clients edit the same record at the same instant, each knowing nothing of the others'
    /// edits yet: so many of them conflict.
    #[serde(default = "alone", skip_serializing_if = "is_alone")]
    pub together: usize,
    /// Only this many clients of the group edit; without it all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub editors: Option<usize>,
}

fn records() -> usize {
    20
}

const fn alone() -> usize {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_alone(together: &usize) -> bool {
    *together == 1
}
