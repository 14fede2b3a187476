//! Statistics as they are told: the JSON of the REST interface.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use tidings_core::bus::BusStats;
use tidings_core::{EventBus, Priority};

use super::rates::Sample;
use super::{History, Latency, Live, Mark, NameRate, Rates, Totals};
use crate::accepted::TransportKind;
use crate::app::App;
use crate::backplane::{BackplaneStatus, LaneStatus};
use crate::socketio::MembersStats;
use crate::store::StoreStatus;

/// One number for each priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
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
    pub(super) fn new(by_priority: [u64; Priority::COUNT], volatile: u64) -> Self {
        let [low, normal, high, critical] = by_priority;
        Self { low, normal, high, critical, volatile }
    }

    fn total(self) -> u64 {
        self.low + self.normal + self.high + self.critical + self.volatile
    }
}

/// How many connections there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ConnectionStats {
    /// Open now.
    pub open: usize,
    /// The most that may be open.
    pub max: usize,
    /// Of the open ones, those of the `ws` transport.
    pub ws: usize,
    /// Of the open ones, those of the `socketio` transport.
    pub socketio: usize,
    /// Of the open ones, those that read events as Server-Sent Events.
    pub sse: usize,
    /// Of the open ones, those that carry no session: HTTP requests, handshakes.
    pub http: usize,
    /// Let in since the start.
    pub accepted: u64,
    /// Turned away since the start because there were too many.
    pub refused: u64,
    /// Turned away since the start because their address had too many.
    pub refused_by_address: u64,
    /// Turned away since the start because too many came from their address at once.
    pub refused_by_rate: u64,
    /// Those of which nothing became since the start, by what was wrong with their handshake.
    pub failed_handshakes: BTreeMap<&'static str, u64>,
    /// Closed by the server since the start because of what the client did or left out, by close
    /// code.
    pub closed: BTreeMap<u16, u64>,
    /// Those that were not let in, or not any more, because of their tokens, since the start, by
    /// reason; requests of the REST interface among them.
    pub denied: BTreeMap<&'static str, u64>,
}

/// What was handed to clients since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Delivered {
    /// Events, one for each client that got it.
    pub total: u64,
    /// The same by priority.
    #[serde(flatten)]
    pub by_priority: PriorityCounts,
    /// Bytes written, of events and everything else.
    pub bytes: u64,
}

/// What clients published since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Published {
    /// Events, those that were sent again included.
    pub total: u64,
    /// The same by priority.
    #[serde(flatten)]
    pub by_priority: PriorityCounts,
    /// Publishes that were refused.
    pub refused: u64,
    /// Events that were not what their schemas say: publishes, which are refused, and what services
    /// emitted on the bus, which reaches no client.
    pub invalid: u64,
}

/// What full queues cost since the start. Other priorities lose nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Dropped {
    /// Events of low priority; each client was told by a gap.
    pub low: u64,
    /// Volatile events.
    pub volatile: u64,
}

/// How many bytes wait for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueuedBytes {
    /// Of events, by priority.
    #[serde(flatten)]
    pub by_priority: PriorityCounts,
    /// Of everything that is no event.
    pub control: u64,
}

/// What became of sessions that were cut off or too slow, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RecoveryStats {
    /// Clients that began a session.
    pub begun: u64,
    /// Clients that went on with a session they had.
    pub resumed: u64,
    /// How often a lane of a session went on by reading the log because its queue was full.
    pub fell_behind: u64,
    /// Events that were read from the log for one session.
    pub recovered: u64,
    /// Gaps that clients were told of.
    pub gaps: u64,
}

/// Clients' requests since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RequestStats {
    /// All of them.
    pub total: u64,
    /// Those that were answered by a refusal.
    pub refused: u64,
}

/// One shard's part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct ShardSnapshot {
    /// Sessions that are connected.
    pub sessions: u64,
    /// Subscriptions of those.
    pub subscriptions: u64,
    /// What was handed to clients.
    pub delivered: Delivered,
    /// What full queues cost.
    pub dropped: Dropped,
    /// How many bytes wait for clients.
    pub queued_bytes: QueuedBytes,
    /// From an event's append to its write to sockets.
    pub latency_us: Latency,
}

