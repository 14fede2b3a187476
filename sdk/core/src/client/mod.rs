//! The client's session: connecting, recovering, publishing, requesting.
//!
//! [`ClientMachine`] does all of it without touching a network: the driver (the `tidings` crate,
//! a browser binding, a simulator) opens WebSockets, moves frames, asks for tokens and wakes it in
//! time. What holds:
//!
//! - **Subscriptions** survive everything: each connection's hello states them with the cursor,
//!   and what was missed comes first. An event goes once to each subscription that matches.
//! - **Publishes** wait in one bounded queue per priority, most urgent first, and are sent again,
//!   recognisably, until they are acknowledged, refused for good, or out of time.
//! - **Volatile** events go out at once or not at all.
//! - **Requests** are sent once only; when their connection ends they fail.
//! - **Switching** the transport opens the new connection beside the old one and moves when the
//!   new one is welcomed.

mod carrying;
mod config;
mod connecting;
mod connection;
mod dialing;
mod error;
mod io;
mod machine;
mod publishing;
mod receiving;
mod refreshing;
mod requests;
mod round_trips;
mod sending;
mod stats;
mod status;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use crate::endpoint::{BadUrl, Endpoint};
pub use crate::io::{Io, IoEvent, IoId};
pub use config::{ClientConfig, QueueLimits};
pub use error::{PublishError, RequestError, SwitchError, TokenError};
pub use io::{Asked, Command, Input, Notice, Output, Recipients, Ticket, TokenRequest, Transport};
pub use machine::ClientMachine;
pub use round_trips::RoundTrips;
pub use stats::{Counters, Stats};
pub use status::{State, Status};
