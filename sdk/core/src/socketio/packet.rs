//! Packets, apart from how they are spelled.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::event::Payload;
use crate::json::{self, Writer};
use crate::msgpack;

/// The largest acknowledgement id: the largest whole number that JavaScript holds exactly.
pub const MAX_ACK_ID: u64 = (1 << 53) - 1;

/// A conversation inside a connection: `/`, or a path like `/chat`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Namespace(Option<Arc<str>>);

impl Namespace {
    /// The one every client knows: `/`.
    pub const MAIN: Self = Self(None);

    /// The namespace with this path; `None` unless it begins with a slash and has no comma, which
    /// ends it on the wire.
    ///
    /// ```
    /// use tidings_core::socketio::Namespace;
    /// assert_eq!(Namespace::new("/chat").as_ref().map(Namespace::as_str), Some("/chat"));
    /// assert_eq!(Namespace::new("/"), Some(Namespace::MAIN));
    /// assert_eq!(Namespace::new("chat"), None);
    /// ```
    pub fn new(path: &str) -> Option<Self> {
        let good = path.starts_with('/') && !path.contains(',');
        good.then(|| Self((path != "/").then(|| path.into())))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// Whether it is `/`.
    pub const fn is_main(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One Socket.IO packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it belongs.
    pub namespace: Namespace,
    /// What it says.
    pub body: Body,
}

impl Packet {
    /// The arguments, if it is an event or an acknowledgement.
    pub const fn args(&self) -> Option<&Args> {
        match &self.body {
            Body::Event { args, .. } | Body::Ack { args, .. } => Some(args),
            Body::Connect(_) | Body::Disconnect | Body::ConnectError(_) => None,
        }
    }
}

/// What a packet says. JSON is raw text, already checked to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Asks for the namespace, with the client's `auth` object, or grants it, with an object that
    /// names the socket.
    Connect(Option<Bytes>),
    /// Leaves the namespace.
    Disconnect,
    /// An event: the first argument is its name.
    Event {
        /// Set when the sender waits for an [`Ack`](Self::Ack) with this id.
        ack: Option<u64>,
        /// The name and what comes with it.
        args: Args,
    },
    /// Answers an event.
    Ack {
        /// The event's id.
        ack: u64,
        /// The answer.
        args: Args,
    },
    /// The namespace is refused: an object with `message` and possibly `data`, or a string.
    ConnectError(Bytes),
}

/// The arguments of an event or an acknowledgement.
///
/// Each is a JSON value. Binary stands outside as an attachment, and its place in the JSON is held
/// by an object `{"_placeholder":true,"num":n}`; that is how the default parser writes it, and
/// MessagePack is brought into the same form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Args {
    pub(super) values: SmallVec<[Bytes; 4]>,
    pub(super) attachments: Vec<Bytes>,
}

impl Args {
    /// No arguments.
    pub fn new() -> Self {
        Self { values: SmallVec::new(), attachments: Vec::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The JSON of an argument.
    pub fn json(&self, index: usize) -> Option<&Bytes> {
        self.values.get(index)
    }

    /// An argument as a JSON value to look into.
    pub fn value(&self, index: usize) -> Option<json::Value<'_>> {
        json::parse(self.values.get(index)?, json::MAX_DEPTH).ok()
    }

    /// An argument as a payload: binary if it is a placeholder for an attachment. Attachments
    /// deeper inside stay placeholders; see [`has_inner_binary`](Self::has_inner_binary).
    pub fn payload(&self, index: usize) -> Option<Payload> {
        let json = self.values.get(index)?;
        Some(match self.placeholder(index).and_then(|num| self.attachments.get(num)) {
            Some(data) => Payload::Binary(data.clone()),
            None => Payload::Json(json.clone()),
        })
    }

    /// The binary attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// How many bytes the arguments and attachments have together.
    pub fn bytes(&self) -> usize {
        self.values.iter().chain(&self.attachments).map(Bytes::len).sum()
    }

    /// Whether some attachment is not an argument by itself but stands inside of one.
    pub fn has_inner_binary(&self) -> bool {
        let outer = |num| (0..self.len()).any(|index| self.placeholder(index) == Some(num));
        !(0..self.attachments.len()).all(outer)
    }

    /// Whether all arguments that are placeholders stand for an attachment that is there.
    pub(super) fn placeholders_hold(&self) -> bool {
        let held = |num| num < self.attachments.len();
        (0..self.len()).filter_map(|index| self.placeholder(index)).all(held)
    }

    /// Which attachment an argument stands for. Without attachments nothing is a placeholder,
    /// whatever it looks like.
    fn placeholder(&self, index: usize) -> Option<usize> {
        if self.attachments.is_empty() {
            return None;
        }
        Self::placeholder_in(self.value(index)?)
    }

    /// Which attachment a value stands for, if it is a placeholder.
    pub(super) fn placeholder_in(value: json::Value<'_>) -> Option<usize> {
        if value.get("_placeholder")?.as_bool() != Some(true) {
            return None;
        }
        // A number that is none counts as one out of range.
        let num = value.get("num").and_then(json::Value::as_u64);
        Some(num.and_then(|num| num.try_into().ok()).unwrap_or(usize::MAX))
    }

    /// Appends an argument that is JSON, which must be well-formed.
    pub fn push_json(&mut self, json: Bytes) {
        self.values.push(json);
    }

    /// Adds an attachment whose placeholder stands inside of an argument; returns the number to
    /// put there.
    pub fn push_attachment(&mut self, data: Bytes) -> usize {
        self.attachments.push(data);
        self.attachments.len() - 1
    }

    /// Appends a string.
    pub fn push_str(&mut self, value: &str) {
        self.push_written(|w| {
            w.str(value);
        });
    }

    /// Appends what `write` writes, which must be one value.
    pub fn push_written(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        let mut json = Vec::with_capacity(96);
        write(&mut Writer::new(&mut json));
        self.values.push(json.into());
    }

    /// Appends a payload.
    pub fn push_payload(&mut self, payload: &Payload) {
        match payload {
            Payload::Json(json) => self.push_json(json.clone()),
            Payload::Binary(data) => {
                let num = self.push_attachment(data.clone());
                self.push_written(|w| write_placeholder(w, num));
            }
        }
    }
}

/// Holds the place of attachment `num` in JSON.
pub(super) fn write_placeholder(w: &mut Writer<'_>, num: usize) {
    w.begin_object().key("_placeholder").bool(true).key("num").u64(num as u64).end_object();
}

/// What is accepted in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketLimits {
    /// The most bytes in a packet with its attachments.
    pub max_bytes: usize,
    /// The deepest nesting of arrays and objects in an argument.
    pub max_depth: usize,
    /// The most arguments of an event or acknowledgement, the name included.
    pub max_arguments: usize,
    /// The most binary attachments.
    pub max_attachments: usize,
}

