//! The log of many instances, in Redis.
//!
//! Every event is appended to its lane's stream by a script, and comes to the instances that want
//! its partition by a sharded channel; docs/redis.md tells how and why.

mod channels;
mod cluster;
mod entry;
mod health;
mod keys;
mod loader;
mod node;
mod options;
mod partition;
mod put_back;
mod reader;
mod registry;
mod script;
mod topology;
mod volatile;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};
use redis::{PushInfo, PushKind, Value};
use tidings_core::lane::{Lane, Place};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::server::LogReader;
use tidings_core::{Event, Partitioning};
use tokio::task::AbortHandle;

use self::channels::RedisChannels;
use self::cluster::Cluster;
use self::entry::Notice;
use self::health::Health;
use self::options::Options;
use self::partition::{LaneState, Partition, Partitions};
use self::put_back::Published as Kept;
use self::volatile::Volatile;
use super::{
    Backplane, BackplaneStatus, Channels, InstanceInfo, LaneStatus, Prepared, Producer, Published,
    RedisStatus, Signal,
};
use crate::backplane::memory::unix_micros;
use crate::config::{Config, ConfigError};
use crate::ids::random_id;
use crate::stats::Counter;

/// A log in Redis Cluster, or a single Redis, that all instances share.
///
/// It works in the background from when it is made until it is dropped.
pub struct RedisBackplane {
    inner: Arc<Inner>,
    /// Makes publishes that have no number recognisable when they are sent again.
    producer: Arc<str>,
    next_number: AtomicU64,
}

struct Inner {
    options: Arc<Options>,
    seeds: Vec<redis::Client>,
    cluster: Cluster,
    /// Made when they are wanted first.
    channels: OnceLock<Arc<RedisChannels>>,
    partitions: Arc<Partitions>,
    signals: Arc<RwLock<Vec<Arc<Signal>>>>,
    health: Arc<Health>,
    counts: Arc<Counts>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    volatile: Volatile,
    /// Sessions and connections, as last told.
    figures: Mutex<(u64, u64)>,
    instances: Mutex<Vec<InstanceInfo>>,
    started_ms: u64,
    runtime: tokio::runtime::Handle,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What has happened since the start.
#[derive(Default)]
struct Counts {
    appended: Counter,
    duplicates: Counter,
    append_calls: Counter,
    refused: Counter,
    notified: Counter,
    reads: Counter,
    put_back: Counter,
}

impl RedisBackplane {
    /// Makes the backplane that `config.redis` describes. Connections are made in the background;
    /// [`status`](Backplane::status) tells when Redis has been reached. `config.instance` must be
    /// this instance's own name.
    ///
    /// # Errors
    /// If a URL or file is no good.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let options = Arc::new(Options::new(config));
        let seeds = options::seeds(config)?;
        let count = options.partitioning.count();
        let partition = |number| Arc::new(Partition::new(&options.prefix, number));
        let partitions: Arc<Partitions> = Arc::new((0..count).map(partition).collect());
        let signals = Arc::<RwLock<Vec<Arc<Signal>>>>::default();
        let counts = Arc::new(Counts::default());
        let health = Arc::new(Health::new());
        let ears = Ears {
            prefix: options.prefix.clone(),
            tag: options.tag.clone(),
            partitions: Arc::clone(&partitions),
            signals: Arc::clone(&signals),
            counts: Arc::clone(&counts),
        };
        let pushed = Arc::new(move |info| ears.hear(info));
        let known = (Arc::clone(&options), seeds.clone());
        let cluster = Cluster::new(known.0, known.1, pushed, Arc::clone(&health));
        let (volatile, outgoing) = Volatile::new();
        let inner = Arc::new(Inner {
            options,
            seeds,
            cluster,
            channels: OnceLock::new(),
            partitions,
            signals,
            health,
            counts,
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            volatile,
            figures: Mutex::default(),
            instances: Mutex::default(),
            started_ms: unix_micros() / 1000,
            runtime: tokio::runtime::Handle::current(),
            tasks: Mutex::default(),
        });
        inner.spawn(registry::reach(Arc::clone(&inner)));
        inner.spawn(registry::beat(Arc::clone(&inner)));
        inner.spawn(volatile::send(Arc::clone(&inner), outgoing));
        Ok(Self { inner, producer: random_id().into(), next_number: AtomicU64::new(0) })
    }

