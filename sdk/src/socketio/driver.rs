//! The driver: one task per manager that owns the machine, moves bytes, and hands out events.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use tidings_core::Time;
use tidings_core::socketio::Args;
use tidings_core::socketio::manager::{
    AckError, AuthFailure, AuthRequest, EmitId, ManagerMachine, ManagerNotice, ManagerOutput,
    ManagerState, SocketKey,
};
use tidings_core::time::earliest;
use tokio::sync::oneshot;

use super::event::Event;
use super::listeners::Listeners;
use super::orders::{Order, Shared, SocketShared};
use super::socket::{SocketState, SocketStatus};
use crate::network::{CLOSING, Network};
use crate::runtime::{BoxFuture, Clock, Timer};

/// How many events are taken from the network before other tasks get their turn.
const TURN: usize = 64;

/// `auth` on its way.
type Auth = BoxFuture<Result<Option<Bytes>, AuthFailure>>;

/// Provides `auth` for each connect.
pub(super) type AuthProvider = Arc<dyn Fn() -> Auth + Send + Sync>;

/// A future that ends when the manager is closed.
pub(super) struct Driver {
    machine: ManagerMachine,
    shared: Arc<Shared>,
    clock: Clock,
    network: Network,
    timer: Timer,
    sockets: Vec<Socket>,
    orders: VecDeque<Order>,
    /// How many events were among the orders, by socket.
    taken: Vec<(usize, usize)>,
    auths: Vec<(AuthRequest, Auth)>,
    acks: HashMap<EmitId, oneshot::Sender<Result<Args, AckError>>>,
    /// An `auth` was begun that has not been polled yet.
    begun: bool,
    /// Set once the manager is closed: until when connections are kept for their last words.
    linger_until: Option<Time>,
}

struct Socket {
    key: SocketKey,
    shared: Arc<SocketShared>,
    listeners: Listeners,
}

impl Driver {
    pub(super) fn new(
        machine: ManagerMachine,
        shared: Arc<Shared>,
        network: Network,
        clock: Clock,
    ) -> Self {
        Self {
            machine,
            shared,
            clock,
            network,
            timer: Timer::default(),
            sockets: Vec::new(),
            orders: VecDeque::new(),
            taken: Vec::new(),
            auths: Vec::new(),
            acks: HashMap::new(),
            begun: false,
            linger_until: None,
        }
    }

    fn take_orders(&mut self, now: Time, cx: &Context<'_>) {
        let mut orders = std::mem::take(&mut self.orders);
        self.shared.take(&mut orders, &mut self.taken, cx);
        for order in orders.drain(..) {
            self.order(now, order);
            self.run(now);
        }
        self.shared.settle(&self.taken, || self.tell_held());
        // The allocation is used again, unless a burst has made it large.
        if orders.capacity() <= 64 {
            self.orders = orders;
        }
    }

    fn order(&mut self, now: Time, order: Order) {
        match order {
            Order::Emit { socket, emit, done } => {
                let Some(socket) = self.sockets.get(socket) else { return };
                if let (Some(id), Some(done)) = (emit.ack, done) {
                    self.acks.insert(id, done);
                }
                self.machine.emit(now, socket.key, emit);
            }
            Order::Acknowledge { to, args } => self.machine.acknowledge(now, to, args),
            Order::Forget(id) => {
                self.acks.remove(&id);
                self.machine.forget(id);
            }
            Order::Socket(shared) => {
                let key = self.machine.socket(shared.namespace.clone(), shared.config);
                self.sockets.push(Socket { key, shared, listeners: Listeners::default() });
            }
            Order::Connect(at) => {
                if let Some(socket) = self.sockets.get(at) {
                    self.machine.connect(now, socket.key);
                }
            }
            Order::Disconnect(at) => {
                if let Some(socket) = self.sockets.get(at) {
                    self.machine.disconnect(now, socket.key);
                    let mut status = socket.shared.status.lock_mut();
                    if status.state != SocketState::Disconnected {
                        *status = SocketStatus { id: None, ..status.clone() };
                        status.state = SocketState::Disconnected;
                        status.will_reconnect = false;
                    }
                }
            }
            Order::Listen { socket, id, listener } => {
                if let Some(socket) = self.sockets.get_mut(socket) {
                    socket.listeners.add(id, listener);
                    self.machine.watch_outgoing(socket.key, socket.listeners.watch_outgoing());
                }
            }
            Order::Unlisten { socket, id } => {
                if let Some(socket) = self.sockets.get_mut(socket) {
                    socket.listeners.remove(id);
                    self.machine.watch_outgoing(socket.key, socket.listeners.watch_outgoing());
                }
            }
            Order::Close => self.machine.close(now),
        }
    }

    fn poll_auths(&mut self, now: Time, cx: &mut Context<'_>) {
        let machine = &mut self.machine;
        self.auths.retain_mut(|(request, auth)| match auth.as_mut().poll(cx) {
            Poll::Ready(result) => {
                machine.authenticate(now, *request, result);
                false
            }
            Poll::Pending => true,
        });
    }

    /// Reads what has arrived, as long as it is this task's turn; whether there may be more.
    fn read(&mut self, now: Time, cx: &mut Context<'_>) -> bool {
        self.network.begin_turn();
        for _ in 0..TURN {
            let paused = self.shared.pauses.load(Ordering::Acquire) > 0;
            let Some(event) = self.network.poll_read(cx, paused) else { return false };
            self.machine.handle_input(now, event);
            self.run(now);
        }
        true
    }

    fn write(&mut self, now: Time, cx: &mut Context<'_>) {
        while let Some(event) = self.network.poll_write(cx) {
            self.machine.handle_input(now, event);
            self.run(now);
        }
    }

