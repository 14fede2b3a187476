//! Settings of what instances tell each other for applications of Socket.IO.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MIB;
use super::units::{duration, size};

settings! {
    /// What instances tell each other for applications of Socket.IO, over Redis. With an adapter of
    /// Node's they are members of a cluster of Node servers; the limits hold without one, too.
    NodeAdapter {
        /// Whom this instance joins: "off" (other Tidings instances alone), or Node servers that
        /// use @socket.io/redis-adapter 8, with its "classic" or "sharded" adapter.
        kind: NodeAdapterKind = NodeAdapterKind::Off,
        /// What channels begin with: Node's `key` or `channelPrefix`.
        prefix: String = "socket.io".to_owned(),
        /// Which rooms have a channel of their own, with the sharded adapter: "dynamic" (those that
        /// are not named by a socket's id), "dynamic-private" (all) or "static" (none). All members
        /// must agree: Node's `subscriptionMode`.
        mode: NodeAdapterMode = NodeAdapterMode::Dynamic,
        /// Whether answers go to who asked alone, with the classic adapter: Node's
        /// `publishOnSpecificResponseChannel`.
        specific_responses: bool = false,
        /// How long other members have to answer.
        #[serde(with = "duration")]
        request_timeout: Duration = Duration::from_secs(5),
        /// The largest message that is taken from another member.
        #[serde(with = "size")]
        max_message: usize = 4 * MIB,
        /// How many bytes of messages of other members may wait; what comes beyond is lost.
        #[serde(with = "size")]
        max_waiting: usize = 32 * MIB,
        /// How many bytes the answers to one question may have together; what comes beyond is lost.
        #[serde(with = "size")]
        max_answers: usize = 32 * MIB,
        /// How many questions to other members may be unanswered at once, and as many of theirs.
        max_requests: usize = 1024,
    }
}

/// Whom an instance joins for Socket.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAdapterKind {
    /// Other Tidings instances alone.
    #[default]
    Off,
    /// Node servers with `createAdapter`: Redis pub/sub.
    Classic,
    /// Node servers with `createShardedAdapter`: sharded pub/sub.
    Sharded,
}

/// Which rooms have a channel of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeAdapterMode {
    /// Those that are not named by a socket's id.
    #[default]
    Dynamic,
    /// All.
    DynamicPrivate,
    /// None.
    Static,
}
