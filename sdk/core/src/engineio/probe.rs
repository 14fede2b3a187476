//! A WebSocket on which a client tries whether it can move its session there.

use std::time::Duration;

use bytes::Bytes;

use super::packet::Packet;
use crate::time::Time;

/// What the client writes into the ping, and the server into the pong.
const PROBE: &[u8] = b"probe";

/// While the client gets ready to move, its poll is ended this often: it moves when none is open,
/// and there may be nothing else that would end one.
pub const NOOP_INTERVAL: Duration = Duration::from_millis(100);

/// What follows from a packet on the new WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeStep {
    /// The WebSocket works: send this on it, and end the session's polls from now on.
    Answer(Packet),
    /// The session moves here; every packet that follows is part of it.
    Move,
    /// This is no upgrade: close the WebSocket. The session stays where it is.
    Fail,
}

/// The server's end of an upgrade: what it waits for on the new WebSocket, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    deadline: Time,
    next_noop: Option<Time>,
}

impl Probe {
    /// The WebSocket was opened at `now` and has `timeout` to become the session's.
    pub fn new(now: Time, timeout: Duration) -> Self {
        Self { deadline: now + timeout, next_noop: None }
    }

    /// Takes a packet that came on the new WebSocket.
    pub fn receive(&mut self, now: Time, packet: &Packet) -> ProbeStep {
        match packet {
            Packet::Ping(data) if data == PROBE => {
                self.next_noop = Some(now);
                ProbeStep::Answer(Packet::Pong(Bytes::from_static(PROBE)))
            }
            Packet::Upgrade => ProbeStep::Move,
            _ => ProbeStep::Fail,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Time {
        self.next_noop.map_or(self.deadline, |noop| noop.min(self.deadline))
    }

    /// Whether the session's poll, if one is open, is to be ended now.
    ///
    /// # Errors
    /// When the client took too long: the WebSocket is to be closed, the session stays where it is.
    pub fn handle_timeout(&mut self, now: Time) -> Result<bool, ProbeTimeout> {
        if self.deadline <= now {
            return Err(ProbeTimeout);
        }
        let due = self.next_noop.is_some_and(|at| at <= now);
        if due {
            self.next_noop = Some(now + NOOP_INTERVAL);
        }
        Ok(due)
    }
}

/// The client opened a WebSocket to move to and did not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client opened a WebSocket to move to, but did not move in time")]
pub struct ProbeTimeout;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Frame;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    fn probe() -> Probe {
        Probe::new(at(0), Duration::from_secs(10))
    }

    #[test]
    fn the_probe_is_answered_and_polls_are_ended_until_the_client_moves() {
        let mut probe = probe();
        assert_eq!(probe.next_timeout(), at(10_000));
        assert_eq!(probe.handle_timeout(at(5)), Ok(false), "nobody asked yet");
        let step = probe.receive(at(10), &Packet::Ping("probe".into()));
        assert_eq!(step, ProbeStep::Answer(Packet::Pong("probe".into())));
        assert_eq!(probe.next_timeout(), at(10));
        assert_eq!(probe.handle_timeout(at(10)), Ok(true), "a poll that is open ends at once");
        assert_eq!(probe.handle_timeout(at(11)), Ok(false));
        assert_eq!(probe.next_timeout(), at(110));
        assert_eq!(probe.handle_timeout(at(110)), Ok(true));
        assert_eq!(probe.receive(at(120), &Packet::Upgrade), ProbeStep::Move);
    }

    #[test]
    fn a_client_that_does_not_move_in_time_stays() {
        let mut probe = probe();
        probe.receive(at(0), &Packet::Ping("probe".into()));
        assert_eq!(probe.handle_timeout(at(9_999)), Ok(true));
        assert_eq!(probe.next_timeout(), at(10_000));
        assert_eq!(probe.handle_timeout(at(10_000)), Err(ProbeTimeout));
    }

    #[test]
    fn anything_else_is_no_upgrade() {
        for packet in [
            Packet::Ping("".into()),
            Packet::Ping("probes".into()),
            Packet::Pong("probe".into()),
            Packet::Message(Frame::Text("probe".into())),
            Packet::Message(Frame::Binary("probe".into())),
            Packet::Close,
            Packet::Noop,
        ] {
            assert_eq!(probe().receive(at(0), &packet), ProbeStep::Fail, "{packet:?}");
        }
    }
}
