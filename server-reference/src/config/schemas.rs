//! Settings of schemas that are registered while the server runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::KIB;
use super::units::{duration, size};

settings! {
    /// Schemas of events that operators register while the server runs; see docs/schemas.md.
    Schemas {
        /// How many may be registered; 0: none.
        max_registered: usize = 256,
        /// How many bytes one may have, as JSON.
        #[serde(with = "size")]
        max_bytes: usize = 32 * KIB,
        /// How often instances compare the schemas that they have.
        #[serde(with = "duration")]
        compare: Duration = Duration::from_secs(2),
        /// For how long an instance that was cut off may come back, and learn that one was removed;
        /// after that it would bring it back.
        #[serde(with = "duration")]
        removals_kept: Duration = Duration::from_secs(24 * 60 * 60),
    }
}
