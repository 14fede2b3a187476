//! How readers of the log learn that there is something to read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tidings_core::Event;
use tidings_core::lane::{Lane, Partitioning};
use tokio::sync::Notify;

/// Marks the lanes in which new events wait for one reader, and wakes it.
///
/// A signal carries no events: the reader takes them from the log, as many as are there. A reader
/// that is slow therefore holds no memory, and many events cost one wake-up.
#[derive(Debug)]
pub struct Signal {
    /// One bit per lane: something new is there.
    waiting: Box<[AtomicU64]>,
    /// One bit per lane: something older has come into memory.
    loaded: Box<[AtomicU64]>,
    /// By partition: whether the reader wants it.
    interest: Box<[AtomicBool]>,
    notify: Notify,
    volatile: Mutex<VecDeque<Arc<Event>>>,
    max_volatile: usize,
}

impl Signal {
    /// A signal interested in nothing; at most `max_volatile` volatile events wait in it, the
    /// oldest go first.
    pub fn new(partitioning: &Partitioning, max_volatile: usize) -> Self {
        let lanes = usize::from(partitioning.count()) * tidings_core::Priority::COUNT;
        Self {
            waiting: (0..lanes.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            loaded: (0..lanes.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            interest: (0..partitioning.count()).map(|_| AtomicBool::new(false)).collect(),
            notify: Notify::new(),
            volatile: Mutex::default(),
            max_volatile,
        }
    }

    /// Sets whether the reader wants the events of `partition`.
    ///
    /// Whoever sets it to true reads the lanes' heads afterwards: what is appended later raises
    /// the signal.
    pub fn set_interest(&self, partition: u16, wanted: bool) {
        if let Some(flag) = self.interest.get(usize::from(partition)) {
            flag.store(wanted, Ordering::SeqCst);
        }
    }

    /// Whether the reader wants the events of `partition`.
    pub fn is_interested(&self, partition: u16) -> bool {
        self.interest
            .get(usize::from(partition))
            .is_some_and(|wanted| wanted.load(Ordering::SeqCst))
    }

    /// Something new is in `lane`.
    pub fn raise(&self, lane: Lane) {
        if !self.is_interested(lane.partition()) {
            return;
        }
        self.set(&self.waiting, lane);
    }

    /// Something older of `lane`, for which somebody waits, is in memory now.
    pub fn raise_loaded(&self, lane: Lane) {
        self.set(&self.loaded, lane);
    }

    fn set(&self, lanes: &[AtomicU64], lane: Lane) {
        let (word, bit) = (lane.number() as usize / 64, 1 << (lane.number() % 64));
        if let Some(word) = lanes.get(word)
            && word.fetch_or(bit, Ordering::AcqRel) & bit == 0
        {
            self.notify.notify_one();
        }
    }

    /// A volatile event has come.
    pub fn raise_volatile(&self, partition: u16, event: &Arc<Event>) {
        if !self.is_interested(partition) {
            return;
        }
        let mut queue = self.volatile.lock();
        if queue.len() >= self.max_volatile {
            queue.pop_front();
        }
        queue.push_back(Arc::clone(event));
        drop(queue);
        self.notify.notify_one();
    }

    /// Waits until something was raised.
    pub async fn raised(&self) {
        self.notify.notified().await;
    }

    /// Takes the lanes raised since the last call, most urgent first, into `lanes`.
    pub fn take_lanes(&self, lanes: &mut Vec<Lane>) {
        take(&self.waiting, lanes);
    }

    /// Takes the lanes of which older events have come into memory since the last call, most
    /// urgent first, into `lanes`.
    pub fn take_loaded(&self, lanes: &mut Vec<Lane>) {
        take(&self.loaded, lanes);
    }

    /// Takes the volatile events that have come.
    pub fn take_volatile(&self) -> VecDeque<Arc<Event>> {
        std::mem::take(&mut self.volatile.lock())
    }
}

fn take(from: &[AtomicU64], lanes: &mut Vec<Lane>) {
    lanes.clear();
    for (word, waiting) in from.iter().enumerate() {
        let mut bits = waiting.swap(0, Ordering::AcqRel);
        while bits != 0 {
            let number = word as u32 * 64 + bits.trailing_zeros();
            lanes.extend(Lane::from_number(number));
            bits &= bits - 1;
        }
    }
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.priority()));
}
