//! Emitting to many sockets, and doing something with many sockets.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidings_core::socketio::{Args, Body, Parser, is_reserved};

use super::args::{self, ArgsError, IntoArgs};
use super::asking::{Elsewhere, SentHere};
use super::cluster::{Details, MissingAnswers, Question, Reply};
use super::namespace::Namespace;
use super::remote_socket::RemoteSocket;
use super::sensitive::Hidden;
use super::socket::Socket;
use super::table::Target;

/// An event could not be emitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// The arguments cannot be written.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// Socket.IO keeps the name for itself.
    #[error("{0:?} is a name that Socket.IO keeps for itself")]
    Reserved(String),
    /// The socket is not connected, and cannot be recovered.
    #[error("the socket is not connected")]
    Disconnected,
}

/// An event was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// It could not be emitted.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client is gone.
    #[error("the client went away before it acknowledged")]
    Disconnected,
    /// The client took too long.
    #[error("the client did not acknowledge within {0:?}")]
    Timeout(Duration),
    /// The client acknowledged with something else.
    #[error("the acknowledgement is not what is expected: {0}")]
    Args(ArgsError),
}

/// Not all clients have acknowledged a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{missing} clients did not acknowledge")]
pub struct MissingAcks<T> {
    /// The acknowledgements that have come.
    pub received: Vec<T>,
    /// How many have not: their clients took too long, or went away.
    pub missing: usize,
    /// How many other instances have not even told how many of their clients got the event; `None`
    /// if Redis could not tell how many instances there are.
    pub silent_instances: Option<usize>,
}

/// The names of one or several rooms.
pub trait IntoRooms {
    /// All of them.
    fn into_rooms(self) -> Vec<Arc<str>>;
}

impl IntoRooms for Arc<str> {
    fn into_rooms(self) -> Vec<Arc<str>> {
        vec![self]
    }
}

impl IntoRooms for String {
    fn into_rooms(self) -> Vec<Arc<str>> {
        vec![self.into()]
    }
}

impl IntoRooms for &str {
    fn into_rooms(self) -> Vec<Arc<str>> {
        vec![self.into()]
    }
}

impl IntoRooms for &String {
    fn into_rooms(self) -> Vec<Arc<str>> {
        vec![self.as_str().into()]
    }
}

impl<T: IntoRooms> IntoRooms for Vec<T> {
    fn into_rooms(self) -> Vec<Arc<str>> {
        self.into_iter().flat_map(IntoRooms::into_rooms).collect()
    }
}

impl<T: IntoRooms, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> Vec<Arc<str>> {
        self.into_iter().flat_map(IntoRooms::into_rooms).collect()
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) volatile: bool,
    /// Not for the sockets of other instances.
    pub(super) local: bool,
}

/// Sockets of a namespace, and how to emit to them: Node's `BroadcastOperator`.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until something is emitted"]
pub struct Broadcast {
    namespace: Namespace,
    target: Target,
    flags: Flags,
    timeout: Option<Duration>,
    /// It is for this socket alone.
    only: Option<Socket>,
}

impl Broadcast {
    pub(super) fn new(namespace: Namespace) -> Self {
        let (target, flags) = (Target::default(), Flags::default());
        Self { namespace, target, flags, timeout: None, only: None }
    }

    pub(super) fn only(socket: &Socket) -> Self {
        let namespace = socket.namespace().clone();
        Self { only: Some(socket.clone()), ..Self::new(namespace) }
    }

