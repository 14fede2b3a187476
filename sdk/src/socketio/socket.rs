//! The handle of one namespace.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_signals::signal::{Signal, SignalExt};
use futures_util::StreamExt;
use tidings_core::socketio::Args;
use tidings_core::socketio::manager::{AckError, ConnectError, DisconnectReason, Emit, EmitId};
use tidings_core::{NameError, Pattern};
use tokio::sync::oneshot;

use super::args::{Arguments, EmitArgs, write};
use super::error::EmitError;
use super::event::Event;
use super::events::Events;
use super::listeners::{Listener, ListenerId, Sink};
use super::orders::{Handle, Order, Shared, SocketShared};
use crate::buffer::Buffer;
use crate::runtime::BoxFuture;
use crate::signal::watch;
use crate::{Advice, Overflow};

/// The names by which Socket.IO tells what becomes of a socket.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A conversation with one namespace of a server.
///
/// Clones are handles to the same socket and cost next to nothing. Sockets of a
/// [`Manager`](super::Manager) share its connection, which lives as long as one of their handles,
/// of its own, or of their [streams](Events) does.
#[derive(Clone)]
pub struct Socket {
    handle: Arc<Handle>,
    shared: Arc<SocketShared>,
    streams: (usize, Overflow),
    flags: Flags,
}

/// How the next event is sent.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    volatile: bool,
    timeout: Option<Duration>,
}

/// Whether a socket is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SocketState {
    /// It is not, and will not be by itself.
    #[default]
    Disconnected,
    /// It is being connected, or will be by itself.
    Connecting,
    /// It is.
    Connected,
}

/// How a socket is doing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SocketStatus {
    /// Whether it is connected.
    pub state: SocketState,
    /// Its id on the server, while it is connected.
    pub id: Option<Arc<str>>,
    /// Whether the server has restored its state when it was connected the last time: rooms, data,
    /// and events missed.
    pub recovered: bool,
    /// Whether it comes back by itself.
    pub will_reconnect: bool,
    /// Why it is not connected any more.
    pub reason: Option<DisconnectReason>,
    /// Why it could not be connected.
    pub error: Option<ConnectError>,
}

/// A socket will not be connected by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotConnected {
    /// The server refused, or could not be reached.
    #[error(transparent)]
    Refused(#[from] ConnectError),
    /// It was disconnected.
    #[error("{0}")]
    Disconnected(DisconnectReason),
    /// Nobody has connected it.
    #[error("the socket was not connected")]
    Idle,
}

impl NotConnected {
    /// What to do about it.
    pub const fn advice(&self) -> Advice {
        match self {
            Self::Refused(error) => error.advice(),
            Self::Disconnected(reason) => reason.advice(),
            Self::Idle => Advice::GiveUp,
        }
    }
}

/// A callback that can be taken back. Dropping this changes nothing.
#[derive(Clone)]
pub struct Subscription {
    shared: Arc<Shared>,
    socket: usize,
    id: ListenerId,
}

impl Subscription {
    /// The callback is not called any more.
    pub fn off(&self) {
        self.shared.give(Order::Unlisten { socket: self.socket, id: self.id });
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.id.0).finish()
    }
}

impl Socket {
    pub(super) fn new(
        handle: Arc<Handle>,
        shared: Arc<SocketShared>,
        streams: (usize, Overflow),
    ) -> Self {
        Self { handle, shared, streams, flags: Flags::default() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.shared.namespace.as_str()
    }

    /// How it is doing.
    pub fn status(&self) -> SocketStatus {
        self.shared.status.get_cloned()
    }

    /// How it is doing, now and after each change.
    pub fn status_signal(&self) -> impl Signal<Item = SocketStatus> + Send + Sync + use<> {
        watch(&self.shared.status)
    }

    /// Whether it is connected.
    pub fn is_connected(&self) -> bool {
        self.shared.status.lock_ref().state == SocketState::Connected
    }

    /// Its id on the server; none while it is not connected.
    pub fn id(&self) -> Option<Arc<str>> {
        self.shared.status.lock_ref().id.clone()
    }

    /// Whether the server has restored its state when it was connected the last time.
    pub fn recovered(&self) -> bool {
        self.shared.status.lock_ref().recovered
    }

    /// Waits until it is connected, as long as it tries by itself.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn connected(&self) -> Result<(), NotConnected> {
        let mut changes = watch(&self.shared.status).to_stream();
        while let Some(status) = changes.next().await {
            match status.state {
                SocketState::Connected => return Ok(()),
                SocketState::Connecting => {}
                SocketState::Disconnected => {
                    return Err(match (status.error, status.reason) {
                        (Some(error), _) => NotConnected::Refused(error),
                        (None, Some(reason)) => NotConnected::Disconnected(reason),
                        (None, None) => NotConnected::Idle,
                    });
                }
            }
        }
        Err(NotConnected::Idle)
    }

