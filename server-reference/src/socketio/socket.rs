//! One client in one namespace.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::Pattern;
use tidings_core::message::{Refusal, SubId};
use tidings_core::server::{Mark, Seen};
use tidings_core::socketio::{Args, Body, Packet, Parser, encode_packet, error_event_args};

use super::acks::Acks;
use super::args::{ArgsError, IntoArgs};
use super::broadcast::{AckError, Broadcast, EmitError, Flags, Frames, IntoRooms};
use super::handler::{Call, ErasedHandler, Handler, erase};
use super::handshake::Handshake;
use super::listeners::{ByType, Listeners};
use super::mailbox::Mailbox;
use super::namespace::Namespace;
use super::reason::DisconnectReason;
use super::recovery::{Left, Returned, SessionLeft};
use super::reply::Ack;
use crate::connection::{Command, Connection};

/// One client in one namespace: what Node's handlers of `connection` get.
///
/// It is a handle: clones are the same socket. Two are equal if they are the same connection of a
/// client; a client that was recovered has the id it had, but another socket.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: Arc<str>,
    pid: Option<Arc<str>>,
    namespace: Namespace,
    connection: Arc<Connection>,
    parser: Parser,
    handshake: Handshake,
    stage: AtomicU8,
    data: Mutex<ByType>,
    /// JSON that other instances may ask for.
    shared_data: Mutex<Option<Bytes>>,
    acks: Acks,
    mailbox: Mailbox,
    /// Handlers of this socket alone; most have none.
    own: Mutex<Option<Box<Listeners>>>,
    /// The rooms it is to be in once it is connected, and those it was in when it is gone.
    rooms_apart: Mutex<Vec<Arc<str>>>,
    /// What a client that is recovered has seen.
    seen: Option<Seen>,
    /// What a client that is recovered had of Tidings.
    session: Mutex<Option<SessionReturned>>,
    /// What a client that went away had of Tidings.
    session_left: Mutex<Option<SessionLeft>>,
}

/// What a client that is recovered comes back to, of Tidings.
pub(crate) struct SessionReturned {
    pub(crate) subscriptions: Vec<(SubId, Pattern)>,
    pub(crate) seen: Seen,
    /// What it has seen last, by its own account.
    pub(crate) last: Mark,
}

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Connecting,
    Connected,
    Gone,
}

/// Who handles an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandledBy {
    /// Handlers of events of its name.
    Name,
    /// Handlers of any event, and no others.
    CatchAll,
    Nobody,
}

/// What a socket is made of.
pub(crate) struct Connecting {
    pub(crate) connection: Arc<Connection>,
    pub(crate) parser: Parser,
    pub(crate) handshake: Handshake,
}

impl Socket {
    /// A socket that is not connected yet. `recovered` is what the client comes back to.
    pub(super) fn new(
        namespace: Namespace,
        ids: (Arc<str>, Option<Arc<str>>),
        connecting: Connecting,
        recovered: Option<Returned>,
    ) -> Self {
        let Connecting { connection, parser, handshake } = connecting;
        let (mut data, mut rooms) = (ByType::default(), Vec::new());
        let (mut seen_before, mut session) = (None, None);
        let (mut id, mut pid) = ids;
        if let Some(Returned { left, last, seen }) = recovered {
            (id, pid, data, rooms) = (left.sid, Some(left.pid), left.data, left.rooms);
            session = left.session.map(|SessionLeft { subscriptions, .. }| SessionReturned {
                subscriptions,
                seen: seen.clone(),
                last,
            });
            seen_before = Some(seen);
        }
        Self(Arc::new(Inner {
            id,
            pid,
            namespace,
            connection,
            parser,
            handshake,
            stage: AtomicU8::new(Stage::Connecting as u8),
            data: Mutex::new(data),
            shared_data: Mutex::default(),
            acks: Acks::default(),
            mailbox: Mailbox::default(),
            own: Mutex::default(),
            rooms_apart: Mutex::new(rooms),
            seen: seen_before,
            session: Mutex::new(session),
            session_left: Mutex::default(),
        }))
    }

    /// Its id: 20 characters that nobody can guess. Other clients may learn it.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The namespace it is in.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// What the client said when it connected.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Whether the client came back to the state it had before its connection broke: its id, rooms
    /// and [`data`](Self::data), and the events it has missed.
    pub fn recovered(&self) -> bool {
        self.0.seen.is_some()
    }

