//! What the plan has in store for clients and servers.

use tidings_core::client::Input;
use tidings_core::{Cursor, Offset, Place, Priority};

use crate::backplane::lanes;
use crate::network::Cut;
use crate::plan::Act;
use crate::world::{Happening, World};

impl World {
    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Publish { client, name, priority, size, count } => {
                for _ in 0..count {
                    let command = self.clients[client].publish(name, priority, size, false);
                    self.command(client, command);
                }
            }
            Act::PublishVolatile { client, name } => {
                let command = self.clients[client].publish(name, Priority::Normal, 20, true);
                self.command(client, command);
            }
            Act::Subscribe { client, pattern } => {
                let command = self.clients[client].subscribe(pattern, None);
                self.command(client, command);
            }
            Act::SubscribeSince { client, pattern } => {
                let since = self.somewhere();
                let command = self.clients[client].subscribe(pattern, Some(since));
                self.command(client, command);
            }
            Act::Unsubscribe { client, which } => {
                if let Some(command) = self.clients[client].unsubscribe(which) {
                    self.command(client, command);
                }
            }
            Act::Switch { client, transport } => {
                let command = self.clients[client].switch(transport);
                self.command(client, command);
            }
            Act::Cut { client, how } => self.cut_all(|line, _| line.client == client, how),
            Act::Offline { client, back } => {
                self.cut_all(|line, _| line.client == client, Cut::Silent);
                self.input(client, Input::Online(false));
                self.schedule(self.now + back, Happening::Online(client));
            }
            Act::Restart { server, down } => {
                let how = if self.rng.chance(800) { Cut::Clean } else { Cut::Silent };
                self.cut_all(|_, wire| wire.server == server, how);
                self.servers[server].crash(&self.backplanes[server]);
                self.lives[server] += 1;
                self.forget_life(server);
                self.restarts += 1;
                self.schedule(self.now + down, Happening::ServerBack(server));
            }
        }
    }

    /// A place in each lane, at or before its head.
    fn somewhere(&mut self) -> Cursor {
        let Some(ways) = &self.ways else { return self.log.borrow().somewhere(&mut self.rng) };
        let mut cursor = Cursor::new();
        for lane in lanes(&self.log.borrow().partitioning) {
            let Some(head) = ways.redis.head(lane) else { continue };
            let places: Vec<Offset> = ways.redis.places(lane).collect();
            let at = self.rng.below(places.len() as u64 + 1) as usize;
            if let Some(offset) = places.get(at) {
                cursor.set(lane, Place { epoch: head.epoch, offset: *offset });
            }
        }
        cursor
    }
}
