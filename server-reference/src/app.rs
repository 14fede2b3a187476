//! What everything in one server shares.

use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::connections::Connections;
use crate::handlers::Handlers;
use crate::ids::random_id;
use crate::shutdown::Shutdown;
use crate::stats::{Live, ShardStats, Stats};

/// What everything in one server shares.
#[derive(Debug)]
pub(crate) struct App {
    /// As it was given, checked; `instance` is filled in.
    pub(crate) config: Config,
    /// When the server was made.
    pub(crate) started: Instant,
    /// Who is connected.
    pub(crate) connections: Arc<Connections>,
    /// What answers clients' requests.
    pub(crate) handlers: Handlers,
    /// What has been counted.
    pub(crate) stats: Stats,
    shards: Vec<ShardStats>,
    /// Whether the server is going away.
    pub(crate) shutdown: Shutdown,
}

impl App {
    pub(crate) fn new(mut config: Config) -> Arc<Self> {
        if config.instance.is_empty() {
            config.instance = random_id();
        }
        Arc::new(Self {
            started: Instant::now(),
            connections: Connections::new(config.limits.max_connections),
            handlers: Handlers::default(),
            stats: Stats::default(),
            shards: (0..config.shards).map(|_| ShardStats::default()).collect(),
            shutdown: Shutdown::new(config.timeouts.drain_spread),
            config,
        })
    }

    /// What the shards have counted.
    pub(crate) fn shard_stats(&self) -> impl Iterator<Item = &ShardStats> {
        self.shards.iter()
    }

    /// The connections of each shard as they are now, with what the shard has counted.
    pub(crate) fn live(&self) -> Vec<(&ShardStats, Live)> {
        self.shards.iter().map(|shard| (shard, Live::default())).collect()
    }
}
