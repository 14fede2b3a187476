//! The driver: one task per client that owns the machine, moves frames, and hands out events.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use tidings_core::Time;
use tidings_core::client::{
    ClientMachine, Command, Input, Notice, Output, TokenError, TokenRequest,
};
use tidings_core::io::IoEvent;
use tidings_core::message::Close;
use tidings_core::time::earliest;

use crate::desk::{Desk, Errand};
use crate::net::{OpenedSocket, TlsConfig};
use crate::network::{CLOSING, Network};
use crate::orders::Shared;
use crate::runtime::{BoxFuture, Clock, Runtime, Timer};

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
    pub(crate) opened: Option<OpenedSocket>,
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
    desk: Desk,
    tokens: Vec<(TokenRequest, Token)>,
    /// Something was begun that has not been polled yet.
    begun: bool,
}

impl Driver {
    pub(crate) fn new(machine: ClientMachine, mut surroundings: Surroundings) -> Self {
        let (tls, opened) = (surroundings.tls.clone(), surroundings.opened.take());
        let network = Network::new(surroundings.max_message, tls, opened);
        let desk = Desk::new(surroundings.shared.clone(), surroundings.runtime.clone());
        let mut driver = Self {
            machine,
            surroundings,
            network,
            timer: Timer::default(),
            linger_until: None,
            desk,
            tokens: Vec::new(),
            begun: false,
        };
        let now = driver.surroundings.clock.now();
        driver.machine.handle_command(now, Command::Connect);
        driver
    }

    fn take_orders(&mut self, now: Time, cx: &Context<'_>) {
        let machine = &mut self.machine;
        self.desk.take_orders(cx, |errand| match errand {
            Errand::Command(command) => machine.handle_command(now, command),
            // Whether a request has a handler is seen when it comes.
            Errand::Handles(..) => {}
            // Whoever asked may have stopped waiting.
            Errand::Stats(done) => drop(done.send(machine.stats())),
            Errand::Reached(id, done) => drop(done.send(machine.reached(id))),
        });
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
                Output::App(Notice::Event { delivery, to }) => self.desk.event(delivery, &to),
                Output::Io(io) => self.network.run(now, io),
                Output::App(notice) => {
                    if let Some(close) = self.desk.notice(notice) {
                        self.closed(close);
                    }
                }
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

    /// The session is over.
    fn closed(&mut self, close: Close) {
        let now = self.surroundings.clock.now();
        self.linger_until = Some(now + CLOSING);
        self.tokens.clear();
        self.desk.closed(close, self.machine.stats());
    }

    /// Sees to it that this is polled again in time. Returns whether something is due already.
    fn wait(&mut self, now: Time, cx: &mut Context<'_>) -> bool {
        let next = earliest(self.machine.next_timeout(), self.network.next_timeout());
        match next {
            Some(at) if at <= now => true,
            Some(at) => {
                self.timer.wake_by(self.surroundings.clock, now, at, cx);
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
    fn drop(&mut self) {
        if self.linger_until.is_none() {
            self.desk.abandoned(self.machine.stats());
        }
    }
}
