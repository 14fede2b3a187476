//! A namespace: its handlers, its sockets, and whom to emit to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use parking_lot::{Mutex, MutexGuard, RwLock};
use serde::de::DeserializeOwned;
use tidings_core::socketio::{Args, FIRST_REQUEST, Namespace as Path};

use super::args::{self, ArgsError, IntoArgs, event_args};
use super::broadcast::{Broadcast, EmitError, Flags, Frames, IntoRooms};
use super::cluster::{Cluster, Member, Message, MissingAnswers, Question, Reply};
use super::handler::{Call, ConnectError};
use super::handshake::Handshake;
use super::listeners::{Listeners, adds_handlers};
use super::namespaces::Namespaces;
use super::reason::DisconnectReason;
use super::recovery::Returned;
use super::sensitive::{Hidden, Redacting};
use super::socket::{Connecting, Socket};
use super::table::{Table, Target};
use crate::config::Config;
use crate::ids::random_id;

/// A namespace: what Node calls `io.of("/chat")`. It is a handle: clones are the same namespace.
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    path: Path,
    listeners: Arc<RwLock<Listeners>>,
    table: Mutex<Table>,
    member: Arc<Member>,
    next_ack: AtomicU64,
    ack_timeout: Duration,
    recovers: bool,
    /// Whether Tidings is spoken here.
    is_tidings: bool,
    skip_middlewares: bool,
    /// Where it is registered if it is one of many that match a pattern: it ends with its last
    /// socket.
    passing: Option<Weak<Namespaces>>,
    redact: Redacting,
}

adds_handlers!(Namespace, |namespace| namespace.0.listeners);

impl Namespace {
    pub(super) fn new(
        path: Path,
        listeners: Arc<RwLock<Listeners>>,
        config: &Config,
        (cluster, redact): (&Arc<Cluster>, &Redacting),
        passing: Option<Weak<Namespaces>>,
    ) -> Self {
        let member = Member::new(cluster, &path);
        let table = Table::new(&config.recovery, Arc::clone(&member));
        Self(Arc::new(Inner {
            is_tidings: path == config.tidings_namespace(),
            path,
            listeners,
            recovers: table.recovery.is_some(),
            table: Mutex::new(table),
            member,
            next_ack: AtomicU64::new(0),
            ack_timeout: config.timeouts.request,
            skip_middlewares: config.recovery.skip_middlewares,
            passing,
            redact: redact.clone(),
        }))
    }

    /// Its path, as `/chat`.
    pub fn path(&self) -> &str {
        self.0.path.as_str()
    }

