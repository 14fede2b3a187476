//! Events as a stream.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::event::Event;
use super::listeners::ListenerId;
use super::orders::{Handle, Order};
use crate::Overflow;

/// Events between the driver and the application.
pub(super) struct Buffer {
    inner: Mutex<Inner>,
    capacity: usize,
    overflow: Overflow,
    /// How many buffers of the manager wait for the application.
    pauses: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    missed: u64,
    waker: Option<Waker>,
    /// Whether this one is counted in `pauses`.
    pausing: bool,
    ended: bool,
}

impl Buffer {
    pub(super) fn new(capacity: usize, overflow: Overflow, pauses: Arc<AtomicUsize>) -> Self {
        Self { inner: Mutex::default(), capacity: capacity.max(1), overflow, pauses }
    }

    pub(super) fn push(&self, event: Event) {
        let mut inner = self.lock();
        if inner.ended {
            return;
        }
        if inner.events.len() >= self.capacity {
            match self.overflow {
                Overflow::DropOldest => {
                    inner.events.pop_front();
                    inner.missed += 1;
                }
                Overflow::Pause if !inner.pausing => {
                    inner.pausing = true;
                    self.pauses.fetch_add(1, Ordering::AcqRel);
                }
                Overflow::Pause => {}
            }
        }
        inner.events.push_back(event);
        wake(inner);
    }

    /// Nothing comes any more.
    pub(super) fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        wake(inner);
    }

    /// The next item. The second value says that the driver may read again.
    fn poll(&self, cx: &Context<'_>) -> (Poll<Option<Result<Event, Lagged>>>, bool) {
        let mut inner = self.lock();
        let missed = std::mem::take(&mut inner.missed);
        if missed > 0 {
            return (Poll::Ready(Some(Err(Lagged { missed }))), false);
        }
        let item = match inner.events.pop_front() {
            Some(event) => Poll::Ready(Some(Ok(event))),
            None if inner.ended => Poll::Ready(None),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        let resume = inner.pausing && inner.events.len() <= self.capacity / 2;
        if resume {
            self.resume(&mut inner);
        }
        (item, resume)
    }

    fn resume(&self, inner: &mut Inner) {
        inner.pausing = false;
        self.pauses.fetch_sub(1, Ordering::AcqRel);
    }

    /// The application takes nothing any more.
    fn abandon(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.events = VecDeque::new();
        if inner.pausing {
            self.resume(&mut inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The application took its events too slowly: this many were dropped here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{missed} events were dropped because they were taken too slowly")]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

impl Lagged {
    /// What to do about it: for events that are gone there is nothing to repeat.
    pub const fn advice(&self) -> crate::Advice {
        crate::Advice::GiveUp
    }
}

/// Events of a socket: a stream of [`Event`], which ends when the manager is closed.
///
/// It begins when it is made and ends when it is dropped. What is not taken waits, up to the number
/// that [`ManagerBuilder::stream_buffer`](super::ManagerBuilder::stream_buffer) says.
#[must_use = "streams do nothing unless polled; no events are kept when this is dropped"]
pub struct Events {
    pub(super) buffer: Arc<Buffer>,
    pub(super) socket: usize,
    pub(super) id: ListenerId,
    pub(super) handle: Arc<Handle>,
}

impl Stream for Events {
    type Item = Result<Event, Lagged>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (item, resume) = self.buffer.poll(cx);
        if resume {
            self.handle.shared.wake();
        }
        item
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.buffer.abandon();
        self.handle.shared.give(Order::Unlisten { socket: self.socket, id: self.id });
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("id", &self.id).finish_non_exhaustive()
    }
}
