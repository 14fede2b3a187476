//! Packets to messages of the layer below, and back.

use crate::message::{CloseCode, Frame, LinkError};

use super::packet::{Body, DecodeError, Packet, PacketLimits};
use super::text;

/// What only Socket.IO links are configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketIoConfig {
    /// The namespace in which Tidings is spoken.
    pub namespace: super::Namespace,
    /// The most arguments of an event or acknowledgement, the name included.
    pub max_arguments: usize,
    /// The most binary attachments of a packet.
    pub max_attachments: usize,
    /// The most acknowledgements that a server owes a client at once; what asks for more is
    /// refused.
    pub max_unanswered: usize,
}

impl Default for SocketIoConfig {
    /// The main namespace, 64 arguments, 10 attachments (as Socket.IO's own parser), 4096
    /// acknowledgements.
    fn default() -> Self {
        let PacketLimits { max_arguments, max_attachments, .. } = PacketLimits::default();
        Self {
            namespace: super::Namespace::MAIN,
            max_arguments,
            max_attachments,
            max_unanswered: 4096,
        }
    }
}

impl SocketIoConfig {
    /// The limits of a link that also has these.
    pub(super) const fn limits(&self, max_bytes: usize, max_depth: usize) -> PacketLimits {
        PacketLimits {
            max_bytes,
            max_depth,
            max_arguments: self.max_arguments,
            max_attachments: self.max_attachments,
        }
    }

    /// A packet of the configured namespace.
    pub(super) fn packet(&self, body: Body) -> Packet {
        Packet { namespace: self.namespace.clone(), body }
    }
}

/// Hands the messages that make up a packet to `send`.
pub(super) fn encode(packet: &Packet, mut send: impl FnMut(Frame)) {
    let mut text = Vec::new();
    text::encode(packet, &mut text);
    send(Frame::Text(text.into()));
    if let Body::Event { args, .. } | Body::Ack { args, .. } = &packet.body {
        args.attachments().iter().for_each(|data| send(Frame::Binary(data.clone())));
    }
}

/// How a connection ends on which such bytes came.
pub(super) fn broken(error: &DecodeError) -> LinkError {
    let code = match error {
        DecodeError::TooLarge { .. } => CloseCode::TOO_LARGE,
        _ => CloseCode::BAD_FRAME,
    };
    LinkError::new(code, error.to_string())
}