    pub(super) fn shared_state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.listeners.read().state.get()
    }

    /// Everybody in the namespace.
    pub fn sockets(&self) -> Broadcast {
        Broadcast::new(self.clone())
    }

    /// Those in these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.sockets().to(rooms)
    }

    /// Those who are not in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.sockets().except(rooms)
    }

    /// Sends an event to everybody in the namespace.
    ///
    /// # Errors
    /// When the arguments cannot be written, or the name is one that Socket.IO keeps for itself.
    pub fn emit(&self, event: &str, arguments: impl IntoArgs) -> Result<(), EmitError> {
        self.sockets().emit(event, arguments)
    }

    /// Sends an event to the other instances on the same backplane, which handle it by
    /// [`on_server_side`](Self::on_server_side); Node's `serverSideEmit`. At most once: what has to
    /// arrive belongs on the bus.
    ///
    /// # Errors
    /// When the arguments cannot be written.
    pub fn server_side_emit(&self, event: &str, arguments: impl IntoArgs) -> Result<(), ArgsError> {
        let args = event_args(event, arguments)?;
        self.0.member.tell(|| Message::ServerSide { args });
        Ok(())
    }

    /// As [`server_side_emit`](Self::server_side_emit), and waits for what the other instances
    /// answer, at most for `node_adapter.request_timeout`; Node's `serverSideEmitWithAck`. An
    /// instance that does not handle the event answers with nothing.
    ///
    /// # Errors
    /// When the arguments cannot be written, or not all instances answer in time with a `T`.
    pub async fn server_side_emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        arguments: impl IntoArgs,
    ) -> Result<Result<Vec<T>, MissingAnswers<T>>, ArgsError> {
        let member = &self.0.member;
        let question = Question::ServerSide(event_args(event, arguments)?);
        let gathered = member.gather(question, member.request_timeout(), |reply| match reply {
            Reply::ServerSide(answer) => Some(answer),
            _ => None,
        });
        let (answers, missing) = match gathered.await {
            Ok(answers) => (answers, Some(0)),
            Err(MissingAnswers { received, missing }) => (received, missing),
        };
        let read = answers.iter().filter_map(|answer| args::read(answer, 0).ok());
        let received: Vec<T> = read.collect();
        let missing = missing.map(|missing| missing + answers.len() - received.len());
        Ok(match missing {
            Some(0) => Ok(received),
            _ => Err(MissingAnswers { received, missing }),
        })
    }

    /// Handles an event that other instances send to the instances. The handler must not block; it
    /// is not called with arguments that are no `T`.
    pub fn on_server_side<T: DeserializeOwned>(
        &self,
        event: impl Into<String>,
        handler: impl Fn(T) + Send + Sync + 'static,
    ) -> &Self {
        let handler = move |args: &Args| {
            handler(args::read(args, 1)?);
            Ok(None)
        };
        self.0.listeners.write().add_server_side(event.into(), Arc::new(handler));
        self
    }

    /// As [`on_server_side`](Self::on_server_side), for a handler that answers: what it returns is
    /// what the instance answers that has emitted the event, if it waits for that.
    pub fn on_server_side_with_ack<T, F>(
        &self,
        event: impl Into<String>,
        handler: impl Fn(T) -> F + Send + Sync + 'static,
    ) -> &Self
    where
        T: DeserializeOwned,
        F: Future<Output: IntoArgs> + Send + 'static,
    {
        let handler = move |args: &Args| {
            let answer = handler(args::read(args, 1)?);
            let answer = async move {
                let mut args = Args::new();
                match answer.await.append_to(&mut args) {
                    Ok(()) => args,
                    Err(error) => {
                        tracing::warn!(%error, "an answer for another instance");
                        Args::new()
                    }
                }
            };
            Ok(Some(answer.boxed()))
        };
        self.0.listeners.write().add_server_side(event.into(), Arc::new(handler));
        self
    }

    /// The rooms that there are on all instances, each once, those that are named by the id of a
    /// socket among them; Node's `allRooms`. It waits for each instance, at most for
    /// `node_adapter.request_timeout`.
    ///
    /// # Errors
    /// When not all instances answer in time; it has those of the others.
    pub async fn all_rooms(&self) -> Result<Vec<Arc<str>>, MissingAnswers<Arc<str>>> {
        let member = &self.0.member;
        let question = match member.knows_rooms() {
            true => Question::Rooms,
            false => Question::Sockets(Target::default()),
        };
        let limit = member.request_timeout();
        let gathered = member.gather(question, limit, |reply| match reply {
            Reply::Rooms(rooms) => Some(rooms),
            Reply::Sockets(sockets) => Some(sockets.into_iter().flat_map(|it| it.rooms).collect()),
            _ => None,
        });
        let (found, missing) = match gathered.await {
            Ok(found) => (found, Some(0)),
            Err(MissingAnswers { received, missing }) => (received, missing),
        };
        let rooms: BTreeSet<_> =
            self.rooms_and_ids().into_iter().chain(found.into_iter().flatten()).collect();
        let received: Vec<_> = rooms.into_iter().collect();
        match missing {
            Some(0) => Ok(received),
            _ => Err(MissingAnswers { received, missing }),
        }
    }

    /// The rooms that there are on this instance, those that are named by the id of a socket left out.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        self.table().rooms()
    }
}

/// For its sockets and operators.
impl Namespace {
    pub(crate) fn wire_path(&self) -> &Path {
        &self.0.path
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock()
    }

    pub(super) fn with_listeners<R>(&self, work: impl FnOnce(&Listeners) -> R) -> R {
        work(&self.0.listeners.read())
    }

    pub(super) fn recovers(&self) -> bool {
        self.0.recovers
    }

    pub(super) fn is_tidings(&self) -> bool {
        self.0.is_tidings
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.0.member
    }

    pub(super) fn has_room(&self, room: &str) -> bool {
        self.table().has_room(room)
    }

    /// The rooms that there are here, those that are named by the id of a socket among them.
    pub(super) fn rooms_and_ids(&self) -> Vec<Arc<str>> {
        self.table().rooms_and_ids()
    }

    pub(super) fn ack_timeout(&self) -> Duration {
        self.0.ack_timeout
    }

    /// An id for an event to be acknowledged. Below the numbers that Tidings uses itself.
    pub(super) fn next_ack(&self) -> u64 {
        self.0.next_ack.fetch_add(1, Ordering::Relaxed) % u64::from(FIRST_REQUEST)
    }

    /// Sends an event, to the sockets of all instances.
    pub(super) fn broadcast(&self, target: &Target, args: Args, flags: Flags) {
        self.tell(flags, || {
            let (target, args) = (target.clone(), args.clone());
            Message::Emit { target, args, volatile: flags.volatile }
        });
        self.broadcast_here(target, args, flags);
    }

    pub(super) fn join(&self, target: &Target, rooms: Vec<Arc<str>>, flags: Flags) {
        self.tell(flags, || Message::Join { target: target.clone(), rooms: rooms.clone() });
        self.join_here(target, &rooms);
    }

    pub(super) fn leave(&self, target: &Target, rooms: Vec<Arc<str>>, flags: Flags) {
        self.tell(flags, || Message::Leave { target: target.clone(), rooms: rooms.clone() });
        self.leave_here(target, &rooms);
    }

    pub(super) fn disconnect(&self, target: &Target, close: bool, flags: Flags) {
        self.tell(flags, || Message::Disconnect { target: target.clone(), close });
        self.disconnect_here(target, close);
    }

    fn tell(&self, flags: Flags, message: impl FnOnce() -> Message) {
        if !flags.local {
            self.0.member.tell(message);
        }
    }

