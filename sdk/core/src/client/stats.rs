//! What a client has counted.

use super::round_trips::RoundTrips;
use crate::event::Priority;

/// Counters since the client was made, and what waits at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// What was counted.
    pub counters: Counters,
    /// How long after it was sent each acknowledged publish had its acknowledgement.
    pub round_trips: RoundTrips,
    /// Events published and not acknowledged, sent or not, by [`Priority`] (`low` first).
    pub queued: [usize; Priority::COUNT],
    /// The bytes of those.
    pub queued_bytes: [usize; Priority::COUNT],
    /// Events sent and not acknowledged on the connection there is.
    pub in_flight: usize,
    /// Requests waiting for their replies.
    pub requests: usize,
    /// Subscriptions, live or not.
    pub subscriptions: usize,
}

/// Counters; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// WebSocket messages received.
    pub frames_in: u64,
    /// WebSocket messages sent.
    pub frames_out: u64,
    /// Bytes of the messages received.
    pub bytes_in: u64,
    /// Bytes of the messages sent.
    pub bytes_out: u64,
    /// Events delivered to at least one subscription, volatile ones included.
    pub events: u64,
    /// Volatile events delivered.
    pub volatile_events: u64,
    /// Events delivered that were published while there was no connection, or replayed.
    pub recovered: u64,
    /// Events dropped because they had been delivered before.
    pub duplicates: u64,
    /// Gaps told.
    pub gaps: u64,
    /// Connection attempts.
    pub attempts: u64,
    /// Connections established.
    pub connects: u64,
    /// Connections established after the first, switches of transport not included.
    pub reconnects: u64,
    /// Switches of transport done.
    pub switches: u64,
    /// Publishes acknowledged.
    pub published: u64,
    /// Publishes sent again after a reconnect, a switch or a passing refusal.
    pub resent: u64,
    /// Publishes that failed for whatever reason, volatile ones included.
    pub publish_failures: u64,
    /// Volatile events sent.
    pub volatile_sent: u64,
}
