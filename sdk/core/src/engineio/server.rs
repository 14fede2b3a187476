//! The server's end of a conversation.

use std::collections::VecDeque;
use std::time::Duration;

use crate::message::{CloseCode, Frame, LinkError};
use crate::time::Time;

use super::handshake::Handshake;
use super::packet::Packet;
use super::request::Carrier;

/// How a server keeps its conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSessionConfig {
    /// How long after an answered ping the next one is sent.
    pub ping_interval: Duration,
    /// How long the client has to send something, usually the pong, after a ping.
    pub ping_timeout: Duration,
    /// The largest message accepted, in bytes. It is told to the client; the carrier enforces it.
    pub max_payload: u32,
}

impl Default for ServerSessionConfig {
    /// As Socket.IO's server: pings after 25 seconds, 20 seconds to answer, a megabyte.
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
        }
    }
}

/// The part of the ping timeout, one of so many, by which a late timer shortens it at most.
const LATENESS_SHARE: u32 = 10;

/// The server's end: it opens the conversation, sends the pings and gives up on silent clients.
#[derive(Debug)]
pub struct ServerSession {
    config: ServerSessionConfig,
    heartbeat: Heartbeat,
    out: VecDeque<Packet>,
}

#[derive(Debug, Clone, Copy)]
enum Heartbeat {
    PingDue(Time),
    AnswerDue(Time),
}

impl ServerSession {
    /// Opens a conversation: the open packet is the first to be polled.
    ///
    /// `sid` names the conversation in later HTTP requests, so it must not be guessable;
    /// `upgrades` are the carriers the client may move to (a WebSocket when it came by polling).
    pub fn new(sid: &str, upgrades: &[Carrier], config: ServerSessionConfig, now: Time) -> Self {
        let handshake = Handshake {
            sid: sid.to_owned(),
            upgrades: upgrades.iter().map(|carrier| carrier.name().to_owned()).collect(),
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            max_payload: Some(config.max_payload),
        };
        Self {
            config,
            heartbeat: Heartbeat::PingDue(now + config.ping_interval),
            out: VecDeque::from([Packet::Open(handshake.to_json())]),
        }
    }

    /// Takes a packet of the client and returns the message in it, if it is one.
    ///
    /// Whatever the client sends counts as a sign of life, not the pong alone: a client busy
    /// uploading must not be given up because its pong stands at the end of its queue.
    ///
    /// # Errors
    /// When the client closes the conversation, or sends a ping, which is the server's to send.
    pub fn receive(&mut self, now: Time, packet: Packet) -> Result<Option<Frame>, LinkError> {
        if let Heartbeat::AnswerDue(_) = self.heartbeat {
            self.heartbeat = Heartbeat::AnswerDue(now + self.config.ping_timeout);
        }
        match packet {
            Packet::Message(message) => Ok(Some(message)),
            Packet::Pong(_) => {
                if let Heartbeat::AnswerDue(_) = self.heartbeat {
                    self.heartbeat = Heartbeat::PingDue(now + self.config.ping_interval);
                }
                Ok(None)
            }
            Packet::Close => {
                Err(LinkError::new(CloseCode::NORMAL, "the client closed the connection"))
            }
            Packet::Ping(_) => Err(LinkError::new(
                CloseCode::BAD_FRAME,
                "Engine.IO 4 pings come from the server; the client answers with a pong",
            )),
            Packet::Open(_) | Packet::Upgrade | Packet::Noop => Ok(None),
        }
    }

    /// Queues a message for the client.
    pub fn send(&mut self, message: Frame) {
        self.out.push_back(Packet::Message(message));
    }

    /// The next packet to write. Pings come before messages.
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub const fn next_timeout(&self) -> Time {
        match self.heartbeat {
            Heartbeat::PingDue(at) | Heartbeat::AnswerDue(at) => at,
        }
    }

    /// When the client is given up unless something comes from it; `None` while no answer is due.
    pub const fn dead_at(&self) -> Option<Time> {
        match self.heartbeat {
            Heartbeat::PingDue(_) => None,
            Heartbeat::AnswerDue(at) => Some(at),
        }
    }

