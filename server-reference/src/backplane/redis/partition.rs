//! What is known here of one partition.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tidings_core::Priority;
use tidings_core::lane::{Epoch, Lane, Offset, Place};
use tidings_core::log::{Copied, Entry, LaneLog, Retention};
use tokio::sync::{Notify, watch};

use super::entry::Appended;
use super::keys::{LaneKeys, channel, slot};
use super::loader::Loading;
use super::writer::Writing;
use crate::backplane::memory::unix_micros;

/// What is known here of one partition, and what is going on about it.
pub(super) struct Partition {
    /// The hash slot its keys and its channel are in.
    pub(super) slot: u16,
    pub(super) channel: String,
    /// What reading it, and publishing to it, are called in reports of health.
    pub(super) titles: [String; 2],
    /// By priority, `low` first.
    pub(super) lanes: [LaneState; Priority::COUNT],
    pub(super) reading: Mutex<Reading>,
    /// Whether the lanes can be read here.
    pub(super) warm: watch::Sender<bool>,
    /// Wakes the task that reads it.
    pub(super) wake: Notify,
    /// Redis has ended the subscription.
    pub(super) unsubscribed: AtomicBool,
}

/// Whether the partition is read, and for whom.
pub(super) struct Reading {
    /// Whether there is a task that reads it.
    pub(super) running: bool,
    /// When somebody last wanted it.
    pub(super) wanted: Instant,
}

/// One lane of it.
pub(super) struct LaneState {
    pub(super) lane: Lane,
    pub(super) keys: LaneKeys,
    /// The last place that is known to be in the log, read here or not.
    known: Mutex<Place>,
    /// No offset up to this one is given to an event again, whatever became of it.
    given: AtomicU64,
    /// The copy of its tail, while it is read here.
    pub(super) log: Mutex<Option<LaneLog>>,
    /// Events are missing from the copy: to be read.
    pub(super) hole: AtomicBool,
    /// The log lacks events that are in the copy: a failover has lost them.
    pub(super) lost: AtomicBool,
    pub(super) loading: Mutex<Loading>,
    pub(super) writing: Mutex<Writing>,
    /// Only one at a time puts back what was lost.
    pub(super) putting_back: tokio::sync::Mutex<()>,
}

impl Partition {
    pub(super) fn new(prefix: &str, number: u16) -> Self {
        let channel = channel(prefix, number);
        let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        Self {
            slot: slot(&channel),
            titles: ["reading", "publishing to"].map(|what| format!("{what} partition {number}")),
            lanes: lanes.map(|priority| LaneState::new(prefix, Lane::new(number, priority))),
            reading: Mutex::new(Reading { running: false, wanted: Instant::now() }),
            warm: watch::Sender::new(false),
            wake: Notify::new(),
            unsubscribed: AtomicBool::new(false),
            channel,
        }
    }

    /// Takes in what a notice tells. Returns the lane if it has something new, and how many.
    pub(super) fn appended(&self, appended: Appended<'_>) -> Option<(Lane, u64)> {
        let state = &self.lanes[appended.priority as usize];
        let epoch = appended.epoch;
        let mut guard = state.log.lock();
        let log = guard.as_mut()?;
        if log.head().epoch != epoch {
            state.hole.store(true, Ordering::Release);
            self.wake.notify_one();
            return None;
        }
        let now_ms = unix_micros() / 1000;
        let mut news = 0;
        for event in appended {
            let head = log.head().offset.0;
            if event.offset <= head {
                continue;
            }
            if event.previous > head {
                state.hole.store(true, Ordering::Release);
                self.wake.notify_one();
                break;
            }
            if event.previous < head {
                state.lost.store(true, Ordering::Release);
                self.wake.notify_one();
            }
            news += u64::from(state.copy(log, now_ms, event.offset, event.entry(state.lane)));
        }
        let head = log.head();
        drop(guard);
        state.learn(head);
        (news > 0).then_some((state.lane, news))
    }
}

impl LaneState {
    fn new(prefix: &str, lane: Lane) -> Self {
        Self {
            lane,
            keys: LaneKeys::new(prefix, lane),
            known: Mutex::default(),
            given: AtomicU64::new(0),
            log: Mutex::default(),
            hole: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            loading: Mutex::default(),
            writing: Mutex::default(),
            putting_back: tokio::sync::Mutex::default(),
        }
    }

    /// Adds an entry to the copy. One that cannot be decoded is passed over, and told in the log:
    /// it was written by another version.
    pub(super) fn copy(
        &self,
        log: &mut LaneLog,
        now_ms: u64,
        offset: u64,
        entry: Option<Entry>,
    ) -> bool {
        let Some(entry) = entry else {
            tracing::error!(lane = %self.lane, offset, "an event in Redis cannot be read");
            return false;
        };
        log.copy(now_ms, entry) == Copied::New
    }

    /// The last place that is known.
    pub(super) fn known(&self) -> Place {
        *self.known.lock()
    }

    /// The last offset that is known to have been given out.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Acquire)
    }

    /// The log has lost what came after `place`, and nobody here knows what that was.
    pub(super) fn unlearn(&self, place: Place) {
        *self.known.lock() = place;
    }

    /// The lane has come to this place.
    pub(super) fn learn(&self, place: Place) {
        self.given.fetch_max(place.offset.0, Ordering::AcqRel);
        let mut known = self.known.lock();
        if known.epoch != place.epoch || known.offset < place.offset {
            *known = place;
        }
    }

    /// Where the lane stands here. While it is not read here: now, by this clock, or the last
    /// place known if that is later.
    pub(super) fn head(&self) -> Place {
        if let Some(log) = &*self.log.lock() {
            return log.head();
        }
        let known = self.known();
        Place { epoch: known.epoch, offset: known.offset.max(Offset(unix_micros())) }
    }

    /// Begins the copy at `head`, or begins it again where the history is another one or the
    /// events after the copy's head are gone: everything after `floor` is still there. Returns
    /// whether readers have something to find out.
    pub(super) fn begin(
        &self,
        epoch: Epoch,
        head: Offset,
        floor: Offset,
        retention: &Retention,
    ) -> bool {
        let mut log = self.log.lock();
        let again = match &*log {
            Some(copy) => copy.head().epoch != epoch || copy.head().offset < floor,
            None => false,
        };
        if again {
            let mut copy =
                LaneLog::copy_of(self.lane, Place { epoch, offset: floor }, retention.clone());
            copy.put_in_front(0, Vec::new(), Some(floor));
            *log = Some(copy);
            self.hole.store(true, Ordering::Release);
        } else if log.is_none() {
            let place = Place { epoch, offset: head };
            *log = Some(LaneLog::copy_of(self.lane, place, retention.clone()));
        }
        drop(log);
        self.learn(Place { epoch, offset: head });
        again
    }
}

/// The partitions, by number.
pub(super) type Partitions = Box<[Arc<Partition>]>;