    /// To those in these rooms, besides those in rooms named before.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.target.rooms.extend(rooms.into_rooms());
        self
    }

    /// As [`to`](Self::to); Node's `in`.
    pub fn within(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Not to those in these rooms. A socket's id is a room, too.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.target.except.extend(rooms.into_rooms());
        self
    }

    /// Clients that cannot take it at once do not get it.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Accepted; see [`Socket::compress`].
    pub fn compress(self, _compress: bool) -> Self {
        self
    }

    /// Only those of this instance, and not those of others on the same backplane.
    pub fn local(mut self) -> Self {
        self.flags.local = true;
        self
    }

    /// Acknowledgements have to come within this time; without it, within `timeouts.request`.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sends an event. The arguments are a tuple, or a single value. It is encoded once for all
    /// clients with the same parser.
    ///
    /// # Errors
    /// When the arguments cannot be written, the name is one that Socket.IO keeps for itself, or
    /// it is for one socket, which is gone.
    pub fn emit(&self, event: &str, arguments: impl IntoArgs) -> Result<(), EmitError> {
        let args = event_args(event, arguments)?;
        self.send(args)
    }

    /// Sends an event, and waits for the acknowledgements of all clients that get it. Of those that
    /// come from other instances only the first argument is there.
    ///
    /// # Errors
    /// When it cannot be sent, or when not all acknowledge in time; acknowledgements that are no
    /// `T` count as missing.
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        arguments: impl IntoArgs,
    ) -> Result<Result<Vec<T>, MissingAcks<T>>, EmitError> {
        let Answers { expected, silent, answers } = self.ask(event, arguments).await?;
        let read = answers.iter().filter_map(|answer| args::read(answer, 0).ok());
        let received: Vec<T> = read.collect();
        let missing = expected.saturating_sub(received.len());
        if missing == 0 && silent == Some(0) {
            return Ok(Ok(received));
        }
        Ok(Err(MissingAcks { received, missing, silent_instances: silent }))
    }

    /// Sends an event to the one socket it is for, and waits for the acknowledgement.
    pub(super) async fn emit_to_one<T: DeserializeOwned>(
        &self,
        event: &str,
        arguments: impl IntoArgs,
    ) -> Result<T, AckError> {
        let Answers { answers, .. } = self.ask(event, arguments).await?;
        match answers.first() {
            Some(answer) => args::read(answer, 0).map_err(AckError::Args),
            None if self.only.as_ref().is_some_and(Socket::connected) => {
                Err(AckError::Timeout(self.limit()))
            }
            None => Err(AckError::Disconnected),
        }
    }

    fn limit(&self) -> Duration {
        self.timeout.unwrap_or(self.namespace.ack_timeout())
    }

    /// The acknowledgements that come in time.
    async fn ask(&self, event: &str, arguments: impl IntoArgs) -> Result<Answers, EmitError> {
        let args = event_args(event, arguments)?;
        let (limit, flags) = (self.limit(), self.flags);
        let (sent, mut answered) =
            SentHere::send(&self.namespace, self.sockets(), args.clone(), flags);
        let mut answers = Vec::new();
        let here = async {
            while let Some(answer) = answered.recv().await {
                answers.push(answer);
            }
        };
        let mut elsewhere = Elsewhere::default();
        let there = async {
            if self.only.is_some() || flags.local {
                elsewhere = Elsewhere::nothing();
                return;
            }
            let (target, volatile) = (self.target.clone(), flags.volatile);
            let question = Question::Emit { target, args, volatile, timeout: Some(limit) };
            elsewhere.collect(self.namespace.member(), question).await;
        };
        // What came in time is there in any case.
        let _ = tokio::time::timeout(limit, async { tokio::join!(here, there) }).await;
        let (expected, silent) = (sent.sockets.len() + elsewhere.clients, elsewhere.silent());
        answers.append(&mut elsewhere.answers);
        Ok(Answers { expected, silent, answers })
    }

    fn send(&self, args: Args) -> Result<(), EmitError> {
        match &self.only {
            Some(socket) if !self.namespace.recovers() => {
                if !socket.connected() {
                    return Err(EmitError::Disconnected);
                }
                Frames::new(&self.namespace, None, args, None).push(socket, self.flags);
                socket.flush();
            }
            Some(socket) => {
                let target = Target { rooms: vec![socket.shared_id().clone()], except: vec![] };
                self.namespace.broadcast_here(&target, args, self.flags);
            }
            None => self.namespace.broadcast(&self.target, args, self.flags),
        }
        Ok(())
    }

    /// The sockets that are meant.
    fn sockets(&self) -> Vec<Socket> {
        if let Some(socket) = &self.only {
            return if socket.connected() { vec![socket.clone()] } else { Vec::new() };
        }
        self.namespace.sockets_here(&self.target)
    }

    /// The sockets of this instance that are meant.
    pub fn local_sockets(&self) -> Vec<Socket> {
        self.sockets()
    }

    /// The sockets that are meant, on all instances, or on this one alone after
    /// [`local`](Self::local); Node's `fetchSockets`. It waits for each instance, at most for
    /// `node_adapter.request_timeout`, or what [`timeout`](Self::timeout) says.
    ///
    /// # Errors
    /// When not all instances answer in time; it has those of the others.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, MissingAnswers<RemoteSocket>> {
        let namespace = &self.namespace;
        let mut sockets: Vec<_> = self.sockets().into_iter().map(RemoteSocket::here).collect();
        if self.only.is_some() || self.flags.local {
            return Ok(sockets);
        }
        let limit = self.timeout.unwrap_or(namespace.member().request_timeout());
        let question = Question::Sockets(self.target.clone());
        let gathered = namespace.member().gather(question, limit, |reply| match reply {
            Reply::Sockets(sockets) => Some(sockets),
            _ => None,
        });
        let mut add = |found: Vec<Vec<Details>>| {
            let found = found.into_iter().flatten();
            sockets.extend(found.map(|details| RemoteSocket::elsewhere(namespace, details)));
        };
        match gathered.await {
            Ok(found) => {
                add(found);
                Ok(sockets)
            }
            Err(MissingAnswers { received, missing }) => {
                add(received);
                Err(MissingAnswers { received: sockets, missing })
            }
        }
    }

    /// Puts the sockets into rooms; Node's `socketsJoin`.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        self.namespace.join(&self.target, rooms.into_rooms(), self.flags);
    }

    /// Takes the sockets out of rooms; Node's `socketsLeave`.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        self.namespace.leave(&self.target, rooms.into_rooms(), self.flags);
    }

    /// Disconnects the sockets; see [`Socket::disconnect`].
    pub fn disconnect_sockets(&self, close: bool) {
        self.namespace.disconnect(&self.target, close, self.flags);
    }
}

