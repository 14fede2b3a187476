//! The driver: one task per client that owns the machine, moves frames, and hands out events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tidings_core::client::{
    Asked, ClientMachine, Command, Input, Notice, Output, Recipients, RequestError, State, Status,
    Ticket, TokenError, TokenRequest,
};
use tidings_core::io::IoEvent;
use tidings_core::message::{Close, CloseCode, Delivery, ErrorCode, Gap, Position, Refusal, SubId};
use tidings_core::time::earliest;
use tidings_core::{Payload, Time, client};
use tokio::sync::oneshot;

use crate::error::{Closed, EventError, SubscribeError};
use crate::net::TlsConfig;
use crate::network::{CLOSING, Network};
use crate::orders::{Order, Shared};
use crate::request::{Handler, Request};
use crate::runtime::{BoxFuture, Clock, Runtime, Timer};
use crate::subscription::{Callback, Sink};

/// How many frames are taken from the connections before other tasks get their turn.
const TURN: usize = 64;

/// A token on its way.
type Token = BoxFuture<Result<Option<String>, TokenError>>;

/// Provides a token for each connect and refresh.
pub(crate) type AuthProvider = Arc<dyn Fn() -> Token + Send + Sync>;

/// What the driver needs that is not of the session.
pub(crate) struct Surroundings {
    pub(crate) shared: Arc<Shared>,
    pub(crate) runtime: Runtime,
    pub(crate) clock: Clock,
    pub(crate) auth: Option<AuthProvider>,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) max_message: usize,
    /// How many streams wait for the application to take events.
    pub(crate) pauses: Arc<AtomicUsize>,
}

/// A future that ends when the client is closed.
pub(crate) struct Driver {
    machine: ClientMachine,
    surroundings: Surroundings,
    network: Network,
    timer: Timer,
    /// Until when closed connections are kept, once the client is closed.
    linger_until: Option<Time>,
    orders: VecDeque<Order>,
    tokens: Vec<(TokenRequest, Token)>,
    sinks: BTreeMap<SubId, Sink>,
    handlers: HashMap<Arc<str>, Handler>,
    next_ticket: u64,
    waiting: Waiting,
    /// Something was begun that has not been polled yet.
    begun: bool,
}

/// Who waits for what.
#[derive(Default)]
struct Waiting {
    subscribes: BTreeMap<SubId, oneshot::Sender<Result<(), SubscribeError>>>,
    publishes: HashMap<Ticket, oneshot::Sender<Result<Option<Position>, client::PublishError>>>,
    requests: HashMap<Ticket, oneshot::Sender<Result<Payload, RequestError>>>,
    switches: HashMap<Ticket, oneshot::Sender<Result<client::Transport, client::SwitchError>>>,
    refreshes: Vec<oneshot::Sender<Result<(), Refusal>>>,
}

impl Driver {
    pub(crate) fn new(machine: ClientMachine, surroundings: Surroundings) -> Self {
        let network = Network::new(surroundings.max_message, surroundings.tls.clone());
        let mut driver = Self {
            machine,
            surroundings,
            network,
            timer: Timer::default(),
            linger_until: None,
            orders: VecDeque::new(),
            tokens: Vec::new(),
            sinks: BTreeMap::new(),
            handlers: HashMap::new(),
            next_ticket: 0,
            waiting: Waiting::default(),
            begun: false,
        };
        let now = driver.surroundings.clock.now();
        driver.machine.handle_command(now, Command::Connect);
        driver
    }

    fn take_orders(&mut self, now: Time, cx: &Context<'_>) {
        let mut orders = std::mem::take(&mut self.orders);
        self.surroundings.shared.take(&mut orders, cx);
        for order in orders.drain(..) {
            if let Some(command) = self.command(order) {
                self.machine.handle_command(now, command);
            }
        }
        // The allocation is used again, unless a burst has made it large.
        if orders.capacity() <= 64 {
            self.orders = orders;
        }
    }

    /// Notes who waits and what for; the rest is for the machine.
    fn command(&mut self, order: Order) -> Option<Command> {
        Some(match order {
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
                match handler {
                    Some(handler) => self.handlers.insert(name, handler),
                    None => self.handlers.remove(&name),
                };
                return None;
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
            Order::Stats { done } => {
                // Whoever asked may have stopped waiting.
                let _ = done.send(self.machine.stats());
                return None;
            }
            Order::Close { timeout } => Command::Close { timeout },
        })
    }

    fn poll_tokens(&mut self, now: Time, cx: &mut Context<'_>) {
        let machine = &mut self.machine;
        self.tokens.retain_mut(|(request, token)| match token.as_mut().poll(cx) {
            Poll::Ready(result) => {
                machine.handle_input(now, Input::Token { request: *request, result });
                false
            }
            Poll::Pending => true,
        });
    }

    /// Reads what has arrived, as long as it is this task's turn.
    fn read(&mut self, now: Time, cx: &mut Context<'_>) -> bool {
        self.network.begin_turn();
        for _ in 0..TURN {
            let paused = self.surroundings.pauses.load(Ordering::Acquire) > 0;
            let Some(event) = self.network.poll_read(cx, paused) else { return false };
            self.input(now, event);
        }
        true
    }

