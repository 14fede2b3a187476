//! What joins instances: the log that every event passes through.
//!
//! An instance publishes into its backplane and reads what comes out of it, its own events
//! included. [`MemoryBackplane`] is the log of a single instance, [`RedisBackplane`] that of many.

mod channels;
mod collection_store;
mod echo;
mod memory;
mod redis;
mod signal;
mod status;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidings_core::lane::{Lane, Place};
use tidings_core::message::{Position, Refusal};
use tidings_core::server::LogReader;
use tidings_core::{Event, Partitioning};

pub use self::redis::RedisBackplane;
pub use channels::{Channel, ChannelKind, Channels, Ear, NotCounted};
pub use collection_store::{CollectionStore, Hosting, Step};
pub(crate) use echo::Echo;
pub use memory::MemoryBackplane;
pub use signal::Signal;
pub use status::{BackplaneStatus, InstanceInfo, RedisStatus, Trouble};

/// Who publishes. The same id and number have one effect, however often they are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// The producer's id.
    pub id: Arc<str>,
    /// The number it gave this publish, larger than those before.
    pub number: u64,
    /// Whether it publishes again, with the same number and before anything newer, what is refused
    /// for now. What it has published after that may then be refused, too, so that its order stays.
    pub sends_again: bool,
}

/// The answer to a publish: at once where the log is in memory, later where it is elsewhere.
pub enum Published {
    /// The event is in the log, or was refused.
    Now(Result<Position, Refusal>),
    /// The log has not answered yet.
    Later(Pin<Box<dyn Future<Output = Result<Position, Refusal>> + Send>>),
}

/// Completes when partitions can be read.
pub type Prepared = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A log that all instances share. Reading is from what this instance holds in memory.
pub trait Backplane: LogReader + Send + Sync + 'static {
    /// Appends an event to its lane; see [`LaneLog::append`](tidings_core::log::LaneLog::append).
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published;

    /// Hands an event to every instance without keeping it.
    fn publish_volatile(&self, event: Event);

    /// How names are spread over partitions.
    fn partitioning(&self) -> &Partitioning;

    /// Makes partitions readable here, so that [`head`](Self::head) tells where their lanes stand
    /// and nothing that is appended afterwards is missed. `None` if they are; otherwise to be
    /// waited for before anybody's interest in them is set. The wait is bounded where the log
    /// cannot be reached at the moment: what is appended later is still not missed.
    fn prepare(&self, _partitions: &mut dyn Iterator<Item = u16>) -> Option<Prepared> {
        None
    }

    /// Whether other instances read and write it too. What this instance wants to read costs
    /// something then.
    fn is_shared(&self) -> bool {
        false
    }

    /// The last place of a lane that can be read here.
    fn head(&self, lane: Lane) -> Place;

    /// Raises `signal` from now on for each event in a partition the signal is interested in.
    fn attach(&self, signal: Arc<Signal>);

    /// Channels on which instances, and others, tell each other what is not of the log; `None` if
    /// there are none.
    fn channels(&self) -> Option<Arc<dyn Channels>> {
        None
    }

    /// Keeps collections beside the log, for all instances; `None` if it cannot. One that is not
    /// [shared](Self::is_shared) need not: then they are in the memory of the instance.
    fn collections(&self) -> Option<Arc<dyn CollectionStore>> {
        None
    }

    /// Tells the other instances how many sessions and connections this one has.
    fn tell(&self, _sessions: u64, _connections: u64) {}

    /// How it is.
    fn status(&self) -> BackplaneStatus;

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