    fn partition(&self, lane: Lane) -> Option<&Arc<Partition>> {
        self.inner.partitions.get(usize::from(lane.partition()))
    }

    fn lane(&self, lane: Lane) -> Option<&LaneState> {
        self.partition(lane).map(|partition| &partition.lanes[lane.priority() as usize])
    }
}

impl Drop for RedisBackplane {
    fn drop(&mut self) {
        for task in self.inner.tasks.lock().drain(..) {
            task.abort();
        }
    }
}

impl fmt::Debug for RedisBackplane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplane").finish_non_exhaustive()
    }
}

impl Inner {
    /// Runs a task for as long as the backplane lives.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        if tasks.len() >= 64 && tasks.len().is_power_of_two() {
            tasks.retain(|task| !task.is_finished());
        }
        tasks.push(self.runtime.spawn(task).abort_handle());
    }

    /// Something new is in a lane.
    fn raise(&self, lane: Lane) {
        for signal in self.signals.read().iter() {
            signal.raise(lane);
        }
    }

    /// Older events of a lane are in memory now, or it can be told that there are none.
    fn raise_loaded(&self, lane: Lane) {
        for signal in self.signals.read().iter() {
            signal.raise_loaded(lane);
        }
    }
}

/// Takes in what Redis pushes.
struct Ears {
    prefix: String,
    /// What this instance puts on its own volatile events: it has handed them out already.
    tag: String,
    partitions: Arc<Partitions>,
    signals: Arc<RwLock<Vec<Arc<Signal>>>>,
    counts: Arc<Counts>,
}

impl Ears {
    fn hear(&self, info: PushInfo) {
        let [Value::BulkString(channel), rest @ ..] = info.data.as_slice() else { return };
        let number = keys::partition_of(&self.prefix, channel);
        let Some(partition) = number.and_then(|n| self.partitions.get(usize::from(n))) else {
            return;
        };
        match (info.kind, rest) {
            (PushKind::SMessage, [Value::BulkString(message), ..]) => {
                match Notice::parse(message) {
                    Some(Notice::Appended(appended)) => {
                        if let Some((lane, count)) = partition.appended(appended) {
                            self.counts.notified.add(count);
                            for signal in self.signals.read().iter() {
                                signal.raise(lane);
                            }
                        }
                    }
                    Some(Notice::Volatile { sender, event }) => {
                        if sender != self.tag {
                            raise_volatile(&self.signals, partition, event);
                        }
                    }
                    None => tracing::error!("a notice of Redis cannot be read"),
                }
            }
            (PushKind::SUnsubscribe, _) => {
                partition.unsubscribed.store(true, Ordering::Release);
                partition.wake.notify_one();
            }
            _ => {}
        }
    }
}

fn raise_volatile(signals: &RwLock<Vec<Arc<Signal>>>, partition: &Partition, mut event: Event) {
    event.time = unix_micros() / 1000;
    let event = Arc::new(event);
    for signal in signals.read().iter() {
        signal.raise_volatile(partition.lanes[0].lane.partition(), &event);
    }
}

impl LogReader for RedisBackplane {
    fn read(
        &self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        let (Some(partition), Some(state)) = (self.partition(lane), self.lane(lane)) else {
            return Read::Done(None);
        };
        // Not read here yet: whoever waits is told when it is.
        let read = state.log.lock().as_ref().map(|log| log.read(after, limit, out));
        match read {
            Some(Read::Done(gap)) => Read::Done(gap),
            Some(Read::Later) => {
                let known = after.epoch == state.known().epoch;
                let from = if known { after.offset } else { Place::default().offset };
                loader::load(&self.inner, partition, lane.priority() as usize, from);
                Read::Later
            }
            None => {
                reader::want(&self.inner, partition);
                Read::Later
            }
        }
    }
}