    /// Writes what can be written, and tells the machine which connections take no more.
    fn write(&mut self, now: Time, cx: &mut Context<'_>) {
        // What the machine held back may be on its way after each event.
        while let Some(event) = self.network.poll_write(cx) {
            self.input(now, event);
        }
    }

    fn input(&mut self, now: Time, event: IoEvent) {
        self.machine.handle_input(now, Input::Io(event));
        self.run(now);
    }

    /// Does what the machine says.
    fn run(&mut self, now: Time) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::App(Notice::Event { delivery, to }) => self.event(delivery, &to),
                Output::Io(io) => self.network.run(now, io),
                Output::App(notice) => self.notice(notice),
                Output::NeedToken { request } => {
                    if let Some(auth) = self.surroundings.auth.clone() {
                        let token = AssertUnwindSafe(async move { auth().await }).catch_unwind();
                        let panicked = |_| {
                            let reason = "the provider of tokens panicked".to_owned();
                            Err(TokenError { reason, retryable: true })
                        };
                        let token = async move { token.await.unwrap_or_else(panicked) };
                        self.tokens.push((request, Box::pin(token)));
                        self.begun = true;
                    }
                }
            }
        }
    }

    fn event(&mut self, delivery: Delivery, to: &Recipients) {
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

    // Whoever waited for an answer may have stopped waiting: sending it may fail.
    fn notice(&mut self, notice: Notice) {
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
                self.surroundings.shared.status.set_neq(status);
                if let Some(close) = closed {
                    self.closed(close);
                }
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
    }

    /// Has the handler of a request of the server answer it, in a task of its own.
    fn answer(&self, from: Asked, request: Request) {
        let answer = match self.handlers.get(&request.name) {
            Some(handler) => {
                let handler = handler.clone();
                AssertUnwindSafe(async move { handler(request).await }).catch_unwind()
            }
            None => {
                let message = format!("this client does not handle {:?}", request.name);
                let result = Err(Refusal::new(ErrorCode::NO_HANDLER, message));
                let order = Order::Respond { to: from, result };
                // A client that is closed answers nothing.
                let _ = self.surroundings.shared.give(order);
                return;
            }
        };
        let shared = self.surroundings.shared.clone();
        self.surroundings.runtime.spawn(async move {
            let panicked = |_| Err(Refusal::new(ErrorCode::INTERNAL, "the handler panicked"));
            let result = answer.await.unwrap_or_else(panicked);
            let _ = shared.give(Order::Respond { to: from, result });
        });
    }

    /// The session is over: everybody who waits is told.
    fn closed(&mut self, close: Close) {
        let now = self.surroundings.clock.now();
        self.linger_until = Some(now + CLOSING);
        for (_, sink) in std::mem::take(&mut self.sinks) {
            end(sink, EventError::Closed(Closed(close.clone())));
        }
        for (_, done) in std::mem::take(&mut self.waiting.subscribes) {
            let _ = done.send(Err(SubscribeError::Closed(Closed(close.clone()))));
        }
        self.waiting.refreshes.clear();
        self.tokens.clear();
        self.handlers.clear();
        // Dropping these orders tells whoever waits for them.
        drop(self.surroundings.shared.end(close, self.machine.stats()));
    }

    /// Sees to it that this is polled again in time. Returns whether something is due already.
    fn wait(&mut self, now: Time, cx: &mut Context<'_>) -> bool {
        let next = earliest(self.machine.next_timeout(), self.network.next_timeout());
        match next {
            Some(at) if at <= now => true,
            Some(at) => {
                self.timer.wake_by(self.surroundings.clock, at, cx);
                false
            }
            None => false,
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let now = this.surroundings.clock.now();
        this.take_orders(now, cx);
        this.poll_tokens(now, cx);
        this.machine.handle_timeout(now);
        if this.network.poll_returned(cx) {
            this.machine.handle_input(now, Input::Online(false));
            this.machine.handle_input(now, Input::Online(true));
        }
        this.network.expire(now);
        this.run(now);
        let more = this.read(now, cx);
        this.write(now, cx);
        let begun = this.network.take_begun() || std::mem::take(&mut this.begun);
        let again = this.wait(now, cx) || more || begun;
        if this.linger_until.is_some_and(|until| this.network.is_empty() || until <= now) {
            return Poll::Ready(());
        }
        if again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    /// A runtime that shuts down takes its clients along: nobody may wait for them any more.
    fn drop(&mut self) {
        if self.linger_until.is_none() {
            let close = Close::new(CloseCode::ABNORMAL, "the runtime of the client has ended");
            self.surroundings.shared.status.set(Status {
                state: State::Closed,
                transport: None,
                code: close.code,
                reason: close.reason.as_str().into(),
                retryable: false,
                next_attempt: None,
            });
            self.closed(close);
        }
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
