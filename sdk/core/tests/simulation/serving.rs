//! Servers do what there is to do, and what their instances have come to is handed on.

use crate::instance::Outcome;
use crate::network::Line;
use crate::world::{Happening, World};

impl World {
    /// Servers read what has arrived and write what waits, and learn of new events after a while.
    pub(crate) fn settle(&mut self) {
        loop {
            for server in 0..self.servers.len() {
                if !std::mem::take(&mut self.servers[server].stirred) {
                    continue;
                }
                for line in self.servers[server].peers.keys().copied().collect::<Vec<_>>() {
                    self.serve(server, line);
                }
            }
            for server in 0..self.servers.len() {
                self.settle_instance(server);
            }
            if !self.servers.iter().any(|server| server.stirred) {
                break;
            }
        }
        if std::mem::take(&mut self.log.borrow_mut().grown) {
            for server in 0..self.servers.len() {
                self.signal(server);
            }
        }
    }

    pub(crate) fn signal(&mut self, server: usize) {
        if !std::mem::replace(&mut self.servers[server].signalled, true) {
            let at = self.soon();
            self.schedule(at, Happening::Signal(server));
        }
    }

    /// What the machines of a server's instance have come to is handed on.
    fn settle_instance(&mut self, server: usize) {
        let Some(instance) = self.backplanes[server].instance() else { return };
        let Outcome { news, readable, loaded, published } = std::mem::take(&mut instance.outcome);
        if news {
            self.signal(server);
        }
        self.servers[server].loaded(&loaded, &self.backplanes[server]);
        for (token, result) in published {
            self.servers[server].published(self.now, token, result);
        }
        if readable {
            self.servers[server].stirred = true;
            self.release(server);
        }
        self.send_work(server);
    }

    pub(crate) fn release(&mut self, server: usize) {
        let (servers, backplanes) = (&mut self.servers, &self.backplanes);
        for line in servers[server].peers.keys().copied().collect::<Vec<_>>() {
            servers[server].release(self.now, line, &backplanes[server]);
        }
    }

    pub(crate) fn serve(&mut self, server: usize, line: Line) {
        loop {
            match self.servers[server].read(self.now, line, &self.backplanes[server]) {
                Ok(Some(size)) => self.room(line, size),
                Ok(None) => break,
                Err(close) => return self.close_by_server(server, line, close),
            }
        }
        let room = self.window.saturating_sub(self.wires[&line].down.in_flight);
        let Some(peer) = self.servers[server].peers.get_mut(&line) else { return };
        let written = peer.write(room, &self.backplanes[server]);
        if !written.is_empty() {
            self.send_down(line, written.into());
        }
    }
}
