//! The log of many instances, in Redis.
//!
//! Every event is appended to its lane's stream by a script, and comes to the instances that want
//! its partition by a sharded channel; docs/redis.md tells how and why. What is done when is decided
//! by [`tidings_core::log::shared`], which knows no Redis; here is what does it.

mod calls;
mod channels;
mod cluster;
mod collections;
mod health;
mod keys;
#[cfg(test)]
mod model;
mod node;
mod options;
mod partition;
mod registry;
mod script;
mod topology;
mod volatile;

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use redis::{PushInfo, PushKind, Value};
use tidings_core::lane::{Lane, Place};
use tidings_core::log::shared::{Counts, Notice, Now, Published as Numbered, encode};
use tidings_core::log::{LaneLog, LoggedEvent, Read};
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::server::LogReader;
use tidings_core::{Event, Partitioning, Time};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use self::channels::RedisChannels;
use self::cluster::Cluster;
use self::health::Health;
use self::options::Options;
use self::partition::{Partition, Token};
use self::volatile::Volatile;
use super::{
    Backplane, BackplaneStatus, Channels, CollectionStore, InstanceInfo, LaneStatus, Prepared,
    Producer, Published, RedisStatus, Signal,
};
use crate::clock::unix_micros;
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
    clock: Clock,
    seeds: Vec<redis::Client>,
    cluster: Cluster,
    /// Made when they are wanted first.
    channels: OnceLock<Arc<RedisChannels>>,
    /// By number.
    partitions: Box<[Arc<Partition>]>,
    signals: RwLock<Vec<Arc<Signal>>>,
    health: Arc<Health>,
    counts: Calls,
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

/// What has been asked of Redis since the start, and refused without asking.
#[derive(Default)]
struct Calls {
    append_calls: Counter,
    refused: Counter,
    reads: Counter,
}

/// Gives partitions the time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
}

impl Clock {
    fn now(self) -> Now {
        Now { time: self.time(Instant::now()), unix_micros: unix_micros() }
    }

    fn time(self, at: Instant) -> Time {
        Time::from_start(at.saturating_duration_since(self.started))
    }

