//! The log of a single instance, in its memory.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tidings_core::lane::{Epoch, Lane, Partitioning, Place};
use tidings_core::log::{LaneLog, LoggedEvent, Read, Retention};
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::server::LogReader;
use tidings_core::{Event, Priority};

use super::channels::MemoryChannels;
use super::{Backplane, BackplaneStatus, Channels, LaneStatus, Producer, Published, Signal};
use crate::clock::unix_micros;

/// A log in memory with the same partitions, lanes, offsets, retention and recovery as the shared
/// one. It ends with the process: after a restart clients are told a gap.
pub struct MemoryBackplane {
    partitioning: Partitioning,
    /// By lane number. Each lane has a lock of its own: lanes do not wait for each other.
    lanes: Box<[Mutex<LaneLog>]>,
    signals: RwLock<Vec<Arc<Signal>>>,
    channels: Arc<MemoryChannels>,
}

impl MemoryBackplane {
    /// An empty log. Its epoch is made from the clock, so that it differs from that of an earlier
    /// process.
    pub fn new(partitioning: Partitioning, retention: &Retention) -> Self {
        let now = unix_micros();
        let epoch = Epoch(((now / 1_000_000) as u32).max(1));
        let lanes = (0..partitioning.count()).flat_map(|partition| {
            (0..Priority::COUNT as u8)
                .filter_map(Priority::from_index)
                .map(move |priority| Lane::new(partition, priority))
        });
        let lanes = lanes
            .map(|lane| Mutex::new(LaneLog::new(lane, epoch, retention.clone(), now)))
            .collect();
        Self { partitioning, lanes, signals: RwLock::default(), channels: Arc::default() }
    }

    fn lane(&self, lane: Lane) -> Option<&Mutex<LaneLog>> {
        self.lanes.get(lane.number() as usize)
    }
}

impl LogReader for MemoryBackplane {
    fn read(
        &self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        self.lane(lane).map_or(Read::Done(None), |log| log.lock().read(after, limit, out))
    }
}

impl Backplane for MemoryBackplane {
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published {
        let lane = Lane::new(self.partitioning.of_name(&event.name), event.priority);
        let Some(log) = self.lane(lane) else {
            return Published::Now(Err(Refusal::new(ErrorCode::INTERNAL, "no such lane")));
        };
        let producer = producer.map(|producer| (producer.id, producer.number));
        let position = log.lock().append(unix_micros(), event, producer).position();
        for signal in self.signals.read().iter() {
            signal.raise(lane);
        }
        Published::Now(Ok(position))
    }

    fn publish_volatile(&self, mut event: Event) {
        event.time = unix_micros() / 1000;
        let partition = self.partitioning.of_name(&event.name);
        let event = Arc::new(event);
        for signal in self.signals.read().iter() {
            signal.raise_volatile(partition, &event);
        }
    }

    fn partitioning(&self) -> &Partitioning {
        &self.partitioning
    }

    fn head(&self, lane: Lane) -> Place {
        self.lane(lane).map(|log| log.lock().head()).unwrap_or_default()
    }

    fn attach(&self, signal: Arc<Signal>) {
        self.signals.write().push(signal);
    }

    fn channels(&self) -> Option<Arc<dyn Channels>> {
        Some(Arc::clone(&self.channels) as Arc<dyn Channels>)
    }

    fn status(&self) -> BackplaneStatus {
        BackplaneStatus { kind: "memory", ready: true, trouble: None, redis: None }
    }

    fn lanes(&self) -> Vec<LaneStatus> {
        let status = |log: &Mutex<LaneLog>| {
            let mut log = log.lock();
            log.trim(unix_micros() / 1000);
            let (lane, floor, head) = (log.lane(), log.floor(), log.head());
            let used = head.offset > log.start();
            used.then(|| LaneStatus { lane, floor, head, events: log.len(), bytes: log.bytes() })
        };
        self.lanes.iter().filter_map(status).collect()
    }
}
