//! What goes into the machine and what comes out of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Payload;
use crate::io::{Io, IoEvent, IoId};
use crate::lane::Cursor;
use crate::message::{Delivery, Gap, Position, Publish, Refusal, RequestId, SubId, Subscribe};

use super::error::{PublishError, RequestError, SwitchError, TokenError};
use super::status::Status;

/// How connections carry messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Transport {
    /// The Tidings protocol on a plain WebSocket.
    Ws,
    /// Engine.IO 4 and Socket.IO 5.
    SocketIo,
    /// `ws` first, then `socketio` if it cannot be opened; what worked is tried first from then
    /// on.
    #[default]
    Auto,
}

impl Transport {
    /// The word for it, as used on command lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::SocketIo => "socketio",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Joins the request for a token with its answer. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenRequest(pub u64);

/// Joins a command with its result. Chosen by the driver, larger with every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A request of the server, to be answered by [`Command::Respond`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    pub(super) io: IoId,
    pub(super) id: RequestId,
}

impl Asked {
    /// A request that came by way of another client, which numbers it.
    pub const fn relayed(number: u32) -> Self {
        Self { io: IoId::first(0), id: RequestId(number) }
    }

    /// The number of the request, as who asks has given it.
    pub const fn number(self) -> u32 {
        self.id.0
    }
}

/// What the driver observed.
#[derive(Debug)]
pub enum Input {
    /// Something has happened on the network.
    Io(IoEvent),
    /// The answer to [`Output::NeedToken`].
    Token {
        /// Which request it answers.
        request: TokenRequest,
        /// The token; `None` connects without identity.
        result: Result<Option<String>, TokenError>,
    },
    /// Whether the machine has a network at all, where the driver can know. Until told otherwise
    /// it has. Without one no attempts are made; with the return of one the next is made at once.
    Online(bool),
}

/// What the application wants.
#[derive(Debug)]
pub enum Command {
    /// Connect, and stay connected from then on.
    Connect,
    /// Begin a subscription; ids are chosen by the driver and never used twice.
    Subscribe(Subscribe),
    /// End a subscription: no event for it comes out after this.
    Unsubscribe(SubId),
    /// Append an event, or send it now or never if it is volatile. Its `seq` is set here.
    Publish {
        /// Joins the result.
        ticket: Ticket,
        /// The event.
        publish: Publish,
        /// How long to try; as configured if `None`.
        timeout: Option<Duration>,
    },
    /// Ask whoever handles `name` on the server.
    Request {
        /// Joins the result.
        ticket: Ticket,
        /// What is asked.
        name: Arc<str>,
        /// With what.
        payload: Payload,
        /// How long to wait for the reply; as configured if `None`.
        timeout: Option<Duration>,
    },
    /// Nobody waits for the reply any more; there will be no result.
    CancelRequest(Ticket),
    /// Answer a request of the server.
    Respond {
        /// Which one.
        to: Asked,
        /// The answer.
        result: Result<Payload, Refusal>,
    },
    /// Carry the session on by this transport from now on.
    Switch {
        /// Joins the result.
        ticket: Ticket,
        /// By which.
        transport: Transport,
    },
    /// Ask the driver for a fresh token and tell the server, without reconnecting.
    RefreshToken,
    /// Send what is queued, wait for its acknowledgement, say goodbye, and close.
    Close {
        /// Close without the rest when it takes longer than this.
        timeout: Duration,
    },
}

/// Who gets an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipients {
    /// The usual case, which needs no memory of its own.
    One(SubId),
    /// Several, each once, in no particular order.
    Many(Vec<SubId>),
}

impl Recipients {
    /// All of them.
    pub fn as_slice(&self) -> &[SubId] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    pub(super) fn from_slice(ids: &[SubId]) -> Option<Self> {
        match ids {
            [] => None,
            [id] => Some(Self::One(*id)),
            ids => Some(Self::Many(ids.to_vec())),
        }
    }
}

/// What the application should learn.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// The connection's state changed.
    Status(Status),
    /// An event, for all of its recipients at once.
    Event {
        /// The event.
        delivery: Delivery,
        /// Who gets it.
        to: Recipients,
    },
    /// Events that these subscriptions may have missed cannot be delivered.
    Gap {
        /// Which ones.
        gap: Gap,
        /// Who is concerned.
        to: Recipients,
    },
    /// The subscription is live.
    Subscribed {
        /// Which one.
        id: SubId,
        /// Where its lanes stood when it began.
        cursor: Cursor,
    },
    /// The subscription was refused or withdrawn and is forgotten.
    SubscribeFailed {
        /// Which one.
        id: SubId,
        /// Why.
        refusal: Refusal,
    },
    /// What became of a publish: its position, or `None` for a volatile one that was sent.
    Published {
        /// Which one.
        ticket: Ticket,
        /// What became of it.
        result: Result<Option<Position>, PublishError>,
    },
    /// The reply to a request.
    Reply {
        /// To which one.
        ticket: Ticket,
        /// The reply.
        result: Result<Payload, RequestError>,
    },
    /// The server asks.
    Request {
        /// To be given back with the answer.
        from: Asked,
        /// What is asked.
        name: Arc<str>,
        /// With what.
        payload: Payload,
    },
    /// The transport asked for carries the session now, or why it does not.
    Switched {
        /// Which command this answers.
        ticket: Ticket,
        /// The transport in use.
        result: Result<Transport, SwitchError>,
    },
    /// The server took the fresh token, or did not.
    TokenRefreshed(Result<(), Refusal>),
    /// The server refused something that has no answer of its own.
    Refused(Refusal),
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Output {
    /// Do this on the network.
    Io(Io),
    /// Ask the application for a token and answer with [`Input::Token`].
    NeedToken {
        /// Joins the answer.
        request: TokenRequest,
    },
    /// Tell the application.
    App(Notice),
}
