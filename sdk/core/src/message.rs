//! The session messages that every transport carries.
//!
//! `ws` writes them as frames of its own, `socketio` as Socket.IO events; docs/protocol.md has
//! both spellings. What a session does with them is the same on either.

use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Headers, Payload, Priority};
use crate::lane::{Cursor, Epoch, Lane, Offset};

/// The version of the session protocol spoken here.
pub const PROTOCOL_VERSION: u32 = 1;

/// What a peer should do after an error or a close. The range of a code tells it, so that codes
/// unknown to a peer are still handled right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Advice {
    /// Try again, after the delay that was told or the usual backoff.
    Retry,
    /// Get a fresh token, then try again.
    RefreshAuth,
    /// Trying again cannot help: something has to be changed first.
    GiveUp,
}

/// Why one message was refused. Nothing else is affected by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Something broke on the server.
    pub const INTERNAL: Self = Self(100);
    /// The log cannot be reached at the moment.
    pub const UNAVAILABLE: Self = Self(101);
    /// More messages than the rate allows.
    pub const TOO_MANY: Self = Self(102);
    /// No answer came in time.
    pub const TIMEOUT: Self = Self(103);
    /// The connection ended before the answer came.
    pub const DISCONNECTED: Self = Self(104);
    /// The token has expired.
    pub const TOKEN_EXPIRED: Self = Self(200);
    /// The message is not what the protocol says it should be.
    pub const BAD_REQUEST: Self = Self(300);
    /// The name or pattern is not valid.
    pub const BAD_NAME: Self = Self(301);
    /// The payload is larger than the server allows.
    pub const TOO_LARGE: Self = Self(302);
    /// The payload is nested deeper than the server allows.
    pub const TOO_DEEP: Self = Self(303);
    /// More subscriptions than the server allows.
    pub const TOO_MANY_SUBSCRIPTIONS: Self = Self(304);
    /// The claims do not allow it.
    pub const FORBIDDEN: Self = Self(305);
    /// Nobody handles requests of this name.
    pub const NO_HANDLER: Self = Self(306);
    /// The handler answered with an error of its own.
    pub const HANDLER: Self = Self(307);
    /// The caller withdrew it.
    pub const CANCELLED: Self = Self(308);
    /// The payload is not what the schema of its event says it must be.
    pub const INVALID: Self = Self(309);
    /// The token is not valid.
    pub const UNAUTHORIZED: Self = Self(310);

    /// What to do about it: 100 to 199 retry, 200 to 299 refresh the token, others give up.
    pub const fn advice(self) -> Advice {
        match self.0 {
            100..=199 => Advice::Retry,
            200..=299 => Advice::RefreshAuth,
            _ => Advice::GiveUp,
        }
    }
}

/// Why a connection was closed; the number is also the WebSocket close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The peer said goodbye (RFC 6455 normal closure).
    pub const NORMAL: Self = Self(1000);
    /// The connection broke without a close frame (RFC 6455, never on the wire).
    pub const ABNORMAL: Self = Self(1006);
    /// The server is going away; connect again, after the delay if one was told.
    pub const GOING_AWAY: Self = Self(4000);
    /// Another connection has taken over the session.
    pub const REPLACED: Self = Self(4001);
    /// No heartbeat came in time.
    pub const HEARTBEAT: Self = Self(4002);
    /// More messages than the rate allows.
    pub const TOO_MANY: Self = Self(4003);
    /// Something broke on the server.
    pub const INTERNAL: Self = Self(4004);
    /// The peer did not say hello in time.
    pub const HELLO_TIMEOUT: Self = Self(4005);
    /// What was sent was not taken for so long that its queue is full.
    pub const SLOW: Self = Self(4006);
    /// The token has expired.
    pub const TOKEN_EXPIRED: Self = Self(4300);
    /// The token was revoked, or all that its subject had.
    pub const TOKEN_REVOKED: Self = Self(4301);
    /// A frame was not what the protocol says it should be.
    pub const BAD_FRAME: Self = Self(4500);
    /// A version or subprotocol the server does not speak.
    pub const UNSUPPORTED: Self = Self(4501);
    /// The token is not valid.
    pub const UNAUTHORIZED: Self = Self(4502);
    /// A frame was larger than the server allows.
    pub const TOO_LARGE: Self = Self(4503);
    /// An operator ended the session.
    pub const ENDED: Self = Self(4504);

    /// What a client should do: 4300 to 4499 refresh the token and reconnect; 4500 to 4999, and
    /// those of RFC 6455 that blame the client (1002, 1003, 1007, 1008, 1009, 1010), give up;
    /// everything else reconnect.
    pub const fn advice(self) -> Advice {
        match self.0 {
            4300..=4499 => Advice::RefreshAuth,
            4500..=4999 | 1002 | 1003 | 1007..=1010 => Advice::GiveUp,
            _ => Advice::Retry,
        }
    }
}

