//! The desk of a client's task: who waits for what, and who gets what.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Context;

use futures_util::FutureExt;
use tidings_core::client::{
    Asked, Command, Notice, Recipients, RequestError, State, Stats, Status, Ticket,
};
use tidings_core::json::Quoted;
use tidings_core::map::Map;
use tidings_core::message::{Close, CloseCode, Delivery, ErrorCode, Gap, Position, Refusal, SubId};
use tidings_core::{Cursor, Payload, client};
use tokio::sync::oneshot;

use crate::error::{Closed, EventError, SubscribeError};
use crate::orders::{Order, Shared};
use crate::request::{Handler, Request};
use crate::runtime::Runtime;
use crate::subscription::{Callback, Sink};

/// What handles of the client want, and what becomes of it.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    runtime: Runtime,
    orders: VecDeque<Order>,
    sinks: Map<SubId, Sink>,
    handlers: Map<Arc<str>, Handler>,
    next_ticket: u64,
    waiting: Waiting,
}

/// What is left to do of an order.
pub(crate) enum Errand {
    /// For whoever keeps the session.
    Command(Command),
    /// Requests of this name are answered here from now on, or no more.
    Handles(Arc<str>, bool),
    /// Somebody wants to know what was counted.
    Stats(oneshot::Sender<Stats>),
    /// Somebody wants to know how far a subscription has come.
    Reached(SubId, oneshot::Sender<Option<Cursor>>),
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    subscribes: Map<SubId, oneshot::Sender<Result<(), SubscribeError>>>,
    publishes: Map<Ticket, oneshot::Sender<Result<Option<Position>, client::PublishError>>>,
    requests: Map<Ticket, oneshot::Sender<Result<Payload, RequestError>>>,
    switches: Map<Ticket, oneshot::Sender<Result<client::Transport, client::SwitchError>>>,
    refreshes: Vec<oneshot::Sender<Result<(), Refusal>>>,
}

impl Desk {
    pub(crate) fn new(shared: Arc<Shared>, runtime: Runtime) -> Self {
        Self {
            shared,
            runtime,
            orders: VecDeque::new(),
            sinks: Map::new(),
            handlers: Map::new(),
            next_ticket: 0,
            waiting: Waiting::default(),
        }
    }

    /// Takes the orders there are; `run` does what is left to do of each.
    pub(crate) fn take_orders(&mut self, cx: &Context<'_>, mut run: impl FnMut(Errand)) {
        let mut orders = std::mem::take(&mut self.orders);
        self.shared.take(&mut orders, cx);
        for order in orders.drain(..) {
            run(self.errand(order));
        }
        // The allocation is used again, unless a burst has made it large.
        if orders.capacity() <= 64 {
            self.orders = orders;
        }
    }

    /// Notes who waits and what for.
    fn errand(&mut self, order: Order) -> Errand {
        Errand::Command(match order {
            Order::Publish { ticket, publish, timeout, done } => {
                if let Some(done) = done {
                    self.waiting.publishes.insert(ticket, done);
                }
                Command::Publish { ticket, publish, timeout }
            }
            Order::Subscribe { subscribe, sink, done } => {
                self.sinks.insert(subscribe.id, sink);
                self.waiting.subscribes.insert(subscribe.id, done);
                Command::Subscribe(subscribe)
            }
            Order::Unsubscribe(id) => {
                self.sinks.remove(&id);
                self.waiting.subscribes.remove(&id);
                Command::Unsubscribe(id)
            }
            Order::Request { ticket, name, payload, timeout, done } => {
                self.waiting.requests.insert(ticket, done);
                Command::Request { ticket, name, payload, timeout }
            }
            Order::CancelRequest(ticket) => {
                self.waiting.requests.remove(&ticket);
                Command::CancelRequest(ticket)
            }
            Order::Handle { name, handler } => {
                let handles = handler.is_some();
                match handler {
                    Some(handler) => self.handlers.insert(name.clone(), handler),
                    None => self.handlers.remove(&name),
                };
                return Errand::Handles(name, handles);
            }
            Order::Respond { to, result } => Command::Respond { to, result },
            Order::Switch { transport, done } => {
                self.next_ticket += 1;
                let ticket = Ticket(self.next_ticket);
                self.waiting.switches.insert(ticket, done);
                Command::Switch { ticket, transport }
            }
            Order::RefreshToken { done } => {
                self.waiting.refreshes.push(done);
                Command::RefreshToken
            }
            Order::Stats { done } => return Errand::Stats(done),
            Order::Reached { id, done } => return Errand::Reached(id, done),
            Order::Close { timeout } => Command::Close { timeout },
        })
    }

    /// Hands an event out.
    pub(crate) fn event(&mut self, delivery: Delivery, to: &Recipients) {
        let (last, others) = match to.as_slice().split_last() {
            Some((last, others)) => (last, others),
            None => return,
        };
        for id in others {
            if let Some(sink) = self.sinks.get_mut(id) {
                hand_out(sink, delivery.clone());
            }
        }
        if let Some(sink) = self.sinks.get_mut(last) {
            hand_out(sink, delivery);
        }
    }

