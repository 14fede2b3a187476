//! What goes into the manager and what comes out of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::engineio::{Carrier, CloseReason};
use crate::io::Io;
use crate::json;
use crate::message::{Advice, Close, CloseCode};
use crate::socketio::{Args, INVALID_NAMESPACE};

use super::super::control;

/// One socket of a manager: a namespace. Never used for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketKey(pub(super) u32);

/// Joins an event that wants an acknowledgement with what becomes of it. Chosen by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmitId(pub u64);

/// Joins a request for `auth` with its answer. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthRequest(pub(super) u64);

/// An event of the server that waits for an acknowledgement, to be given back with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckKey {
    pub(super) socket: SocketKey,
    /// Which of the socket's connections it came on.
    pub(super) joined: u64,
    pub(super) id: u64,
}

/// An event to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emit {
    /// The name and what comes with it.
    pub args: Args,
    /// Set when an acknowledgement is wanted.
    pub ack: Option<EmitId>,
    /// How long to wait for it; as configured if `None`.
    pub timeout: Option<Duration>,
    /// Send it now or never: it is dropped unless the connection takes it at once.
    pub volatile: bool,
}

/// What the manager wants.
#[derive(Debug, Clone, PartialEq)]
pub enum ManagerOutput {
    /// The driver is to do this.
    Io(Io),
    /// The driver is to ask the application for `auth`, and to answer with
    /// [`ManagerMachine::authenticate`](super::ManagerMachine::authenticate).
    NeedAuth {
        /// Which socket wants it.
        socket: SocketKey,
        /// Joins the answer.
        request: AuthRequest,
    },
    /// The application is to learn this.
    App(ManagerNotice),
}

/// What the application should learn.
#[derive(Debug, Clone, PartialEq)]
pub enum ManagerNotice {
    /// The connection's state changed.
    Status(ManagerStatus),
    /// The server has granted the namespace.
    Connected {
        /// To which socket.
        socket: SocketKey,
        /// The socket's id.
        id: String,
        /// Whether the server has restored the socket's state: rooms, data, and events missed.
        recovered: bool,
    },
    /// The server has refused the namespace, or it could not be asked.
    ConnectError {
        /// Which socket is concerned.
        socket: SocketKey,
        /// Why.
        error: ConnectError,
    },
    /// A socket that was connected is so no more.
    Disconnected {
        /// Which one.
        socket: SocketKey,
        /// Why.
        reason: DisconnectReason,
        /// More about it.
        detail: String,
        /// Whether it comes back by itself.
        will_reconnect: bool,
    },
    /// An event of the server.
    Event {
        /// To which socket.
        socket: SocketKey,
        /// The name and what comes with it.
        args: Args,
        /// Set when the server waits for an acknowledgement.
        ack: Option<AckKey>,
    },
    /// An event goes out; only for sockets [watched](super::ManagerMachine::watch_outgoing).
    Outgoing {
        /// From which socket.
        socket: SocketKey,
        /// The name and what comes with it.
        args: Args,
    },
    /// What became of an event that wants an acknowledgement.
    Acked {
        /// Which one.
        emit: EmitId,
        /// The acknowledgement.
        result: Result<Args, AckError>,
    },
}

/// How the connection that all sockets share is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagerStatus {
    /// Its state.
    pub state: ManagerState,
    /// What carries it; `None` while nothing does.
    pub transport: Option<Carrier>,
    /// How many attempts in a row have failed.
    pub failed_attempts: u32,
    /// How long after this was reported the next attempt begins, if one is waited for.
    pub next_attempt: Option<Duration>,
}

/// The states of a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManagerState {
    /// No socket wants a connection.
    Idle,
    /// A connection is being opened for the first time.
    Connecting,
    /// There is one.
    Connected,
    /// It was lost or could not be opened; the next attempt is made or waited for.
    Reconnecting,
    /// The manager is closed.
    Closed,
}

/// Why a socket is disconnected, in Socket.IO's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The server has disconnected the socket. It does not come back by itself.
    ServerDisconnect,
    /// The application has. It does not come back by itself.
    ClientDisconnect,
    /// The server's ping did not come in time.
    PingTimeout,
    /// The connection was closed.
    TransportClose,
    /// The connection has met an error.
    TransportError,
    /// The server has sent what is no packet.
    ParseError,
}

