//! What can go wrong with a collection.

use tidings_core::json::Quoted;
use tidings_core::state::{DocumentError, Key, KeyError, MutateError, Rejection};

use super::storage::StorageError;

/// A collection was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// What was pending cannot be read.
    #[error("the storage fails: {0}")]
    Storage(#[from] StorageError),
    /// Collections need a Tokio runtime, and there was none.
    #[error("a collection has to be opened within a tokio runtime")]
    NoRuntime,
    /// The system gave no random numbers.
    #[error("no random numbers: {0}")]
    NoRandom(String),
}

/// Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A text is not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A value cannot be written as JSON.
    #[error("the value cannot be written as JSON: {0}")]
    Value(String),
    /// A value is not one that a record can have.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// It is not possible with what is shown, or too much is pending.
    #[error(transparent)]
    Mutate(#[from] MutateError),
    /// A record that is to be changed is not a value of the collection's type.
    #[error("record {} is not what was expected: {problem}", Quoted(key.as_str()))]
    Misfit {
        /// Which record.
        key: Key,
        /// What does not fit.
        problem: String,
    },
}

/// What was written has not come as far as was waited for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The server has rejected it: it has had no effect, and is not shown any more.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The collection was closed before.
    #[error("the collection was closed before the write came so far")]
    Closed,
}