    fn gap(&mut self, gap: Gap, to: &Recipients) {
        for id in to.as_slice() {
            match self.sinks.get_mut(id) {
                Some(Sink::Stream(buffer)) => buffer.gap(gap),
                Some(Sink::Callback(callback)) => call(callback, Err(&EventError::Gap(gap))),
                None => {}
            }
        }
    }

    /// Tells who has to know. Returns why the session is over, if it is.
    // Whoever waited for an answer may have stopped waiting: sending it may fail.
    pub(crate) fn notice(&mut self, notice: Notice) -> Option<Close> {
        match notice {
            Notice::Event { delivery, to } => self.event(delivery, &to),
            Notice::Gap { gap, to } => self.gap(gap, &to),
            Notice::Published { ticket, result } => {
                if let Some(done) = self.waiting.publishes.remove(&ticket) {
                    let _ = done.send(result);
                }
            }
            Notice::Status(status) => {
                let closed = (status.state == State::Closed)
                    .then(|| Close::new(status.code, &*status.reason));
                self.shared.status.set_neq(status);
                return closed;
            }
            Notice::Subscribed { id, .. } => {
                if let Some(done) = self.waiting.subscribes.remove(&id) {
                    let _ = done.send(Ok(()));
                }
            }
            Notice::SubscribeFailed { id, refusal } => {
                if let Some(done) = self.waiting.subscribes.remove(&id) {
                    let _ = done.send(Err(SubscribeError::Refused(refusal.clone())));
                }
                if let Some(sink) = self.sinks.remove(&id) {
                    end(sink, EventError::Refused(refusal));
                }
            }
            Notice::Reply { ticket, result } => {
                if let Some(done) = self.waiting.requests.remove(&ticket) {
                    let _ = done.send(result);
                }
            }
            Notice::Request { from, name, payload } => {
                self.answer(from, Request { name, payload });
            }
            Notice::Switched { ticket, result } => {
                if let Some(done) = self.waiting.switches.remove(&ticket) {
                    let _ = done.send(result);
                }
            }
            Notice::TokenRefreshed(result) => {
                for done in self.waiting.refreshes.drain(..) {
                    let _ = done.send(result.clone());
                }
            }
            // Nothing the SDK sends is without an answer of its own; what a server says here is
            // for people to see in its log.
            Notice::Refused(_) => {}
        }
        None
    }

    /// Has the handler of a request of the server answer it, in a task of its own.
    fn answer(&self, from: Asked, request: Request) {
        let answer = match self.handlers.get(&request.name) {
            Some(handler) => {
                let handler = handler.clone();
                AssertUnwindSafe(async move { handler(request).await }).catch_unwind()
            }
            None => {
                let message = format!("this client does not handle {}", Quoted(&request.name));
                let result = Err(Refusal::new(ErrorCode::NO_HANDLER, message));
                let order = Order::Respond { to: from, result };
                // A client that is closed answers nothing.
                let _ = self.shared.give(order);
                return;
            }
        };
        let shared = self.shared.clone();
        self.runtime.spawn(async move {
            let panicked = |_| Err(Refusal::new(ErrorCode::INTERNAL, "the handler panicked"));
            let result = answer.await.unwrap_or_else(panicked);
            let _ = shared.give(Order::Respond { to: from, result });
        });
    }

    /// The session is over: everybody who waits is told.
    pub(crate) fn closed(&mut self, close: Close, stats: Stats) {
        for (_, sink) in std::mem::take(&mut self.sinks) {
            end(sink, EventError::Closed(Closed(close.clone())));
        }
        for (_, done) in std::mem::take(&mut self.waiting.subscribes) {
            let _ = done.send(Err(SubscribeError::Closed(Closed(close.clone()))));
        }
        self.waiting.refreshes.clear();
        self.handlers.clear();
        // Dropping these orders tells whoever waits for them.
        drop(self.shared.end(close, stats));
    }

    /// A runtime that shuts down takes its clients along: nobody may wait for them any more.
    pub(crate) fn abandoned(&mut self, stats: Stats) {
        let close = Close::new(CloseCode::ABNORMAL, "the runtime of the client has ended");
        self.shared.status.set(Status::closed(&close));
        self.closed(close, stats);
    }
}

fn hand_out(sink: &mut Sink, delivery: Delivery) {
    match sink {
        Sink::Callback(callback) => call(callback, Ok(&delivery)),
        Sink::Stream(buffer) => buffer.event(delivery),
    }
}

fn end(sink: Sink, error: EventError) {
    match sink {
        Sink::Callback(mut callback) => call(&mut callback, Err(&error)),
        Sink::Stream(buffer) => buffer.fail(error),
    }
}

/// A callback that panics has had its say on standard error; others go on.
fn call(callback: &mut Callback, item: Result<&Delivery, &EventError>) {
    drop(catch_unwind(AssertUnwindSafe(|| callback(item))));
}
