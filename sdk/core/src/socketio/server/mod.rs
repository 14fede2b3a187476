//! The server's link.

mod answer;
mod ask;
mod namespaces;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::engineio::{self, Carrier, ServerSession, ServerSessionConfig};
use crate::json::{self, Value};
use crate::link::{ServerLinkConfig, Wire};
use crate::message::{
    ClientMessage, CloseCode, Frame, Hello, LinkError, PROTOCOL_VERSION, RequestId, ServerMessage,
    SubId,
};
use crate::spelling;
use crate::time::{Time, earliest};

use super::codec::{self, Decoder, Parser};
use super::packet::{Args, BadArgument, Body, DecodeError, Namespace, Packet};

use self::namespaces::Members;
pub use self::namespaces::{Grant, NamespaceMessage};

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
    /// Until when the client has to be in a namespace.
    deadline: Option<Time>,
    /// The session that the namespace of Tidings carries.
    state: State,
    /// The namespaces that the application knows the client in.
    members: Members,
    /// Whether the client knows Tidings.
    tidings: bool,
    /// What names the client's session to Socket.IO, for recovery.
    pid: Option<String>,
    /// Whether the application takes the events in the namespace of Tidings, too.
    claimed: bool,
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

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// The client has not asked for the namespace.
    Outside,
    /// It has; the application has not answered.
    Asked(Box<Hello>),
    /// It may; the session has not answered.
    Joining,
    /// It is welcome.
    Joined,
    /// It has left.
    Left,
}

