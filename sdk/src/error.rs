//! What can go wrong, and what to do about it.
//!
//! Every error has `advice()`: [`Retry`](Advice::Retry) it as it is, refresh the identity
//! ([`RefreshAuth`](Advice::RefreshAuth)) and try again, or [`GiveUp`](Advice::GiveUp) because
//! something has to be changed first.

use std::sync::Arc;

use tidings_core::client;
use tidings_core::json::Quoted;
use tidings_core::message::{Advice, Close, Gap, Refusal};

/// A client could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The URL is not the base URL of a server.
    #[error(transparent)]
    Url(#[from] client::BadUrl),
    /// The text is not the path of a Socket.IO namespace.
    #[error("not a namespace: {}; it should look like /chat and contain no comma", Quoted(.0))]
    Namespace(String),
    /// The text cannot be a header of a request.
    #[error(
        "not a header: {}; its name is letters, digits and dashes, and it is one line",
        Quoted(.0)
    )]
    Header(String),
    /// Clients run on a tokio runtime, and there was none where the client was built.
    #[error("a client has to be built within a tokio runtime")]
    NoRuntime,
    /// The system gave no random numbers.
    #[error("no random numbers: {0}")]
    NoRandom(String),
}

impl BuildError {
    /// What to do about it: nothing helps but to change the program or its configuration.
    pub const fn advice(&self) -> Advice {
        Advice::GiveUp
    }
}

/// The client is closed, by the application or because going on could not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the client is closed: {}", .0.reason)]
pub struct Closed(pub Close);

impl Closed {
    /// What to do about it. A client that is closed stays closed; a new one may do better if the
    /// advice is not to give up.
    pub const fn advice(&self) -> Advice {
        self.0.code.advice()
    }
}

/// There is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// The server refused it, or the pattern is not one.
    #[error("not subscribed: {0}")]
    Refused(Refusal),
    /// The client is closed.
    #[error(transparent)]
    Closed(Closed),
}

impl SubscribeError {
    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Refused(refusal) => refusal.code.advice(),
            Self::Closed(closed) => closed.advice(),
        }
    }
}

/// An event was not published, or it is not known whether it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The value cannot be written as JSON.
    #[error("the payload cannot be written as JSON: {0}")]
    Payload(String),
    /// A field of the typed event cannot stand in its name.
    #[error(transparent)]
    Name(#[from] tidings_core::NameError),
    /// It did not get into the log.
    #[error(transparent)]
    Client(#[from] client::PublishError),
}

impl PublishError {
    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Payload(_) | Self::Name(_) => Advice::GiveUp,
            Self::Client(error) => error.advice(),
        }
    }
}

/// A request has no reply that could be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The value cannot be written as JSON.
    #[error("the payload cannot be written as JSON: {0}")]
    Payload(String),
    /// The reply is not what was expected.
    #[error("the reply does not fit: {0}")]
    Reply(Misfit),
    /// There is no reply.
    #[error(transparent)]
    Client(#[from] client::RequestError),
}

impl RequestError {
    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Payload(_) | Self::Reply(_) => Advice::GiveUp,
            Self::Client(error) => error.advice(),
        }
    }
}

/// A payload is not a value of the type asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} at {}: {problem}", Quoted(name), Quoted(path))]
pub struct Misfit {
    /// The name of the event or request.
    pub name: Arc<str>,
    /// The place in the payload, as in `items[3].price`; a dot alone is the whole of it.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

/// An item of a subscription that is not an event. Unless it is [`Refused`](Self::Refused) or
/// [`Closed`](Self::Closed), which come last, the subscription goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The payload does not fit the type of the subscription.
    #[error("an event does not fit: {0}")]
    Payload(Misfit),
    /// The application took its events too slowly: this many were dropped here.
    #[error("{missed} events were dropped because they were taken too slowly")]
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The server cannot deliver some events of a lane any more.
    #[error("events of lane {} up to {} are lost", .0.lane, .0.to.0)]
    Gap(Gap),
    /// The server ended the subscription.
    #[error("the subscription was ended: {0}")]
    Refused(Refusal),
    /// The client is closed.
    #[error(transparent)]
    Closed(Closed),
}

impl EventError {
    /// What to do about it: for events that are gone there is nothing to repeat.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Payload(_) | Self::Lagged { .. } | Self::Gap(_) => Advice::GiveUp,
            Self::Refused(refusal) => refusal.code.advice(),
            Self::Closed(closed) => closed.advice(),
        }
    }
}

/// The transport was not switched; the session goes on by the one it had.
pub use client::SwitchError;
