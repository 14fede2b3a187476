//! What is published at this instance, by whoever.

use std::sync::Arc;

use tidings_core::lane::{Lane, Place};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::server::LogReader;
use tidings_core::{Event, Partitioning, Priority};

use super::names::Names;
use super::{ByPriority, Counter};
use crate::backplane::{
    Backplane, BackplaneStatus, Channels, CollectionStore, LaneStatus, Prepared, Producer,
    Published, Signal,
};

/// Counts what is offered to the log here: by clients, services, collections and the REST interface,
/// what is sent again and what the log refuses included.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    by_priority: ByPriority<Counter>,
    volatile: Counter,
    pub(super) names: Names,
}

impl Offered {
    /// So many by priority, and so many volatile ones, since the start.
    pub(super) fn counts(&self) -> ([u64; Priority::COUNT], u64) {
        let mut counts = [0; Priority::COUNT];
        for priority in Priority::URGENT_FIRST {
            counts[priority as usize] = self.by_priority[priority].get();
        }
        (counts, self.volatile.get())
    }
}

/// A backplane whose publishes are counted.
pub(crate) struct Counted {
    backplane: Arc<dyn Backplane>,
    offered: Arc<Offered>,
}

impl Counted {
    pub(crate) fn new(backplane: Arc<dyn Backplane>, offered: Arc<Offered>) -> Self {
        Self { backplane, offered }
    }
}

impl LogReader for Counted {
    fn read(
        &self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        self.backplane.read(lane, after, limit, out)
    }

    fn reaches(&self, lane: Lane, place: Place) -> bool {
        self.backplane.reaches(lane, place)
    }
}

impl Backplane for Counted {
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published {
        self.offered.by_priority[event.priority].add(1);
        self.offered.names.add(&event.name);
        self.backplane.publish(event, producer)
    }

    fn publish_volatile(&self, event: Event) {
        self.offered.volatile.add(1);
        self.offered.names.add(&event.name);
        self.backplane.publish_volatile(event);
    }

    fn partitioning(&self) -> &Partitioning {
        self.backplane.partitioning()
    }

    fn prepare(&self, partitions: &mut dyn Iterator<Item = u16>) -> Option<Prepared> {
        self.backplane.prepare(partitions)
    }

    fn is_shared(&self) -> bool {
        self.backplane.is_shared()
    }

    fn head(&self, lane: Lane) -> Place {
        self.backplane.head(lane)
    }

    fn attach(&self, signal: Arc<Signal>) {
        self.backplane.attach(signal);
    }

    fn channels(&self) -> Option<Arc<dyn Channels>> {
        self.backplane.channels()
    }

    fn collections(&self) -> Option<Arc<dyn CollectionStore>> {
        self.backplane.collections()
    }

    fn tell(&self, sessions: u64, connections: u64) {
        self.backplane.tell(sessions, connections);
    }

    fn status(&self) -> BackplaneStatus {
        self.backplane.status()
    }

    fn lanes(&self) -> Vec<LaneStatus> {
        self.backplane.lanes()
    }
}
