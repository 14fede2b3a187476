//! Settings of collections.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidings_core::state::Limits;

use super::KIB;
use super::units::size;

settings! {
    /// A collection of records that clients load, watch and change.
    Collection {
        /// What happens when two have changed the same record: merge, server-wins, client-wins or
        /// last-write-wins.
        policy: String = "merge".to_owned(),
        /// How many records it may have.
        max_records: usize = 100_000,
        /// How many bytes a record may have.
        #[serde(with = "size")]
        max_record_bytes: usize = 64 * KIB,
        /// How many changes one mutation may have.
        max_ops: usize = 100,
        /// How many deletions are remembered, for clients that were away.
        max_deletions: usize = 10_000,
        /// How many clients are remembered, so that what they send twice has one effect.
        max_clients: usize = 10_000,
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
            max_deletions: self.max_deletions,
            max_clients: self.max_clients,
            ..Limits::default()
        }
    }
}
