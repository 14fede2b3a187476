//! The client's link.

mod hear;

use std::collections::VecDeque;

use crate::engineio::{self, ClientSession, Received};
use crate::event::Priority;
use crate::json::Writer;
use crate::link::LinkConfig;
use crate::map::Map;
use crate::message::{
    ClientMessage, CloseCode, Frame, Hello, LinkError, Publish, RequestId, ServerMessage, SubId,
    Subscribe,
};
use crate::spelling;
use crate::time::{Brief, Time};

use super::codec::{self, Decoder};
use super::control::{self, CANCEL, PUBLISH, SUBSCRIBE, TOKEN, UNSUBSCRIBE};
use super::packet::{Args, Body, DecodeError, Packet};

/// Translates between the frames of a connection to a Tidings server that speaks Socket.IO, and
/// session messages.
#[derive(Debug)]
pub struct ClientLink {
    config: LinkConfig,
    hello: Hello,
    /// There from the moment the WebSocket is open.
    engine: Option<ClientSession>,
    decoder: Decoder,
    state: State,
    inbox: VecDeque<ServerMessage>,
    next_ack: u64,
    /// What was asked, by the acknowledgement id that its answer will carry.
    asked: Map<u64, Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The namespace was not granted yet; it must be until then.
    Joining {
        deadline: Time,
    },
    Joined,
    Left,
}

/// What the client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Subscribe(SubId),
    Unsubscribe(SubId),
    Publish(u64),
    Request(RequestId),
    Token,
}

impl ClientLink {
    /// A link that says `hello` when its connection is open.
    pub fn new(config: LinkConfig, hello: Hello, now: Time) -> Self {
        let limits = config.socketio.limits(config.max_frame, config.max_depth);
        Self {
            decoder: Decoder::new(Some(config.socketio.parser), limits),
            engine: None,
            state: State::Joining { deadline: now + config.hello_timeout },
            inbox: VecDeque::new(),
            next_ack: 0,
            asked: Map::new(),
            config,
            hello,
        }
    }

    /// The WebSocket is open. Socket.IO has no subprotocols; one that is named is ignored.
    ///
    /// # Errors
    /// Never.
    pub fn opened(&mut self, now: Time, _subprotocol: Option<&str>) -> Result<(), LinkError> {
        let deadline = now + self.config.hello_timeout;
        self.state = State::Joining { deadline };
        self.engine = Some(ClientSession::new(deadline));
        Ok(())
    }

