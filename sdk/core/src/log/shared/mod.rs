//! A log that is kept elsewhere and shared by many instances: what one instance knows of it, and
//! what it asks of it.
//!
//! The store is fast and simple: it appends, reads and tells where a lane stands, each as one
//! step, and hands out [notices](Notice) of what was appended. It can be away, answer late or not
//! at all, lose notices, and be replaced by a replica that lacks what was written last. [`Partition`] makes
//! of that what is promised to clients: every publish has one effect, readers miss nothing, and
//! what a replica lacked is put back at the place it had.
//!
//! A partition is a machine: it is told what was asked of this instance, what the store has
//! answered and what time it is, and says what to ask of the store ([`Output`]). It does not know
//! how the store is reached or in which words it is spoken to.

mod format;
mod histories;
mod lane;
mod partition;
mod published;
mod reading;
mod request;
mod writing;

#[cfg(test)]
mod tests;

pub use format::{
    Appended as AppendedNotice, AppendedEvent, Notice, decode, encode, entry as entry_of,
    parse_number,
};
pub use partition::{Counts, Footing, Output, Partition};
pub use published::{Note, Published};
pub use request::{
    Answer, Append, AppendAnswer, Chunk, Direction, Outcome, Request, RequestId, Standing,
};

use std::time::Duration;

use super::Retention;
use crate::time::Time;

/// The current time, on both clocks that a driver has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// On the monotonic clock: deadlines are in it.
    pub time: Time,
    /// Microseconds since the Unix epoch.
    pub unix_micros: u64,
}

/// How a partition works; all instances should have the same.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How much the lanes keep, in the store and in the copies here.
    pub retention: Retention,
    /// How long a publish may wait until the store has it. Default 15 s.
    pub publish_timeout: Duration,
    /// How often the places of the lanes are compared with those of the store. Default 1 s.
    pub check_interval: Duration,
    /// How long a partition is read after nobody wants it any more. Default 30 s.
    pub linger: Duration,
    /// How long nothing new is appended after another master took over. Default 250 ms.
    pub settle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            publish_timeout: Duration::from_secs(15),
            check_interval: Duration::from_secs(1),
            linger: Duration::from_secs(30),
            settle: Duration::from_millis(250),
        }
    }
}

/// A pause after a failure: it doubles with each, up to a longest.
#[derive(Debug, Clone, Copy)]
struct Pause {
    next: Duration,
    first: Duration,
    longest: Duration,
}

impl Pause {
    const fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, first, longest }
    }

    /// How long to wait after one more failure.
    fn after_failure(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause
    }

    /// It works again.
    fn reset(&mut self) {
        self.next = self.first;
    }
}