    /// Sends the ping that is due. A timer that is a little late is not taken off the client's
    /// time, nor added to it: the answer is due when it would be had the timer been exact. One that
    /// is very late leaves the client most of its time.
    ///
    /// # Errors
    /// When nothing came from the client in time after a ping.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        match self.heartbeat {
            Heartbeat::PingDue(at) if at <= now => {
                // Before messages, but nothing comes before the open packet.
                let opens = matches!(self.out.front(), Some(Packet::Open(_)));
                self.out.insert(usize::from(opens), Packet::Ping(bytes::Bytes::new()));
                let late = (now - at).min(self.config.ping_timeout / LATENESS_SHARE);
                let timeout = self.config.ping_timeout.saturating_sub(late);
                self.heartbeat = Heartbeat::AnswerDue(now + timeout);
                Ok(())
            }
            Heartbeat::AnswerDue(at) if at <= now => Err(LinkError::new(
                CloseCode::HEARTBEAT,
                format!("nothing came within {:?} after a ping", self.config.ping_timeout),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: ServerSessionConfig = ServerSessionConfig {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        max_payload: 1_000_000,
    };

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn pings_are_answered_or_the_client_is_given_up() {
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        assert!(matches!(session.poll_packet(), Some(Packet::Open(_))));
        for round in 0..3 {
            let start = round * 350;
            assert_eq!(session.next_timeout(), at(start + 300));
            assert_eq!(session.handle_timeout(at(start + 299)), Ok(()));
            assert_eq!(session.poll_packet(), None);
            assert_eq!(session.handle_timeout(at(start + 300)), Ok(()));
            assert_eq!(session.poll_packet(), Some(Packet::Ping(bytes::Bytes::new())));
            let pong = Packet::Pong(bytes::Bytes::new());
            assert_eq!(session.receive(at(start + 350), pong), Ok(None));
        }
        assert_eq!(session.handle_timeout(at(1350)), Ok(()));
        assert_eq!(session.next_timeout(), at(1550));
        let error = session.handle_timeout(at(1550)).expect_err("no answer");
        assert_eq!(error.close.code, CloseCode::HEARTBEAT);
    }

    #[test]
    fn lateness_of_a_timer_does_not_add_up() {
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        assert_eq!(session.dead_at(), None);
        session.handle_timeout(at(303)).expect("a ping is due");
        assert_eq!(session.dead_at(), Some(at(500)));
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        session.handle_timeout(at(900)).expect("a ping is due");
        assert_eq!(session.dead_at(), Some(at(1080)), "the client keeps nine tenths of its time");
    }

    #[test]
    fn any_packet_is_a_sign_of_life() {
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        session.handle_timeout(at(300)).expect("a ping is due");
        let message = Frame::Text("2[]".into());
        let received = session.receive(at(400), Packet::Message(message.clone()));
        assert_eq!(received, Ok(Some(message)));
        assert_eq!(session.next_timeout(), at(600));
    }

    #[test]
    fn a_ping_goes_before_what_is_queued() {
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        session.poll_packet();
        session.send(Frame::Text("a".into()));
        session.handle_timeout(at(300)).expect("a ping is due");
        assert!(matches!(session.poll_packet(), Some(Packet::Ping(_))));
        assert!(matches!(session.poll_packet(), Some(Packet::Message(_))));
    }

    #[test]
    fn nothing_comes_before_the_open_packet() {
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        session.send(Frame::Text("a".into()));
        session.handle_timeout(at(300)).expect("a ping is due");
        assert!(matches!(session.poll_packet(), Some(Packet::Open(_))));
        assert!(matches!(session.poll_packet(), Some(Packet::Ping(_))));
        assert!(matches!(session.poll_packet(), Some(Packet::Message(_))));
    }

    #[test]
    fn closes_and_pings_of_the_client_end_it() {
        let mut session = ServerSession::new("s", &[], CONFIG, at(0));
        let code = |result: Result<_, LinkError>| result.map_err(|error| error.close.code);
        assert_eq!(code(session.receive(at(0), Packet::Noop)), Ok(None));
        assert_eq!(code(session.receive(at(0), Packet::Close)), Err(CloseCode::NORMAL));
        let ping = Packet::Ping(bytes::Bytes::new());
        assert_eq!(code(session.receive(at(0), ping)), Err(CloseCode::BAD_FRAME));
    }
}