/// Requests of the session are numbered from here on; the acknowledgement ids below are the
/// application's, which shares the namespace.
pub const FIRST_REQUEST: u32 = 1 << 30;

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
            deadline: Some(now + config.hello_timeout),
            state: State::Outside,
            members: Members::default(),
            tidings: false,
            pid: None,
            claimed: false,
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
        earliest(self.deadline, Some(self.engine.next_timeout()))
    }

    /// When the client is given up unless something comes from it; `None` while no answer to a ping
    /// is due.
    pub const fn dead_at(&self) -> Option<Time> {
        self.engine.dead_at()
    }

    /// Sends the ping that is due.
    ///
    /// # Errors
    /// When the client was not let into a namespace in time, or fell silent.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(LinkError::new(
                CloseCode::HELLO_TIMEOUT,
                format!("no CONNECT came within {:?}", self.config.hello_timeout),
            ));
        }
        self.engine.handle_timeout(now)
    }

    /// How the client spells packets; the default parser while nothing has come.
    pub fn parser(&self) -> Parser {
        self.decoder.parser()
    }

    /// Whether the client knows Tidings. It is known once it asked for the namespace of Tidings.
    pub const fn knows_tidings(&self) -> bool {
        self.tidings
    }

    /// Which broadcast encoding this connection takes. It is known once the hello was polled.
    pub fn wire(&self) -> Wire {
        match (self.decoder.parser(), self.tidings, self.pid.is_some()) {
            (Parser::Text, true, _) => Wire::SocketIoTidings,
            (Parser::Text, false, true) => Wire::SocketIoRecoverable,
            (Parser::Text, false, false) => Wire::SocketIo,
            (Parser::Msgpack, true, _) => Wire::SocketIoTidingsMsgpack,
            (Parser::Msgpack, false, true) => Wire::SocketIoRecoverableMsgpack,
            (Parser::Msgpack, false, false) => Wire::SocketIoMsgpack,
        }
    }

    fn packet(&mut self, packet: Packet) -> Result<(), LinkError> {
        let Packet { namespace, body } = packet;
        let body = match body {
            Body::Connect(auth) => return self.connect(namespace, auth),
            Body::ConnectError(_) => {
                let reason = "CONNECT_ERROR is the server's to send";
                return Err(LinkError::new(CloseCode::BAD_FRAME, reason));
            }
            body => body,
        };
        if namespace != self.config.socketio.namespace {
            return self.member_packet(namespace, body);
        }
        match (body, &self.state) {
            (_, State::Left) => {}
            (_, State::Outside | State::Asked(_)) => return Err(uninvited(&namespace)),
            (Body::Event { ack, args }, _) => self.event_here(namespace, ack, args),
            (Body::Ack { ack, args }, _) if self.claimed && ack < u64::from(FIRST_REQUEST) => {
                self.members.tell(NamespaceMessage::Ack { namespace, ack, args });
            }
            (Body::Ack { ack, args }, _) => self.acknowledged(ack, &args),
            (Body::Disconnect, _) => self.leave(namespace),
            (Body::Connect(_) | Body::ConnectError(_), _) => {}
        }
        Ok(())
    }

    /// The client leaves the namespace of Tidings. A Tidings client needs the connection for
    /// nothing else; any other may have business in other namespaces.
    fn leave(&mut self, namespace: Namespace) {
        if self.config.socketio.application && !self.tidings {
            self.state = State::Outside;
            self.claimed = false;
            self.unanswered.clear();
            self.tokens.clear();
            self.numbered.clear();
            self.members.tell(NamespaceMessage::Disconnect { namespace });
        } else {
            self.state = State::Left;
            self.inbox.push_back(ClientMessage::Bye);
        }
    }

    /// Reads the client's `auth`; if something is wrong with it, the client may try again.
    fn connect(&mut self, namespace: Namespace, auth: Option<Bytes>) -> Result<(), LinkError> {
        if namespace != self.config.socketio.namespace {
            return self.member_connect(namespace, auth);
        }
        match self.state {
            State::Outside => {}
            State::Left if !self.tidings && self.config.socketio.application => {}
            _ => {
                let reason = "a second CONNECT to the namespace";
                return Err(LinkError::new(CloseCode::BAD_FRAME, reason));
            }
        }
        let hello = match &auth {
            Some(auth) => match json::parse(auth, json::MAX_DEPTH) {
                Ok(auth) => self.hello(auth),
                Err(error) => Err((CloseCode::BAD_FRAME, error.to_string())),
            },
            None => Ok(Hello { producer: self.ids.producer.clone(), ..Hello::default() }),
        };
        match hello {
            Ok(hello) if self.config.socketio.application => {
                let token = hello.token.clone();
                self.state = State::Asked(Box::new(hello));
                self.members.tell(NamespaceMessage::Connect { namespace, auth, token });
            }
            Ok(hello) => self.join(hello),
            Err((code, reason)) => self.refuse_connect(&crate::message::Close::new(code, reason)),
        }
        Ok(())
    }

    /// The client may take its session up.
    fn join(&mut self, hello: Hello) {
        self.deadline = None;
        self.state = State::Joining;
        self.inbox.push_back(ClientMessage::Hello(hello));
    }

    fn hello(&mut self, auth: Value<'_>) -> Result<Hello, (CloseCode, String)> {
        let token = match auth.get("token") {
            None => None,
            Some(token) if token.is_null() => None,
            // What an application's own clients call a token is for the application to judge.
            Some(token) if self.config.socketio.application && token.as_str().is_none() => None,
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
        let BadArgument { packet, reason } = bad;
        let refusal = ask::argument_refusal(&reason);
        if self.members.has_joined(&packet.namespace) {
            return self.refuse_there(packet.namespace, &refusal);
        }
        let joined = matches!(self.state, State::Joining | State::Joined);
        if packet.namespace != self.config.socketio.namespace || !joined {
            return self.packet(packet);
        }
        match packet.body {
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

/// How a connection ends on which a packet came for a namespace that was not granted.
fn uninvited(namespace: &Namespace) -> LinkError {
    let reason = format!("a packet for {namespace:?}, to which no CONNECT was granted");
    LinkError::new(CloseCode::BAD_FRAME, reason)
}