fn event_args(event: &str, arguments: impl IntoArgs) -> Result<Args, EmitError> {
    if is_reserved(event) {
        return Err(EmitError::Reserved(event.to_owned()));
    }
    Ok(args::event_args(event, arguments)?)
}

/// What came of an event that clients are to acknowledge.
struct Answers {
    /// How many clients got it, as far as is known.
    expected: usize,
    /// How many instances have not told how many of their clients got it.
    silent: Option<usize>,
    answers: Vec<Args>,
}

/// One event, encoded at most once for each parser, and once more for those who may not see what is
/// sensitive in it.
pub(super) struct Frames {
    ack: Option<u64>,
    args: Args,
    hidden: Option<Hidden>,
    number: Option<u64>,
    encoded: [Option<bytes::Bytes>; 4],
}

impl Frames {
    /// `number` is what recovery knows it by.
    pub(super) fn new(
        namespace: &Namespace,
        ack: Option<u64>,
        args: Args,
        number: Option<u64>,
    ) -> Self {
        let hidden = namespace.hidden_in(&args, number.is_some());
        Self { ack, args, hidden, number, encoded: [const { None }; 4] }
    }

    /// Queues the packet for a socket.
    pub(super) fn push(&mut self, socket: &Socket, flags: Flags) {
        let place = match socket.parser() {
            Parser::Text => 0,
            Parser::Msgpack => 1,
        };
        let hidden = self.hidden.as_ref().filter(|hidden| hidden.is_for(socket));
        let place = if hidden.is_some() { place + 2 } else { place };
        let args = hidden.map_or(&self.args, |hidden| &hidden.args);
        let frames = self.encoded[place].get_or_insert_with(|| {
            socket.encode(Body::Event { ack: self.ack, args: args.clone() })
        });
        socket.push(frames, flags.volatile, self.number);
    }
}
