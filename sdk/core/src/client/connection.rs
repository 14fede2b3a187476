//! One connection, from the attempt to its end.

use crate::engineio::ClientTransport;
use crate::io::IoId;
use crate::link::ClientLink;
use crate::message::{Frame, SubId, Welcome};
use crate::time::{Time, earliest};

use super::io::{TokenRequest, Transport};

/// A connection or the attempt at one.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) io: IoId,
    pub(super) transport: Transport,
    pub(super) stage: Stage,
    /// What carries it; none for a WebSocket of its own.
    pub(super) engine: Option<Box<ClientTransport>>,
    /// When the attempt has failed; none once it has not; and, once another connection has taken
    /// its place, when it ends.
    pub(super) deadline: Option<Time>,
    /// Whether the WebSocket takes more frames.
    pub(super) writable: bool,
    /// The subscriptions its hello stated.
    pub(super) stated: Vec<SubId>,
    /// How many publishes the server lets be unacknowledged.
    pub(super) window: usize,
    /// The largest payload the server takes.
    pub(super) max_payload: u32,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// The driver is asked for a token.
    Token(TokenRequest),
    /// The WebSocket is being opened.
    Opening {
        /// What the hello will present.
        token: Option<String>,
    },
    /// The WebSocket is open; the hello waits until the connection that is used now has told
    /// which subscriptions it has.
    Opened {
        /// What the hello will present.
        token: Option<String>,
        /// What the server chose.
        subprotocol: Option<String>,
        /// What the server has said so far.
        frames: Vec<Frame>,
    },
    /// The hello is sent.
    Greeting(ClientLink),
    /// Welcomed.
    Live(ClientLink),
}

impl Connection {
    pub(super) const fn new(io: IoId, transport: Transport, stage: Stage, deadline: Time) -> Self {
        Self {
            io,
            transport,
            stage,
            engine: None,
            deadline: Some(deadline),
            writable: true,
            stated: Vec::new(),
            window: 0,
            max_payload: 0,
        }
    }

    /// Whether it takes more frames.
    pub(super) fn is_writable(&self) -> bool {
        self.engine.as_ref().map_or(self.writable, |engine| engine.is_writable())
    }

    /// The link, once the hello is sent.
    pub(super) fn link(&mut self) -> Option<&mut ClientLink> {
        self.stage.link()
    }

    /// The link, if the session can use it.
    pub(super) fn live(&mut self) -> Option<&mut ClientLink> {
        match &mut self.stage {
            Stage::Live(link) => Some(link),
            _ => None,
        }
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Live(_))
    }

    /// Whether the driver knows of it.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Token(_))
    }

    /// Takes it into use, on the terms of the server.
    pub(super) fn establish(&mut self, welcome: &Welcome) {
        self.deadline = None;
        self.window = welcome.max_in_flight as usize;
        self.max_payload = welcome.max_payload;
        let nothing = Stage::Opening { token: None };
        self.stage = match std::mem::replace(&mut self.stage, nothing) {
            Stage::Greeting(link) => Stage::Live(link),
            other => other,
        };
    }

    /// When it wants to be looked at.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let engine = self.engine.as_ref().and_then(|engine| engine.next_timeout());
        let link = match &self.stage {
            Stage::Live(link) | Stage::Greeting(link) => link.next_timeout(),
            Stage::Token(_) | Stage::Opening { .. } | Stage::Opened { .. } => None,
        };
        earliest(earliest(link, engine), self.deadline)
    }
}

impl Stage {
    /// The link, once the hello is sent.
    pub(super) fn link(&mut self) -> Option<&mut ClientLink> {
        match self {
            Self::Greeting(link) | Self::Live(link) => Some(link),
            Self::Token(_) | Self::Opening { .. } | Self::Opened { .. } => None,
        }
    }
}
