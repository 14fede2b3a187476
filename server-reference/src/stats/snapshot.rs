//! Statistics as they are told: the JSON of the REST interface.

use serde::Serialize;
use tidings_core::Priority;

use super::rates::Sample;
use super::{Latency, Rates, ShardStats, Stats};
use crate::accepted::TransportKind;
use crate::app::App;

/// One number for each priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct PriorityCounts {
    /// Of low priority.
    pub low: u64,
    /// Of normal priority.
    pub normal: u64,
    /// Of high priority.
    pub high: u64,
    /// Of critical priority.
    pub critical: u64,
    /// Volatile, of any priority; not counted in the others.
    pub volatile: u64,
}

impl PriorityCounts {
    fn of(by_priority: impl Fn(Priority) -> u64, volatile: u64) -> Self {
        Self {
            low: by_priority(Priority::Low),
            normal: by_priority(Priority::Normal),
            high: by_priority(Priority::High),
            critical: by_priority(Priority::Critical),
            volatile,
        }
    }

    fn total(self) -> u64 {
        self.low + self.normal + self.high + self.critical + self.volatile
    }
}

/// How many connections there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConnectionStats {
    /// Open now.
    pub open: usize,
    /// The most that may be open.
    pub max: usize,
    /// Of the open ones, those of the `ws` transport.
    pub ws: usize,
    /// Of the open ones, those of the `socketio` transport.
    pub socketio: usize,
    /// Of the open ones, those that carry no session: HTTP requests, handshakes.
    pub http: usize,
    /// Let in since the start.
    pub accepted: u64,
    /// Turned away since the start because there were too many.
    pub refused: u64,
}

/// What was written to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Events since the start, one for each client that got it.
    pub total: u64,
    /// The same by priority.
    #[serde(flatten)]
    pub by_priority: PriorityCounts,
    /// Bytes written to sockets since the start.
    pub bytes: u64,
    /// Writes to sockets since the start; each may carry many events.
    pub writes: u64,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Events since the start.
    pub total: u64,
    /// The same by priority.
    #[serde(flatten)]
    pub by_priority: PriorityCounts,
    /// Publishes that had been in the log already and had no further effect.
    pub duplicates: u64,
    /// Publishes that were refused.
    pub refused: u64,
}

/// How many bytes wait for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QueuedBytes {
    /// Of events, by priority.
    #[serde(flatten)]
    pub by_priority: PriorityCounts,
    /// Of everything that is no event.
    pub control: u64,
}

/// What became of sessions that were cut off or too slow, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RecoveryStats {
    /// Sessions that went on where they had stopped.
    pub resumed: u64,
    /// Times a session whose queue was full went on by reading the log.
    pub fell_back: u64,
    /// Events that were read from the log for one session.
    pub replayed: u64,
    /// Gaps that clients were told of.
    pub gaps: u64,
}

/// Clients' requests since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RequestStats {
    /// All of them.
    pub total: u64,
    /// Those that were answered by a refusal.
    pub refused: u64,
}

/// One shard's part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ShardSnapshot {
    /// Sessions that are connected.
    pub sessions: u64,
    /// Subscriptions of those.
    pub subscriptions: u64,
    /// Events written to clients since the start.
    pub delivered: u64,
    /// Events that full queues cost since the start.
    pub dropped: u64,
    /// How many bytes wait for clients.
    pub queued_bytes: QueuedBytes,
    /// From an event's append to its write to a socket.
    pub latency_us: Latency,
}

/// What `GET /api/websocket/stats` answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WebsocketStats {
    /// The name of the instance.
    pub instance: String,
    /// The server's version.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// How many connections there are.
    pub connections: ConnectionStats,
    /// Sessions that are connected.
    pub sessions: u64,
    /// Subscriptions of those.
    pub subscriptions: u64,
    /// How fast things went in the last seconds.
    pub rates: Rates,
    /// What was written to clients.
    pub delivered: Delivered,
    /// Events that full queues cost since the start.
    pub dropped: PriorityCounts,
    /// How many bytes wait for clients.
    pub queued_bytes: QueuedBytes,
    /// What became of sessions that were cut off or too slow.
    pub recovery: RecoveryStats,
    /// Clients' requests.
    pub requests: RequestStats,
    /// From an event's append to its write to a socket, over the last 10 to 20 seconds.
    pub latency_us: Latency,
    /// The same by shard.
    pub shards: Vec<ShardSnapshot>,
}

