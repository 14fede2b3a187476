//! Settings of events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

settings! {
    /// What the events of a name or pattern must carry.
    EventSchema {
        /// A JSON Schema, as a text. Empty: it is in a file.
        schema: String = String::new(),
        /// The file with the JSON Schema.
        schema_file: String = String::new(),
    }
}

/// Schemas by name or pattern.
pub(super) type Events = BTreeMap<String, EventSchema>;
