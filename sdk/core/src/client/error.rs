//! What can go wrong, and what to do about it.

use std::time::Duration;

use crate::event::Priority;
use crate::message::{Advice, Close, Refusal};
use crate::time::Brief;

/// An event was not published, or it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The queue of its priority is full; nothing was queued.
    #[error(
        "the publish queue for priority {priority} is full ({count} events, {bytes} bytes wait); \
         publish slower or raise its limits"
    )]
    QueueFull {
        /// Which queue.
        priority: Priority,
        /// How many events wait in it.
        count: usize,
        /// How many bytes wait in it.
        bytes: usize,
    },
    /// It waited too long for a connection and was never sent.
    #[error("not sent within {}: there was no connection that could take it", Brief(*.0))]
    Expired(Duration),
    /// It was sent and not acknowledged in time: it may or may not be in the log.
    #[error("not acknowledged within {}: it may or may not have been published", Brief(*.0))]
    TimedOut(Duration),
    /// It is volatile and there was no connection that could take it at once.
    #[error("not sent: volatile events are dropped while no connection can take them at once")]
    NotConnected,
    /// The server refused it.
    #[error("the server refused it: {0}")]
    Refused(Refusal),
    /// The client is closed.
    #[error("the client is closed: {}", .0.reason)]
    Closed(Close),
}

impl PublishError {
    /// What the caller should do.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::QueueFull { .. } | Self::Expired(_) | Self::TimedOut(_) | Self::NotConnected => {
                Advice::Retry
            }
            Self::Refused(refusal) => refusal.code.advice(),
            Self::Closed(_) => Advice::GiveUp,
        }
    }
}

/// A request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// As many requests as allowed are waiting already.
    #[error("{0} requests are waiting for their replies already")]
    TooMany(usize),
    /// No reply came in time.
    #[error("no reply within {}", Brief(*.0))]
    TimedOut(Duration),
    /// The connection it was sent on ended: whether it was handled is not known.
    #[error("the connection ended before the reply came: {}", .0.reason)]
    Disconnected(Close),
    /// The server, or the handler there, refused it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The client is closed.
    #[error("the client is closed: {}", .0.reason)]
    Closed(Close),
}

impl RequestError {
    /// What the caller should do.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::TooMany(_) | Self::TimedOut(_) | Self::Disconnected(_) => Advice::Retry,
            Self::Refused(refusal) => refusal.code.advice(),
            Self::Closed(_) => Advice::GiveUp,
        }
    }
}

/// The session goes on by the transport it had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwitchError {
    /// The new transport did not come up.
    #[error("the new transport did not come up: {}", .0.reason)]
    Failed(Close),
    /// Another switch was asked for before this one was done.
    #[error("another switch was asked for before this one was done")]
    Superseded,
    /// The client is closed.
    #[error("the client is closed: {}", .0.reason)]
    Closed(Close),
}

impl SwitchError {
    /// What the caller should do.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Failed(close) => close.code.advice(),
            Self::Superseded => Advice::Retry,
            Self::Closed(_) => Advice::GiveUp,
        }
    }
}

/// The application could not provide a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TokenError {
    /// Why, for people.
    pub reason: String,
    /// Whether asking again can help. If not, the client gives up.
    pub retryable: bool,
}
