//! What handles and driver share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures_signals::signal::Mutable;
use futures_util::task::AtomicWaker;
use tidings_core::socketio::manager::{
    AckError, AckKey, BufferOverflow, Emit, EmitId, ManagerState, ManagerStatus, SocketConfig,
};
use tidings_core::socketio::{Args, Namespace};
use tokio::sync::oneshot;

use super::driver::AuthProvider;
use super::error::EmitError;
use super::listeners::{Listener, ListenerId};
use super::socket::SocketStatus;

/// One thing the driver is to do. Sockets are named by their index.
pub(super) enum Order {
    Socket(Arc<SocketShared>),
    Connect(usize),
    Disconnect(usize),
    Emit { socket: usize, emit: Emit, done: Option<oneshot::Sender<Result<Args, AckError>>> },
    Forget(EmitId),
    Acknowledge { to: AckKey, args: Args },
    Listen { socket: usize, id: ListenerId, listener: Listener },
    Unlisten { socket: usize, id: ListenerId },
    Close,
}

/// What belongs to one socket.
pub(super) struct SocketShared {
    pub(super) index: usize,
    pub(super) namespace: Namespace,
    pub(super) config: SocketConfig,
    pub(super) auth: Option<AuthProvider>,
    pub(super) status: Mutable<SocketStatus>,
    /// What waits in the driver to be sent.
    pub(super) held: AtomicUsize,
    pub(super) held_bytes: AtomicUsize,
}

/// What belongs to the manager.
pub(super) struct Shared {
    orders: Mutex<Orders>,
    waker: AtomicWaker,
    pub(super) status: Mutable<ManagerStatus>,
    /// How many streams wait for the application to take events.
    pub(super) pauses: Arc<AtomicUsize>,
}

struct Orders {
    waiting: VecDeque<Order>,
    sockets: Vec<Arc<SocketShared>>,
    /// Events among the orders, by socket: how many, and how many bytes.
    events: Vec<(usize, usize)>,
    next_id: u64,
    /// Set when there is no driver any more.
    over: bool,
}

impl Shared {
    pub(super) fn new() -> Self {
        let orders = Orders {
            waiting: VecDeque::new(),
            sockets: Vec::new(),
            events: Vec::new(),
            next_id: 1,
            over: false,
        };
        let status = ManagerStatus {
            state: ManagerState::Idle,
            transport: None,
            failed_attempts: 0,
            next_attempt: None,
        };
        Self {
            orders: Mutex::new(orders),
            waker: AtomicWaker::new(),
            status: Mutable::new(status),
            pauses: Arc::default(),
        }
    }

    /// Gives the driver an order; false if there is no driver any more.
    pub(super) fn give(&self, order: Order) -> bool {
        let mut orders = self.lock();
        if orders.over {
            return false;
        }
        orders.waiting.push_back(order);
        drop(orders);
        self.waker.wake();
        true
    }

    /// A number that was not given out before.
    pub(super) fn number(&self) -> u64 {
        let mut orders = self.lock();
        orders.next_id += 1;
        orders.next_id - 1
    }

    /// The socket of a namespace, which `make` makes if there is none.
    pub(super) fn socket(
        &self,
        namespace: &Namespace,
        make: impl FnOnce(usize) -> SocketShared,
    ) -> Arc<SocketShared> {
        let mut orders = self.lock();
        let found = orders.sockets.iter().find(|socket| socket.namespace == *namespace);
        if let Some(found) = found {
            return found.clone();
        }
        let socket = Arc::new(make(orders.sockets.len()));
        orders.sockets.push(socket.clone());
        orders.events.push((0, 0));
        orders.waiting.push_back(Order::Socket(socket.clone()));
        drop(orders);
        self.waker.wake();
        socket
    }

    /// Gives the driver an event, unless too many wait already. Returns its number.
    pub(super) fn emit(
        &self,
        socket: &SocketShared,
        bytes: usize,
        order: impl FnOnce(EmitId) -> Order,
    ) -> Result<EmitId, EmitError> {
        let mut orders = self.lock();
        if orders.over {
            return Err(EmitError::Closed);
        }
        let id = EmitId(orders.next_id);
        let Some(events) = orders.events.get_mut(socket.index) else {
            return Err(EmitError::Closed);
        };
        let count = events.0 + socket.held.load(Ordering::Relaxed);
        let held = events.1 + socket.held_bytes.load(Ordering::Relaxed);
        let limits = socket.config.buffer;
        // Where the oldest goes instead, the driver sees to it; orders themselves are bounded too.
        let most = match limits.overflow {
            BufferOverflow::Reject => 1,
            BufferOverflow::DropOldest => 2,
        };
        let full = count >= limits.count.saturating_mul(most)
            || held + bytes > limits.bytes.saturating_mul(most);
        if full && count > 0 {
            return Err(EmitError::Full { count, bytes: held });
        }
        *events = (events.0 + 1, events.1 + bytes);
        orders.next_id += 1;
        orders.waiting.push_back(order(id));
        drop(orders);
        self.waker.wake();
        Ok(id)
    }

    /// The driver takes all orders there are into `taken`, and is woken when there are more.
    /// `events` is what [`settle`](Self::settle) must be told when they are carried out.
    pub(super) fn take(
        &self,
        taken: &mut VecDeque<Order>,
        events: &mut Vec<(usize, usize)>,
        cx: &Context<'_>,
    ) {
        self.waker.register(cx.waker());
        let mut orders = self.lock();
        std::mem::swap(&mut orders.waiting, taken);
        events.clone_from(&orders.events);
    }

    /// The orders taken are carried out: their events count no more here, but in what `tell_held`
    /// tells.
    pub(super) fn settle(&self, taken: &[(usize, usize)], tell_held: impl FnOnce()) {
        let mut orders = self.lock();
        tell_held();
        for (events, taken) in orders.events.iter_mut().zip(taken) {
            *events = (events.0.saturating_sub(taken.0), events.1.saturating_sub(taken.1));
        }
    }

    /// There is no driver any more. Returns the orders it did not take.
    pub(super) fn end(&self) -> VecDeque<Order> {
        let mut orders = self.lock();
        orders.over = true;
        std::mem::take(&mut orders.waiting)
    }

    /// Whether there is no driver any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().over
    }

    /// Wakes the driver: something it waits for has changed.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Nothing in here panics while it holds the lock.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kept by everything that wants the manager to live; the last one closes it.
pub(super) struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.give(Order::Close);
    }
}
