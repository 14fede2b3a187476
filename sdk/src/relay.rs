//! Clients without a connection of their own: another one's carries them.
//!
//! All tabs of a browser can share one connection that way. A client that is built with a [`Relay`] has
//! the same handles, subscriptions and collections; instead of a session of its own it has somebody who
//! does what it wants ([`Command`]) and tells it what comes of that ([`Notice`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tidings_core::client::Stats;
pub use tidings_core::client::{
    Asked, Command, Notice, PublishError, Recipients, RequestError, SwitchError, Ticket,
};
pub use tidings_core::message::{Publish, SubId, Subscribe};

use crate::desk::{Desk, Errand};
use crate::runtime::MaybeSend;

/// How many notices are taken before other tasks get their turn.
const TURN: usize = 64;

/// Carries a client by a connection that is kept elsewhere.
///
/// What it is to keep of what a session promises: events of a subscription come once and in the order
/// of their lanes, a publish has one effect, everything that has a ticket gets one notice, and after
/// [`Command::Close`] the last notice is a status that says closed.
pub trait Relay: MaybeSend + 'static {
    /// Does what the application wants.
    fn command(&mut self, command: Command);

    /// From now on the client answers requests of this name, or no more.
    fn handles(&mut self, name: &str, whether: bool);

    /// What the application should learn next. Never ends.
    fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Notice>;
}

/// The task of a client that is carried by another one.
pub(crate) struct Relayed<R> {
    relay: R,
    desk: Desk,
    /// How many streams wait for the application to take events.
    pauses: Arc<AtomicUsize>,
    over: bool,
}

impl<R: Relay> Relayed<R> {
    pub(crate) fn new(mut relay: R, desk: Desk, pauses: Arc<AtomicUsize>) -> Self {
        relay.command(Command::Connect);
        Self { relay, desk, pauses, over: false }
    }

    fn take_orders(&mut self, cx: &Context<'_>) {
        let relay = &mut self.relay;
        self.desk.take_orders(cx, |errand| match errand {
            Errand::Command(command) => relay.command(command),
            Errand::Handles(name, whether) => relay.handles(&name, whether),
            // Who carries it counts. Whoever asked may have stopped waiting.
            Errand::Stats(done) => drop(done.send(Stats::default())),
            Errand::Reached(_, done) => drop(done.send(None)),
        });
    }
}

// Nothing in it is pinned.
impl<R> Unpin for Relayed<R> {}

impl<R: Relay> Future for Relayed<R> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.take_orders(cx);
        for _ in 0..TURN {
            if this.pauses.load(Ordering::Acquire) > 0 {
                // Taking something wakes this.
                return Poll::Pending;
            }
            let Poll::Ready(notice) = this.relay.poll_notice(cx) else { return Poll::Pending };
            if let Some(close) = this.desk.notice(notice) {
                this.over = true;
                this.desk.closed(close, Stats::default());
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<R> Drop for Relayed<R> {
    fn drop(&mut self) {
        if !self.over {
            self.desk.abandoned(Stats::default());
        }
    }
}
