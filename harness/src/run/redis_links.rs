//! The ways of servers to Redis, where a scenario disturbs them.
//!
//! The nodes of a cluster tell clients where the others are. So that a server keeps to its own
//! proxies, each server has a host of its own (`127.0.1.1`, `127.0.1.2`, ...) with a proxy for each
//! node at that node's port, and nodes tell ports alone
//! ([`hide_hosts`](RedisCluster::hide_hosts)).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::RunError;
use crate::process::redis_cluster::RedisCluster;
use crate::proxy::Proxy;

/// The proxies of each server.
pub(super) struct RedisLinks {
    by_server: Vec<Vec<Proxy>>,
}

impl RedisLinks {
    /// Starts the proxies of so many servers.
    pub(super) async fn start(redis: &RedisCluster, servers: usize) -> Result<Self, RunError> {
        redis.hide_hosts().await?;
        let mut by_server = Vec::with_capacity(servers);
        for server in 0..servers {
            let mut proxies = Vec::with_capacity(redis.len());
            for port in redis.ports() {
                let listen = SocketAddr::from((host(server), port));
                let node = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                let proxy = Proxy::start(listen, vec![node], None).await.map_err(|error| {
                    RunError::Environment(format!("no proxy to Redis at {listen}: {error}"))
                })?;
                proxies.push(proxy);
            }
            by_server.push(proxies);
        }
        Ok(Self { by_server })
    }

    /// The URLs by which a server reaches Redis.
    pub(super) fn urls(&self, server: usize) -> String {
        let proxies = self.by_server.get(server).map_or(&[][..], Vec::as_slice);
        let urls: Vec<_> =
            proxies.iter().map(|proxy| format!("redis://{}", proxy.addr())).collect();
        urls.join(",")
    }

    /// Cuts the links of a server, or of all; `closed` keeps it from connecting again.
    pub(super) fn cut(&self, server: Option<usize>, closed: bool) {
        for proxy in self.of(server) {
            proxy.set_closed(closed);
            proxy.cut();
        }
    }

    /// Whether nothing passes on the links of a server, or of all.
    pub(super) fn stall(&self, server: Option<usize>, stalled: bool) {
        self.of(server).for_each(|proxy| proxy.set_stalled(stalled));
    }

    /// How late everything arrives on the links of a server, or of all.
    pub(super) fn delay(&self, server: Option<usize>, delay: Duration) {
        self.of(server).for_each(|proxy| proxy.set_delay(delay));
    }

    /// Lets a server, or all, connect again.
    pub(super) fn reopen(&self, server: Option<usize>) {
        self.of(server).for_each(|proxy| proxy.set_closed(false));
    }

    fn of(&self, server: Option<usize>) -> impl Iterator<Item = &Proxy> {
        let chosen = move |n: &usize| server.is_none_or(|wanted| wanted == *n);
        let servers = self.by_server.iter().enumerate();
        servers.filter(move |(n, _)| chosen(n)).flat_map(|(_, proxies)| proxies)
    }
}

/// The host by which a server reaches Redis.
fn host(server: usize) -> Ipv4Addr {
    let [third, fourth] = [server / 250 + 1, server % 250 + 1].map(|n| n.min(254) as u8);
    Ipv4Addr::new(127, 0, third, fourth)
}
