//! Whether anything is still on its way.

use std::time::Duration;

use crate::backplane::{Backplane, lanes};
use crate::client::Client;
use crate::network::Wire;
use crate::server::Server;
use crate::world::World;

/// How long a healed network may take until everything is quiet.
const PATIENCE: Duration = Duration::from_secs(300);

impl World {
    pub(crate) fn become_quiet(&mut self) {
        let patience = self.now + PATIENCE;
        while !self.is_quiet() {
            assert!(self.now < patience, "it does not become quiet: {}", self.noise());
            self.run_until(self.now + Duration::from_millis(100));
        }
    }

    fn is_quiet(&self) -> bool {
        let settled = |wire: &Wire| {
            !wire.up.swallows
                && !wire.down.swallows
                && wire.up.in_flight == 0
                && wire.down.in_flight == 0
        };
        let served = |server: &Server| {
            let mut peers = server.peers.iter().filter(|(line, _)| !self.wires[line].left);
            !server.signalled && server.up && peers.all(|(_, peer)| peer.is_quiet())
        };
        self.clients.iter().all(Client::is_quiet)
            && self.servers.iter().all(served)
            && self.is_settled()
            && self.wires.values().filter(|wire| !wire.left).all(settled)
    }

    /// Whether the Redis is whole, and what is read of it is what it has.
    fn is_settled(&self) -> bool {
        let Some(ways) = &self.ways else { return true };
        let partitioning = &self.log.borrow().partitioning;
        let same = |backplane: &Backplane| {
            lanes(partitioning).all(|lane| {
                backplane.readable_head(lane).is_none_or(|head| Some(head) == ways.redis.head(lane))
            })
        };
        ways.is_whole() && self.backplanes.iter().all(same)
    }

    fn noise(&self) -> String {
        let loud = self.clients.iter().filter(|client| !client.is_quiet());
        let clients: Vec<_> =
            loud.map(|client| (client.machine.status(), client.machine.stats())).collect();
        format!("{clients:?}")
    }
}
