//! Links: one connection's translation between frames and session messages.
//!
//! Both transports have the same face, client side and server side: frames and the time go in,
//! messages come out, and the other way round. A link keeps its own heartbeat and tells when it
//! wants to be called next; it knows nothing of sessions, subscriptions or logs.

mod framed;

use std::time::Duration;

use bytes::Bytes;

use crate::Time;
use crate::engineio;
use crate::event::{Headers, Payload};
use crate::message::{
    ClientMessage, Delivery, ErrorCode, Frame, LinkError, Refusal, ServerMessage,
};
use crate::name::Name;
use crate::socketio::{self, EventForm, Namespace, Parser, SocketIoConfig};
use crate::sse;
use crate::ws::{self, Encoding};

pub use framed::{Framed, Redact};

/// How a client's link behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// The largest WebSocket message accepted from the server, in bytes.
    pub max_frame: usize,
    /// The most bytes that several messages of the server may have as one WebSocket message: fewer
    /// WebSocket messages are cheaper, for browsers above all, but all of one has to be there before
    /// any of it is seen. 0: each comes by itself.
    pub max_batch: u32,
    /// How long the server may hold events back so that several come as one message, in whole
    /// milliseconds; critical ones come at once. For `ws` with JSON.
    pub batch_delay: Duration,
    /// The deepest nesting of arrays and objects accepted in a payload.
    pub max_depth: usize,
    /// How long after the connection opened the server's welcome may take.
    pub hello_timeout: Duration,
    /// What only Socket.IO needs.
    pub socketio: SocketIoConfig,
}

impl Default for LinkConfig {
    /// 16 MiB, of several messages 16 KiB, for which none waits, 128 levels, 10 s.
    fn default() -> Self {
        Self {
            max_frame: 16 << 20,
            max_batch: 16 << 10,
            batch_delay: Duration::ZERO,
            max_depth: crate::json::MAX_DEPTH,
            hello_timeout: Duration::from_secs(10),
            socketio: SocketIoConfig::default(),
        }
    }
}

/// How a server's link behaves, and what it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLinkConfig {
    /// The largest payload accepted, in bytes of its JSON text or of its binary content.
    pub max_payload: usize,
    /// The largest WebSocket message accepted, in bytes. A payload may need more room on the wire
    /// than it has bytes (binary in JSON is a third longer), and a hello carries subscriptions.
    pub max_frame: usize,
    /// The deepest nesting of arrays and objects accepted in a payload; a number has depth 0, an
    /// empty array depth 1.
    pub max_depth: usize,
    /// The most bytes accepted in the keys and values of an event's headers together.
    pub max_headers: usize,
    /// The longest token accepted, in bytes.
    pub max_token: usize,
    /// How long after the connection opened the client's hello may take.
    pub hello_timeout: Duration,
    /// How often the server sends a ping.
    pub ping_interval: Duration,
    /// How long after a ping something must have come from the client.
    pub ping_timeout: Duration,
    /// What only Socket.IO needs.
    pub socketio: SocketIoConfig,
}

impl Default for ServerLinkConfig {
    /// 1 MiB of payload in messages of 1.5 MiB, 64 levels, 8 KiB of headers, a token of 16 KiB,
    /// hello within 10 s, pings every 25 s to be answered within 20 s.
    fn default() -> Self {
        Self {
            max_payload: 1 << 20,
            max_frame: 3 << 19,
            max_depth: 64,
            max_headers: 8 << 10,
            max_token: 16 << 10,
            hello_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            socketio: SocketIoConfig::default(),
        }
    }
}

impl ServerLinkConfig {
    pub(crate) fn check_payload(&self, payload: &Payload) -> Result<(), Refusal> {
        check_size("payload", payload.len(), self.max_payload)
    }

    pub(crate) fn check_headers(&self, headers: &Headers) -> Result<(), Refusal> {
        let bytes = headers.iter().map(|(key, value)| key.len() + value.len()).sum();
        check_size("headers", bytes, self.max_headers)
    }

    pub(crate) fn check_token(&self, token: &str) -> Result<(), Refusal> {
        check_size("token", token.len(), self.max_token)
    }
}

fn check_size(what: &str, bytes: usize, limit: usize) -> Result<(), Refusal> {
    if bytes <= limit {
        return Ok(());
    }
    let message = format!("{what}: {bytes} bytes, but at most {limit} are accepted");
    Err(Refusal::new(ErrorCode::TOO_LARGE, message))
}

/// What a client names in a publish or a request has to be a name. (Patterns are checked where
/// they are parsed, by the session.)
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    Name::check(name).map_err(|error| Refusal::new(ErrorCode::BAD_NAME, error.to_string()))
}

