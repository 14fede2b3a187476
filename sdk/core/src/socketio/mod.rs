//! Socket.IO v5: named events with arguments and acknowledgements, over Engine.IO.
//!
//! * [`Packet`] is one unit of it; [`text`] is the parser that every Socket.IO client has,
//!   [`msgpack`] the one that can be put in its place;
//! * [`ClientLink`] and [`ServerLink`] translate between the frames of a connection and session
//!   messages;
//! * [`manager`] is a client for any Socket.IO server;
//! * [`encode_event`] encodes an event once for all connections that get it.
//!
//! How session messages are spelled as events and acknowledgements stands in docs/socketio.md.
//! Socket.IO itself is published at <https://socket.io/docs/v4/socket-io-protocol/>.

mod broadcast;
mod client;
mod codec;
mod control;
pub mod manager;
pub mod msgpack;
mod packet;
mod server;
pub mod text;

pub use broadcast::{EventForm, encode_event, encode_notice, encode_packet};
pub use client::ClientLink;
pub use codec::{Parser, SocketIoConfig};
pub use control::{error_event_args, is_control, is_reserved, refusal_args};
pub use packet::{
    Args, ArgumentError, BadArgument, Body, DecodeError, MAX_ACK_ID, Namespace, Packet,
    PacketLimits,
};
pub use server::{FIRST_REQUEST, Grant, NamespaceMessage, ServerLink, SocketIds};

/// The protocol revision spoken here.
pub const PROTOCOL: u32 = 5;

/// What servers answer to a CONNECT to a namespace they do not have.
pub const INVALID_NAMESPACE: &str = "Invalid namespace";
