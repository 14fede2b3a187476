//! The server's link.

mod answer;
mod ask;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::engineio::{self, Carrier, ServerSession, ServerSessionConfig};
use crate::json::{self, Value, Writer};
use crate::link::{ServerLinkConfig, Wire};
use crate::message::{
    ClientMessage, CloseCode, Frame, Hello, LinkError, PROTOCOL_VERSION, RequestId, ServerMessage,
    SubId,
};
use crate::spelling;
use crate::time::{Time, earliest};

use super::codec::{self, Decoder, Parser};
use super::packet::{Args, BadArgument, Body, DecodeError, Packet};

/// The identifiers of one connection. The driver makes them up, since the core has no randomness;
/// Socket.IO's own have 20 base64url characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketIds {
    /// Names the connection to Engine.IO. Whoever knows it can speak for the client in HTTP
    /// polling, so it must not be guessable, nor told to anybody else.
    pub engine: String,
    /// Names the socket to the application; other clients may learn it.
    pub socket: String,
    /// The producer that the publishes of a client that does not know Tidings come from.
    pub producer: String,
}

/// Translates between the frames of one Socket.IO client and session messages.
///
/// Two kinds of client are served. One that has `tidings` in its `auth` speaks the session protocol
/// in the spelling of events and acknowledgements. Any other is an ordinary Socket.IO client: it
/// gets the payloads of events alone, and may `subscribe`, `unsubscribe`, `publish` and ask; what
/// the session protocol needs besides (numbers of subscriptions and publishes) is made up here.
#[derive(Debug)]
pub struct ServerLink {
    config: ServerLinkConfig,
    ids: SocketIds,
    engine: ServerSession,
    decoder: Decoder,
    state: State,
    /// Whether the client knows Tidings.
    tidings: bool,
    inbox: VecDeque<ClientMessage>,
    /// The acknowledgement that each open message of the client waits for.
    unanswered: BTreeMap<Awaited, u64>,
    /// The acknowledgements that tokens wait for, in the order in which they came.
    tokens: VecDeque<Option<u64>>,
    /// Subscriptions whose numbers were made up here, and their patterns.
    numbered: BTreeMap<SubId, String>,
    next_sub: u32,
    next_request: u32,
    last_seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client has not asked for the namespace.
    Waiting {
        /// Until when it has to.
        deadline: Time,
    },
    /// It has; the session has not answered.
    Joining,
    /// It is welcome.
    Joined,
    /// It has left.
    Left,
}

/// What a client can wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Awaited {
    Subscribed(SubId),
    Unsubscribed(SubId),
    Published(u64),
    Reply(RequestId),
}

impl ServerLink {
    /// The link of a connection that was opened at `now`, carried by a WebSocket.
    pub fn new(config: ServerLinkConfig, ids: SocketIds, now: Time) -> Self {
        Self::upgradable(config, ids, &[], now)
    }

    /// The link of a connection that was opened at `now` and may move to other carriers, which
    /// are offered to the client.
    pub fn upgradable(
        config: ServerLinkConfig,
        ids: SocketIds,
        upgrades: &[Carrier],
        now: Time,
    ) -> Self {
        let engine_config = ServerSessionConfig {
            ping_interval: config.ping_interval,
            ping_timeout: config.ping_timeout,
            max_payload: u32::try_from(config.max_frame).unwrap_or(u32::MAX),
        };
        let limits = config.socketio.limits(config.max_frame, config.max_depth);
        Self {
            engine: ServerSession::new(&ids.engine, upgrades, engine_config, now),
            decoder: Decoder::new(None, limits),
            state: State::Waiting { deadline: now + config.hello_timeout },
            tidings: false,
            inbox: VecDeque::new(),
            unanswered: BTreeMap::new(),
            tokens: VecDeque::new(),
            numbered: BTreeMap::new(),
            next_sub: ask::FIRST_MADE_UP_SUB,
            next_request: 0,
            last_seq: 0,
            config,
            ids,
        }
    }