/// A refusal as it travels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (code {})", code.0)]
pub struct Refusal {
    /// Which kind of refusal it is.
    pub code: ErrorCode,
    /// What was wrong and what would be right, for people.
    pub message: String,
}

impl Refusal {
    /// A refusal with this code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The end of a connection as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Why.
    pub code: CloseCode,
    /// Why, for people.
    pub reason: String,
    /// How long the client should wait before it connects again.
    pub delay: Option<Duration>,
}

impl Close {
    /// A close with this code and reason and no delay.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), delay: None }
    }
}

/// The number a client gives one of its subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubId(pub u32);

/// The number that joins a request with its reply; each side counts its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// A subscription as a client states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The client's number for it.
    pub id: SubId,
    /// Which names it wants.
    pub pattern: String,
    /// Where it wants to start in the lanes named; elsewhere it starts now.
    /// [`Offset`] zero with the epoch unknown (0) means from the oldest event retained.
    pub since: Option<Cursor>,
}

/// The first message of a client on every connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// The session to go on with, as the server named it in an earlier [`Welcome`].
    pub session: Option<String>,
    /// Who the publishes come from: random, chosen once by the client, kept for its lifetime.
    pub producer: String,
    /// The identity, if there is one.
    pub token: Option<String>,
    /// The subscriptions to go on with, established on an earlier connection.
    pub subscriptions: Vec<Subscribe>,
    /// What has been received of them.
    pub cursor: Cursor,
    /// The most bytes that several messages of the server may have as one WebSocket message; none
    /// come so if it is 0. For `ws` with JSON.
    pub batch: u32,
    /// How long events may wait for others that come as one message with them, in whole milliseconds.
    /// Those of critical priority do not wait.
    pub batch_delay: Duration,
}

/// The server's answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The session's id: presented in the next hello.
    pub session: String,
    /// Whether the session presented in the hello goes on.
    pub resumed: bool,
    /// Which instance serves the connection.
    pub instance: String,
    /// The server sends a ping this often.
    pub ping_interval: Duration,
    /// Either side may give the connection up when this long after a ping was due nothing came.
    pub ping_timeout: Duration,
    /// The largest payload accepted, in bytes.
    pub max_payload: u32,
    /// How many publishes may be unacknowledged at once.
    pub max_in_flight: u32,
    /// Where the lanes of the hello's subscriptions stand now: the starting cursor for lanes the
    /// hello's cursor did not know.
    pub cursor: Cursor,
    /// Subscriptions of the hello that were refused.
    pub refused: Vec<(SubId, Refusal)>,
    /// For how long the token of the hello is still good; `None` if it does not expire, or none was
    /// needed. A fresh one ([`ClientMessage::Token`]) is to be sent before.
    pub expires_in: Option<Duration>,
}

/// An event on its way to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The producer's sequence number, counted from 1 and never used twice; 0 for volatile
    /// events, which are not acknowledged.
    pub seq: u64,
    /// The event's name.
    pub name: Arc<str>,
    /// What it carries.
    pub payload: Payload,
    /// How urgent it is.
    pub priority: Priority,
    /// Skip the log: at most once, now or never.
    pub volatile: bool,
    /// Extra key-value pairs.
    pub headers: Headers,
    /// What it is recognised by, if not by its client and `seq`.
    pub identity: Option<Box<Identity>>,
}

/// What a publish is recognised by, whichever client sends it: of all that have the same one, and
/// go to the same lane, one has an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose number it is: 1 to 128 bytes without control characters, hard to guess.
    pub producer: Arc<str>,
    /// Counted from 1, never used twice for different events.
    pub number: u64,
}

impl Identity {
    /// The longest name of a producer, in bytes.
    pub const MAX_PRODUCER: usize = 128;

    /// The identity; `None` if it is none.
    pub fn new(producer: impl Into<Arc<str>>, number: u64) -> Option<Self> {
        let producer = producer.into();
        let is_named = (1..=Self::MAX_PRODUCER).contains(&producer.len());
        let is_one = is_named && number > 0 && !producer.chars().any(char::is_control);
        is_one.then_some(Self { producer, number })
    }
}

/// Where a published event stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// The lane it was appended to.
    pub lane: Lane,
    /// Its offset; zero when it is a duplicate of one that is no longer retained.
    pub offset: Offset,
}

