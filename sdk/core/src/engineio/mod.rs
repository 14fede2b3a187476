//! Engine.IO v4: the layer below Socket.IO that turns a WebSocket or a series of HTTP requests
//! into one ordered conversation of messages, with a heartbeat.
//!
//! * [`Packet`] is one unit of it, with a spelling for carriers that have binary messages
//!   (WebSocket) and one for text alone (HTTP polling);
//! * [`payload`] joins several packets into one HTTP body and takes them apart;
//! * [`Handshake`] is the JSON object of the open packet;
//! * [`ServerSession`] and [`ClientSession`] are the two ends of a conversation. They deal in
//!   packets, not frames, so any carrier can feed them;
//! * [`request::check`] judges the HTTP requests that come to a server, [`Polling`] is its end of
//!   a session carried by such requests, and [`Probe`] that of a WebSocket to which one may move.
//!
//! The protocol is published at <https://socket.io/docs/v4/engine-io-protocol/>.

mod client;
mod handshake;
mod packet;
pub mod payload;
mod polling;
mod probe;
pub mod request;
mod server;

pub use client::{ClientSession, Received};
pub use handshake::{Handshake, HandshakeError};
pub use packet::{DecodeError, Packet};
pub use polling::{Polling, PollingError};
pub use probe::{NOOP_INTERVAL, Probe, ProbeStep, ProbeTimeout};
pub use request::Carrier;
pub use server::{ServerSession, ServerSessionConfig};

/// The protocol revision spoken here, as it stands in the query parameter `EIO`.
pub const PROTOCOL: u32 = 4;