    fn instant(self, at: Time) -> Instant {
        self.started + at.since_start()
    }
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
        let new = |number| Partition::new(&options.prefix, number, Arc::clone(&options.settings));
        let (partitions, work): (Vec<_>, Vec<_>) =
            (0..options.partitioning.count()).map(new).unzip();
        let health = Arc::new(Health::new());
        let (volatile, outgoing) = Volatile::new();
        let inner = Arc::new_cyclic(|inner: &Weak<Inner>| {
            let ears = Weak::clone(inner);
            let pushed = Arc::new(move |info| {
                if let Some(inner) = ears.upgrade() {
                    inner.hear(info);
                }
            });
            Inner {
                clock: Clock { started: Instant::now() },
                cluster: Cluster::new(
                    Arc::clone(&options),
                    seeds.clone(),
                    pushed,
                    Arc::clone(&health),
                ),
                channels: OnceLock::new(),
                options,
                seeds,
                partitions: partitions.into_iter().map(Arc::new).collect(),
                signals: RwLock::default(),
                health,
                counts: Calls::default(),
                waiting: AtomicUsize::new(0),
                waiting_bytes: AtomicUsize::new(0),
                volatile,
                figures: Mutex::default(),
                instances: Mutex::default(),
                started_ms: unix_micros() / 1000,
                runtime: tokio::runtime::Handle::current(),
                tasks: Mutex::default(),
            }
        });
        for (partition, work) in inner.partitions.iter().zip(work) {
            inner.spawn(partition::drive(Arc::clone(&inner), Arc::clone(partition), work));
        }
        inner.spawn(registry::reach(Arc::clone(&inner)));
        inner.spawn(registry::beat(Arc::clone(&inner)));
        inner.spawn(volatile::send(Arc::clone(&inner), outgoing));
        Ok(Self { inner, producer: random_id().into(), next_number: AtomicU64::new(0) })
    }

    fn partition(&self, lane: Lane) -> Option<&Arc<Partition>> {
        self.inner.partitions.get(usize::from(lane.partition()))
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
        self.tasks.lock().push(self.runtime.spawn(task).abort_handle());
    }

    /// What the partitions have been through, together.
    fn counts_of_all(&self) -> Counts {
        let counts = self
            .partitions
            .iter()
            .map(|partition| self.with(partition, |machine, _| machine.counts()));
        counts.fold(Counts::default(), |mut all, counts| {
            all += counts;
            all
        })
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

impl Inner {
    /// Takes in what Redis pushes.
    fn hear(&self, info: PushInfo) {
        let [Value::BulkString(channel), rest @ ..] = info.data.as_slice() else { return };
        let number = keys::partition_of(&self.options.prefix, channel);
        let Some(partition) = number.and_then(|n| self.partitions.get(usize::from(n))) else {
            return;
        };
        match (info.kind, rest) {
            (PushKind::SMessage, [Value::BulkString(message), ..]) => {
                self.notice(partition, message);
            }
            (PushKind::SUnsubscribe, _) => partition.subscription_ended(),
            _ => {}
        }
    }

    fn notice(&self, partition: &Partition, message: &[u8]) {
        match Notice::parse(message) {
            Some(Notice::Appended(appended)) => {
                self.with(partition, |machine, now| machine.appended(now, appended));
            }
            Some(Notice::Volatile { sender, event }) => {
                if sender != self.options.tag {
                    self.raise_volatile(partition, event);
                }
            }
            None => tracing::error!("a notice of Redis cannot be read"),
        }
    }

    fn raise_volatile(&self, partition: &Partition, mut event: Event) {
        event.time = unix_micros() / 1000;
        let event = Arc::new(event);
        for signal in self.signals.read().iter() {
            signal.raise_volatile(partition.number, &event);
        }
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
        let Some(partition) = self.partition(lane) else { return Read::Done(None) };
        self.inner
            .with(partition, |machine, now| machine.read(now, lane.priority(), after, limit, out))
    }

    fn reaches(&self, lane: Lane, place: Place) -> bool {
        let Some(partition) = self.partition(lane) else { return true };
        self.inner.with(partition, |machine, now| machine.reaches(now, lane.priority(), place))
    }
}

impl Backplane for RedisBackplane {
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published {
        let lane = Lane::new(self.inner.options.partitioning.of_name(&event.name), event.priority);
        let Some(partition) = self.partition(lane) else {
            return Published::Now(Err(Refusal::new(ErrorCode::INTERNAL, "no such lane")));
        };
        let Producer { id, number, sends_again } = producer.unwrap_or_else(|| Producer {
            id: Arc::clone(&self.producer),
            number: self.next_number.fetch_add(1, Ordering::Relaxed) + 1,
            sends_again: false,
        });
        let published = Numbered { producer: id, number, event: encode(&event).into() };
        let (answer, answered) = oneshot::channel();
        let size = published.event.len();
        let inner = &self.inner;
        if inner.waiting_bytes.load(Ordering::Relaxed) + size > inner.options.buffer {
            inner.counts.refused.add(1);
            let message = "too many publishes wait for Redis";
            return Published::Now(Err(Refusal::new(ErrorCode::UNAVAILABLE, message)));
        }
        inner.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        inner.waiting.fetch_add(1, Ordering::Relaxed);
        let token = Token { answer, size };
        inner.with(partition, |machine, now| {
            machine.publish(now, event.priority, published, sends_again, token);
        });
        Published::Later(Box::pin(async move {
            let gone = || Refusal::new(ErrorCode::UNAVAILABLE, "the server is going away");
            answered.await.unwrap_or_else(|_| Err(gone()))
        }))
    }

    fn publish_volatile(&self, event: Event) {
        let number = self.inner.options.partitioning.of_name(&event.name);
        let Some(partition) = self.inner.partitions.get(usize::from(number)) else { return };
        self.inner.volatile.push(number, Notice::volatile(&self.inner.options.tag, &event));
        self.inner.raise_volatile(partition, event);
    }

    fn partitioning(&self) -> &Partitioning {
        &self.inner.options.partitioning
    }

    fn prepare(&self, numbers: &mut dyn Iterator<Item = u16>) -> Option<Prepared> {
        let mut cold = Vec::new();
        for partition in numbers.filter_map(|n| self.inner.partitions.get(usize::from(n))) {
            self.inner.with(partition, |machine, now| machine.want(now));
            if !*partition.readable.borrow() {
                cold.push(partition.readable.subscribe());
            }
        }
        if cold.is_empty() {
            return None;
        }
        let inner = Arc::clone(&self.inner);
        Some(Box::pin(async move {
            inner.health.until_reached().await;
            let all = async {
                for mut readable in cold {
                    // Fails only when the backplane is gone.
                    let _ = readable.wait_for(|readable| *readable).await;
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
        let Some(partition) = self.partition(lane) else { return Place::default() };
        self.inner.with(partition, |machine, now| machine.head(now, lane.priority()))
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

    fn collections(&self) -> Option<Arc<dyn CollectionStore>> {
        Some(Arc::new(self.shared_collections()))
    }

    fn tell(&self, sessions: u64, connections: u64) {
        *self.inner.figures.lock() = (sessions, connections);
    }

    fn status(&self) -> BackplaneStatus {
        let inner = &self.inner;
        let mut masters: Vec<_> = inner.cluster.topology().masters().map(str::to_owned).collect();
        masters.sort();
        masters.dedup();
        let readable = inner.partitions.iter().filter(|partition| *partition.readable.borrow());
        let calls = &inner.counts;
        let counts = inner.counts_of_all();
        BackplaneStatus {
            kind: "redis",
            ready: inner.health.is_reached(),
            trouble: inner.health.now(),
            redis: Some(RedisStatus {
                masters,
                partitions_read: readable.count(),
                waiting: inner.waiting.load(Ordering::Relaxed),
                waiting_bytes: inner.waiting_bytes.load(Ordering::Relaxed),
                appended: counts.appended,
                duplicates: counts.duplicates,
                append_calls: calls.append_calls.get(),
                refused: counts.refused + calls.refused.get(),
                notified: counts.notified,
                reads: calls.reads.get(),
                put_back: counts.put_back,
                missed: counts.missed,
                instances: inner.instances.lock().clone(),
            }),
        }
    }

    fn lanes(&self) -> Vec<LaneStatus> {
        let mut lanes = Vec::new();
        for partition in &self.inner.partitions {
            self.inner.with(partition, |machine, now| {
                lanes.extend(machine.copies().filter_map(|log| status(log, now)));
            });
        }
        lanes
    }
}

/// What a lane holds in memory, if it has ever had an event.
fn status(log: &mut LaneLog, now: Now) -> Option<LaneStatus> {
    log.trim(now.unix_micros / 1000);
    let (lane, floor, head) = (log.lane(), log.floor(), log.head());
    let used = head.offset > log.start() || !log.is_empty();
    used.then(|| LaneStatus { lane, floor, head, events: log.len(), bytes: log.bytes() })
}
