//! Events: named, immutable messages.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::json::Quoted;

/// How urgent an event is. Each priority has its own lane in the log and its own queue on every
/// connection; higher ones are written first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Priority {
    /// Dropped first when a connection cannot keep up (the client is told by a gap).
    Low = 0,
    /// The default.
    #[default]
    Normal = 1,
    /// Served before `normal`.
    High = 2,
    /// Served first; acknowledged only when it is safe against a failover.
    Critical = 3,
}

impl Priority {
    /// All priorities, most urgent first.
    pub const URGENT_FIRST: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// How many priorities there are.
    pub const COUNT: usize = 4;

    /// The word for it, as written on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The priority with this number (0 is `low`, 3 is `critical`).
    pub const fn from_index(index: u8) -> Option<Self> {
        match index {
            0 => Some(Self::Low),
            1 => Some(Self::Normal),
            2 => Some(Self::High),
            3 => Some(Self::Critical),
            _ => None,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text was not one of `low`, `normal`, `high`, `critical`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown priority {}: use low, normal, high or critical", Quoted(.0))]
pub struct UnknownPriority(pub String);

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "low" => Ok(Self::Low),
            "normal" => Ok(Self::Normal),
            "high" => Ok(Self::High),
            "critical" => Ok(Self::Critical),
            other => Err(UnknownPriority(other.to_owned())),
        }
    }
}

/// What an event carries. It travels as it was written: nobody parses it on the way unless a
/// schema asks for it.
#[derive(Clone, PartialEq, Eq)]
pub enum Payload {
    /// One JSON value (RFC 8259), UTF-8, already checked to be well-formed.
    Json(Bytes),
    /// Raw bytes.
    Binary(Bytes),
}

impl Payload {
    /// JSON `null`.
    pub const NULL: Self = Self::Json(Bytes::from_static(b"null"));

    /// Size in bytes.
    pub const fn len(&self) -> usize {
        match self {
            Self::Json(b) | Self::Binary(b) => b.len(),
        }
    }

    /// Whether there are no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, JSON text or raw.
    pub const fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(b) | Self::Binary(b) => b,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(b) => write!(f, "Json({})", String::from_utf8_lossy(b)),
            Self::Binary(b) => write!(f, "Binary({} bytes)", b.len()),
        }
    }
}

/// Optional key-value pairs that travel with an event (a trace context, for instance).
/// `None` costs nothing, which is the usual case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Option<Arc<[(String, String)]>>);

impl Headers {
    /// No headers.
    pub const NONE: Self = Self(None);

    /// Headers from pairs; order is kept.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let pairs: Arc<[_]> = pairs.into_iter().collect();
        Self((!pairs.is_empty()).then_some(pairs))
    }

    /// The value of the first header with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// All pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|pairs| pairs.iter()).map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// A named, immutable message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Dot-separated segments, 1 to 255 bytes.
    pub name: Arc<str>,
    /// What it carries.
    pub payload: Payload,
    /// Unique; made by the publisher, so that sending it again does not make it another event.
    pub id: Arc<str>,
    /// How urgent it is.
    pub priority: Priority,
    /// When the server accepted it, in milliseconds since the Unix epoch; 0 before that.
    pub time: u64,
    /// Extra key-value pairs.
    pub headers: Headers,
}
