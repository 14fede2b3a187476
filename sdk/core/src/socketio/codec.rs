//! Packets to messages of the layer below, and back.

use crate::message::{CloseCode, Frame, LinkError};

use super::packet::{Body, DecodeError, Packet, PacketLimits};
use super::{msgpack, text};

/// How packets are spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Parser {
    /// The default parser: [`text`].
    #[default]
    Text,
    /// `socket.io-msgpack-parser`: [`msgpack`].
    Msgpack,
}

impl Parser {
    /// Hands the messages that make up a packet to `send`.
    pub(super) fn encode(self, packet: &Packet, send: impl FnMut(Frame)) {
        match self {
            Self::Msgpack if cfg!(feature = "msgpack") => {
                std::iter::once(msgpack::frame(packet)).for_each(send);
            }
            Self::Text | Self::Msgpack => text::frames(packet).for_each(send),
        }
    }
}

/// Reads packets in either spelling.
#[derive(Debug)]
pub(super) struct Decoder {
    parser: Option<Parser>,
    text: text::Decoder,
    limits: PacketLimits,
}

impl Decoder {
    /// A decoder of what `parser` writes; without one the first message tells, since a packet of
    /// the default parser begins with text and one of the msgpack parser is binary.
    pub(super) const fn new(parser: Option<Parser>, limits: PacketLimits) -> Self {
        Self { parser, text: text::Decoder::new(limits), limits }
    }

    /// The parser of what was read so far.
    pub(super) fn parser(&self) -> Parser {
        self.parser.unwrap_or_default()
    }

    pub(super) fn receive(&mut self, message: Frame) -> Result<Option<Packet>, DecodeError> {
        let parser = *self.parser.get_or_insert(match message {
            Frame::Text(_) => Parser::Text,
            Frame::Binary(_) => Parser::Msgpack,
        });
        match (parser, message) {
            (Parser::Text, message) => self.text.receive(message),
            (Parser::Msgpack, Frame::Binary(data)) if cfg!(feature = "msgpack") => {
                msgpack::decode(&data, &self.limits).map(Some)
            }
            (Parser::Msgpack, Frame::Binary(_)) => Err(DecodeError::UnexpectedAttachment),
            (Parser::Msgpack, Frame::Text(_)) => Err(DecodeError::UnexpectedText),
        }
    }
}

/// What only Socket.IO links are configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketIoConfig {
    /// The namespace in which Tidings is spoken.
    pub namespace: super::Namespace,
    /// How a client spells packets. A server takes what its client uses.
    pub parser: Parser,
    /// The most arguments of an event or acknowledgement, the name included.
    pub max_arguments: usize,
    /// The most binary attachments of a packet.
    pub max_attachments: usize,
    /// Whether an application decides which namespaces there are, and takes part in them. Without
    /// one a server has the namespace of Tidings alone.
    pub application: bool,
    /// The most namespaces, besides that of Tidings, in which a server lets a connection be.
    pub max_namespaces: usize,
    /// The most acknowledgements that a server owes a client at once; what asks for more is
    /// refused.
    pub max_unanswered: usize,
}

impl Default for SocketIoConfig {
    /// The main namespace, the default parser, 64 arguments, 10 attachments (as Socket.IO's own
    /// parser), no application, 32 namespaces, 4096 acknowledgements.
    fn default() -> Self {
        let PacketLimits { max_arguments, max_attachments, .. } = PacketLimits::default();
        Self {
            namespace: super::Namespace::MAIN,
            parser: Parser::Text,
            max_arguments,
            max_attachments,
            application: false,
            max_namespaces: 32,
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