impl DisconnectReason {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerDisconnect => "io server disconnect",
            Self::ClientDisconnect => "io client disconnect",
            Self::PingTimeout => "ping timeout",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::ParseError => "parse error",
        }
    }

    /// What to do about it: nothing where the socket comes back by itself.
    pub const fn advice(self) -> Advice {
        match self {
            Self::ServerDisconnect | Self::ClientDisconnect => Advice::GiveUp,
            _ => Advice::Retry,
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::PingTimeout => Self::PingTimeout,
            CloseReason::TransportClose => Self::TransportClose,
            CloseReason::TransportError => Self::TransportError,
            CloseReason::ForcedClose => Self::ClientDisconnect,
        }
    }
}

/// A socket could not be connected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// The server's message, or what went wrong before it could be asked.
    pub message: String,
    /// What the server's middleware has attached: JSON.
    pub data: Option<Bytes>,
    /// Whether the socket tries again by itself.
    pub will_retry: bool,
    pub(super) advice: Advice,
}

impl ConnectError {
    /// What to do about it: [`Retry`](Advice::Retry) when the server could not be reached,
    /// [`RefreshAuth`](Advice::RefreshAuth) when it refused and did not say that something else is
    /// wrong, [`GiveUp`](Advice::GiveUp) when it has no such namespace. Servers may put a code into
    /// `data`, as Tidings does: its range decides.
    pub const fn advice(&self) -> Advice {
        self.advice
    }

    pub(super) fn unreachable(close: &Close, will_retry: bool) -> Self {
        let advice = match close.code {
            CloseCode::UNAUTHORIZED => Advice::RefreshAuth,
            CloseCode::UNSUPPORTED => Advice::GiveUp,
            _ => Advice::Retry,
        };
        Self { message: close.reason.clone(), data: None, will_retry, advice }
    }

    /// As a CONNECT_ERROR packet tells it: an object, or a message alone from older servers.
    pub(super) fn refused(json: &Bytes) -> Self {
        let value = json::parse(json, json::MAX_DEPTH).ok();
        let message = value.and_then(|v| v.as_str().or_else(|| v.get("message")?.as_str()));
        let message = message.map_or_else(|| "refused".to_owned(), |said| said.into_owned());
        let data = value.and_then(|value| value.get("data")).filter(|data| !data.is_null());
        let told = data.and_then(|data| control::read_close(data, &message));
        let told = told.filter(|close| close.code.0 >= CloseCode::GOING_AWAY.0);
        let advice = match told {
            Some(close) => close.code.advice(),
            None if message == INVALID_NAMESPACE => Advice::GiveUp,
            None => Advice::RefreshAuth,
        };
        let data = data.map(|data| Bytes::copy_from_slice(data.raw().as_bytes()));
        Self { message, data, will_retry: false, advice }
    }
}

/// There is no acknowledgement. Unless it was [`Dropped`](Self::Dropped) or
/// [`Expired`](Self::Expired), the server may have got the event all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// None came in time.
    #[error("operation has timed out")]
    Timeout,
    /// The connection ended before it came.
    #[error("socket has been disconnected: {0}")]
    Disconnected(DisconnectReason),
    /// The event was not sent: it was volatile and the connection did not take it at once, or too
    /// many others waited.
    #[error("the event was dropped without being sent")]
    Dropped,
    /// The event was not sent: it has waited for a connection for too long.
    #[error("the event has waited for a connection for too long")]
    Expired,
    /// The acknowledgement cannot be read.
    #[error("the acknowledgement cannot be read: {0}")]
    Unreadable(String),
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

impl AckError {
    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Timeout | Self::Disconnected(_) | Self::Dropped | Self::Expired => Advice::Retry,
            Self::Unreadable(_) | Self::Closed => Advice::GiveUp,
        }
    }
}

/// The application could not say who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFailure {
    /// Why.
    pub reason: String,
    /// Whether asking again may help.
    pub retryable: bool,
}
