//! What can go wrong with events.

use tidings_core::socketio::manager::AckError;

use crate::Advice;

/// An event was not sent, or not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The name is one of those by which Socket.IO tells what becomes of the socket.
    #[error("{0:?} is a reserved event name")]
    Reserved(String),
    /// An argument cannot be written as JSON.
    #[error("an argument cannot be written as JSON: {0}")]
    Arguments(String),
    /// Too many events wait to be sent.
    #[error("{count} events of {bytes} bytes wait to be sent: no more are taken")]
    Full {
        /// How many wait.
        count: usize,
        /// How many bytes they have.
        bytes: usize,
    },
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
    /// There is no acknowledgement.
    #[error(transparent)]
    NotAcknowledged(#[from] AckError),
}

impl EmitError {
    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Reserved(_) | Self::Arguments(_) | Self::Closed => Advice::GiveUp,
            Self::Full { .. } => Advice::Retry,
            Self::NotAcknowledged(error) => error.advice(),
        }
    }
}