impl Default for PacketLimits {
    /// 1 MiB, 64 levels, 64 arguments, 10 attachments (as Socket.IO's own parser).
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_depth: 64, max_arguments: 64, max_attachments: 10 }
    }
}

/// Bytes that are not a Socket.IO packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There was nothing.
    #[error("empty packet")]
    Empty,
    /// The type is none of the protocol's.
    #[error("unknown packet type {0}: it must be a number from 0 to {max}", max = 6)]
    UnknownType(String),
    /// The number of attachments is missing or malformed.
    #[error("a binary packet needs the number of its attachments, at least 1, and a dash")]
    AttachmentCount,
    /// There are more attachments than the limit.
    #[error("{count} attachments: at most {max} are accepted")]
    TooManyAttachments {
        /// How many were announced.
        count: u64,
        /// The limit.
        max: usize,
    },
    /// The packet with its attachments is larger than the limit.
    #[error("packet of {len} bytes: at most {max} are accepted")]
    TooLarge {
        /// Its size in bytes, as far as it has come.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The namespace is not one.
    #[error("a namespace must begin with a slash and have no comma")]
    Namespace,
    /// The acknowledgement id is missing or malformed.
    #[error("an acknowledgement needs an id, a whole number up to 2^53 - 1")]
    AckId,
    /// The data is not what this type of packet carries.
    #[error("{packet} needs {expected}")]
    Data {
        /// The type of packet.
        packet: &'static str,
        /// What it carries.
        expected: &'static str,
    },
    /// The data is not JSON.
    #[error("packet data: {0}")]
    Json(json::Error),
    /// The bytes are not MessagePack.
    #[error("packet: {0}")]
    Msgpack(msgpack::Error),
    /// A placeholder for an attachment that does not exist.
    #[error("a placeholder names an attachment that the packet does not have")]
    Placeholder,
    /// A text came where an attachment is missing.
    #[error("a text came while {missing} binary attachments were missing")]
    MissingAttachments {
        /// How many.
        missing: usize,
    },
    /// An attachment came that no packet announced.
    #[error("a binary message came that no packet announced as its attachment")]
    UnexpectedAttachment,
    /// A text came from a peer whose packets are MessagePack.
    #[error("a text came on a connection whose packets are MessagePack")]
    UnexpectedText,
    /// The packet is sound, but one of its arguments is not acceptable. The connection can go on.
    #[error("{}", .0.reason)]
    Argument(Box<BadArgument>),
}

/// A packet with an argument that is refused; the connection can go on after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadArgument {
    /// The packet with the arguments before that one.
    pub packet: Packet,
    /// What is wrong with it.
    pub reason: ArgumentError,
}

/// Why an argument is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// It is JSON, but nested too deeply, or with half of a surrogate pair.
    #[error("{0}")]
    Json(json::Error),
    /// It is MessagePack, but nested too deeply, or holds what JSON does not have.
    #[error("{0}")]
    Msgpack(msgpack::Error),
    /// There are more attachments than the limit.
    #[error("more than {max} binary attachments")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// There are more arguments than the limit.
    #[error("more than {max} arguments")]
    TooMany {
        /// The limit.
        max: usize,
    },
}
