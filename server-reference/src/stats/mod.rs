//! What the server counts, cheaply, and how it is told.
//!
//! Whatever happens per event is counted by the shard it happens in, in that shard's own
//! counters: nothing is shared between processors, nothing waits. Reading them adds them up.

mod count;
mod latency;
mod rates;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use count::{ByPriority, Counter, Gauge};
pub use latency::Latency;
use latency::Recorder;
use rates::History;
pub use rates::Rates;
pub use snapshot::{
    ConnectionStats, Delivered, EventsStats, PriorityCounts, Published, QueuedBytes, RecoveryStats,
    RequestStats, ShardSnapshot, WebsocketStats,
};

use crate::app::App;
use crate::shutdown::Phase;

/// How often rates are sampled and latencies begin a new window.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What one shard counts.
#[derive(Debug, Default)]
pub(crate) struct ShardStats {
    /// Sessions that are connected.
    pub(crate) sessions: Gauge,
    /// Subscriptions of those.
    pub(crate) subscriptions: Gauge,
    /// Events appended to the log for clients of this shard, by priority.
    pub(crate) published: ByPriority<Counter>,
    /// Volatile events taken from clients.
    pub(crate) published_volatile: Counter,
    /// Publishes that had been in the log already.
    pub(crate) duplicates: Counter,
    /// Publishes that were refused.
    pub(crate) refused: Counter,
    /// Events written to clients, by priority.
    pub(crate) delivered: ByPriority<Counter>,
    /// Volatile events written to clients.
    pub(crate) delivered_volatile: Counter,
    /// Events a full queue cost, by priority.
    pub(crate) dropped: ByPriority<Counter>,
    /// Volatile events a full queue cost.
    pub(crate) dropped_volatile: Counter,
    /// Bytes written to sockets.
    pub(crate) written_bytes: Counter,
    /// Writes to sockets; each may carry many events.
    pub(crate) writes: Counter,
    /// Bytes that wait for clients, by priority.
    pub(crate) queued: ByPriority<Gauge>,
    /// Bytes of volatile events that wait for clients.
    pub(crate) queued_volatile: Gauge,
    /// Bytes that wait for clients and are no events.
    pub(crate) queued_control: Gauge,
    /// Sessions that went on where they had stopped.
    pub(crate) resumed: Counter,
    /// Times a session whose queue was full went on by reading the log.
    pub(crate) fell_back: Counter,
    /// Events that were read from the log for one session.
    pub(crate) replayed: Counter,
    /// Gaps that clients were told of.
    pub(crate) gaps: Counter,
    /// Requests of clients.
    pub(crate) requests: Counter,
    /// Of those, the ones that were answered by a refusal.
    pub(crate) requests_refused: Counter,
    /// From an event's append to its write to a socket.
    pub(crate) latency: Recorder,
}

/// What the server counts.
#[derive(Debug)]
pub(crate) struct Stats {
    shards: Vec<ShardStats>,
    history: History,
}

impl Stats {
    pub(crate) fn new(shards: usize) -> Self {
        let shards = (0..shards.max(1)).map(|_| ShardStats::default()).collect();
        Self { shards, history: History::default() }
    }

    /// The counters of a shard; indices beyond the last one share the first one's.
    pub(crate) fn shard(&self, index: usize) -> &ShardStats {
        &self.shards[if index < self.shards.len() { index } else { 0 }]
    }

    fn shards(&self) -> &[ShardStats] {
        &self.shards
    }

    /// A counter's sum over all shards.
    fn sum(&self, of: impl Fn(&ShardStats) -> u64) -> u64 {
        self.shards.iter().map(of).sum()
    }
}

/// Samples rates and moves latency windows on, until the server stops.
pub(crate) async fn sample(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    while app.shutdown.phase() < Phase::Over {
        ticks.tick().await;
        app.stats.history.push(rates::Sample::of(&app));
        for shard in app.stats.shards() {
            shard.latency.tick();
        }
    }
}
