//! What the application says, and what becomes of it.

use std::collections::BTreeSet;

use crate::socketio::{Args, Body};
use crate::time::Time;

use super::config::BufferOverflow;
use super::io::{AckError, AckKey, DisconnectReason, Emit, EmitId, ManagerNotice, SocketKey};
use super::socket::{Outgoing, Turn, Whose, size};
use super::{Link, ManagerMachine};

/// While more bytes than this wait in the connection, events wait in their socket's own queue,
/// where they are counted, age, and survive the connection.
const BACKLOG: usize = 64 << 10;

impl ManagerMachine {
    /// Sends an event, or lets it wait.
    pub fn emit(&mut self, now: Time, key: SocketKey, emit: Emit) {
        self.expire(now);
        if matches!(self.link, Link::Closed) {
            self.dropped += 1;
            return self.failed_emit(emit.ack, AckError::Closed);
        }
        let Some(retries) = self.get(key).map(|socket| socket.config.retries) else { return };
        let bytes = size(&emit.args);
        if emit.volatile {
            self.emit_volatile(now, key, emit, bytes);
        } else if !self.make_room(key, bytes) {
            self.dropped += 1;
            self.failed_emit(emit.ack, AckError::Dropped);
        } else if retries.is_some() {
            let Emit { args, ack, timeout, .. } = emit;
            let turn = Turn { args, ack, timeout, since: now, bytes, tries: 0, under_way: None };
            if let Some(socket) = self.get(key) {
                socket.push_turn(turn);
            }
        } else {
            self.enqueue(now, key, emit, bytes);
        }
        self.pump(now);
    }

    /// Nobody waits for an acknowledgement any more. An event that waits to be sent is sent all
    /// the same.
    pub fn forget(&mut self, emit: EmitId) {
        for socket in &mut self.sockets {
            let whose = Whose::Application(emit);
            let ids = socket.acks.iter().filter(|(_, waiting)| waiting.whose == whose);
            if let Some(id) = ids.map(|(id, _)| *id).next() {
                socket.settle(id);
                for outgoing in &mut socket.sending {
                    outgoing.ack = outgoing.ack.filter(|ack| *ack != id);
                }
            }
            for turn in socket.turns.iter_mut().filter(|turn| turn.ack == Some(emit)) {
                turn.ack = None;
            }
        }
    }

    /// Acknowledges an event of the server, unless its connection has ended.
    pub fn acknowledge(&mut self, now: Time, to: AckKey, args: Args) {
        self.expire(now);
        let AckKey { socket: key, joined, id } = to;
        if self.get(key).is_some_and(|socket| socket.is_connected() && socket.joined == joined) {
            self.send_body(key, Body::Ack { ack: id, args });
        }
        self.pump(now);
    }

    fn emit_volatile(&mut self, now: Time, key: SocketKey, emit: Emit, bytes: usize) {
        let writable = match &self.link {
            Link::There(connection) => connection.engine.is_writable(),
            _ => false,
        };
        let Some(socket) = self.get(key) else { return };
        if writable && socket.is_connected() && socket.sending.is_empty() {
            self.enqueue(now, key, emit, bytes);
        } else {
            self.dropped += 1;
            self.failed_emit(emit.ack, AckError::Dropped);
        }
    }

    /// Whether one more event of this size may wait, after older ones were dropped if that is how
    /// it is configured.
    fn make_room(&mut self, key: SocketKey, bytes: usize) -> bool {
        loop {
            let Some(socket) = self.get(key) else { return false };
            let limits = socket.config.buffer;
            let (count, held) = socket.held();
            if count == 0 || (count < limits.count && held + bytes <= limits.bytes) {
                return true;
            }
            // One that is under way is not given up for others.
            let turn = socket.turns.iter().position(|turn| turn.under_way.is_none());
            let ack = match (limits.overflow, turn) {
                (BufferOverflow::Reject, _) => return false,
                (BufferOverflow::DropOldest, Some(at)) => {
                    socket.remove_turn(at).and_then(|turn| turn.ack)
                }
                (BufferOverflow::DropOldest, None) => match socket.next_outgoing() {
                    Some(oldest) => match oldest.ack.and_then(|ack| socket.settle(ack)) {
                        Some(Whose::Application(emit)) => Some(emit),
                        Some(Whose::Turn) | None => None,
                    },
                    None => return false,
                },
            };
            self.dropped += 1;
            self.failed_emit(ack, AckError::Dropped);
        }
    }

    fn enqueue(&mut self, now: Time, key: SocketKey, emit: Emit, bytes: usize) {
        let Some(socket) = self.get(key) else { return };
        let timeout = emit.timeout.or(socket.config.ack_timeout);
        let deadline = timeout.map(|timeout| now + timeout);
        let ack = emit.ack.map(|emit| socket.expect(Whose::Application(emit), deadline));
        socket.sending.push_back(Outgoing { args: emit.args, ack, since: now, bytes });
        socket.sending_bytes += bytes;
    }

    /// Sends what waits, as far as the connection takes it.
    pub(super) fn send_waiting(&mut self, now: Time, key: SocketKey) {
        while matches!(&self.link, Link::There(c) if c.engine.waiting_bytes() < BACKLOG) {
            if !self.send_next(now, key) {
                break;
            }
        }
    }

    /// Sends all that waits: there will be no other occasion.
    pub(super) fn send_all(&mut self, now: Time, key: SocketKey) {
        while self.send_next(now, key) {}
    }