impl Backplane for RedisBackplane {
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published {
        let lane = Lane::new(self.inner.options.partitioning.of_name(&event.name), event.priority);
        let Some(partition) = self.partition(lane) else {
            return Published::Now(Err(Refusal::new(ErrorCode::INTERNAL, "no such lane")));
        };
        let (producer, number) = producer.unwrap_or_else(|| {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed) + 1;
            (Arc::clone(&self.producer), number)
        });
        let kept = Kept { producer, number, event: entry::encode(&event).into() };
        let answered = writer::publish(&self.inner, partition, event.priority, kept);
        Published::Later(Box::pin(async move {
            let gone = || Refusal::new(ErrorCode::UNAVAILABLE, "the server is going away");
            answered.await.unwrap_or_else(|_| Err(gone()))
        }))
    }

    fn publish_volatile(&self, event: Event) {
        let number = self.inner.options.partitioning.of_name(&event.name);
        let Some(partition) = self.inner.partitions.get(usize::from(number)) else { return };
        self.inner.volatile.push(number, Notice::volatile(&self.inner.options.tag, &event));
        raise_volatile(&self.inner.signals, partition, event);
    }

    fn partitioning(&self) -> &Partitioning {
        &self.inner.options.partitioning
    }

    fn prepare(&self, numbers: &mut dyn Iterator<Item = u16>) -> Option<Prepared> {
        let mut cold = Vec::new();
        for partition in numbers.filter_map(|n| self.inner.partitions.get(usize::from(n))) {
            reader::want(&self.inner, partition);
            if !*partition.warm.borrow() {
                cold.push(partition.warm.subscribe());
            }
        }
        if cold.is_empty() {
            return None;
        }
        let inner = Arc::clone(&self.inner);
        Some(Box::pin(async move {
            inner.health.until_reached().await;
            let all = async {
                for mut warm in cold {
                    // Fails only when the backplane is gone.
                    let _ = warm.wait_for(|warm| *warm).await;
                }
            };
            // Redis is away: what comes later is read from where the lanes stand by the clock.
            let _ = tokio::time::timeout(inner.options.command_timeout, all).await;
        }))
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn head(&self, lane: Lane) -> Place {
        self.lane(lane).map(LaneState::head).unwrap_or_default()
    }

    fn attach(&self, signal: Arc<Signal>) {
        self.inner.signals.write().push(signal);
    }

    fn channels(&self) -> Option<Arc<dyn Channels>> {
        let inner = &self.inner;
        let new = || {
            let seeds = inner.seeds.clone();
            Arc::new(RedisChannels::new(&inner.options, seeds, &inner.runtime))
        };
        Some(Arc::clone(inner.channels.get_or_init(new)) as Arc<dyn Channels>)
    }

    fn tell(&self, sessions: u64, connections: u64) {
        *self.inner.figures.lock() = (sessions, connections);
    }

    fn status(&self) -> BackplaneStatus {
        let inner = &self.inner;
        let mut masters: Vec<_> = inner.cluster.topology().masters().map(str::to_owned).collect();
        masters.sort();
        masters.dedup();
        let warm = inner.partitions.iter().filter(|partition| *partition.warm.borrow());
        let counts = &inner.counts;
        BackplaneStatus {
            kind: "redis",
            ready: inner.health.is_reached(),
            trouble: inner.health.now(),
            redis: Some(RedisStatus {
                masters,
                partitions_read: warm.count(),
                waiting: inner.waiting.load(Ordering::Relaxed),
                waiting_bytes: inner.waiting_bytes.load(Ordering::Relaxed),
                appended: counts.appended.get(),
                duplicates: counts.duplicates.get(),
                append_calls: counts.append_calls.get(),
                refused: counts.refused.get(),
                notified: counts.notified.get(),
                reads: counts.reads.get(),
                put_back: counts.put_back.get(),
                instances: inner.instances.lock().clone(),
            }),
        }
    }

    fn lanes(&self) -> Vec<LaneStatus> {
        let states = self.inner.partitions.iter().flat_map(|partition| &partition.lanes);
        let status = |state: &LaneState| {
            let mut log = state.log.lock();
            let log = log.as_mut()?;
            log.trim(unix_micros() / 1000);
            let (lane, floor, head) = (log.lane(), log.floor(), log.head());
            let used = head.offset > log.start() || !log.is_empty();
            used.then(|| LaneStatus { lane, floor, head, events: log.len(), bytes: log.bytes() })
        };
        states.filter_map(status).collect()
    }
}