    /// The sockets of this instance that are meant.
    pub(super) fn sockets_here(&self, target: &Target) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.table().select(target, |socket| sockets.push(socket.clone()));
        sockets
    }

    pub(super) fn join_here(&self, target: &Target, rooms: &[Arc<str>]) {
        self.sockets_here(target).iter().for_each(|socket| socket.join(rooms.to_vec()));
    }

    pub(super) fn leave_here(&self, target: &Target, rooms: &[Arc<str>]) {
        for socket in self.sockets_here(target) {
            rooms.iter().for_each(|room| socket.leave(room));
        }
    }

    pub(super) fn disconnect_here(&self, target: &Target, close: bool) {
        self.sockets_here(target).iter().for_each(|socket| socket.disconnect(close));
    }

    /// Another instance has sent an event to the others. Returns what is to be answered, if a
    /// handler answers; the first one that does counts.
    pub(super) fn server_side(&self, args: &Args) -> Option<BoxFuture<'static, Args>> {
        let name = args.value(0).and_then(|name| Some(name.as_str()?.into_owned()));
        let handlers = self.with_listeners(|listeners| {
            name.as_deref().map_or_else(Vec::new, |name| listeners.of_server_side(name).to_vec())
        });
        let mut answers = Vec::new();
        for handler in handlers {
            match handler(args) {
                Ok(answer) => answers.extend(answer),
                Err(error) => {
                    tracing::warn!(namespace = self.path(), event = ?name, %error, "from an instance");
                }
            }
        }
        match answers.len() {
            0 | 1 => answers.pop(),
            _ => Some(select_all(answers).map(|(answer, ..)| answer).boxed()),
        }
    }

    /// The event of these arguments for those who may not see what is sensitive in it; `None`: as it is.
    pub(super) fn hidden_in(&self, args: &Args, has_offset: bool) -> Option<Hidden> {
        Hidden::of(&**self.0.redact.as_ref()?, args, has_offset)
    }

    /// Sends an event to the sockets of this instance, and remembers it for those who may come
    /// back.
    pub(super) fn broadcast_here(&self, target: &Target, mut args: Args, flags: Flags) {
        let mut touched = Vec::new();
        {
            let mut table = self.table();
            let recovery = table.recovery.as_mut().filter(|_| !flags.volatile);
            let number = recovery.map(|it| it.keep(Instant::now(), target, &mut args));
            let mut frames = Frames::new(self, None, args, number);
            // Queued while nobody can come or go: all get events in the same order.
            table.select(target, |socket| {
                frames.push(socket, flags);
                touched.push(socket.clone());
            });
        }
        touched.iter().for_each(Socket::flush);
    }

    /// A socket for a client that wants to come in.
    pub(crate) fn socket(&self, connecting: Connecting) -> Socket {
        let recovered = self.recover(&connecting.handshake);
        let pid = self.0.recovers.then(|| random_id().into());
        Socket::new(self.clone(), (random_id().into(), pid), connecting, recovered)
    }

    /// What a client left behind that comes back with this handshake.
    fn recover(&self, handshake: &Handshake) -> Option<Returned> {
        let auth: Returning = serde_json::from_slice(handshake.auth_json()).ok()?;
        let subject = handshake.identity().subject();
        let mut table = self.table();
        table.recovery.as_mut()?.come_back(Instant::now(), subject, &auth.pid, &auth.offset)
    }

    /// Asks the middlewares; `None` if there are none to be asked.
    pub(crate) fn judge(
        &self,
        socket: &Socket,
    ) -> Option<BoxFuture<'static, Result<(), ConnectError>>> {
        let middlewares = self.with_listeners(|listeners| listeners.middlewares.clone());
        if middlewares.is_empty() || (socket.recovered() && self.0.skip_middlewares) {
            return None;
        }
        let mut args = Args::new();
        args.push_json(bytes::Bytes::copy_from_slice(socket.handshake().auth_json()));
        let call = Call::without_event(socket.clone(), args);
        Some(Box::pin(async move {
            for middleware in middlewares {
                middleware(call.clone()).await?;
            }
            Ok(())
        }))
    }

    /// A socket is not connected any more. Returns the rooms it was in, without that of its own.
    pub(super) fn left(&self, socket: &Socket, reason: DisconnectReason) -> Vec<Arc<str>> {
        let mut table = self.table();
        let rooms = table.leave(socket);
        if reason.is_recoverable()
            && let Some(recovery) = &mut table.recovery
            && let Some(left) = rooms.clone().and_then(|rooms| socket.left_behind(rooms))
        {
            recovery.leave(Instant::now(), left);
        }
        drop(table);
        self.end_if_empty();
        rooms.unwrap_or_default()
    }

    /// A namespace that a pattern has made ends with its last socket.
    pub(super) fn end_if_empty(&self) {
        if self.is_empty()
            && let Some(namespaces) = self.0.passing.as_ref().and_then(Weak::upgrade)
        {
            namespaces.forget(self);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table().is_empty()
    }
}

#[derive(serde::Deserialize)]
struct Returning {
    pid: String,
    offset: String,
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("path", &self.path()).finish_non_exhaustive()
    }
}