    /// Connects it, also after it was refused or disconnected. From then on it comes back by itself.
    pub fn connect(&self) {
        let mut status = self.shared.status.lock_mut();
        if status.state == SocketState::Disconnected {
            let state = SocketState::Connecting;
            *status = SocketStatus { state, will_reconnect: true, ..SocketStatus::default() };
        }
        drop(status);
        self.handle.shared.give(Order::Connect(self.shared.index));
    }

    /// Disconnects it. It does not come back by itself; events emitted from now on wait.
    pub fn disconnect(&self) {
        self.handle.shared.give(Order::Disconnect(self.shared.index));
    }

    /// A handle whose events are sent now or never: they are dropped unless the connection takes
    /// them at once.
    pub fn volatile(&self) -> Self {
        Self { flags: Flags { volatile: true, ..self.flags }, ..self.clone() }
    }

    /// A handle whose events wait this long for their acknowledgements.
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self { flags: Flags { timeout: Some(timeout), ..self.flags }, ..self.clone() }
    }

    /// A handle whose events are compressed, or not, where messages can be. They are not yet, so
    /// this is accepted and changes nothing.
    pub fn compress(&self, _compress: bool) -> Self {
        self.clone()
    }

    /// Sends an event: at once if the socket is connected, otherwise when it is.
    ///
    /// # Errors
    /// If it cannot be written, too many wait already, or the manager is closed.
    pub fn emit(&self, name: &str, args: impl EmitArgs) -> Result<(), EmitError> {
        let args = event(name, &args)?;
        self.give(args, self.flags.timeout, None).map(drop)
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn send(&self, args: impl EmitArgs) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Sends an event when it is awaited, and waits for the server's acknowledgement.
    ///
    /// ```no_run
    /// # async fn example(socket: tidings::socketio::Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// let answer = socket.emit_with_ack("sum", (1, 2)).await?;
    /// let (sum,) = answer.parse::<(i64,)>()?;
    /// # Ok(()) }
    /// ```
    pub fn emit_with_ack(&self, name: &str, args: impl EmitArgs) -> EmitWithAck {
        let args = event(name, &args);
        EmitWithAck { socket: self.clone(), args, timeout: self.flags.timeout }
    }

    /// Calls `callback` with each event of this name, in the manager's own task: it has to be
    /// quick, and everything else on this manager waits for it. It may emit and acknowledge.
    pub fn on(
        &self,
        name: impl Into<Arc<str>>,
        callback: impl FnMut(Event) + Send + 'static,
    ) -> Subscription {
        let sink = Sink::Call(Box::new(callback));
        self.listen(Listener::Named { name: name.into(), once: false, sink })
    }

    /// Like [`on`](Self::on), for the next event of this name alone.
    pub fn once(
        &self,
        name: impl Into<Arc<str>>,
        callback: impl FnMut(Event) + Send + 'static,
    ) -> Subscription {
        let sink = Sink::Call(Box::new(callback));
        self.listen(Listener::Named { name: name.into(), once: true, sink })
    }

    /// Like [`on`](Self::on), for each event whose name matches `pattern`, as on the event bus: the
    /// server need not know patterns.
    ///
    /// # Errors
    /// If it is no pattern.
    pub fn on_pattern(
        &self,
        pattern: impl Into<Arc<str>>,
        callback: impl FnMut(Event) + Send + 'static,
    ) -> Result<Subscription, NameError> {
        let sink = Sink::Call(Box::new(callback));
        Ok(self.listen(Listener::Pattern(Pattern::new(pattern)?, sink)))
    }

    /// Like [`on`](Self::on), for each event, before those who listen to its name.
    pub fn on_any(&self, callback: impl FnMut(Event) + Send + 'static) -> Subscription {
        self.listen(Listener::Any { prepend: false, sink: Sink::Call(Box::new(callback)) })
    }

    /// Like [`on_any`](Self::on_any), before all others that are there.
    pub fn prepend_any(&self, callback: impl FnMut(Event) + Send + 'static) -> Subscription {
        self.listen(Listener::Any { prepend: true, sink: Sink::Call(Box::new(callback)) })
    }

    /// Calls `callback` with the name and the arguments of each event that is sent, when it is:
    /// those that wait for a connection come later, those that are dropped never.
    pub fn on_any_outgoing(
        &self,
        mut callback: impl FnMut(&str, &Arguments) + Send + 'static,
    ) -> Subscription {
        let call = Box::new(move |(name, args): (Arc<str>, _)| callback(&name, &args));
        self.listen(Listener::Outgoing { prepend: false, call })
    }

    /// Like [`on_any_outgoing`](Self::on_any_outgoing), before all others that are there.
    pub fn prepend_any_outgoing(
        &self,
        mut callback: impl FnMut(&str, &Arguments) + Send + 'static,
    ) -> Subscription {
        let call = Box::new(move |(name, args): (Arc<str>, _)| callback(&name, &args));
        self.listen(Listener::Outgoing { prepend: true, call })
    }

    /// Calls `callback` whenever the socket is connected, with its id and whether the server has
    /// restored its state.
    pub fn on_connect(
        &self,
        mut callback: impl FnMut(&str, bool) + Send + 'static,
    ) -> Subscription {
        let call = Box::new(move |(id, recovered): (Arc<str>, bool)| callback(&id, recovered));
        self.listen(Listener::Connect(call))
    }

    /// Calls `callback` whenever the socket could not be connected.
    pub fn on_connect_error(
        &self,
        mut callback: impl FnMut(&ConnectError) + Send + 'static,
    ) -> Subscription {
        self.listen(Listener::ConnectError(Box::new(move |error| callback(&error))))
    }

    /// Calls `callback` whenever the socket is connected no more, with the reason and more about it.
    pub fn on_disconnect(
        &self,
        mut callback: impl FnMut(DisconnectReason, &str) + Send + 'static,
    ) -> Subscription {
        let call = Box::new(move |(reason, detail): (_, String)| callback(reason, &detail));
        self.listen(Listener::Disconnect(call))
    }

    /// All events from now on.
    pub fn events(&self) -> Events {
        self.stream(|sink| Listener::Any { prepend: false, sink })
    }

    /// All events of one name from now on.
    pub fn stream_of(&self, name: impl Into<Arc<str>>) -> Events {
        let name = name.into();
        self.stream(|sink| Listener::Named { name, once: false, sink })
    }

    /// All events from now on whose names match `pattern`, as on the event bus: the server need
    /// not know patterns.
    ///
    /// ```no_run
    /// # async fn example(socket: tidings::socketio::Socket) -> Result<(), Box<dyn std::error::Error>> {
    /// use futures_util::StreamExt;
    /// let mut created = socket.subscribe("orders.*.created")?;
    /// while let Some(event) = created.next().await {
    ///     println!("{:?}", event?.args);
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If it is no pattern.
    pub fn subscribe(&self, pattern: impl Into<Arc<str>>) -> Result<Events, NameError> {
        let pattern = Pattern::new(pattern)?;
        Ok(self.stream(|sink| Listener::Pattern(pattern, sink)))
    }

    /// How many events wait to be sent, without a connection or on a slow one.
    pub fn waiting(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    fn stream(&self, listener: impl FnOnce(Sink) -> Listener) -> Events {
        let (capacity, overflow) = self.streams;
        let pauses = self.handle.shared.pauses.clone();
        let buffer = Arc::new(Buffer::new(capacity, overflow, pauses));
        let id = self.listen(listener(Sink::Stream(buffer.clone()))).id;
        if self.handle.shared.is_over() {
            buffer.end(None);
        }
        Events { buffer, socket: self.shared.index, id, handle: self.handle.clone() }
    }

    fn listen(&self, listener: Listener) -> Subscription {
        let shared = self.handle.shared.clone();
        let (socket, id) = (self.shared.index, ListenerId(shared.number()));
        shared.give(Order::Listen { socket, id, listener });
        Subscription { shared, socket, id }
    }

    fn give(
        &self,
        args: Args,
        timeout: Option<Duration>,
        done: Option<oneshot::Sender<Result<Args, AckError>>>,
    ) -> Result<EmitId, EmitError> {
        let bytes = (0..args.len()).filter_map(|at| args.json(at)).map(|json| json.len());
        let bytes = bytes.chain(args.attachments().iter().map(|data| data.len())).sum();
        let (socket, volatile) = (self.shared.index, self.flags.volatile);
        self.handle.shared.emit(&self.shared, bytes, |id| {
            let ack = done.is_some().then_some(id);
            Order::Emit { socket, emit: Emit { args, ack, timeout, volatile }, done }
        })
    }
}

fn event(name: &str, values: &impl EmitArgs) -> Result<Args, EmitError> {
    if RESERVED.contains(&name) {
        return Err(EmitError::Reserved(name.to_owned()));
    }
    let mut args = Args::new();
    args.push_str(name);
    write(args, values).map_err(|error| EmitError::Arguments(error.to_string()))
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("namespace", &self.namespace())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// An event that wants an acknowledgement; await it to send it. Dropping the future ends the wait
/// but does not take the event back.
#[must_use = "an event is sent when it is awaited"]
pub struct EmitWithAck {
    socket: Socket,
    args: Result<Args, EmitError>,
    timeout: Option<Duration>,
}

impl EmitWithAck {
    /// How long to wait for the acknowledgement, time without a connection included. Default: as
    /// the socket was made, and as long as the connection lasts if that does not say.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    async fn ask(self) -> Result<Arguments, EmitError> {
        /// Tells the driver that nobody waits any more.
        struct Forget<'a>(&'a Shared, Option<EmitId>);
        impl Drop for Forget<'_> {
            fn drop(&mut self) {
                if let Some(id) = self.1 {
                    self.0.give(Order::Forget(id));
                }
            }
        }
        let (done, answer) = oneshot::channel();
        let id = self.socket.give(self.args?, self.timeout, Some(done))?;
        let mut forget = Forget(&self.socket.handle.shared, Some(id));
        let answer = answer.await;
        forget.1 = None;
        let args = answer.unwrap_or(Err(AckError::Closed))?;
        Ok(Arguments::new(args, 0))
    }
}

impl IntoFuture for EmitWithAck {
    type Output = Result<Arguments, EmitError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}
