//! The client's end of a conversation.

use std::collections::VecDeque;
use std::time::Duration;

use crate::message::{CloseCode, Frame, LinkError};
use crate::time::{Brief, Time};

use super::handshake::Handshake;
use super::packet::Packet;

/// What a packet of the server means to the layer above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// The conversation is open.
    Opened(Handshake),
    /// A message.
    Message(Frame),
}

/// The client's end: it answers pings and gives up on a server that falls silent.
#[derive(Debug)]
pub struct ClientSession {
    state: State,
    deadline: Time,
    out: VecDeque<Packet>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Opening,
    /// `patience` is the ping interval plus the time allowed for a late ping.
    Open {
        patience: Duration,
    },
}

impl ClientSession {
    /// Waits for the server's open packet, at most until `open_deadline`.
    pub const fn new(open_deadline: Time) -> Self {
        Self { state: State::Opening, deadline: open_deadline, out: VecDeque::new() }
    }

    /// Takes a packet of the server.
    ///
    /// # Errors
    /// When the server closes the conversation, or opens it wrongly.
    pub fn receive(&mut self, now: Time, packet: Packet) -> Result<Option<Received>, LinkError> {
        if let State::Open { patience } = self.state {
            self.deadline = now + patience;
        }
        match (packet, self.state) {
            (Packet::Open(json), State::Opening) => {
                let handshake = Handshake::from_json(&json)
                    .map_err(|error| LinkError::new(CloseCode::BAD_FRAME, error.to_string()))?;
                let patience = handshake.ping_interval.saturating_add(handshake.ping_timeout);
                self.state = State::Open { patience };
                self.deadline = now + patience;
                Ok(Some(Received::Opened(handshake)))
            }
            (Packet::Open(_), State::Open { .. }) => {
                Err(LinkError::new(CloseCode::BAD_FRAME, "a second open packet"))
            }
            (Packet::Close, _) => {
                Err(LinkError::new(CloseCode::GOING_AWAY, "the server closed the connection"))
            }
            (_, State::Opening) => {
                Err(LinkError::new(CloseCode::BAD_FRAME, "a packet before the open packet"))
            }
            (Packet::Ping(data), _) => {
                self.out.push_front(Packet::Pong(data));
                Ok(None)
            }
            (Packet::Message(message), _) => Ok(Some(Received::Message(message))),
            (Packet::Pong(_) | Packet::Upgrade | Packet::Noop, _) => Ok(None),
        }
    }

    /// Queues a message for the server.
    pub fn send(&mut self, message: Frame) {
        self.out.push_back(Packet::Message(message));
    }

    /// The next packet to write. Pongs come before messages.
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) gives the server up.
    pub const fn next_timeout(&self) -> Time {
        self.deadline
    }

    /// Checks the watchdog.
    ///
    /// # Errors
    /// When the open packet did not come in time, or a ping is overdue.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        if now < self.deadline {
            return Ok(());
        }
        Err(match self.state {
            State::Opening => {
                LinkError::new(CloseCode::HELLO_TIMEOUT, "the server did not open the conversation")
            }
            State::Open { patience } => LinkError::new(
                CloseCode::HEARTBEAT,
                format!("nothing came from the server within {}", Brief(patience)),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engineio::{ServerSession, ServerSessionConfig};

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    fn opened() -> ClientSession {
        let config = ServerSessionConfig {
            ping_interval: Duration::from_millis(300),
            ping_timeout: Duration::from_millis(200),
            ..ServerSessionConfig::default()
        };
        let open = ServerSession::new("sid", &[], config, at(0)).poll_packet().expect("open");
        let mut client = ClientSession::new(at(1000));
        let received = client.receive(at(100), open).expect("a good handshake");
        assert!(matches!(received, Some(Received::Opened(h)) if h.sid == "sid"));
        client
    }

    #[test]
    fn a_ping_is_answered_with_its_data_ahead_of_messages() {
        let mut client = opened();
        client.send(Frame::Text("a".into()));
        assert_eq!(client.receive(at(200), Packet::Ping("probe".into())), Ok(None));
        assert_eq!(client.poll_packet(), Some(Packet::Pong("probe".into())));
        assert_eq!(client.next_timeout(), at(700));
    }

    #[test]
    fn silence_is_noticed() {
        let mut client = opened();
        assert_eq!(client.next_timeout(), at(600));
        assert_eq!(client.handle_timeout(at(599)), Ok(()));
        let error = client.handle_timeout(at(600)).expect_err("no ping came");
        assert_eq!(error.close.code, CloseCode::HEARTBEAT);

        let mut never = ClientSession::new(at(1000));
        let error = never.handle_timeout(at(1000)).expect_err("not opened");
        assert_eq!(error.close.code, CloseCode::HELLO_TIMEOUT);
    }

    #[test]
    fn the_open_packet_comes_once_and_first() {
        let mut client = ClientSession::new(at(1000));
        let code = |result: Result<_, LinkError>| result.map_err(|error| error.close.code);
        assert_eq!(code(client.receive(at(0), Packet::Noop)), Err(CloseCode::BAD_FRAME));
        let open = Packet::Open("{}".into());
        assert_eq!(code(client.receive(at(0), open)), Err(CloseCode::BAD_FRAME));
        let mut client = opened();
        let again = Packet::Open("{}".into());
        assert_eq!(code(client.receive(at(200), again)), Err(CloseCode::BAD_FRAME));
        assert_eq!(code(client.receive(at(200), Packet::Close)), Err(CloseCode::GOING_AWAY));
    }
}
