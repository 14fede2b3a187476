//! What the server counts, cheaply, and how it is told.
//!
//! Counters are spread over cache lines, so that processors do not wait for each other. What a
//! connection goes through is counted by the connection itself, under the lock it holds anyway,
//! and added up when somebody asks.

mod count;
mod handshakes;
mod latency;
mod live;
mod marks;
mod metrics;
mod names;
mod offered;
mod rates;
mod sessions;
mod snapshot;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidings_core::message::CloseCode;
use tidings_core::{Lane, Offset};

pub(crate) use count::{ByPriority, Counter, Mishaps};
pub(crate) use handshakes::FailedHandshake;
use handshakes::FailedHandshakes;
pub use latency::Latency;
use latency::Recorder;
pub(crate) use live::{Live, Totals};
use marks::Marks;
pub use marks::{BadMark, Mark};
pub(crate) use metrics::{MEDIA_TYPE as METRICS_TYPE, metrics};
pub use names::NameRate;
pub(crate) use offered::{Counted, Offered};
pub use rates::Rates;
use rates::Samples;
pub(crate) use sessions::public_id;
pub use sessions::{
    BadPlace, ClusterSessionPage, SessionDetail, SessionInfo, SessionPage, SessionPlace,
    SessionQuery,
};
pub use snapshot::{
    BusSnapshot, ConnectionStats, Delivered, Dropped, EventsStats, InstanceStats, LaneSnapshot,
    PriorityCounts, Published, QueuedBytes, RecoveryStats, RequestStats, ShardSnapshot,
    WebsocketStats,
};
pub use timeline::History;
pub(crate) use timeline::SECONDS;
use timeline::Timeline;

use crate::app::App;
use crate::auth::Denied;
use crate::clock::unix_micros;
use crate::instances::{Ask, Said};
use crate::shutdown::Phase;

/// How often rates are sampled, and how long a tick of the latency windows is.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Looking at all connections may take one part in so many of the time: where there are very many, the
/// timeline has fewer moments.
const LOOKING_SHARE: u32 = 100;

/// How far apart moments of the timeline are at most.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// After how many samples an instance asks the others for the marks they know: they know each other then.
const ASK_FOR_MARKS_AT: u32 = 3;

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
    failed_handshakes: FailedHandshakes,
    samples: Samples,
    /// What is published here, by whoever.
    offered: Arc<Offered>,
    timeline: Timeline,
    marks: Marks,
}

impl Stats {
    pub(crate) fn new(offered: Arc<Offered>) -> Self {
        Self { offered, ..Self::default() }
    }

    /// Something happened that is to be found again.
    pub(crate) fn mark(&self, mark: Mark) {
        self.marks.add(mark);
    }

    /// What is to be found again.
    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.marks.all()
    }

    /// Somebody was not let in, or not any more.
    pub(crate) fn denied(&self, denied: &Denied) {
        *self.denied.lock().entry(denied.word()).or_default() += 1;
    }

    /// How often that was, by reason.
    pub(crate) fn denials(&self) -> BTreeMap<&'static str, u64> {
        self.denied.lock().clone()
    }

    /// Nothing became of a connection.
    pub(crate) fn handshake_failed(&self, why: FailedHandshake) {
        self.failed_handshakes.add(why);
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
    let mut samples: u32 = 0;
    let mut look_from = Instant::now();
    while app.shutdown.phase() < Phase::Over {
        tokio::time::sleep(until_next_second()).await;
        samples = samples.saturating_add(1);
        app.stats.samples.push(rates::Sample::of(&app));
        let sessions = app.shards.iter().map(|shard| shard.hub.lock().len() as u64).sum();
        app.backplane.tell(sessions, app.connections.counts().open as u64);
        app.stats.offered.names.tick();
        for shard in app.shard_stats() {
            shard.latency.tick();
        }
        if let Some(echo) = &app.echo {
            echo.say();
        }
        let began = Instant::now();
        if began >= look_from {
            app.stats.timeline.note(&app);
            look_from = began + (began.elapsed() * LOOKING_SHARE).min(LOOK_WITHIN);
        }
        if samples == ASK_FOR_MARKS_AT {
            tokio::spawn(ask_for_marks(Arc::clone(&app)));
        }
    }
}

/// Instances sample at the same moments, so that what they say can be added up.
fn until_next_second() -> Duration {
    let second = SAMPLE_EVERY.as_micros() as u64;
    Duration::from_micros(second - unix_micros() % second)
}

/// What was marked before this instance was there.
async fn ask_for_marks(app: Arc<App>) {
    for said in app.instances.ask(&app, Ask::Marks).await.said {
        if let Said::Marks(marks) = said {
            marks.into_iter().for_each(|mark| app.stats.mark(mark));
        }
    }
}
