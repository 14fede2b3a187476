//! How the connection is doing.

use std::sync::Arc;
use std::time::Duration;

use crate::message::{Close, CloseCode};

use super::Transport;

/// The states of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The first connection is being established.
    Connecting,
    /// Messages flow.
    Connected,
    /// A connection was lost, or the first attempt failed; the next one is made or waited for.
    Reconnecting,
    /// No connection will be made any more.
    Closed,
}

/// The state of a client, and why it is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The state.
    pub state: State,
    /// What carries messages now; `None` while nothing does.
    pub transport: Option<Transport>,
    /// Why the last connection ended; [`CloseCode`] zero if none has ended.
    pub code: CloseCode,
    /// The same, for people.
    pub reason: Arc<str>,
    /// Whether the client goes on trying by itself.
    pub retryable: bool,
    /// How long after this status was reported the next attempt begins; `None` while one is being
    /// made, or none will be.
    pub next_attempt: Option<Duration>,
}

impl Status {
    /// The status a client starts with.
    pub fn starting() -> Self {
        Self {
            state: State::Connecting,
            transport: None,
            code: CloseCode(0),
            reason: "connecting".into(),
            retryable: true,
            next_attempt: None,
        }
    }

    /// The status of a client that is over, for this reason: its last one.
    pub fn closed(close: &Close) -> Self {
        Self {
            state: State::Closed,
            transport: None,
            code: close.code,
            reason: close.reason.as_str().into(),
            retryable: false,
            next_attempt: None,
        }
    }
}
