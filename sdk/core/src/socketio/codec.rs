//! Packets to messages of the layer below, and back.

use crate::message::{CloseCode, LinkError};

use super::packet::{Body, DecodeError, Packet, PacketLimits};

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

/// How a connection ends on which such bytes came.
pub(super) fn broken(error: &DecodeError) -> LinkError {
    let code = match error {
        DecodeError::TooLarge { .. } => CloseCode::TOO_LARGE,
        _ => CloseCode::BAD_FRAME,
    };
    LinkError::new(code, error.to_string())
}
