//! Signals that miss no change.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_signals::signal::{Mutable, MutableSignalCloned, Signal};

/// What a [`Mutable`] holds, now and whenever that changes.
///
/// The signal of futures-signals 0.3 looks for a change first and leaves its waker then. A change by
/// another thread between the two wakes nobody, and is seen only with the next one: if it was the
/// last, whoever waits for it waits for ever. Here it is looked for again once the waker is there.
#[derive(Debug)]
#[must_use = "signals do nothing unless polled"]
pub(crate) struct Watched<A>(MutableSignalCloned<A>);

/// Watches a value.
pub(crate) fn watch<A: Clone>(value: &Mutable<A>) -> Watched<A> {
    Watched(value.signal_cloned())
}

impl<A: Clone> Signal for Watched<A> {
    type Item = A;

    fn poll_change(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<A>> {
        match Pin::new(&mut self.0).poll_change(cx) {
            Poll::Pending => Pin::new(&mut self.0).poll_change(cx),
            ready => ready,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    const CHANGES: u32 = 100_000;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Waits until another thread has come so far.
    fn meet(step: &AtomicU32, at: u32) {
        for turn in 1_u32.. {
            if step.load(Ordering::SeqCst) >= at {
                return;
            }
            // With one processor the other one has to have its turn.
            if turn.is_multiple_of(4096) {
                std::thread::yield_now();
            }
        }
    }

    /// Polls a value that another thread changes at the same time; returns how many of the changes
    /// were neither seen nor made known.
    fn missed<S: Signal<Item = u32> + Unpin>(signal: impl Fn(&Mutable<u32>) -> S) -> u32 {
        let value = Mutable::new(0);
        let (ready, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let changing = std::thread::spawn({
            let (value, ready, done) = (value.clone(), ready.clone(), done.clone());
            move || {
                for change in 1..=CHANGES {
                    meet(&ready, change);
                    value.set(change);
                    done.store(change, Ordering::SeqCst);
                }
            }
        });
        let mut signal = signal(&value);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let mut poll = |signal: &mut S| Pin::new(signal).poll_change(&mut cx);
        assert_eq!(poll(&mut signal), Poll::Ready(Some(0)));
        let mut missed = 0;
        for change in 1..=CHANGES {
            woken.0.store(false, Ordering::SeqCst);
            ready.store(change, Ordering::SeqCst);
            // Sooner or later the two meet.
            (0..change % 64).for_each(|_| std::hint::spin_loop());
            let seen = poll(&mut signal);
            meet(&done, change);
            if seen.is_pending() && !woken.0.load(Ordering::SeqCst) {
                missed += 1;
            }
            // As after any change that was seen, no waker is there when the next one comes.
            assert!(seen.is_ready() || poll(&mut signal).is_ready());
        }
        changing.join().expect("it changes the value");
        missed
    }

    #[test]
    fn no_change_is_missed() {
        assert_eq!(missed(watch), 0);
    }
}
