//! Who attacks the servers.

use serde::{Deserialize, Serialize};

/// Attackers that do the same, from shortly before the first event until the last one has arrived. Each entry has an
/// address of its own, which its attackers name as a proxy would; other clients name none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// What they do.
    pub kind: AttackKind,
    /// How many of them there are.
    #[serde(default = "one")]
    pub attackers: usize,
    /// How many attempts per second, all of them together.
    pub rate: f64,
}

/// A way to attack a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttackKind {
    /// Opens connections and keeps them.
    Connections,
    /// Publishes without waiting for answers, in portions.
    Publishes,
    /// Sends frames, messages, headers and bodies that are too large or never end.
    Giants,
    /// Sends what breaks HTTP, WebSocket, the Tidings protocol or Socket.IO.
    Malformed,
    /// Subscribes to everything and reads nothing.
    SlowReaders,
    /// Opens connections and falls silent, or sends a byte now and then.
    HalfOpen,
    /// Guesses tokens.
    Tokens,
    /// Subscribes to more and more patterns that match much and cost much.
    Subscriptions,
}

impl AttackKind {
    /// The word for it, as written in a scenario.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Publishes => "publishes",
            Self::Giants => "giants",
            Self::Malformed => "malformed",
            Self::SlowReaders => "slow-readers",
            Self::HalfOpen => "half-open",
            Self::Tokens => "tokens",
            Self::Subscriptions => "subscriptions",
        }
    }
}

const fn one() -> usize {
    1
}