    /// Tells handles how much waits to be sent.
    fn tell_held(&self) {
        for socket in &self.sockets {
            let (count, bytes) = self.machine.held(socket.key);
            socket.shared.held.store(count, Ordering::Relaxed);
            socket.shared.held_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// Does what the machine says.
    fn run(&mut self, now: Time) {
        // Whoever learns of a connection may want to emit at once.
        self.tell_held();
        while let Some(output) = self.machine.poll_output() {
            match output {
                ManagerOutput::Io(io) => self.network.run(now, io),
                ManagerOutput::NeedAuth { socket, request } => self.ask(socket, request),
                ManagerOutput::App(notice) => self.notice(notice),
            }
        }
    }

    /// Has the application say who it is.
    fn ask(&mut self, key: SocketKey, request: AuthRequest) {
        let socket = self.sockets.iter().find(|socket| socket.key == key);
        let Some(provider) = socket.and_then(|socket| socket.shared.auth.clone()) else { return };
        let auth = AssertUnwindSafe(async move { provider().await }).catch_unwind();
        let panicked = |_| {
            let reason = "the provider of auth panicked".to_owned();
            Err(AuthFailure { reason, retryable: true })
        };
        let auth = async move { auth.await.unwrap_or_else(panicked) };
        self.auths.push((request, Box::pin(auth)));
        self.begun = true;
    }

    fn socket(&mut self, key: SocketKey) -> Option<&mut Socket> {
        self.sockets.iter_mut().find(|socket| socket.key == key)
    }

    fn notice(&mut self, notice: ManagerNotice) {
        let shared = self.shared.clone();
        match notice {
            ManagerNotice::Event { socket, args, ack } => {
                if let Some(socket) = self.socket(socket) {
                    socket.listeners.event(&Event::new(args, ack, &shared));
                }
            }
            ManagerNotice::Acked { emit, result } => {
                if let Some(done) = self.acks.remove(&emit) {
                    // Whoever waited may have stopped.
                    let _ = done.send(result);
                }
            }
            ManagerNotice::Outgoing { socket, args } => {
                if let Some(socket) = self.socket(socket) {
                    socket.listeners.outgoing(&args);
                }
            }
            ManagerNotice::Connected { socket, id, recovered } => {
                let Some(socket) = self.socket(socket) else { return };
                let id: Arc<str> = id.into();
                socket.shared.status.set(SocketStatus {
                    state: SocketState::Connected,
                    id: Some(id.clone()),
                    recovered,
                    ..SocketStatus::default()
                });
                socket.listeners.connected(&id, recovered);
            }
            ManagerNotice::ConnectError { socket, error } => {
                let Some(socket) = self.socket(socket) else { return };
                socket.shared.status.set(SocketStatus {
                    state: state(error.will_retry),
                    will_reconnect: error.will_retry,
                    error: Some(error.clone()),
                    ..SocketStatus::default()
                });
                socket.listeners.connect_error(&error);
            }
            ManagerNotice::Disconnected { socket, reason, detail, will_reconnect } => {
                let Some(socket) = self.socket(socket) else { return };
                socket.shared.status.set(SocketStatus {
                    state: state(will_reconnect),
                    will_reconnect,
                    reason: Some(reason),
                    ..SocketStatus::default()
                });
                socket.listeners.disconnected(reason, &detail);
            }
            ManagerNotice::Status(status) => {
                let closed = status.state == ManagerState::Closed;
                if closed {
                    self.closed();
                }
                self.shared.status.set_neq(status);
            }
        }
    }

    /// Everybody who waits is told that nothing comes any more.
    fn closed(&mut self) {
        self.linger_until = Some(self.clock.now() + CLOSING);
        self.auths.clear();
        for socket in &mut self.sockets {
            std::mem::take(&mut socket.listeners).end();
            let mut status = socket.shared.status.lock_mut();
            status.state = SocketState::Disconnected;
            (status.id, status.will_reconnect) = (None, false);
        }
        // Dropping these orders tells whoever waits for them.
        for order in self.shared.end() {
            if let Order::Listen { listener, .. } = order {
                let mut listeners = Listeners::default();
                listeners.add(super::listeners::ListenerId(0), listener);
                listeners.end();
            }
        }
    }

    /// Sees to it that this is polled again in time. Returns whether something is due already.
    fn wait(&mut self, now: Time, cx: &mut Context<'_>) -> bool {
        let next = earliest(self.machine.next_timeout(), self.network.next_timeout());
        match earliest(next, self.linger_until) {
            Some(at) if at <= now => true,
            Some(at) => {
                self.timer.wake_by(self.clock, now, at, cx);
                false
            }
            None => false,
        }
    }
}

const fn state(comes_back: bool) -> SocketState {
    if comes_back { SocketState::Connecting } else { SocketState::Disconnected }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = this.clock.now();
        this.take_orders(now, cx);
        this.machine.handle_timeout(now);
        this.network.expire(now);
        this.run(now);
        let more = this.read(now, cx);
        this.begun = false;
        this.poll_auths(now, cx);
        this.run(now);
        this.write(now, cx);
        if let Some(until) = this.linger_until {
            let said = this.machine.is_finished() && this.network.is_empty();
            if said || until <= now {
                return Poll::Ready(());
            }
        }
        let begun = this.network.take_begun() || this.begun;
        if this.wait(now, cx) || more || begun {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    /// A runtime that shuts down takes its managers along: nobody may wait for them any more.
    fn drop(&mut self) {
        if self.linger_until.is_none() {
            self.closed();
            let mut status = self.shared.status.lock_mut();
            (status.state, status.transport, status.next_attempt) =
                (ManagerState::Closed, None, None);
        }
    }
}
