//! What happens when two have changed the same record.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Document, Key};
use crate::json::Quoted;

/// Decides what becomes of a conflict; see [`Policy::Custom`].
pub type Resolve = Arc<dyn Fn(&Conflict) -> Resolution + Send + Sync>;

/// How a collection decides when a change was made to a record that has changed meanwhile.
#[derive(Clone, Default)]
pub enum Policy {
    /// Both changes hold, field by field (nested as in RFC 7396); of a field that both have
    /// changed the later to arrive holds, and the clash is told. A record that somebody else has
    /// changed cannot be deleted unseen.
    #[default]
    Merge,
    /// What the server has holds: the change is rejected.
    ServerWins,
    /// The change holds, whatever was there.
    ClientWins,
    /// The change holds if it was made later than the last one, by the clocks of those who made
    /// them; otherwise it is rejected.
    LastWriteWins,
    /// The application decides. It must come to the same decision for the same conflict.
    Custom(Resolve),
}

impl Policy {
    /// The word for it in configurations and on the wire.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::ServerWins => "server-wins",
            Self::ClientWins => "client-wins",
            Self::LastWriteWins => "last-write-wins",
            Self::Custom(_) => "custom",
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text was not the name of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy {}: use merge, server-wins, client-wins or last-write-wins", Quoted(.0))]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    /// The policy of this name; one of the application's own has to be given as a function.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Merge, Self::ServerWins, Self::ClientWins, Self::LastWriteWins]
            .into_iter()
            .find(|policy| policy.as_str() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// Two have changed the same record, neither having seen the other's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The record.
    pub key: Key,
    /// What it was when mine was made, as far as mine says: the fields that mine touches.
    pub base: Option<Document>,
    /// What mine would have made of it; `None` for a deletion.
    pub mine: Option<Document>,
    /// What it is by now.
    pub theirs: Document,
    /// What has become of it.
    pub outcome: Outcome,
}

/// What has become of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Mine holds.
    Mine,
    /// Theirs holds; the mutation that mine was part of is rejected.
    Theirs,
    /// Both do, or what the application has made of them.
    ///
    /// With [`Policy::Merge`], `base`, `mine` and `theirs` are the fields that clashed; mine holds
    /// in those, theirs in all others.
    Merged,
}

impl Outcome {
    /// The word for it on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mine => "mine",
            Self::Theirs => "theirs",
            Self::Merged => "merged",
        }
    }

    /// The outcome of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mine, Self::Theirs, Self::Merged].into_iter().find(|o| o.as_str() == name)
    }
}

/// What the application decides about a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Mine holds.
    Mine,
    /// Theirs holds: the mutation is rejected.
    Theirs,
    /// This does.
    Merged(Document),
}
