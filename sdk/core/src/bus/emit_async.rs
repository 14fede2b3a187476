//! Running async listeners without a runtime.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

use super::deliver::Call;
use super::listener::Entry;
use super::{Core, lock};

/// A future that runs to its end without a result: what an async listener becomes for one event.
pub type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The future of one async listener. It ends when the listener ends or panics, which is counted
/// and told like the panic of any other listener.
pub(super) struct Guarded {
    future: BoxFuture,
    bus: Weak<Core>,
    entry: Arc<Entry>,
    event: Arc<str>,
}

impl Guarded {
    pub(super) fn new(future: BoxFuture, call: &Call<'_>) -> Self {
        Self {
            future,
            bus: Arc::downgrade(call.bus),
            entry: call.entry.clone(),
            event: call.event().name.clone(),
        }
    }
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let future = this.future.as_mut();
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                if let Some(bus) = this.bus.upgrade() {
                    bus.panicked(&this.entry.info, &this.event, &*panic);
                }
                Poll::Ready(())
            }
        }
    }
}

/// An event being emitted to async listeners; resolves to the number of listeners called, sync
/// and async, when all of them are done.
///
/// The sync ones have been called already when this is returned. The async ones run side by side
/// while it is awaited, or one after the other with [`in_order`](Self::in_order). Dropping it
/// cancels those that are not done.
#[must_use = "async listeners only run while this is awaited"]
pub struct EmitAsync {
    called: usize,
    in_order: bool,
    /// In the order of the listeners; `None` once done.
    futures: Vec<Option<BoxFuture>>,
    left: usize,
    ready: Arc<Ready>,
}

/// Which futures have to be polled.
#[derive(Default)]
struct Ready(Mutex<ReadyState>);

#[derive(Default)]
struct ReadyState {
    indices: Vec<usize>,
    waker: Option<Waker>,
}

/// Wakes the emission for one of its futures, so that the others need not be polled.
struct IndexWaker {
    index: usize,
    ready: Arc<Ready>,
}

impl Wake for IndexWaker {
    fn wake(self: Arc<Self>) {
        let waker = {
            let mut state = lock(&self.ready.0);
            state.indices.push(self.index);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl EmitAsync {
    pub(super) fn new(called: usize, futures: Vec<BoxFuture>) -> Self {
        let left = futures.len();
        let ready = Arc::new(Ready::default());
        lock(&ready.0).indices = (0..left).collect();
        let futures = futures.into_iter().map(Some).collect();
        Self { called, in_order: false, futures, left, ready }
    }

    /// How many listeners were called, known before the async ones are done.
    pub const fn called(&self) -> usize {
        self.called
    }

    /// Lets each async listener begin only when the one before it is done.
    pub const fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    fn poll_in_order(&mut self, cx: &mut Context<'_>) {
        for place in &mut self.futures {
            if let Some(future) = place {
                if future.as_mut().poll(cx).is_pending() {
                    return;
                }
                *place = None;
                self.left -= 1;
            }
        }
    }

    fn poll_side_by_side(&mut self, cx: &Context<'_>) {
        let indices = {
            let mut state = lock(&self.ready.0);
            state.waker = Some(cx.waker().clone());
            std::mem::take(&mut state.indices)
        };
        for index in indices {
            // A future may have been woken twice, or after it was done.
            let Some(place) = self.futures.get_mut(index) else { continue };
            let Some(future) = place else { continue };
            let waker = Waker::from(Arc::new(IndexWaker { index, ready: self.ready.clone() }));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *place = None;
                self.left -= 1;
            }
        }
    }
}

impl Future for EmitAsync {
    type Output = usize;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        if self.in_order {
            self.poll_in_order(cx);
        } else {
            self.poll_side_by_side(cx);
        }
        if self.left == 0 { Poll::Ready(self.called) } else { Poll::Pending }
    }
}

impl fmt::Debug for EmitAsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitAsync").field("called", &self.called).finish_non_exhaustive()
    }
}
