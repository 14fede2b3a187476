//! What the server counts, cheaply, and how it is told.
//!
//! Counters are spread over cache lines, so that processors do not wait for each other. What a
//! connection goes through is counted by the connection itself, under the lock it holds anyway,
//! and added up when somebody asks.

mod count;
mod latency;
mod live;
mod rates;
mod sessions;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::message::CloseCode;
use tidings_core::{Lane, Offset};

pub use crate::session_lists::ClusterSessionPage;
pub(crate) use count::{ByPriority, Counter, Mishaps};
pub use latency::Latency;
use latency::Recorder;
pub(crate) use live::{Live, Totals};
use rates::History;
pub use rates::Rates;
pub(crate) use sessions::public_id;
pub use sessions::{BadPlace, SessionInfo, SessionPage, SessionPlace};
pub use snapshot::{
    BusSnapshot, ConnectionStats, Delivered, Dropped, EventsStats, LaneSnapshot, PriorityCounts,
    Published, QueuedBytes, RecoveryStats, RequestStats, ShardSnapshot, WebsocketStats,
};

use crate::app::App;
use crate::auth::Denied;
use crate::clock::unix_micros;
use crate::shutdown::Phase;

/// How often rates are sampled, and how long a tick of the latency windows is.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What the server counts that belongs to no shard.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    received_bytes: Counter,
    published: ByPriority<Counter>,
    published_volatile: Counter,
    refused: Counter,
    welcomed: Counter,
    resumed: Counter,
    closes: Mutex<BTreeMap<u16, u64>>,
    denied: Mutex<BTreeMap<&'static str, u64>>,
    history: History,
}

impl Stats {
    /// Somebody was not let in, or not any more.
    pub(crate) fn denied(&self, denied: &Denied) {
        *self.denied.lock().entry(denied.word()).or_default() += 1;
    }

    /// How often that was, by reason.
    pub(crate) fn denials(&self) -> BTreeMap<&'static str, u64> {
        self.denied.lock().clone()
    }

    /// So many bytes came from a client.
    pub(crate) fn received_bytes(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    /// A client has said hello; `resumed`: it goes on with a session.
    pub(crate) fn welcomed(&self, resumed: bool) {
        self.welcomed.add(1);
        self.resumed.add(u64::from(resumed));
    }

    /// A client's publish is in this lane, or was refused.
    pub(crate) fn published(&self, lane: Option<Lane>) {
        match lane {
            Some(lane) => self.published[lane.priority()].add(1),
            None => self.refused.add(1),
        }
    }

    /// A client has published a volatile event.
    pub(crate) fn volatile_published(&self) {
        self.published_volatile.add(1);
    }

    /// A connection was closed by the server for this reason.
    pub(crate) fn closed_for(&self, code: CloseCode) {
        *self.closes.lock().entry(code.0).or_default() += 1;
    }
}

/// What one shard counts.
#[derive(Debug, Default)]
pub(crate) struct ShardStats {
    delivered: Counter,
    latency: Recorder,
    departed: Mutex<Totals>,
}

impl ShardStats {
    /// Events with these offsets have just been written, by this many deliveries in all.
    pub(crate) fn forwarded(&self, offsets: impl Iterator<Item = Offset>, deliveries: u64) {
        if deliveries > 0 {
            self.delivered.add(deliveries);
            let now = unix_micros();
            self.latency.record(offsets.map(|offset| now.saturating_sub(offset.0)));
        }
    }

    /// What the connections that have ended have been through.
    pub(crate) fn departed(&self) -> Totals {
        *self.departed.lock()
    }

    /// A connection has ended that has been through this.
    pub(crate) fn left(&self, totals: Totals) {
        *self.departed.lock() += totals;
    }
}

/// Samples rates and moves latency windows on, until the server stops.
pub(crate) async fn sample(app: Arc<App>) {
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    while app.shutdown.phase() < Phase::Over {
        ticks.tick().await;
        app.stats.history.push(rates::Sample::of(&app));
        let sessions = app.shards.iter().map(|shard| shard.hub.lock().len() as u64).sum();
        app.backplane.tell(sessions, app.connections.counts().open as u64);
        for shard in app.shard_stats() {
            shard.latency.tick();
        }
    }
}