    /// Takes a WebSocket message of the server.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        let Some(engine) = &mut self.engine else {
            return Err(bad_frame("a message before the connection was open"));
        };
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = &frame;
        let (len, max) = (bytes.len(), self.config.max_frame);
        if len > max {
            return Err(codec::broken(&DecodeError::TooLarge { len, max }));
        }
        let packet =
            engineio::Packet::decode(frame).map_err(|error| bad_frame(error.to_string()))?;
        match engine.receive(now, packet)? {
            None => Ok(()),
            Some(Received::Opened(_)) => {
                self.connect();
                Ok(())
            }
            Some(Received::Message(message)) => match self.decoder.receive(message) {
                Ok(None) => Ok(()),
                Ok(Some(packet)) => self.packet(packet),
                Err(error) => Err(codec::broken(&error)),
            },
        }
    }

    /// Queues a message for the server. To be called once the welcome was polled.
    pub fn send(&mut self, message: ClientMessage) {
        match message {
            // The link says hello by itself.
            ClientMessage::Hello(_) => {}
            ClientMessage::Subscribe(subscribe) => self.subscribe(&subscribe),
            ClientMessage::Unsubscribe(id) => {
                let mut args = control::control(UNSUBSCRIBE);
                args.push_written(|w| {
                    w.begin_object().key("id").u64(id.0.into()).end_object();
                });
                self.ask(Asked::Unsubscribe(id), args);
            }
            ClientMessage::Publish(publish) => self.publish(&publish),
            ClientMessage::Request { id, name, payload } => {
                self.ask(Asked::Request(id), control::request_args(false, &name, &payload));
            }
            ClientMessage::Cancel(id) => self.cancel(id),
            ClientMessage::Reply { id, result } => {
                let ack = control::ack_of(id);
                self.send_body(Body::Ack { ack, args: control::reply_args(&result) });
            }
            ClientMessage::Token(token) => {
                let mut args = control::control(TOKEN);
                args.push_str(&token);
                self.ask(Asked::Token, args);
            }
            ClientMessage::Bye => {
                self.send_body(Body::Disconnect);
                self.state = State::Left;
            }
        }
    }

    /// The next frame to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        Some(self.engine.as_mut()?.poll_packet()?.encode())
    }

    /// The next message for the session; the first one is the welcome.
    pub fn poll_message(&mut self) -> Option<ServerMessage> {
        self.inbox.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) gives the server up.
    pub fn next_timeout(&self) -> Option<Time> {
        let heartbeat = self.engine.as_ref().map(ClientSession::next_timeout);
        match self.state {
            State::Joining { deadline } => Some(heartbeat.map_or(deadline, |at| at.min(deadline))),
            State::Joined | State::Left => heartbeat,
        }
    }

    /// Checks the watchdogs.
    ///
    /// # Errors
    /// When the welcome did not come in time, or the server fell silent.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        if let State::Joining { deadline } = self.state
            && deadline <= now
        {
            let reason = format!("no welcome came within {}", Brief(self.config.hello_timeout));
            return Err(LinkError::new(CloseCode::HELLO_TIMEOUT, reason));
        }
        self.engine.as_mut().map_or(Ok(()), |engine| engine.handle_timeout(now))
    }

    fn connect(&mut self) {
        let mut auth = Vec::new();
        let mut w = Writer::new(&mut auth);
        w.begin_object();
        // Where every Socket.IO server looks for it; the hello need not repeat it.
        if let Some(token) = self.hello.token.take() {
            w.key("token").str(&token);
        }
        spelling::write_hello(w.key("tidings"), &self.hello);
        w.end_object();
        self.send_body(Body::Connect(Some(auth.into())));
    }

    fn subscribe(&mut self, subscribe: &Subscribe) {
        let mut args = control::control(SUBSCRIBE);
        args.push_written(|w| {
            w.begin_object().key("id").u64(subscribe.id.0.into());
            w.key("pattern").str(&subscribe.pattern);
            if let Some(since) = &subscribe.since {
                spelling::write_cursor(w.key("since"), since);
            }
            w.end_object();
        });
        self.ask(Asked::Subscribe(subscribe.id), args);
    }

    fn publish(&mut self, publish: &Publish) {
        let mut args = control::control(PUBLISH);
        args.push_str(&publish.name);
        args.push_payload(&publish.payload);
        args.push_written(|w| {
            w.begin_object();
            if publish.volatile {
                w.key("volatile").bool(true);
            } else {
                w.key("seq").u64(publish.seq);
            }
            if publish.priority != Priority::Normal {
                w.key("priority").str(publish.priority.as_str());
            }
            if !publish.headers.is_empty() {
                spelling::write_headers(w.key("headers"), &publish.headers);
            }
            if let Some(identity) = &publish.identity {
                spelling::write_identity(w.key("as"), identity);
            }
            w.end_object();
        });
        if publish.volatile {
            self.send_body(Body::Event { ack: None, args });
        } else {
            self.ask(Asked::Publish(publish.seq), args);
        }
    }

    fn cancel(&mut self, id: RequestId) {
        let ack = self.asked.iter().find_map(|(ack, asked)| match asked {
            Asked::Request(open) if *open == id => Some(*ack),
            _ => None,
        });
        // Otherwise the reply has come already.
        if let Some(ack) = ack {
            self.asked.remove(&ack);
            let mut args = control::control(CANCEL);
            args.push_written(|w| {
                w.u64(ack);
            });
            self.send_body(Body::Event { ack: None, args });
        }
    }

    /// Sends an event whose answer is awaited.
    fn ask(&mut self, asked: Asked, args: Args) {
        let ack = self.next_ack;
        self.next_ack += 1;
        self.asked.insert(ack, asked);
        self.send_body(Body::Event { ack: Some(ack), args });
    }

    fn send_body(&mut self, body: Body) {
        if let Some(engine) = &mut self.engine {
            let packet: Packet = self.config.socketio.packet(body);
            self.decoder.parser().encode(&packet, |frame| engine.send(frame));
        }
    }
}

fn bad_frame(reason: impl Into<String>) -> LinkError {
    LinkError::new(CloseCode::BAD_FRAME, reason)
}