    /// Whether it is connected: after the middlewares, and before its end.
    pub fn connected(&self) -> bool {
        self.stage() == Stage::Connected as u8
    }

    fn stage(&self) -> u8 {
        self.0.stage.load(Ordering::Acquire)
    }

    /// The value of this type that was set for the socket; Node's `socket.data`.
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.data.lock().get()
    }

    /// Keeps a value with the socket, in the place of one of the same type. It is recovered with
    /// the socket.
    pub fn set_data<T: Send + Sync + 'static>(&self, value: T) {
        self.0.data.lock().set(value);
    }

    /// Sets what other instances find as [`RemoteSocket::data`](super::RemoteSocket::data) of this
    /// socket, and Node servers as its `data`, in the place of what was set before.
    ///
    /// # Errors
    /// When the value cannot be written as JSON; it can hold no [`Binary`](super::Binary).
    pub fn set_shared_data(&self, value: &impl Serialize) -> Result<(), ArgsError> {
        let json = serde_json::to_vec(value).map_err(|error| ArgsError::new(error.to_string()))?;
        *self.0.shared_data.lock() = Some(json.into());
        Ok(())
    }

    /// Puts the socket into rooms. In a middleware it is in them once it is connected.
    pub fn join(&self, rooms: impl IntoRooms) {
        let rooms = rooms.into_rooms();
        if self.connected() {
            let mut table = self.0.namespace.table();
            rooms.into_iter().for_each(|room| table.join(&self.0.id, room));
        } else {
            self.0.rooms_apart.lock().extend(rooms);
        }
    }

    /// Takes the socket out of a room.
    pub fn leave(&self, room: &str) {
        self.0.rooms_apart.lock().retain(|joined| **joined != *room);
        self.0.namespace.table().leave_room(&self.0.id, room);
    }

    /// The rooms it is in, the one of its own, named by its id, first. When it is gone they are
    /// those it was in: what is emitted to them in a disconnect handler reaches who is left.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        if self.connected() {
            return self.0.namespace.table().rooms_of(&self.0.id);
        }
        std::iter::once(&self.0.id).chain(&*self.0.rooms_apart.lock()).cloned().collect()
    }

    /// Sends the client an event. The arguments are a tuple, or a single value.
    ///
    /// # Errors
    /// When the arguments cannot be written, the name is one that Socket.IO keeps for itself, or
    /// the client is gone and cannot come back for it.
    pub fn emit(&self, event: &str, arguments: impl IntoArgs) -> Result<(), EmitError> {
        self.only().emit(event, arguments)
    }

    /// Sends the client an event, and waits for its acknowledgement: at most as long as
    /// `timeouts.request` says, unless [`timeout`](Self::timeout) says otherwise.
    ///
    /// # Errors
    /// When it cannot be sent, the client is gone before it answers, does not answer in time, or
    /// answers with something else than a `T`.
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        arguments: impl IntoArgs,
    ) -> Result<T, AckError> {
        self.only().emit_to_one(event, arguments).await
    }

    /// What is emitted next may be lost when the client cannot take it at once.
    pub fn volatile(&self) -> ToSocket {
        ToSocket(self.only().volatile())
    }

    /// The acknowledgement of what is emitted next has to come within this time.
    pub fn timeout(&self, limit: Duration) -> ToSocket {
        ToSocket(self.only().timeout(limit))
    }

    /// Whether what is emitted next is worth compressing. It is accepted and has no effect:
    /// connections are not compressed.
    pub fn compress(&self, compress: bool) -> ToSocket {
        ToSocket(self.only().compress(compress))
    }

    /// All others in the namespace.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.0.namespace.clone()).except(Arc::clone(&self.0.id))
    }

    /// The others in these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// The others who are not in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    fn only(&self) -> Broadcast {
        Broadcast::only(self)
    }

    /// Handles an event of this socket alone, before the handlers that the namespace has.
    pub fn on<P: 'static>(&self, event: impl Into<String>, handler: impl Handler<P>) {
        self.0.own.lock().get_or_insert_default().add(event.into(), erase(handler));
    }

    /// Ends the handlers of an event that this socket alone has.
    pub fn off(&self, event: &str) {
        if let Some(own) = &mut *self.0.own.lock() {
            own.remove(event);
        }
    }

    /// Handles every event of this socket, before the handlers of the event itself.
    pub fn on_any<P: 'static>(&self, handler: impl Handler<P>) {
        self.0.own.lock().get_or_insert_default().any.push(erase(handler));
    }

    /// Is called when this socket is not connected any more.
    pub fn on_disconnect<P: 'static>(&self, handler: impl Handler<P>) {
        self.0.own.lock().get_or_insert_default().disconnect.push(erase(handler));
    }

    /// Disconnects the client: from the namespace, or, if `close` is true, from the server. What
    /// was emitted before still reaches it.
    pub fn disconnect(&self, close: bool) {
        if close {
            self.0.connection.command(Command::DisconnectSockets);
        } else if self.connected() {
            self.end(DisconnectReason::ServerNamespaceDisconnect);
            self.send_body(Body::Disconnect);
            self.0.connection.command(Command::LeftNamespace(self.clone()));
        }
    }
}