    fn send_next(&mut self, now: Time, key: SocketKey) -> bool {
        let Some(socket) = self.get(key).filter(|socket| socket.is_connected()) else {
            return false;
        };
        let Some(Outgoing { args, ack, since, .. }) = socket.next_outgoing() else { return false };
        if since + socket.config.buffer.age <= now {
            self.give_up(key, ack, AckError::Expired);
            return true;
        }
        if socket.watched {
            self.tell(ManagerNotice::Outgoing { socket: key, args: args.clone() });
        }
        self.send_body(key, Body::Event { ack, args });
        true
    }

    /// An event was not sent.
    fn give_up(&mut self, key: SocketKey, ack: Option<u64>, error: AckError) {
        self.dropped += 1;
        let whose = ack.and_then(|ack| self.get(key)?.settle(ack));
        if let Some(Whose::Application(emit)) = whose {
            self.failed_emit(Some(emit), error);
        }
    }

    /// Begins the next event of those that go one at a time.
    pub(super) fn next_turn(&mut self, now: Time, key: SocketKey) {
        let Some(socket) = self.get(key).filter(|socket| socket.is_connected()) else { return };
        let default = socket.config.ack_timeout;
        let Some(turn) = socket.turns.front().filter(|turn| turn.under_way.is_none()) else {
            return;
        };
        let deadline = turn.timeout.or(default).map(|timeout| now + timeout);
        let (args, bytes) = (turn.args.clone(), turn.bytes);
        let ack = socket.expect(Whose::Turn, deadline);
        if let Some(turn) = socket.turns.front_mut() {
            turn.tries += 1;
            turn.under_way = Some(ack);
        }
        socket.sending.push_back(Outgoing { args, ack: Some(ack), since: now, bytes });
        socket.sending_bytes += bytes;
    }

    /// An acknowledgement has come, or will not.
    pub(super) fn answer(&mut self, key: SocketKey, ack: u64, result: Result<Args, AckError>) {
        let Some(socket) = self.get(key) else { return };
        match socket.settle(ack) {
            None => {}
            Some(Whose::Application(emit)) => self.tell(ManagerNotice::Acked { emit, result }),
            Some(Whose::Turn) => {
                let retries = socket.config.retries.unwrap_or(0);
                let Some(turn) = socket.turns.front_mut() else { return };
                turn.under_way = None;
                if result.is_err() && turn.tries <= retries {
                    return;
                }
                if let Some(emit) = socket.remove_turn(0).and_then(|turn| turn.ack) {
                    self.tell(ManagerNotice::Acked { emit, result });
                }
            }
        }
    }

    /// What was sent on a connection that has ended is not acknowledged any more. What still waits
    /// to be sent waits on.
    pub(super) fn fail_acks(&mut self, key: SocketKey, reason: DisconnectReason) {
        let Some(socket) = self.get(key) else { return };
        let waiting: BTreeSet<u64> =
            socket.sending.iter().filter_map(|outgoing| outgoing.ack).collect();
        let lost: Vec<u64> =
            socket.acks.keys().copied().filter(|ack| !waiting.contains(ack)).collect();
        // Those that go one at a time begin anew with the next connection, in their own queue.
        let under_way = socket.turns.front_mut().and_then(|turn| turn.under_way);
        if let Some(ack) = under_way {
            socket.withdraw(ack);
        }
        for ack in lost.into_iter().chain(under_way) {
            self.answer(key, ack, Err(AckError::Disconnected(reason)));
        }
    }

    pub(super) fn expire_socket(&mut self, now: Time, key: SocketKey) {
        while let Some(ack) = self.get(key).and_then(|socket| socket.overdue(now)) {
            if let Some(socket) = self.get(key) {
                socket.withdraw(ack);
            }
            self.answer(key, ack, Err(AckError::Timeout));
        }
        let Some(socket) = self.get(key) else { return };
        let age = socket.config.buffer.age;
        while let Some(socket) = self.get(key)
            && socket.sending.front().is_some_and(|oldest| oldest.since + age <= now)
            && let Some(oldest) = socket.next_outgoing()
        {
            self.give_up(key, oldest.ack, AckError::Expired);
        }
        while let Some(socket) = self.get(key)
            && socket.turns.front().is_some_and(|turn| turn.tries == 0 && turn.since + age <= now)
            && let Some(turn) = socket.remove_turn(0)
        {
            self.dropped += 1;
            self.failed_emit(turn.ack, AckError::Expired);
        }
        if self.get(key).is_some_and(|socket| socket.ask_at.is_some_and(|at| at <= now)) {
            if let Some(socket) = self.get(key) {
                socket.ask_at = None;
            }
            self.join(key);
        }
    }

    /// Everybody who waits is told that nothing comes any more.
    pub(super) fn forget_everything(&mut self) {
        let mut told = Vec::new();
        for socket in &mut self.sockets {
            while let Some(turn) = socket.remove_turn(0) {
                told.extend(turn.ack);
            }
            for (_, waiting) in std::mem::take(&mut socket.acks) {
                if let Whose::Application(emit) = waiting.whose {
                    told.push(emit);
                }
            }
            socket.sending.clear();
            socket.sending_bytes = 0;
        }
        for emit in told {
            self.failed_emit(Some(emit), AckError::Closed);
        }
    }

    fn failed_emit(&mut self, emit: Option<EmitId>, error: AckError) {
        if let Some(emit) = emit {
            self.tell(ManagerNotice::Acked { emit, result: Err(error) });
        }
    }
}
