//! How collections are spoken of on the wire: JSON payloads of requests and events.
//!
//! | name | payload | answer |
//! | --- | --- | --- |
//! | request `state.<collection>.load` | [`Load`](super::Load) | [`Loaded`] |
//! | request `state.<collection>.mutate` | [`Mutation`](super::Mutation)s | [`Verdict`](super::Verdict)s |
//! | request `state.<collection>.join` | a record | [`Joined`] |
//! | request `state.<collection>.leave` | | [`Verdict`](super::Verdict) |
//! | event `state.<collection>.<key>` | [`Change`](super::Change) | |
//!
//! docs/state.md has them with examples. Members that are not known are ignored.

mod fields;
mod join;
mod load;
mod mutate;
mod verdict;

use std::fmt;

pub use join::{Joined, read_joined, write_joined};
pub use load::{
    Loaded, change_parts, read_change, read_load, read_loaded, write_change, write_load,
    write_loaded,
};
pub use mutate::{read_mutate, read_mutation, write_mutate, write_mutation};
pub use verdict::{
    accepted_parts, read_one_verdict, read_verdicts, write_one_verdict, write_verdicts,
};

/// The first segment of all names.
pub const ROOT: &str = "state";

/// Names the request that loads a collection.
pub fn load_name(collection: &str) -> String {
    format!("{ROOT}.{collection}.load")
}

/// Names the request that mutates a collection.
pub fn mutate_name(collection: &str) -> String {
    format!("{ROOT}.{collection}.mutate")
}

/// Names the request by which a session joins a collection of those who are there.
pub fn join_name(collection: &str) -> String {
    format!("{ROOT}.{collection}.join")
}

/// Names the request by which a session leaves it.
pub fn leave_name(collection: &str) -> String {
    format!("{ROOT}.{collection}.leave")
}

/// Names the event that a record has changed.
pub fn change_name(collection: &str, key: &str) -> String {
    format!("{ROOT}.{collection}.{key}")
}

/// The pattern of all changes of a collection.
pub fn changes_pattern(collection: &str) -> String {
    format!("{ROOT}.{collection}.**")
}

/// A payload is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct WireError {
    /// Where, as in `mutations[0].ops[2].key`.
    pub at: String,
    /// What is wrong there, and what would be right.
    pub problem: String,
}

impl WireError {
    fn new(at: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self { at: at.into(), problem: problem.to_string() }
    }

    /// The same, seen from outside of `at`.
    fn within(mut self, at: impl fmt::Display) -> Self {
        let inner = std::mem::take(&mut self.at);
        self.at = if inner.is_empty() { at.to_string() } else { format!("{at}.{inner}") };
        self
    }
}
