//! The client's end of a connection.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::from_server::{self, Received};
use super::{Encoding, SEPARATOR, too_large, write};
use crate::link::LinkConfig;
use crate::message::{ClientMessage, CloseCode, Frame, Hello, LinkError, ServerMessage};
use crate::time::{Brief, Time};

/// One connection of a client to a server over `ws`.
///
/// ```
/// use tidings_core::link::LinkConfig;
/// use tidings_core::message::{Frame, Hello};
/// use tidings_core::{Time, ws::ClientLink};
/// let hello = Hello { producer: "p1".into(), ..Hello::default() };
/// let mut link = ClientLink::new(LinkConfig::default(), hello, Time::ZERO);
/// link.opened(Time::ZERO, Some("tidings.v1.json"))?;
/// let hello = r#"["hello",{"v":1,"producer":"p1","subs":[],"cursor":[]}]"#;
/// assert_eq!(link.poll_frame(), Some(Frame::Text(hello.into())));
/// # Ok::<(), tidings_core::message::LinkError>(())
/// ```
#[derive(Debug)]
pub struct ClientLink {
    config: LinkConfig,
    state: State,
    frames: VecDeque<Frame>,
    messages: VecDeque<ServerMessage>,
}

#[derive(Debug)]
enum State {
    /// The WebSocket is not open yet.
    Opening(Box<Hello>),
    /// The hello was sent; the welcome must come before the deadline.
    Greeting { encoding: Encoding, deadline: Time },
    /// Something must come before the deadline, which moves with everything that comes.
    Open { encoding: Encoding, deadline: Time, patience: Duration },
}

impl ClientLink {
    /// A link that will say `hello` when its WebSocket is open.
    pub fn new(config: LinkConfig, hello: Hello, _now: Time) -> Self {
        let state = State::Opening(Box::new(hello));
        Self { config, state, frames: VecDeque::new(), messages: VecDeque::new() }
    }

    /// The WebSocket is open, with the subprotocol the server chose.
    ///
    /// # Errors
    /// When it is none of those of this protocol.
    pub fn opened(&mut self, now: Time, subprotocol: Option<&str>) -> Result<(), LinkError> {
        let Some(encoding) = subprotocol.and_then(Encoding::from_subprotocol) else {
            let reason = format!(
                "the server chose {} as subprotocol; the client speaks {}",
                subprotocol.unwrap_or("none"),
                Encoding::ALL.map(Encoding::subprotocol).join(" and ")
            );
            return Err(LinkError::new(CloseCode::UNSUPPORTED, reason));
        };
        let deadline = now + self.config.hello_timeout;
        let opening = std::mem::replace(&mut self.state, State::Greeting { encoding, deadline });
        if let State::Opening(hello) = opening {
            self.send(ClientMessage::Hello(*hello));
        }
        Ok(())
    }

    /// Takes a WebSocket message: a message of the server, or several of them.
    ///
    /// # Errors
    /// When the server does not keep to the protocol; the link is of no further use then.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        let Some(encoding) = self.encoding() else {
            return Err(bad("a message came before the WebSocket was open"));
        };
        let bytes = encoding.bytes_of(frame)?;
        if bytes.len() > self.config.max_frame {
            return Err(too_large(bytes.len(), self.config.max_frame));
        }
        if let State::Open { deadline, patience, .. } = &mut self.state {
            *deadline = now + *patience;
        }
        if encoding == Encoding::Msgpack {
            return self.take(now, encoding, &bytes);
        }
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(SEPARATOR, &rest) {
            self.take(now, encoding, &rest.split_to(end))?;
            rest.advance(1);
        }
        self.take(now, encoding, &rest)
    }

    fn take(&mut self, now: Time, encoding: Encoding, bytes: &Bytes) -> Result<(), LinkError> {
        let message = match from_server::read(&self.config, encoding, bytes)? {
            Received::Message(message) => message,
            Received::Ping => {
                self.frames.push_back(encoding.frame(|e, out| write::bare(e, out, "pong")));
                return Ok(());
            }
            Received::Unknown => return Ok(()),
        };
        match (&self.state, &message) {
            (State::Greeting { .. }, ServerMessage::Welcome(welcome)) => {
                let patience = welcome.ping_interval + welcome.ping_timeout;
                self.state = State::Open { encoding, deadline: now + patience, patience };
            }
            (State::Greeting { .. }, ServerMessage::Close(_) | ServerMessage::Refused(_)) => {}
            (State::Greeting { .. }, _) => return Err(bad("the server must begin with a welcome")),
            (_, ServerMessage::Welcome(_)) => return Err(bad("the server welcomes once")),
            _ => {}
        }
        self.messages.push_back(message);
        Ok(())
    }

    /// Queues a message. The hello is said by the link itself; everything else waits for the
    /// welcome.
    pub fn send(&mut self, message: ClientMessage) {
        if let Some(encoding) = self.encoding() {
            self.frames.push_back(encoding.frame(|e, out| write::client(e, out, &message)));
        }
    }

    /// The next WebSocket message to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }

    /// The next message from the server. The first one is the welcome, unless the server closes.
    pub fn poll_message(&mut self) -> Option<ServerMessage> {
        self.messages.pop_front()
    }

    /// When [`ClientLink::handle_timeout`] wants to be called if nothing else happens.
    pub fn next_timeout(&self) -> Option<Time> {
        match self.state {
            State::Opening(_) => None,
            State::Greeting { deadline, .. } | State::Open { deadline, .. } => Some(deadline),
        }
    }

    /// Notices that time has passed.
    ///
    /// # Errors
    /// When the server has been silent for too long.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        match self.state {
            State::Greeting { deadline, .. } if now >= deadline => Err(LinkError::new(
                CloseCode::HELLO_TIMEOUT,
                format!("no welcome came within {}", Brief(self.config.hello_timeout)),
            )),
            State::Open { deadline, patience, .. } if now >= deadline => Err(LinkError::new(
                CloseCode::HEARTBEAT,
                format!("nothing came from the server for {}", Brief(patience)),
            )),
            _ => Ok(()),
        }
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.state {
            State::Opening(_) => None,
            State::Greeting { encoding, .. } | State::Open { encoding, .. } => Some(encoding),
        }
    }
}

fn bad(reason: &str) -> LinkError {
    LinkError::new(CloseCode::BAD_FRAME, reason)
}
