//! What joins instances: the log that every event passes through.
//!
//! An instance publishes into its backplane and reads what comes out of it, its own events
//! included. [`MemoryBackplane`] is the log of a single instance.

mod memory;
mod signal;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::lane::{Lane, Place};
use tidings_core::message::{Position, Refusal};
use tidings_core::server::LogReader;
use tidings_core::{Event, Partitioning};
use tokio::sync::mpsc;

pub use memory::MemoryBackplane;
pub use signal::Signal;

/// Who publishes: the producer's id and the sequence number of this publish. The same pair has
/// one effect, however often it is published.
pub type Producer = (Arc<str>, u64);

/// The answer to a publish: at once where the log is in memory, later where it is elsewhere.
pub enum Published {
    /// The event is in the log, or was refused.
    Now(Result<Position, Refusal>),
    /// The log has not answered yet.
    Later(Pin<Box<dyn Future<Output = Result<Position, Refusal>> + Send>>),
}

/// A log that all instances share. Reading is from what this instance holds in memory.
pub trait Backplane: LogReader + Send + Sync + 'static {
    /// Appends an event to its lane; see [`LaneLog::append`](tidings_core::log::LaneLog::append).
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published;

    /// Hands an event to every instance without keeping it.
    fn publish_volatile(&self, event: Event);

    /// How names are spread over partitions.
    fn partitioning(&self) -> &Partitioning;

    /// The last place of a lane that can be read here.
    fn head(&self, lane: Lane) -> Place;

    /// Raises `signal` from now on for each event in a partition the signal is interested in.
    fn attach(&self, signal: Arc<Signal>);

    /// Whether there may be other instances to tell something.
    fn has_others(&self) -> bool {
        false
    }

    /// Hands a message to every instance, at most once; this one may get it, too.
    fn tell_others(&self, _message: Bytes) {}

    /// Puts what instances tell into `inbox` from now on; what finds it full is lost.
    fn hear_others(&self, _inbox: mpsc::Sender<Bytes>) {}

    /// What each lane that has ever had an event holds in memory.
    fn lanes(&self) -> Vec<LaneStatus>;
}

/// What a lane of a backplane holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneStatus {
    /// Which lane.
    pub lane: Lane,
    /// Everything after this place can be read.
    pub floor: Place,
    /// The last place given out.
    pub head: Place,
    /// How many events can be read.
    pub events: usize,
    /// Bytes of their names, payloads and headers.
    pub bytes: usize,
}
