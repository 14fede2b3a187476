//! What joins the servers: one log in memory that all share, or a Redis that each reaches alone.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tidings_core::lane::{Lane, Partitioning, Place};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::Position;
use tidings_core::server::LogReader;
use tidings_core::{Event, Priority, Time};

use crate::instance::{Instance, Token};
use crate::log::Log;

/// The log as one server reaches it.
pub(crate) enum Backplane {
    Memory(Rc<RefCell<Log>>),
    Redis(Box<RefCell<Instance>>),
}

impl Backplane {
    /// Publishes an event. `None`: the answer comes later.
    pub(crate) fn publish(
        &self,
        now: Time,
        event: Event,
        producer: Arc<str>,
        token: Token,
    ) -> Option<Position> {
        match self {
            Self::Memory(log) => Some(log.borrow_mut().append(now, event, producer, token.seq)),
            Self::Redis(instance) => {
                instance.borrow_mut().publish(now, &event, producer, token);
                None
            }
        }
    }

    /// Where a lane stands, as far as can be read here.
    pub(crate) fn head(&self, lane: Lane) -> Place {
        match self {
            Self::Memory(log) => log.borrow().head(lane),
            Self::Redis(instance) => instance.borrow().head(lane),
        }
    }

    /// Makes partitions readable here. Returns whether they are.
    pub(crate) fn prepare(&self, now: Time, partitions: impl Iterator<Item = u16>) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(instance) => instance.borrow_mut().prepare(now, partitions),
        }
    }

    /// Whether Redis has been reached since the start.
    pub(crate) fn is_reached(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(instance) => instance.borrow().is_reached(),
        }
    }

    /// Where a lane stands that can be read here.
    pub(crate) fn readable_head(&self, lane: Lane) -> Option<Place> {
        let Self::Redis(instance) = self else { return None };
        let machine = &mut instance.borrow_mut().machines[usize::from(lane.partition())];
        if !machine.is_readable() {
            return None;
        }
        machine.copies().find(|log| log.lane() == lane).map(|log| log.head())
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(instance) => instance.borrow().next_timeout(),
        }
    }

    pub(crate) fn instance(&mut self) -> Option<&mut Instance> {
        match self {
            Self::Memory(_) => None,
            Self::Redis(instance) => Some(instance.get_mut()),
        }
    }
}

impl LogReader for Backplane {
    fn read(
        &self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        match self {
            Self::Memory(log) => log.borrow().read(lane, after, limit, out),
            Self::Redis(instance) => instance.borrow_mut().read(lane, after, limit, out),
        }
    }

    fn reaches(&self, lane: Lane, place: Place) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(instance) => instance.borrow_mut().reaches(lane, place),
        }
    }
}

/// The lanes that there are.
pub(crate) fn lanes(partitioning: &Partitioning) -> impl Iterator<Item = Lane> + use<> {
    let lanes = u32::from(partitioning.count()) * Priority::COUNT as u32;
    (0..lanes).filter_map(Lane::from_number)
}
