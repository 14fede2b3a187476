//! What everything in one server shares.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::config::Config;
use crate::connections::Connections;
use crate::handlers::Handlers;
use crate::ids::random_id;
use crate::shutdown::Shutdown;
use crate::stats::Stats;

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
    /// Whether the server is going away.
    pub(crate) shutdown: Shutdown,
}

impl App {
    pub(crate) fn new(mut config: Config) -> io::Result<Arc<Self>> {
        if config.instance.is_empty() {
            config.instance = random_id(8)?;
        }
        Ok(Arc::new(Self {
            started: Instant::now(),
            connections: Connections::new(config.limits.max_connections),
            handlers: Handlers::default(),
            stats: Stats::new(config.shards),
            shutdown: Shutdown::new(config.timeouts.drain_spread),
            config,
        }))
    }
}
