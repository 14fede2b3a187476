//! Settings of collections.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::state::Limits;

use super::KIB;
use super::units::{duration, size};

settings! {
    /// A collection of records that clients load, watch and change.
    Collection {
        /// What happens when two have changed the same record: merge, server-wins, client-wins or
        /// last-write-wins.
        policy: String = "merge".to_owned(),
        /// What its records must be: a JSON Schema, as a text. Empty: any object.
        schema: String = String::new(),
        /// A file with a JSON Schema that its records must conform to, too. Empty: none.
        schema_file: String = String::new(),
        /// What clients may do: mutate, read or nothing. Services may do everything.
        clients: String = "mutate".to_owned(),
        /// Whether its records end with their sessions: each session may have one, under its id.
        presence: bool = false,
        /// How long a session may be away before its record ends, with presence.
        #[serde(with = "duration")]
        presence_timeout: Duration = Duration::from_secs(10),
        /// How many records it may have.
        max_records: usize = 100_000,
        /// How many bytes a record may have.
        #[serde(with = "size")]
        max_record_bytes: usize = 64 * KIB,
        /// How many changes one mutation may have.
        max_ops: usize = 100,
        /// How many mutations one request may have.
        max_mutations: usize = 100,
        /// How many deletions are remembered, for clients that were away.
        max_deletions: usize = 10_000,
        /// How many clients are remembered, so that what they send twice has one effect.
        max_clients: usize = 10_000,
        /// How many bytes of what became of its mutations are remembered of each of them.
        #[serde(with = "size")]
        max_verdict_bytes: usize = 64 * KIB,
    }
}

/// Collections by name.
pub(super) type Collections = BTreeMap<String, Collection>;

impl Collection {
    /// The limits of the collection itself.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_records: self.max_records,
            max_record_bytes: self.max_record_bytes,
            max_ops: self.max_ops,
            max_mutations: self.max_mutations,
            max_verdicts: self.max_mutations.max(1),
            max_deletions: self.max_deletions,
            max_clients: self.max_clients,
            max_verdict_bytes: self.max_verdict_bytes,
            ..Limits::default()
        }
    }
}
