//! What goes over the connections between clients and servers.

use bytes::Bytes;
use tidings_core::Time;
use tidings_core::client::Input;
use tidings_core::io::IoEvent;
use tidings_core::message::{Close, CloseCode, Frame};
use tidings_core::websocket::Incoming;

use crate::network::{Cut, Line, Wire, delay};
use crate::server;
use crate::world::{Happening, World};

/// Bytes that a client may have on their way before it is told to write no more.
const UP_WINDOW: usize = 2000;

impl World {
    pub(crate) fn soon(&mut self) -> Time {
        self.now + delay(&mut self.rng)
    }

    pub(crate) fn cut_all(&mut self, which: impl Fn(&Line, &Wire) -> bool, how: Cut) {
        let lines = self.wires.iter().filter(|(line, wire)| !wire.left && which(line, wire));
        for line in lines.map(|(line, _)| *line).collect::<Vec<_>>() {
            self.cut(line, how);
        }
    }

    pub(crate) fn cut(&mut self, line: Line, how: Cut) {
        let Some(wire) = self.wires.get_mut(&line) else { return };
        wire.down.swallows = true;
        wire.up.swallows |= how != Cut::Half;
        let arrived = wire.up.arrival(self.now, &mut self.rng);
        if how == Cut::Silent {
            return;
        }
        let (noticed, lost) = (self.soon(), self.soon());
        self.schedule(noticed, Happening::ClientLost(line, abnormal("cut")));
        self.schedule(lost.max(arrived), Happening::ServerLost(line));
    }

    /// An attempt at a connection has reached its server.
    pub(crate) fn dialled(&mut self, line: Line) {
        let wire = self.wires.get_mut(&line).expect("a wire that was dialled");
        if wire.left {
            return;
        }
        let server = &mut self.servers[wire.server];
        if self.troubled && self.rng.chance(30) {
            return wire.down.swallows = true;
        }
        if !server.up {
            let at = self.soon();
            return self.schedule(at, Happening::ClientLost(line, abnormal("refused")));
        }
        server.stirred = true;
        if self.told {
            println!("{:?} client {} reaches server {}", self.now, line.client, wire.server);
        }
        let subprotocol = server.accept(self.now, line, wire.socketio, wire.subprotocol);
        let at = wire.down.arrival(self.now, &mut self.rng);
        self.schedule(at, Happening::Opened(line, subprotocol));
    }

    /// Bytes of a server have arrived.
    pub(crate) fn down(&mut self, line: Line, bytes: &[u8]) {
        let mut rest = bytes;
        loop {
            let wire = self.wires.get_mut(&line).expect("a wire that was sent on");
            if wire.left || wire.down.swallows {
                return;
            }
            let incoming = wire.decoder.decode(&mut rest).expect("finished frames");
            match incoming {
                Some(Incoming::Message(frame)) => {
                    self.input(line.client, Input::Io(IoEvent::WsFrame { id: line.io, frame }));
                }
                Some(Incoming::Close(close)) => {
                    let (code, reason) = close.unwrap_or((CloseCode::ABNORMAL, String::new()));
                    return self.client_lost(line, Close::new(code, reason));
                }
                Some(other) => panic!("nobody sends {other:?} here"),
                None => break,
            }
        }
        let wire = self.wires.get_mut(&line).expect("a wire that was sent on");
        wire.down.in_flight -= bytes.len();
        self.servers[wire.server].stirred = true;
    }

    pub(crate) fn client_lost(&mut self, line: Line, close: Close) {
        let wire = self.wires.get_mut(&line).expect("a wire that was lost");
        if !std::mem::replace(&mut wire.left, true) {
            self.input(line.client, Input::Io(IoEvent::WsClosed { id: line.io, close }));
        }
    }

    pub(crate) fn close_by_server(&mut self, server: usize, line: Line, close: Close) {
        for bytes in self.servers[server].close(self.now, line, close, &self.backplanes[server]) {
            self.send_down(line, bytes);
        }
        let wire = self.wires.get_mut(&line).expect("a wire to a server");
        if !wire.down.swallows {
            let at = wire.down.arrival(self.now, &mut self.rng);
            self.schedule(at, Happening::ClientLost(line, abnormal("closed")));
        }
    }

    pub(crate) fn send_down(&mut self, line: Line, bytes: Bytes) {
        let wire = self.wires.get_mut(&line).expect("a wire to a server");
        wire.down.in_flight += bytes.len();
        if !wire.down.swallows {
            let at = wire.down.arrival(self.now, &mut self.rng);
            self.schedule(at, Happening::Down(line, bytes));
        }
    }

    pub(crate) fn send_up(&mut self, line: Line, frame: Frame) {
        let wire = self.wires.get_mut(&line).expect("a wire that was opened");
        wire.up.in_flight += server::size(&frame);
        let filled = wire.up.in_flight > UP_WINDOW && !wire.full;
        wire.full |= filled;
        if !wire.up.swallows {
            let at = wire.up.arrival(self.now, &mut self.rng);
            self.schedule(at, Happening::Up(line, frame));
        }
        if filled {
            let input = Input::Io(IoEvent::Writable { id: line.io, writable: false });
            self.clients[line.client].machine.handle_input(self.now, input);
        }
    }

    /// A server has read what a client had sent.
    pub(crate) fn room(&mut self, line: Line, size: usize) {
        let wire = self.wires.get_mut(&line).expect("a wire that was read from");
        wire.up.in_flight -= size;
        if wire.full && wire.up.in_flight <= UP_WINDOW / 2 {
            wire.full = false;
            if !wire.left {
                self.input(
                    line.client,
                    Input::Io(IoEvent::Writable { id: line.io, writable: true }),
                );
            }
        }
    }
}

fn abnormal(reason: &str) -> Close {
    Close::new(CloseCode::ABNORMAL, reason)
}
