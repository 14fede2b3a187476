//! Items between a driver and the application: the inside of every stream.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// What to do when a stream's buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The oldest event goes; the stream says how many went by an
    /// [`EventError::Lagged`](crate::error::EventError::Lagged).
    #[default]
    DropOldest,
    /// Nothing more is read from the connection until there is room, so nothing is lost here: what
    /// is not read waits at the server, as it does for any slow connection. Everything else on
    /// the connection waits too, acknowledgements and heartbeats included: a pause longer than
    /// the server's patience ends in a reconnect, after which what was missed is recovered.
    Pause,
}

/// Items between a driver and the application, bounded.
pub(crate) struct Buffer<T> {
    inner: Mutex<Inner<T>>,
    capacity: usize,
    overflow: Overflow,
    /// How many buffers of the driver wait for the application.
    pauses: Arc<AtomicUsize>,
}

struct Inner<T> {
    items: VecDeque<T>,
    missed: u64,
    waker: Option<Waker>,
    /// Whether this one is counted in `pauses`.
    pausing: bool,
    ended: bool,
}

/// What a buffer gives.
pub(crate) enum Next<T> {
    Item(T),
    /// So many were dropped.
    Missed(u64),
}

impl<T> Buffer<T> {
    pub(crate) fn new(capacity: usize, overflow: Overflow, pauses: Arc<AtomicUsize>) -> Self {
        let inner =
            Inner { items: VecDeque::new(), missed: 0, waker: None, pausing: false, ended: false };
        Self { inner: Mutex::new(inner), capacity: capacity.max(1), overflow, pauses }
    }

    pub(crate) fn push(&self, item: T) {
        let mut inner = self.lock();
        if inner.ended {
            return;
        }
        if inner.items.len() >= self.capacity {
            match self.overflow {
                Overflow::DropOldest => {
                    inner.items.pop_front();
                    inner.missed += 1;
                }
                Overflow::Pause if !inner.pausing => {
                    inner.pausing = true;
                    self.pauses.fetch_add(1, Ordering::AcqRel);
                }
                Overflow::Pause => {}
            }
        }
        inner.items.push_back(item);
        wake(inner);
    }

    /// Nothing comes any more, after `last`, for which there is room.
    pub(crate) fn end(&self, last: Option<T>) {
        let mut inner = self.lock();
        if !inner.ended {
            inner.items.extend(last);
            inner.ended = true;
            wake(inner);
        }
    }

    /// The next item. The second value says that the driver may read again.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> (Poll<Option<Next<T>>>, bool) {
        let mut inner = self.lock();
        let missed = std::mem::take(&mut inner.missed);
        if missed > 0 {
            return (Poll::Ready(Some(Next::Missed(missed))), false);
        }
        let item = match inner.items.pop_front() {
            Some(item) => Poll::Ready(Some(Next::Item(item))),
            None if inner.ended => Poll::Ready(None),
            None => {
                inner.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        };
        let resume = inner.pausing && inner.items.len() <= self.capacity / 2;
        if resume {
            self.resume(&mut inner);
        }
        (item, resume)
    }

    fn resume(&self, inner: &mut Inner<T>) {
        inner.pausing = false;
        self.pauses.fetch_sub(1, Ordering::AcqRel);
    }

    /// The application takes nothing any more.
    pub(crate) fn abandon(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.items = VecDeque::new();
        if inner.pausing {
            self.resume(&mut inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing in here panics while it holds the lock.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake<T>(mut inner: MutexGuard<'_, Inner<T>>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}
