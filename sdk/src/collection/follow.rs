//! Those who follow the list of a view, each at its own pace.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_signals::signal::Signal;
use futures_signals::signal_vec::{SignalVec, VecDiff};

use super::lines::{Entries, Lines};
use super::shared::Entry;

/// So many changes wait for one who follows; with more, the whole list takes their place.
const MAX_WAITING: usize = 4096;

/// What one who follows has yet to be told.
pub(super) struct Queue<T> {
    max: usize,
    waiting: Mutex<Waiting<T>>,
}

struct Waiting<T> {
    diffs: VecDeque<VecDiff<Entry<T>>>,
    /// It has to be given the whole list.
    behind: bool,
    ended: bool,
    waker: Option<Waker>,
}

impl<T> Queue<T> {
    fn new(max: usize, behind: bool) -> Self {
        let waiting = Waiting { diffs: VecDeque::new(), behind, ended: false, waker: None };
        Self { max, waiting: Mutex::new(waiting) }
    }

    /// The list has changed so.
    pub(super) fn push(&self, diff: VecDiff<Entry<T>>) {
        let mut waiting = self.lock();
        if waiting.behind {
            return;
        }
        if waiting.diffs.len() < self.max {
            waiting.diffs.push_back(diff);
        } else {
            waiting.skip();
        }
        waiting.wake();
    }

    /// The list has become another one.
    pub(super) fn fall_behind(&self) {
        let mut waiting = self.lock();
        waiting.skip();
        waiting.wake();
    }

    /// There will be no more changes.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.ended = true;
        waiting.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be told next.
    fn poll(&self, cx: &Context<'_>) -> Poll<Told<T>> {
        let mut waiting = self.lock();
        if let Some(diff) = waiting.diffs.pop_front() {
            return Poll::Ready(Told::Changed(diff));
        }
        if waiting.behind {
            return Poll::Ready(Told::Behind);
        }
        if waiting.ended {
            return Poll::Ready(Told::Ended);
        }
        waiting.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The whole list; what changes after it is told. `None` if it is not there any more.
    fn catch_up(&self, lines: &Weak<Lines<T>>) -> Option<Entries<T>> {
        let lines = lines.upgrade()?;
        let list = lines.lock();
        let mut waiting = self.lock();
        waiting.diffs.clear();
        waiting.behind = false;
        Some(list.entries())
    }
}

impl<T> Waiting<T> {
    fn skip(&mut self) {
        self.diffs.clear();
        self.behind = true;
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

enum Told<T> {
    Changed(VecDiff<Entry<T>>),
    Behind,
    Ended,
}

/// Each change in a list.
pub(super) struct Diffs<T> {
    lines: Weak<Lines<T>>,
    queue: Arc<Queue<T>>,
}

impl<T> Diffs<T> {
    /// The whole list first.
    pub(super) fn new(lines: &Arc<Lines<T>>) -> Self {
        Self::follow(lines, true).1
    }

    /// The list, and the changes after it.
    pub(super) fn after_entries(lines: &Arc<Lines<T>>) -> (Entries<T>, Self) {
        Self::follow(lines, false)
    }

    fn follow(lines: &Arc<Lines<T>>, behind: bool) -> (Entries<T>, Self) {
        let queue = Arc::new(Queue::new(MAX_WAITING, behind));
        let mut list = lines.lock();
        list.follow(&queue);
        (list.entries(), Self { lines: Arc::downgrade(lines), queue })
    }
}

impl<T> SignalVec for Diffs<T> {
    type Item = Entry<T>;

    fn poll_vec_change(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<VecDiff<Self::Item>>> {
        self.queue.poll(cx).map(|told| match told {
            Told::Changed(diff) => Some(diff),
            Told::Behind => {
                let entries = self.queue.catch_up(&self.lines)?;
                Some(VecDiff::Replace { values: entries.to_vec() })
            }
            Told::Ended => None,
        })
    }
}

/// The list as a whole, whenever it has changed.
pub(super) struct Snapshots<T> {
    lines: Weak<Lines<T>>,
    queue: Arc<Queue<T>>,
}

impl<T> Snapshots<T> {
    pub(super) fn new(lines: &Arc<Lines<T>>) -> Self {
        // No change waits: each makes it look at the whole.
        let queue = Arc::new(Queue::new(0, true));
        lines.lock().follow(&queue);
        Self { lines: Arc::downgrade(lines), queue }
    }
}

impl<T> Signal for Snapshots<T> {
    type Item = Entries<T>;

    fn poll_change(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.queue.poll(cx).map(|told| match told {
            Told::Changed(_) | Told::Behind => self.queue.catch_up(&self.lines),
            Told::Ended => None,
        })
    }
}
