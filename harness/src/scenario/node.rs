//! Servers that run Socket.IO on Node, beside those of Tidings.

use serde::{Deserialize, Serialize};
use tidings_server::config::{NodeAdapterKind, NodeAdapterMode};

/// Some of the servers run Socket.IO on Node, in one cluster with the others by
/// `@socket.io/redis-adapter`. Clients are then ones of an application of Socket.IO, for which
/// patterns are rooms: there is no recovery, and there are no wildcards and no priorities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// How many of the servers do; they are the last ones.
    pub servers: usize,
    /// Which adapter joins the cluster.
    #[serde(default = "sharded")]
    pub adapter: NodeAdapterKind,
    /// The sharded adapter's `subscriptionMode`.
    #[serde(default)]
    pub mode: NodeAdapterMode,
}

fn sharded() -> NodeAdapterKind {
    NodeAdapterKind::Sharded
}
