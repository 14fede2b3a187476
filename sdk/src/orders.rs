//! What handles tell the driver.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::Duration;

use futures_signals::signal::Mutable;
use futures_util::task::AtomicWaker;
use tidings_core::client::{
    Asked, PublishError, QueueLimits, RequestError, Stats, Status, SwitchError, Ticket, Transport,
};
use tidings_core::message::{Close, Position, Publish, Refusal, SubId, Subscribe};
use tidings_core::{Cursor, Payload, Priority};
use tokio::sync::oneshot;

use crate::error::SubscribeError;
use crate::request::Handler;
use crate::subscription::Sink;

/// How long the last handle's end waits for what is still queued.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// One thing the driver is to do.
pub(crate) enum Order {
    Subscribe {
        subscribe: Subscribe,
        sink: Sink,
        done: oneshot::Sender<Result<(), SubscribeError>>,
    },
    Unsubscribe(SubId),
    Publish {
        ticket: Ticket,
        publish: Publish,
        timeout: Option<Duration>,
        /// `None` if nobody wants to know.
        done: Option<oneshot::Sender<Result<Option<Position>, PublishError>>>,
    },
    Request {
        ticket: Ticket,
        name: Arc<str>,
        payload: Payload,
        timeout: Option<Duration>,
        done: oneshot::Sender<Result<Payload, RequestError>>,
    },
    CancelRequest(Ticket),
    Handle {
        name: Arc<str>,
        handler: Option<Handler>,
    },
    Respond {
        to: Asked,
        result: Result<Payload, Refusal>,
    },
    Switch {
        transport: Transport,
        done: oneshot::Sender<Result<Transport, SwitchError>>,
    },
    RefreshToken {
        done: oneshot::Sender<Result<(), Refusal>>,
    },
    Stats {
        done: oneshot::Sender<Stats>,
    },
    Reached {
        id: SubId,
        done: oneshot::Sender<Option<Cursor>>,
    },
    Close {
        timeout: Duration,
    },
}

/// What handles and driver share.
pub(crate) struct Shared {
    orders: Mutex<Orders>,
    waker: AtomicWaker,
    pub(crate) status: Mutable<Status>,
    limits: QueueLimits,
}

struct Orders {
    waiting: VecDeque<Order>,
    /// Publishes the driver has not taken over yet, by priority: how many, and their bytes. Its own
    /// queues are bounded in the same way.
    publishes: [(usize, usize); Priority::COUNT],
    next_id: u64,
    /// Set when there is no driver any more, with what it counted.
    over: Option<(Close, Stats)>,
}

impl Shared {
    pub(crate) fn new(limits: QueueLimits) -> Self {
        let (waiting, publishes) = (VecDeque::new(), Default::default());
        let orders = Orders { waiting, publishes, next_id: 1, over: None };
        Self {
            orders: Mutex::new(orders),
            waker: AtomicWaker::new(),
            status: Mutable::new(Status::starting()),
            limits,
        }
    }

    /// Gives the driver an order. The close if there is no driver any more.
    pub(crate) fn give(&self, order: Order) -> Result<(), Close> {
        self.give_numbered(|_| order)
    }

    /// Gives the driver an order that contains a fresh number.
    pub(crate) fn give_numbered(&self, order: impl FnOnce(u64) -> Order) -> Result<(), Close> {
        let mut orders = self.lock();
        if let Some((close, _)) = &orders.over {
            return Err(close.clone());
        }
        let id = orders.next_id;
        orders.next_id += 1;
        orders.waiting.push_back(order(id));
        drop(orders);
        self.waker.wake();
        Ok(())
    }

    /// Gives the driver a publish, unless too many wait for it already.
    pub(crate) fn publish(
        &self,
        publish: Publish,
        timeout: Option<Duration>,
        done: Option<oneshot::Sender<Result<Option<Position>, PublishError>>>,
    ) -> Result<(), PublishError> {
        let mut orders = self.lock();
        if let Some((close, _)) = &orders.over {
            return Err(PublishError::Closed(close.clone()));
        }
        let priority = publish.priority;
        let (count, bytes) = orders.publishes[priority as usize];
        if count >= self.limits.count || bytes >= self.limits.bytes {
            return Err(PublishError::QueueFull { priority, count, bytes });
        }
        let ticket = Ticket(orders.next_id);
        orders.next_id += 1;
        orders.publishes[priority as usize] = (count + 1, bytes + publish.payload.len());
        orders.waiting.push_back(Order::Publish { ticket, publish, timeout, done });
        drop(orders);
        self.waker.wake();
        Ok(())
    }

    /// The driver takes all orders there are into `taken`, and is woken when there are more.
    pub(crate) fn take(&self, taken: &mut VecDeque<Order>, cx: &Context<'_>) {
        self.waker.register(cx.waker());
        let mut orders = self.lock();
        std::mem::swap(&mut orders.waiting, taken);
        orders.publishes = Default::default();
    }

    /// There is no driver any more. Returns the orders it did not take.
    pub(crate) fn end(&self, close: Close, stats: Stats) -> VecDeque<Order> {
        let mut orders = self.lock();
        orders.over = Some((close, stats));
        std::mem::take(&mut orders.waiting)
    }

    /// What the driver counted, once there is none.
    pub(crate) fn last_stats(&self) -> Option<Stats> {
        self.lock().over.as_ref().map(|(_, stats)| stats.clone())
    }

    /// Wakes the driver: something it waits for has changed.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        // Nothing in here panics while it holds the lock.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kept by everything that wants the client to stay connected; the last one closes it.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Without a driver there is nothing to close.
        let _ = self.shared.give(Order::Close { timeout: LAST_WORDS });
    }
}

/// The close told when the driver has gone without an answer.
pub(crate) fn gone(shared: &Shared) -> Close {
    let orders = shared.lock();
    match &orders.over {
        Some((close, _)) => close.clone(),
        None => Close::new(tidings_core::message::CloseCode::ABNORMAL, "the client's task ended"),
    }
}