/// From client to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// First message of a connection.
    Hello(Hello),
    /// Asks for the events of a pattern.
    Subscribe(Subscribe),
    /// Ends a subscription.
    Unsubscribe(SubId),
    /// Appends an event.
    Publish(Publish),
    /// Asks whoever handles `name` on the server for a reply.
    Request {
        /// Joins the reply to it.
        id: RequestId,
        /// What is asked.
        name: Arc<str>,
        /// With what.
        payload: Payload,
    },
    /// Nobody waits for the reply any more.
    Cancel(RequestId),
    /// Answers a server's request.
    Reply {
        /// The request it answers.
        id: RequestId,
        /// The answer.
        result: Result<Payload, Refusal>,
    },
    /// A fresh token for the live connection.
    Token(String),
    /// Goodbye: the session ends.
    Bye,
}

/// An event as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// Where it stands in the log; `None` for volatile events.
    pub position: Option<Position>,
    /// Set when it is replayed for one subscription alone (its `since`): it then does not move
    /// the cursor and belongs to no other subscription.
    pub replay_for: Option<SubId>,
}

/// Some events of a lane cannot be delivered any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Gap {
    /// In which lane.
    pub lane: Lane,
    /// Everything after this offset was received.
    pub from: Offset,
    /// Events up to and including this offset may be missing.
    pub to: Offset,
    /// The epoch in which `to` counts; it differs from the cursor's after a change of epoch.
    pub epoch: Epoch,
    /// Set when only the replay for this subscription is affected.
    pub replay_for: Option<SubId>,
}

/// From server to client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// Answers [`ClientMessage::Hello`].
    Welcome(Welcome),
    /// The subscription is live; its lanes stand here.
    Subscribed {
        /// Which subscription.
        id: SubId,
        /// Where the lanes of its pattern stand: cursor entries for lanes unknown before.
        cursor: Cursor,
    },
    /// The subscription was refused.
    SubscribeRefused {
        /// Which subscription.
        id: SubId,
        /// Why.
        refusal: Refusal,
    },
    /// The subscription has ended; no event for it comes after this.
    Unsubscribed(SubId),
    /// An event.
    Event(Delivery),
    /// Everything up to these places that was asked for has been sent.
    Progress(Cursor),
    /// Loss, told.
    Gap(Gap),
    /// The publish is in the log.
    Published {
        /// The producer's sequence number.
        seq: u64,
        /// Where it is.
        position: Position,
    },
    /// The publish was refused and has had no effect.
    PublishRefused {
        /// The producer's sequence number.
        seq: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The server asks the client.
    Request {
        /// Joins the reply to it.
        id: RequestId,
        /// What is asked.
        name: Arc<str>,
        /// With what.
        payload: Payload,
    },
    /// Answers a client's request.
    Reply {
        /// The request it answers.
        id: RequestId,
        /// The answer.
        result: Result<Payload, Refusal>,
    },
    /// The fresh token was accepted, and for how long it is good if it expires; or why not.
    TokenAnswer(Result<Option<Duration>, Refusal>),
    /// Something the client sent was refused that has no answer of its own.
    Refused(Refusal),
    /// The connection is about to be closed.
    Close(Close),
}

/// A WebSocket message.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// UTF-8 text, already checked.
    Text(bytes::Bytes),
    /// Raw bytes.
    Binary(bytes::Bytes),
}

impl Frame {
    /// Its content.
    pub const fn bytes(&self) -> &bytes::Bytes {
        let (Self::Text(bytes) | Self::Binary(bytes)) = self;
        bytes
    }

    /// How many bytes it has.
    pub const fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(b) => write!(f, "Text({})", String::from_utf8_lossy(b)),
            Self::Binary(b) => write!(f, "Binary({} bytes)", b.len()),
        }
    }
}

/// A connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", close.reason)]
pub struct LinkError {
    /// How it is to be closed.
    pub close: Close,
}

impl LinkError {
    /// An error that closes the connection with this code and reason.
    pub fn new(code: CloseCode, reason: impl Into<String>) -> Self {
        Self { close: Close::new(code, reason) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_of_a_code_gives_the_advice() {
        assert_eq!(ErrorCode(199).advice(), Advice::Retry);
        assert_eq!(ErrorCode::TOKEN_EXPIRED.advice(), Advice::RefreshAuth);
        assert_eq!(ErrorCode(399).advice(), Advice::GiveUp);
        assert_eq!(CloseCode::GOING_AWAY.advice(), Advice::Retry);
        assert_eq!(CloseCode(1011).advice(), Advice::Retry);
        assert_eq!(CloseCode(1009).advice(), Advice::GiveUp);
        assert_eq!(CloseCode::TOKEN_EXPIRED.advice(), Advice::RefreshAuth);
        assert_eq!(CloseCode::UNAUTHORIZED.advice(), Advice::GiveUp);
    }
}
