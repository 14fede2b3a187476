//! The server's end of a connection.

use std::collections::VecDeque;

use super::from_client::{self, Received, Rejected};
use super::{Encoding, too_large, write};
use crate::Time;
use crate::link::{ServerLinkConfig, Wire};
use crate::message::{
    ClientMessage, CloseCode, ErrorCode, Frame, LinkError, Refusal, ServerMessage,
};
use crate::time::earliest;

/// One connection of a server to a client over `ws`.
///
/// What the client sends and the protocol forbids is answered by the link itself wherever the
/// answer can be joined to the message; the session only sees messages that are right. Names,
/// payloads and headers of the messages it gives out are checked against the limits of
/// [`ServerLinkConfig`]; patterns are not (the session parses them).
#[derive(Debug)]
pub struct ServerLink {
    config: ServerLinkConfig,
    encoding: Encoding,
    state: State,
    frames: VecDeque<Frame>,
    messages: VecDeque<ClientMessage>,
}

#[derive(Debug)]
enum State {
    /// The hello must come before the deadline.
    Greeting { deadline: Time },
    /// The next ping goes out at `next_ping`; something must come before `give_up`, which is set
    /// while a ping is unanswered.
    Open { next_ping: Time, give_up: Option<Time> },
}

impl ServerLink {
    /// A link whose WebSocket has just been opened.
    pub fn new(config: ServerLinkConfig, encoding: Encoding, now: Time) -> Self {
        let state = State::Greeting { deadline: now + config.hello_timeout };
        Self { config, encoding, state, frames: VecDeque::new(), messages: VecDeque::new() }
    }

    /// Takes a WebSocket message.
    ///
    /// # Errors
    /// When there is no going on: the frame is not a message, or the first one is not a hello.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        let bytes = self.encoding.bytes_of(frame)?;
        if bytes.len() > self.config.max_frame {
            return Err(too_large(bytes.len(), self.config.max_frame));
        }
        let received = match from_client::read(&self.config, self.encoding, &bytes) {
            Ok(received) => received,
            Err(Rejected::Close(error)) => return Err(error),
            Err(Rejected::Answer(_)) if self.greeting() => return Err(no_hello()),
            Err(Rejected::Answer(answer)) => {
                self.alive();
                self.send(now, &answer);
                return Ok(());
            }
        };
        match (&self.state, received) {
            (State::Greeting { .. }, Received::Message(hello @ ClientMessage::Hello(_))) => {
                self.state =
                    State::Open { next_ping: now + self.config.ping_interval, give_up: None };
                self.messages.push_back(hello);
            }
            (State::Greeting { .. }, _) => return Err(no_hello()),
            (State::Open { .. }, Received::Message(ClientMessage::Hello(_))) => {
                let refusal = Refusal::new(ErrorCode::BAD_REQUEST, "hello is said once");
                self.send(now, &ServerMessage::Refused(refusal));
            }
            (State::Open { .. }, Received::Message(message)) => self.messages.push_back(message),
            (State::Open { .. }, Received::Pong) => {}
        }
        self.alive();
        Ok(())
    }

    /// Queues a message. Events that go to many connections are better encoded once, by
    /// [`encode_event`](crate::ws::encode_event).
    pub fn send(&mut self, _now: Time, message: &ServerMessage) {
        self.frames.push_back(self.encoding.frame(|e, out| write::server(e, out, message)));
    }

    /// The next WebSocket message to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The next message from the client. The first one is the hello.
    pub fn poll_message(&mut self) -> Option<ClientMessage> {
        self.messages.pop_front()
    }

    /// When [`ServerLink::handle_timeout`] wants to be called if nothing else happens.
    pub fn next_timeout(&self) -> Option<Time> {
        match self.state {
            State::Greeting { deadline } => Some(deadline),
            State::Open { next_ping, give_up } => earliest(Some(next_ping), give_up),
        }
    }

    /// Notices that time has passed: sends a ping when one is due.
    ///
    /// # Errors
    /// When the client did not say hello in time, or has been silent since a ping.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        match &mut self.state {
            State::Greeting { deadline } if now >= *deadline => Err(LinkError::new(
                CloseCode::HELLO_TIMEOUT,
                format!("no hello came within {:?}", self.config.hello_timeout),
            )),
            State::Open { give_up: Some(give_up), .. } if now >= *give_up => Err(LinkError::new(
                CloseCode::HEARTBEAT,
                format!("nothing came within {:?} of a ping", self.config.ping_timeout),
            )),
            State::Open { next_ping, give_up } if now >= *next_ping => {
                *next_ping = now + self.config.ping_interval;
                give_up.get_or_insert(now + self.config.ping_timeout);
                self.frames.push_back(self.encoding.frame(|e, out| write::bare(e, out, "ping")));
                self.release();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Which encoding of broadcast events this connection takes.
    pub const fn wire(&self) -> Wire {
        match self.encoding {
            Encoding::Json => Wire::WsJson,
            Encoding::Msgpack => Wire::WsMsgpack,
        }
    }

    const fn greeting(&self) -> bool {
        matches!(self.state, State::Greeting { .. })
    }

    /// Something came, so the last ping counts as answered.
    fn alive(&mut self) {
        if let State::Open { give_up, .. } = &mut self.state {
            *give_up = None;
        }
    }

    /// Gives memory back that a busier time left behind.
    fn release(&mut self) {
        self.messages.shrink_to_fit();
        self.frames.shrink_to(1);
    }
}

fn no_hello() -> LinkError {
    LinkError::new(CloseCode::BAD_FRAME, "the first message must be a hello")
}
