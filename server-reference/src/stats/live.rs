//! What connections have been through, and what waits for them.

use std::ops::AddAssign;

use tidings_core::Priority;
use tidings_core::server::Feed;

use crate::connection::Connection;

/// What connections have been through since they began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Events queued to be written, by priority.
    pub(crate) delivered: [u64; Priority::COUNT],
    /// Volatile events queued to be written.
    pub(crate) volatile: u64,
    /// Of the events, those that were read from the log for one connection.
    pub(crate) recovered: u64,
    /// Events of low priority that a full queue cost.
    pub(crate) dropped_low: u64,
    /// Volatile events that a full queue cost.
    pub(crate) dropped_volatile: u64,
    /// How often a lane went on by reading the log because the queue was full.
    pub(crate) fell_behind: u64,
    /// Gaps told.
    pub(crate) gaps: u64,
    /// Bytes written.
    pub(crate) written_bytes: u64,
}

impl Totals {
    /// What one connection has been through.
    pub(crate) fn of(connection: &Connection) -> Self {
        connection.with_feed(|feed| Self::of_feed(feed, connection.bytes_written()))
    }

    fn of_feed(feed: &Feed, written_bytes: u64) -> Self {
        let feed = feed.stats();
        Self {
            delivered: feed.events,
            volatile: feed.volatile.saturating_sub(feed.dropped_volatile),
            recovered: feed.recovered,
            dropped_low: feed.dropped_low,
            dropped_volatile: feed.dropped_volatile,
            fell_behind: feed.fell_behind,
            gaps: feed.gaps,
            written_bytes,
        }
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        for (sum, n) in self.delivered.iter_mut().zip(other.delivered) {
            *sum += n;
        }
        self.volatile += other.volatile;
        self.recovered += other.recovered;
        self.dropped_low += other.dropped_low;
        self.dropped_volatile += other.dropped_volatile;
        self.fell_behind += other.fell_behind;
        self.gaps += other.gaps;
        self.written_bytes += other.written_bytes;
    }
}

/// The connections of a shard at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// How many there are.
    pub(crate) sessions: u64,
    /// How many subscriptions they have.
    pub(crate) subscriptions: u64,
    /// Bytes of events that wait for them, by priority.
    pub(crate) queued: [u64; Priority::COUNT],
    /// Bytes of volatile events that wait for them.
    pub(crate) queued_volatile: u64,
    /// Bytes of everything else that waits for them.
    pub(crate) queued_control: u64,
    /// What they have been through, together with those that have ended.
    pub(crate) totals: Totals,
}

impl Live {
    /// One connection.
    pub(crate) fn of(connection: &Connection) -> Self {
        connection.with_feed(|feed| {
            let outbox = feed.outbox();
            let mut queued = [0; Priority::COUNT];
            for priority in Priority::URGENT_FIRST {
                queued[priority as usize] = outbox.event_bytes(priority) as u64;
            }
            Self {
                sessions: 1,
                subscriptions: feed.subscriptions() as u64,
                queued,
                queued_volatile: outbox.volatile_bytes() as u64,
                queued_control: outbox.control_bytes() as u64,
                totals: Totals::of_feed(feed, connection.bytes_written()),
            }
        })
    }
}

impl AddAssign for Live {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.subscriptions += other.subscriptions;
        for (sum, n) in self.queued.iter_mut().zip(other.queued) {
            *sum += n;
        }
        self.queued_volatile += other.queued_volatile;
        self.queued_control += other.queued_control;
        self.totals += other.totals;
    }
}
