//! Socket.IO v5: named events with arguments and acknowledgements, over Engine.IO.
//!
//! * [`Packet`] is one unit of it; [`text`] is the parser every Socket.IO client has;
//! * the links translate between packets and session messages.
//!
//! The protocol is published at <https://socket.io/docs/v4/socket-io-protocol/>.

mod packet;
pub mod text;

pub use packet::{
    Args, ArgumentError, BadArgument, Body, DecodeError, MAX_ACK_ID, Namespace, Packet,
    PacketLimits,
};

/// The protocol revision spoken here.
pub const PROTOCOL: u32 = 5;