/// An encoding of events that is the same for every connection that takes it, so that an event is
/// encoded once however many connections get it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wire {
    /// `ws` with JSON.
    WsJson,
    /// `ws` with MessagePack.
    WsMsgpack,
    /// Socket.IO for clients that do not know Tidings: name and payload alone.
    SocketIo,
    /// Socket.IO for Tidings clients: the event's metadata comes with it.
    SocketIoTidings,
    /// As [`SocketIo`](Self::SocketIo), for clients with the msgpack parser.
    SocketIoMsgpack,
    /// As [`SocketIoTidings`](Self::SocketIoTidings), for clients with the msgpack parser.
    SocketIoTidingsMsgpack,
    /// As [`SocketIo`](Self::SocketIo), for clients whose state may be recovered: the last argument
    /// of an event is its offset, as Socket.IO has it.
    SocketIoRecoverable,
    /// As [`SocketIoRecoverable`](Self::SocketIoRecoverable), for clients with the msgpack parser.
    SocketIoRecoverableMsgpack,
    /// Server-Sent Events, as [`sse::Writer`] takes them.
    Sse,
}

impl Wire {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// All of them, by [`Wire::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::WsJson,
        Self::WsMsgpack,
        Self::SocketIo,
        Self::SocketIoTidings,
        Self::SocketIoMsgpack,
        Self::SocketIoTidingsMsgpack,
        Self::SocketIoRecoverable,
        Self::SocketIoRecoverableMsgpack,
        Self::Sse,
    ];

    /// Its number, below [`Wire::COUNT`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One event encoded once for all connections of a wire: finished, unmasked WebSocket frames.
/// `namespace` is where Socket.IO clients speak Tidings; the same for all of a server.
pub fn encode_event(wire: Wire, namespace: &Namespace, delivery: &Delivery) -> Bytes {
    let socketio = |parser, metadata| socketio::encode_event(namespace, parser, metadata, delivery);
    match wire {
        Wire::WsJson => ws::encode_event(Encoding::Json, delivery),
        Wire::WsMsgpack => ws::encode_event(Encoding::Msgpack, delivery),
        Wire::SocketIo => socketio(Parser::Text, EventForm::Plain),
        Wire::SocketIoTidings => socketio(Parser::Text, EventForm::Tidings),
        Wire::SocketIoMsgpack => socketio(Parser::Msgpack, EventForm::Plain),
        Wire::SocketIoTidingsMsgpack => socketio(Parser::Msgpack, EventForm::Tidings),
        Wire::SocketIoRecoverable => socketio(Parser::Text, EventForm::Recoverable),
        Wire::SocketIoRecoverableMsgpack => socketio(Parser::Msgpack, EventForm::Recoverable),
        Wire::Sse => sse::encode_event(delivery),
    }
}

/// A notice to one connection about its lanes (progress, a gap), in the same form as its events:
/// it has to keep its place among them. `None` if connections of this wire are not told.
pub fn encode_notice(wire: Wire, namespace: &Namespace, notice: &ServerMessage) -> Option<Bytes> {
    let socketio = |parser, metadata| socketio::encode_notice(namespace, parser, metadata, notice);
    match wire {
        Wire::WsJson => Some(ws::encode_message(Encoding::Json, notice)),
        Wire::WsMsgpack => Some(ws::encode_message(Encoding::Msgpack, notice)),
        Wire::SocketIo => socketio(Parser::Text, EventForm::Plain),
        Wire::SocketIoTidings => socketio(Parser::Text, EventForm::Tidings),
        Wire::SocketIoMsgpack => socketio(Parser::Msgpack, EventForm::Plain),
        Wire::SocketIoTidingsMsgpack => socketio(Parser::Msgpack, EventForm::Tidings),
        Wire::SocketIoRecoverable => socketio(Parser::Text, EventForm::Recoverable),
        Wire::SocketIoRecoverableMsgpack => socketio(Parser::Msgpack, EventForm::Recoverable),
        Wire::Sse => sse::encode_notice(notice),
    }
}

/// A client's end of a connection, over whichever transport.
#[derive(Debug)]
pub enum ClientLink {
    /// The Tidings protocol on a plain WebSocket.
    Ws(Box<ws::ClientLink>),
    /// Socket.IO.
    SocketIo(Box<socketio::ClientLink>),
}

impl ClientLink {
    /// The connection is open, with the WebSocket subprotocol the server chose.
    ///
    /// # Errors
    /// When the link cannot speak it.
    pub fn opened(&mut self, now: Time, subprotocol: Option<&str>) -> Result<(), LinkError> {
        match self {
            Self::Ws(link) => link.opened(now, subprotocol),
            Self::SocketIo(link) => link.opened(now, subprotocol),
        }
    }

