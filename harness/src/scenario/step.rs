//! What happens during a run besides publishing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Span;

/// Something that happens during the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long after the first event was due.
    pub at: Span,
    /// What happens.
    pub action: Action,
    /// The server it happens to, counted from 0; without it, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<usize>,
    /// The group it happens to; without it, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How long it lasts until it is undone, where that means something.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
    /// By how much `delay-clients` and `delay-redis` delay what passes, in each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Span>,
}

impl Step {
    /// How long it lasts until it is undone, if it does.
    pub(crate) fn lasts(&self) -> Option<Duration> {
        self.lasting.map(Span::duration).filter(|lasting| !lasting.is_zero())
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Cuts the clients' connections without a goodbye; for a while nobody can connect.
    CutClients,
    /// What passes between clients and servers is late for a while.
    DelayClients,
    /// Every client moves to the other transport, live.
    SwitchTransport,
    /// Kills servers (SIGKILL).
    KillServer,
    /// Asks servers to stop (SIGTERM) and leaves them stopped.
    StopServer,
    /// Starts servers that were stopped or killed again, at the same address; one that is up is
    /// stopped first.
    RestartServer,
    /// Stops servers for a while without ending them (SIGSTOP, then SIGCONT).
    PauseServer,
    /// Cuts the connections of servers to Redis; for a while they cannot connect.
    CutRedis,
    /// Nothing passes between servers and Redis for a while, and nobody is told: a network that
    /// loses everything. What was sent arrives afterwards.
    StallRedis,
    /// What passes between servers and Redis is late for a while.
    DelayRedis,
    /// Kills the master (SIGKILL) that has the partition of the first thing that is published.
    KillRedisMaster,
    /// Cuts that master off from its replicas for a while.
    CutReplicas,
    /// Stops all nodes of Redis for a while (SIGSTOP, then SIGCONT).
    PauseRedis,
    /// Starts the nodes of Redis that were killed again, and waits until all are in order.
    RestartRedis,
    /// Moves the slot of that partition to another master; with a duration its keys move at once
    /// and the slot afterwards.
    MoveSlot,
    /// Redis has no memory left for a while, and refuses what would need some.
    FillRedis,
}

/// What a step happens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concern {
    /// The clients of a group, or all.
    Clients,
    /// A server, or all.
    Servers,
    /// The ways of a server to Redis, or those of all.
    RedisLinks,
    /// Redis itself.
    Redis,
}

/// Whether a step is undone after a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// It happens at once.
    No,
    /// If a duration is given.
    May,
    /// A duration has to be given.
    Must,
}

impl Action {
    /// The word for it, as written in a scenario.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CutClients => "cut-clients",
            Self::DelayClients => "delay-clients",
            Self::SwitchTransport => "switch-transport",
            Self::KillServer => "kill-server",
            Self::StopServer => "stop-server",
            Self::RestartServer => "restart-server",
            Self::PauseServer => "pause-server",
            Self::CutRedis => "cut-redis",
            Self::StallRedis => "stall-redis",
            Self::DelayRedis => "delay-redis",
            Self::KillRedisMaster => "kill-redis-master",
            Self::CutReplicas => "cut-replicas",
            Self::PauseRedis => "pause-redis",
            Self::RestartRedis => "restart-redis",
            Self::MoveSlot => "move-slot",
            Self::FillRedis => "fill-redis",
        }
    }

    /// What it happens to.
    pub const fn concerns(self) -> Concern {
        match self {
            Self::CutClients | Self::DelayClients | Self::SwitchTransport => Concern::Clients,
            Self::KillServer | Self::StopServer | Self::RestartServer | Self::PauseServer => {
                Concern::Servers
            }
            Self::CutRedis | Self::StallRedis | Self::DelayRedis => Concern::RedisLinks,
            Self::KillRedisMaster
            | Self::CutReplicas
            | Self::PauseRedis
            | Self::RestartRedis
            | Self::MoveSlot
            | Self::FillRedis => Concern::Redis,
        }
    }

    /// Whether the run must have started a Redis Cluster for it.
    pub const fn needs_cluster(self) -> bool {
        matches!(self.concerns(), Concern::Redis | Concern::RedisLinks)
    }

    /// Whether it is undone after a time.
    pub const fn lasts(self) -> Lasts {
        match self {
            Self::CutClients | Self::MoveSlot => Lasts::May,
            Self::DelayClients
            | Self::PauseServer
            | Self::CutRedis
            | Self::StallRedis
            | Self::DelayRedis
            | Self::CutReplicas
            | Self::PauseRedis
            | Self::FillRedis => Lasts::Must,
            Self::SwitchTransport
            | Self::KillServer
            | Self::StopServer
            | Self::RestartServer
            | Self::KillRedisMaster
            | Self::RestartRedis => Lasts::No,
        }
    }

    /// Whether it delays something, by a time that has to be given.
    pub const fn delays(self) -> bool {
        matches!(self, Self::DelayClients | Self::DelayRedis)
    }
}