/// What `GET /api/websocket/stats` answers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct WebsocketStats {
    /// The name of the instance.
    pub instance: String,
    /// The server's version.
    pub version: &'static str,
    /// The version of all schemas together, as `GET /api/schemas` lists them: that of all instances that
    /// share a log should be the same.
    pub schemas: String,
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
    /// What was handed to clients.
    pub delivered: Delivered,
    /// What full queues cost.
    pub dropped: Dropped,
    /// How many bytes wait for clients.
    pub queued_bytes: QueuedBytes,
    /// What became of sessions that were cut off or too slow.
    pub recovery: RecoveryStats,
    /// Clients' requests.
    pub requests: RequestStats,
    /// The log, and the instances that share it.
    pub backplane: BackplaneStatus,
    /// What applications of Socket.IO are told by other instances and Node servers.
    pub members: MembersStats,
    /// From an event's append to its write to sockets, over the last 10 to 20 seconds.
    pub latency_us: Latency,
    /// The same by shard.
    pub shards: Vec<ShardSnapshot>,
}

/// One instance's part of what `GET /api/websocket/stats?scope=cluster` answers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct InstanceStats {
    /// Its clock, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// How it was when it last looked, within the last second or so.
    #[serde(flatten)]
    pub stats: WebsocketStats,
    /// The names with the most events that were published at it, over the last 10 to 20 seconds.
    pub names: Vec<NameRate>,
    /// The marks that it knows.
    pub marks: Vec<Mark>,
    /// Its last seconds.
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub history: History,
}

/// What `GET /api/events/stats` answers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct EventsStats {
    /// The name of the instance.
    pub instance: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// What was published.
    pub published: Published,
    /// What was handed to clients.
    pub delivered: Delivered,
    /// What full queues cost.
    pub dropped: Dropped,
    /// How fast things went in the last seconds.
    pub rates: Rates,
    /// The event bus of the services.
    pub bus: BusSnapshot,
    /// The lanes that have had events.
    pub lanes: Vec<LaneSnapshot>,
    /// What keeps events and sessions in a database, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreStatus>,
}

/// The event bus of the services, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct BusSnapshot {
    /// Events emitted: by services, and those that clients published.
    pub emitted: u64,
    /// Calls of the services' listeners.
    pub called: u64,
    /// Of those, the ones that panicked.
    pub panicked: u64,
    /// Listeners the services have now.
    pub listeners: usize,
    /// Posted events that wait now.
    pub posted: usize,
}

impl BusSnapshot {
    fn of(bus: &EventBus) -> Self {
        let BusStats { emitted, called, panicked, listeners, posted, .. } = bus.stats();
        let emitted = emitted.iter().sum();
        // One listener is the server's own: it hears everything and passes it on.
        Self {
            emitted,
            called: called.saturating_sub(emitted),
            panicked,
            listeners: listeners.saturating_sub(1),
            posted,
        }
    }
}

/// What a lane of the log holds in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LaneSnapshot {
    /// Its number: partition * 4 + priority.
    pub lane: u32,
    /// The partition it belongs to.
    pub partition: u16,
    /// The priority of its events.
    pub priority: &'static str,
    /// Which history of the lane this is.
    pub epoch: u32,
    /// Events after this offset can be recovered.
    pub floor: u64,
    /// The offset of the last event.
    pub head: u64,
    /// How many events can be recovered.
    pub events: usize,
    /// Bytes of their names, payloads and headers.
    pub bytes: usize,
}

impl LaneSnapshot {
    fn of(status: LaneStatus) -> Self {
        let LaneStatus { lane, floor, head, events, bytes } = status;
        Self {
            lane: lane.number(),
            partition: lane.partition(),
            priority: lane.priority().as_str(),
            epoch: head.epoch.0,
            floor: floor.offset.0,
            head: head.offset.0,
            events,
            bytes,
        }
    }
}

impl Delivered {
    fn of(totals: &Totals) -> Self {
        let by_priority = PriorityCounts::new(totals.delivered, totals.volatile);
        Self { total: by_priority.total(), by_priority, bytes: totals.written_bytes }
    }
}