/// For the connection that carries it.
impl Socket {
    pub(crate) fn shared_id(&self) -> &Arc<str> {
        &self.0.id
    }

    /// JSON.
    pub(super) fn shared_data(&self) -> Bytes {
        self.0.shared_data.lock().clone().unwrap_or(Bytes::from_static(b"{}"))
    }

    pub(crate) fn pid(&self) -> Option<&str> {
        self.0.pid.as_deref()
    }

    pub(crate) fn namespace_path(&self) -> &str {
        self.0.namespace.path()
    }

    pub(super) fn parser(&self) -> Parser {
        self.0.parser
    }

    pub(super) fn acks(&self) -> &Acks {
        &self.0.acks
    }

    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.0.mailbox
    }

    /// How many events wait for their handlers.
    pub(crate) fn waiting(&self) -> usize {
        self.0.mailbox.len()
    }

    /// Its connection may go on reading if it had to stop.
    pub(super) fn tell_room_in_mailbox(&self) {
        if self.0.connection.is_crowded() && self.0.mailbox.len() == 0 {
            self.0.connection.nudge();
        }
    }

    /// The client has been let in: from here on it gets what its rooms get, and first what it has
    /// missed.
    pub(crate) fn enter(&self) {
        if self.stage() != Stage::Connecting as u8 {
            return;
        }
        let mut table = self.0.namespace.table();
        let rooms = std::mem::take(&mut *self.0.rooms_apart.lock());
        if let Some(recovery) = &table.recovery {
            match &self.0.seen {
                Some(seen) => {
                    let mut all = rooms.clone();
                    all.push(Arc::clone(&self.0.id));
                    let missed = recovery.missed(seen.application, |target| target.means(&all));
                    for (number, args) in missed {
                        let flags = Flags::default();
                        Frames::new(&self.0.namespace, None, args, Some(number)).push(self, flags);
                    }
                }
                None => self.0.connection.begin_application(recovery.last()),
            }
        }
        table.expected -= 1;
        table.enter(self);
        rooms.into_iter().for_each(|room| table.join(&self.0.id, room));
        self.0.stage.store(Stage::Connected as u8, Ordering::Release);
        drop(table);
        let handlers = self.0.namespace.with_listeners(|listeners| listeners.connect.clone());
        let mut args = Args::new();
        args.push_json(Bytes::copy_from_slice(self.0.handshake.auth_json()));
        self.handle(handlers, Call::without_event(self.clone(), args));
    }

    /// It is not connected any more.
    pub(crate) fn end(&self, reason: DisconnectReason) {
        let before = self.0.stage.swap(Stage::Gone as u8, Ordering::AcqRel);
        self.0.acks.end();
        if before == Stage::Connecting as u8 {
            self.0.namespace.table().expected -= 1;
            self.0.namespace.end_if_empty();
        }
        if before != Stage::Connected as u8 {
            return;
        }
        *self.0.rooms_apart.lock() = self.0.namespace.left(self, reason);
        let own = self.0.own.lock();
        let mut handlers = own.as_ref().map(|own| own.disconnect.clone()).unwrap_or_default();
        drop(own);
        self.0.namespace.with_listeners(|listeners| {
            handlers.extend_from_slice(&listeners.disconnect);
        });
        let call = Call::without_event(self.clone(), Args::new());
        self.handle(handlers, Call { reason: Some(reason), ..call });
    }

    /// What it leaves behind for a client that may come back.
    pub(super) fn left_behind(&self, rooms: Vec<Arc<str>>) -> Option<Left> {
        let pid = self.0.pid.clone()?;
        let data = self.0.data.lock().clone();
        let session = self.0.session_left.lock().take();
        let subject = self.handshake().identity().subject().cloned();
        Some(Left { sid: Arc::clone(&self.0.id), pid, subject, rooms, data, session })
    }

    /// What a client that is recovered had of Tidings, once.
    pub(crate) fn take_session(&self) -> Option<SessionReturned> {
        self.0.session.lock().take()
    }

    /// What the client has of Tidings when it goes away.
    pub(crate) fn leave_session(&self, session: SessionLeft) {
        *self.0.session_left.lock() = Some(session);
    }

    /// Has an event of the client handled. Returns who handles it.
    pub(crate) fn event(&self, ack: Option<u64>, args: &Args) -> HandledBy {
        let Some(name) = args.value(0).and_then(|name| Some(name.as_str()?.into_owned())) else {
            return HandledBy::Nobody;
        };
        let mut handlers = Vec::new();
        let mut named = false;
        let mut collect = |listeners: &Listeners| {
            handlers.extend_from_slice(&listeners.any);
            handlers.extend_from_slice(listeners.of_event(&name));
            named |= !listeners.of_event(&name).is_empty();
        };
        if let Some(own) = &*self.0.own.lock() {
            collect(own);
        }
        self.0.namespace.with_listeners(collect);
        let ack = Ack::new(self, ack);
        let call = Call { event: name.into(), args: args.clone(), from: 1, ack, ..self.call() };
        let caught = !handlers.is_empty();
        self.handle(handlers, call);
        match (named, caught) {
            (true, _) => HandledBy::Name,
            (false, true) => HandledBy::CatchAll,
            (false, false) => HandledBy::Nobody,
        }
    }

    fn call(&self) -> Call {
        Call::without_event(self.clone(), Args::new())
    }

    fn handle(&self, handlers: Vec<ErasedHandler>, call: Call) {
        if handlers.is_empty() {
            return;
        }
        let job = async move {
            for handler in handlers {
                handler(call.clone()).await;
            }
        };
        self.enqueue(job.boxed());
    }

    /// The client has acknowledged.
    pub(crate) fn acknowledged(&self, ack: u64, args: Args) {
        self.0.acks.answered(ack, args);
    }

    /// Tells the client of a refusal that answers nothing.
    pub(super) fn tell_refused(&self, refusal: &Refusal) {
        let args = error_event_args(refusal);
        self.send_body(Body::Event { ack: None, args });
    }

    /// Sends a packet that is not an event of the application.
    pub(crate) fn send_body(&self, body: Body) {
        self.push(&self.encode(body), false, None);
        self.flush();
    }

    pub(super) fn encode(&self, body: Body) -> Bytes {
        let namespace = self.0.namespace.wire_path().clone();
        encode_packet(self.0.parser, &Packet { namespace, body })
    }

    /// Queues finished frames. A volatile one is left out if the client does not take it at once.
    /// `number` is what recovery knows an event by.
    pub(super) fn push(&self, frames: &Bytes, volatile: bool, number: Option<u64>) {
        // Each namespace has numbers of its own; only that of Tidings needs a ledger of them.
        let number = number.filter(|_| self.0.namespace.is_tidings());
        self.0.connection.offer_application(frames, volatile, number.map(Mark::Application));
    }

    pub(super) fn flush(&self) {
        self.0.connection.flush_from_outside();
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.0.connection
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.namespace_path())
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Emits to one socket in a certain way.
#[derive(Debug, Clone)]
pub struct ToSocket(Broadcast);

impl ToSocket {
    /// May be lost when the client cannot take it at once.
    #[must_use]
    pub fn volatile(self) -> Self {
        Self(self.0.volatile())
    }

    /// The acknowledgement has to come within this time.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        Self(self.0.timeout(limit))
    }

    /// Accepted; see [`Socket::compress`].
    #[must_use]
    pub fn compress(self, compress: bool) -> Self {
        Self(self.0.compress(compress))
    }

    /// As [`Socket::emit`].
    ///
    /// # Errors
    /// As there.
    pub fn emit(&self, event: &str, arguments: impl IntoArgs) -> Result<(), EmitError> {
        self.0.emit(event, arguments)
    }

    /// As [`Socket::emit_with_ack`].
    ///
    /// # Errors
    /// As there.
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        arguments: impl IntoArgs,
    ) -> Result<T, AckError> {
        self.0.emit_to_one(event, arguments).await
    }
}
