//! Engine.IO v4: the layer below Socket.IO that turns a WebSocket or a series of HTTP requests
//! into one ordered conversation of messages, with a heartbeat.
//!
//! * [`Packet`] is one unit of it, with a spelling for carriers that have binary messages
//!   (WebSocket) and one for text alone (HTTP polling);
//! * [`payload`] joins several packets into one HTTP body and takes them apart;
//! * [`Handshake`] is the JSON object of the open packet;
//! * [`ClientConnection`] is a whole client: [`ClientTransport`] opens carriers, falls back to
//!   another one and moves to a better one, and a [`ClientSession`] keeps the heartbeat;
//! * [`ServerSession`] and [`ClientSession`] are the two ends of a conversation. They deal in
//!   packets, not frames, so any carrier can feed them;
//! * [`request::check`] judges the HTTP requests that come to a server, [`Polling`] is its end of
//!   a session carried by such requests, and [`Probe`] that of a WebSocket to which one may move.
//!
//! The protocol is published at <https://socket.io/docs/v4/engine-io-protocol/>.

mod client;
mod connection;
mod handshake;
mod link;
mod packet;
pub mod payload;
mod polling;
mod probe;
mod repeats;
pub mod request;
mod server;
mod transport;

pub use client::{ClientSession, Received};
pub use connection::{ClientConnection, ConnectionOutput};
pub use handshake::{Handshake, HandshakeError};
pub use link::ServerLink;
pub use packet::{DecodeError, Packet};
pub use polling::{Brought, Polled, Polling, PollingError};
pub use probe::{NOOP_INTERVAL, Probe, ProbeStep, ProbeTimeout};
pub use request::Carrier;
pub use server::{ServerSession, ServerSessionConfig};
pub use transport::{ClientTransport, CloseReason, TransportConfig, TransportOutput};

/// The protocol revision spoken here, as it stands in the query parameter `EIO`.
pub const PROTOCOL: u32 = 4;