    /// Takes a WebSocket message of the client.
    ///
    /// # Errors
    /// When the connection cannot go on. A message that is wrong by itself is refused, and the
    /// connection goes on.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        let (Frame::Text(bytes) | Frame::Binary(bytes)) = &frame;
        if bytes.len() > self.config.max_frame {
            return Err(codec::broken(&DecodeError::TooLarge {
                len: bytes.len(),
                max: self.config.max_frame,
            }));
        }
        let packet = engineio::Packet::decode(frame)
            .map_err(|error| LinkError::new(CloseCode::BAD_FRAME, error.to_string()))?;
        let Some(message) = self.engine.receive(now, packet)? else { return Ok(()) };
        match self.decoder.receive(message) {
            Ok(None) => Ok(()),
            Ok(Some(packet)) => self.packet(packet),
            Err(DecodeError::Argument(bad)) => self.bad_argument(*bad),
            Err(error) => Err(codec::broken(&error)),
        }
    }

    /// Queues a message for the client.
    pub fn send(&mut self, _now: Time, message: &ServerMessage) {
        self.answer(message);
    }

    /// The next frame to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        Some(self.engine.poll_packet()?.encode())
    }

    /// The next message for the session; the first one is the hello.
    pub fn poll_message(&mut self) -> Option<ClientMessage> {
        self.inbox.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Time> {
        let hello = match self.state {
            State::Waiting { deadline } => Some(deadline),
            _ => None,
        };
        earliest(hello, Some(self.engine.next_timeout()))
    }

    /// When the client is given up unless something comes from it; `None` while no answer to a ping
    /// is due.
    pub const fn dead_at(&self) -> Option<Time> {
        self.engine.dead_at()
    }

    /// Sends the ping that is due.
    ///
    /// # Errors
    /// When the client did not ask for the namespace in time, or fell silent.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        match self.state {
            State::Waiting { deadline } if deadline <= now => Err(LinkError::new(
                CloseCode::HELLO_TIMEOUT,
                format!("no CONNECT came within {:?}", self.config.hello_timeout),
            )),
            _ => self.engine.handle_timeout(now),
        }
    }

    /// Which broadcast encoding this connection takes. It is known once the hello was polled.
    pub fn wire(&self) -> Wire {
        match (self.decoder.parser(), self.tidings) {
            (Parser::Text, false) => Wire::SocketIo,
            (Parser::Text, true) => Wire::SocketIoTidings,
            (Parser::Msgpack, false) => Wire::SocketIoMsgpack,
            (Parser::Msgpack, true) => Wire::SocketIoTidingsMsgpack,
        }
    }

    fn packet(&mut self, packet: Packet) -> Result<(), LinkError> {
        if packet.namespace != self.config.socketio.namespace {
            return self.other_namespace(packet);
        }
        match (packet.body, self.state) {
            (_, State::Left) => Ok(()),
            (Body::Connect(auth), State::Waiting { .. }) => {
                self.connect(auth);
                Ok(())
            }
            (Body::Event { ack, args }, State::Joining | State::Joined) => {
                self.event(ack, &args);
                Ok(())
            }
            (Body::Ack { ack, args }, State::Joining | State::Joined) => {
                self.acknowledged(ack, &args);
                Ok(())
            }
            (Body::Disconnect, State::Joining | State::Joined) => {
                self.state = State::Left;
                self.inbox.push_back(ClientMessage::Bye);
                Ok(())
            }
            (Body::Connect(_), _) => {
                Err(LinkError::new(CloseCode::BAD_FRAME, "a second CONNECT to the namespace"))
            }
            (Body::ConnectError(_), _) => {
                Err(LinkError::new(CloseCode::BAD_FRAME, "CONNECT_ERROR is the server's to send"))
            }
            (_, State::Waiting { .. }) => Err(LinkError::new(
                CloseCode::BAD_FRAME,
                "a packet before CONNECT to its namespace",
            )),
        }
    }

    fn other_namespace(&mut self, packet: Packet) -> Result<(), LinkError> {
        let Packet { namespace, body } = packet;
        if !matches!(body, Body::Connect(_)) {
            let reason = format!("a packet for {namespace:?}, to which no CONNECT was granted");
            return Err(LinkError::new(CloseCode::BAD_FRAME, reason));
        }
        let mut error = Vec::new();
        Writer::new(&mut error)
            .begin_object()
            .key("message")
            .str(super::INVALID_NAMESPACE)
            .end_object();
        self.send_packet(&Packet { namespace, body: Body::ConnectError(error.into()) });
        Ok(())
    }

    /// Reads the client's `auth`; if something is wrong with it, the client may try again.
    fn connect(&mut self, auth: Option<Bytes>) {
        let hello = match &auth {
            Some(auth) => match json::parse(auth, json::MAX_DEPTH) {
                Ok(auth) => self.hello(auth),
                Err(error) => Err((CloseCode::BAD_FRAME, error.to_string())),
            },
            None => Ok(Hello { producer: self.ids.producer.clone(), ..Hello::default() }),
        };
        match hello {
            Ok(hello) => {
                self.state = State::Joining;
                self.inbox.push_back(ClientMessage::Hello(hello));
            }
            Err((code, reason)) => self.refuse_connect(&crate::message::Close::new(code, reason)),
        }
    }

    fn hello(&mut self, auth: Value<'_>) -> Result<Hello, (CloseCode, String)> {
        let token = match auth.get("token") {
            None => None,
            Some(token) if token.is_null() => None,
            Some(token) => {
                let expected = "auth.token must be a string";
                let token = token.as_str().ok_or((CloseCode::UNAUTHORIZED, expected.into()))?;
                self.config
                    .check_token(&token)
                    .map_err(|refusal| (CloseCode::UNAUTHORIZED, refusal.message))?;
                Some(token.into_owned())
            }
        };
        let Some(tidings) = auth.get("tidings") else {
            self.tidings = false;
            let producer = self.ids.producer.clone();
            return Ok(Hello { producer, token, ..Hello::default() });
        };
        self.tidings = true;
        match spelling::version(tidings) {
            Some(PROTOCOL_VERSION) => {}
            _ => {
                let reason = format!("auth.tidings.v must be {PROTOCOL_VERSION}");
                return Err((CloseCode::UNSUPPORTED, reason));
            }
        }
        match spelling::read_hello(tidings) {
            Ok(hello) => Ok(Hello { token: token.or(hello.token), ..hello }),
            Err(error) => Err((CloseCode::BAD_FRAME, format!("auth.tidings: {error}"))),
        }
    }

    /// A packet with an argument too deep, or too many of them: refused where the sender sees it.
    fn bad_argument(&mut self, bad: BadArgument) -> Result<(), LinkError> {
        let joined = matches!(self.state, State::Joining | State::Joined);
        if bad.packet.namespace != self.config.socketio.namespace || !joined {
            return self.packet(bad.packet);
        }
        let refusal = ask::argument_refusal(&bad.reason);
        match bad.packet.body {
            Body::Event { ack, args } => {
                let name = args.value(0).and_then(Value::as_str).unwrap_or_default();
                self.refuse(ask::answered_as(&name), ack, &refusal);
            }
            Body::Ack { ack, .. } => self.replied(ack, Err(refusal)),
            _ => {}
        }
        Ok(())
    }

    fn send_packet(&mut self, packet: &Packet) {
        self.decoder.parser().encode(packet, |frame| self.engine.send(frame));
    }

    fn send_event(&mut self, ack: Option<u64>, args: Args) {
        let packet = self.config.socketio.packet(Body::Event { ack, args });
        self.send_packet(&packet);
    }

    fn send_ack(&mut self, ack: u64, args: Args) {
        let packet = self.config.socketio.packet(Body::Ack { ack, args });
        self.send_packet(&packet);
    }
}