impl Dropped {
    fn of(totals: &Totals) -> Self {
        Self { low: totals.dropped_low, volatile: totals.dropped_volatile }
    }
}

impl QueuedBytes {
    fn of(live: &Live) -> Self {
        let by_priority = PriorityCounts::new(live.queued, live.queued_volatile);
        Self { by_priority, control: live.queued_control }
    }
}

fn sum<'a>(parts: impl IntoIterator<Item = &'a Live>) -> Live {
    parts.into_iter().fold(Live::default(), |mut sum, part| {
        sum += *part;
        sum
    })
}

impl ConnectionStats {
    fn of(app: &App) -> Self {
        let counts = app.connections.counts();
        let ws = counts.upgraded[TransportKind::Ws as usize];
        let socketio = counts.upgraded[TransportKind::SocketIo as usize];
        let sse = counts.upgraded[TransportKind::Sse as usize];
        Self {
            open: counts.open,
            max: counts.max,
            ws,
            socketio,
            sse,
            http: counts.open.saturating_sub(ws + socketio + sse),
            accepted: counts.accepted,
            refused: counts.refused,
            refused_by_address: app.addresses.refused().by_number,
            refused_by_rate: app.addresses.refused().by_rate,
            failed_handshakes: app.stats.failed_handshakes.all().collect(),
            closed: app.stats.closes.lock().clone(),
            denied: app.stats.denials(),
        }
    }
}

impl WebsocketStats {
    pub(crate) fn of(app: &App) -> Self {
        let shards = app.live();
        let all = sum(shards.iter().map(|(_, live)| live));
        let (welcomed, resumed) = (app.stats.welcomed.get(), app.stats.resumed.get());
        let requests = app.handlers.counts();
        Self {
            instance: app.config.instance.clone(),
            version: env!("CARGO_PKG_VERSION"),
            schemas: app.event_schemas.version().to_owned(),
            uptime_s: app.started.elapsed().as_secs(),
            connections: ConnectionStats::of(app),
            sessions: all.sessions,
            subscriptions: all.subscriptions,
            rates: app.stats.samples.rates(Sample::of(app)),
            delivered: Delivered::of(&all.totals),
            dropped: Dropped::of(&all.totals),
            queued_bytes: QueuedBytes::of(&all),
            recovery: RecoveryStats {
                begun: welcomed.saturating_sub(resumed),
                resumed,
                fell_behind: all.totals.fell_behind,
                recovered: all.totals.recovered,
                gaps: all.totals.gaps,
            },
            requests: RequestStats { total: requests.asked.get(), refused: requests.refused.get() },
            backplane: app.backplane.status(),
            members: app.namespaces.members(),
            latency_us: Latency::of(shards.iter().map(|(stats, _)| &stats.latency)),
            shards: shards
                .iter()
                .map(|(stats, live)| ShardSnapshot {
                    sessions: live.sessions,
                    subscriptions: live.subscriptions,
                    delivered: Delivered::of(&live.totals),
                    dropped: Dropped::of(&live.totals),
                    queued_bytes: QueuedBytes::of(live),
                    latency_us: Latency::of([&stats.latency]),
                })
                .collect(),
        }
    }
}

impl EventsStats {
    pub(crate) fn of(app: &App) -> Self {
        let all = sum(app.live().iter().map(|(_, live)| live));
        let mut logged = [0; Priority::COUNT];
        for priority in Priority::URGENT_FIRST {
            logged[priority as usize] = app.stats.published[priority].get();
        }
        let by_priority = PriorityCounts::new(logged, app.stats.published_volatile.get());
        Self {
            instance: app.config.instance.clone(),
            uptime_s: app.started.elapsed().as_secs(),
            published: Published {
                total: by_priority.total(),
                by_priority,
                refused: app.stats.refused.get(),
                invalid: app.event_schemas.violations(),
            },
            delivered: Delivered::of(&all.totals),
            dropped: Dropped::of(&all.totals),
            rates: app.stats.samples.rates(Sample::of(app)),
            bus: BusSnapshot::of(&app.bus),
            lanes: app.backplane.lanes().into_iter().map(LaneSnapshot::of).collect(),
            store: app.store.as_ref().map(|store| store.status()),
        }
    }
}