    /// Takes a WebSocket message.
    ///
    /// # Errors
    /// When the server does not keep to the protocol; the link is of no further use then.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        match self {
            Self::Ws(link) => link.receive(now, frame),
            Self::SocketIo(link) => link.receive(now, frame),
        }
    }

    /// Queues a message; only after the welcome was polled.
    pub fn send(&mut self, message: ClientMessage) {
        match self {
            Self::Ws(link) => link.send(message),
            Self::SocketIo(link) => link.send(message),
        }
    }

    /// The next WebSocket message to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        match self {
            Self::Ws(link) => link.poll_frame(),
            Self::SocketIo(link) => link.poll_frame(),
        }
    }

    /// The next message from the server. The first one is the welcome, unless the server closes.
    pub fn poll_message(&mut self) -> Option<ServerMessage> {
        match self {
            Self::Ws(link) => link.poll_message(),
            Self::SocketIo(link) => link.poll_message(),
        }
    }

    /// When [`ClientLink::handle_timeout`] wants to be called if nothing else happens.
    pub fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Ws(link) => link.next_timeout(),
            Self::SocketIo(link) => link.next_timeout(),
        }
    }

    /// Notices that time has passed.
    ///
    /// # Errors
    /// When the server has been silent for too long.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        match self {
            Self::Ws(link) => link.handle_timeout(now),
            Self::SocketIo(link) => link.handle_timeout(now),
        }
    }
}

/// A server's end of a connection, over whichever transport.
#[derive(Debug)]
pub enum ServerLink {
    /// The Tidings protocol on a plain WebSocket.
    Ws(Box<ws::ServerLink>),
    /// Socket.IO.
    SocketIo(Box<socketio::ServerLink>),
    /// Engine.IO and nothing on top of it: there is no session, only messages.
    Engine(Box<engineio::ServerLink>),
    /// Server-Sent Events.
    Sse(Box<sse::ServerLink>),
}

impl ServerLink {
    /// Takes a WebSocket message.
    ///
    /// # Errors
    /// When there is no going on; a message that is merely wrong is answered by the link.
    pub fn receive(&mut self, now: Time, frame: Frame) -> Result<(), LinkError> {
        match self {
            Self::Ws(link) => link.receive(now, frame),
            Self::SocketIo(link) => link.receive(now, frame),
            Self::Engine(link) => link.receive(now, frame),
            // Nothing comes after the request.
            Self::Sse(_) => Ok(()),
        }
    }

    /// Queues a message. Events that go to many connections are encoded once, by
    /// [`encode_event`].
    pub fn send(&mut self, now: Time, message: &ServerMessage) {
        match self {
            Self::Ws(link) => link.send(now, message),
            Self::SocketIo(link) => link.send(now, message),
            Self::Engine(_) => {}
            Self::Sse(link) => link.send(message),
        }
    }

    /// The next WebSocket message to write.
    pub fn poll_frame(&mut self) -> Option<Frame> {
        match self {
            Self::Ws(link) => link.poll_frame(),
            Self::SocketIo(link) => link.poll_frame(),
            Self::Engine(link) => link.poll_frame(),
            Self::Sse(link) => link.poll_frame(),
        }
    }

    /// The next message from the client. The first one is the hello.
    pub fn poll_message(&mut self) -> Option<ClientMessage> {
        match self {
            Self::Ws(link) => link.poll_message(),
            Self::SocketIo(link) => link.poll_message(),
            Self::Engine(_) => None,
            Self::Sse(link) => link.poll_message(),
        }
    }

    /// When [`ServerLink::handle_timeout`] wants to be called if nothing else happens.
    pub fn next_timeout(&self) -> Option<Time> {
        match self {
            Self::Ws(link) => link.next_timeout(),
            Self::SocketIo(link) => link.next_timeout(),
            Self::Engine(link) => Some(link.next_timeout()),
            Self::Sse(link) => Some(link.next_timeout()),
        }
    }

    /// Notices that time has passed: sends a ping when one is due.
    ///
    /// # Errors
    /// When the client did not say hello in time, or has been silent since a ping.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), LinkError> {
        match self {
            Self::Ws(link) => link.handle_timeout(now),
            Self::SocketIo(link) => link.handle_timeout(now),
            Self::Engine(link) => link.handle_timeout(now),
            Self::Sse(link) => {
                link.handle_timeout(now);
                Ok(())
            }
        }
    }

    /// When the client is given up unless something comes from it. Only Engine.IO sessions tell:
    /// a request that belongs to one may come after that and before the host noticed.
    pub const fn dead_at(&self) -> Option<Time> {
        match self {
            Self::Ws(_) | Self::Sse(_) => None,
            Self::SocketIo(link) => link.dead_at(),
            Self::Engine(link) => link.dead_at(),
        }
    }

    /// Whether the client speaks the session protocol of Tidings, so that it numbers its publishes
    /// and sends again what is refused for now. It is known once the hello was polled.
    pub const fn knows_tidings(&self) -> bool {
        match self {
            Self::Ws(_) => true,
            Self::SocketIo(link) => link.knows_tidings(),
            Self::Engine(_) | Self::Sse(_) => false,
        }
    }

    /// Which encoding of broadcast events this connection takes.
    pub fn wire(&self) -> Wire {
        match self {
            Self::Ws(link) => link.wire(),
            Self::SocketIo(link) => link.wire(),
            // It never has events.
            Self::Engine(_) => Wire::SocketIo,
            Self::Sse(_) => Wire::Sse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_are_indexed_in_order() {
        assert!(Wire::ALL.iter().enumerate().all(|(i, wire)| wire.index() == i));
    }
}