/// What `GET /api/events/stats` answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventsStats {
    /// The name of the instance.
    pub instance: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// What was published.
    pub published: Published,
    /// What was written to clients.
    pub delivered: Delivered,
    /// Events that full queues cost since the start.
    pub dropped: PriorityCounts,
    /// How fast things went in the last seconds.
    pub rates: Rates,
}

fn delivered(stats: &Stats) -> Delivered {
    let by_priority = PriorityCounts::of(
        |priority| stats.sum(|shard| shard.delivered[priority].get()),
        stats.sum(|shard| shard.delivered_volatile.get()),
    );
    Delivered {
        total: by_priority.total(),
        by_priority,
        bytes: stats.sum(|shard| shard.written_bytes.get()),
        writes: stats.sum(|shard| shard.writes.get()),
    }
}

fn published(stats: &Stats) -> Published {
    let by_priority = PriorityCounts::of(
        |priority| stats.sum(|shard| shard.published[priority].get()),
        stats.sum(|shard| shard.published_volatile.get()),
    );
    Published {
        total: by_priority.total(),
        by_priority,
        duplicates: stats.sum(|shard| shard.duplicates.get()),
        refused: stats.sum(|shard| shard.refused.get()),
    }
}

fn dropped(stats: &Stats) -> PriorityCounts {
    PriorityCounts::of(
        |priority| stats.sum(|shard| shard.dropped[priority].get()),
        stats.sum(|shard| shard.dropped_volatile.get()),
    )
}

fn queued(sum: impl Fn(&dyn Fn(&ShardStats) -> u64) -> u64) -> QueuedBytes {
    QueuedBytes {
        by_priority: PriorityCounts::of(
            |priority| sum(&|shard| shard.queued[priority].get()),
            sum(&|shard| shard.queued_volatile.get()),
        ),
        control: sum(&|shard| shard.queued_control.get()),
    }
}

impl ShardSnapshot {
    fn of(shard: &ShardStats) -> Self {
        let delivered =
            PriorityCounts::of(|p| shard.delivered[p].get(), shard.delivered_volatile.get());
        let dropped = PriorityCounts::of(|p| shard.dropped[p].get(), shard.dropped_volatile.get());
        Self {
            sessions: shard.sessions.get(),
            subscriptions: shard.subscriptions.get(),
            delivered: delivered.total(),
            dropped: dropped.total(),
            queued_bytes: queued(|of| of(shard)),
            latency_us: Latency::of([&shard.latency]),
        }
    }
}

impl WebsocketStats {
    pub(crate) fn of(app: &App) -> Self {
        let stats = &app.stats;
        let counts = app.connections.counts();
        let ws = counts.upgraded[TransportKind::Ws as usize];
        let socketio = counts.upgraded[TransportKind::SocketIo as usize];
        Self {
            instance: app.config.instance.clone(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: app.started.elapsed().as_secs(),
            connections: ConnectionStats {
                open: counts.open,
                max: counts.max,
                ws,
                socketio,
                http: counts.open.saturating_sub(ws + socketio),
                accepted: counts.accepted,
                refused: counts.refused,
            },
            sessions: stats.sum(|shard| shard.sessions.get()),
            subscriptions: stats.sum(|shard| shard.subscriptions.get()),
            rates: stats.history.rates(Sample::of(app)),
            delivered: delivered(stats),
            dropped: dropped(stats),
            queued_bytes: queued(|of| stats.sum(of)),
            recovery: RecoveryStats {
                resumed: stats.sum(|shard| shard.resumed.get()),
                fell_back: stats.sum(|shard| shard.fell_back.get()),
                replayed: stats.sum(|shard| shard.replayed.get()),
                gaps: stats.sum(|shard| shard.gaps.get()),
            },
            requests: RequestStats {
                total: stats.sum(|shard| shard.requests.get()),
                refused: stats.sum(|shard| shard.requests_refused.get()),
            },
            latency_us: Latency::of(stats.shards().iter().map(|shard| &shard.latency)),
            shards: stats.shards().iter().map(ShardSnapshot::of).collect(),
        }
    }
}

impl EventsStats {
    pub(crate) fn of(app: &App) -> Self {
        let stats = &app.stats;
        Self {
            instance: app.config.instance.clone(),
            uptime_s: app.started.elapsed().as_secs(),
            published: published(stats),
            delivered: delivered(stats),
            dropped: dropped(stats),
            rates: stats.history.rates(Sample::of(app)),
        }
    }
}
