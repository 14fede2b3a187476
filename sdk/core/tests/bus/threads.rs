//! Many threads at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tidings_core::EventBus;

use crate::event;

const THREADS: u64 = 4;
const EVENTS: u64 = 5_000;

/// Counts calls.
fn counter() -> (Arc<AtomicU64>, impl Fn(&tidings_core::Event) + Send + Sync + Clone) {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    (count, move |_: &tidings_core::Event| {
        counted.fetch_add(1, Ordering::Relaxed);
    })
}

#[test]
fn nothing_is_lost_while_others_come_and_go() {
    let bus = EventBus::default();
    let (stays, listener) = counter();
    bus.on("rooms.*.message", listener).unwrap().detach();
    let (limited, listener) = counter();
    bus.many("**", NonZeroU32::new(777).unwrap(), listener).unwrap().detach();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut rounds = 0_u64;
            while !done.load(Ordering::Relaxed) || rounds == 0 {
                let named = bus.on(format!("rooms.{}.*", rounds % 50), |_| ()).unwrap();
                let any = bus.on_any(|_| ());
                drop((any, named));
                rounds += 1;
            }
        });
        let emitters: Vec<_> = (0..THREADS)
            .map(|thread| {
                let bus = &bus;
                scope.spawn(move || {
                    for i in 0..EVENTS {
                        bus.emit(&event(bus, &format!("rooms.{}.message", (thread + i) % 50)));
                    }
                })
            })
            .collect();
        for emitter in emitters {
            emitter.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        churn.join().unwrap();
    });
    assert_eq!(stays.load(Ordering::Relaxed), THREADS * EVENTS);
    assert_eq!(limited.load(Ordering::Relaxed), 777, "exactly, however many race");
    let stats = bus.stats();
    assert_eq!(stats.emitted.iter().sum::<u64>(), THREADS * EVENTS);
    assert_eq!((stats.listeners, stats.patterns), (1, 1));
}

/// Two listeners wait for each other: that ends only if both run at once, in spite of being on
/// the same bus, and while listeners are added.
#[test]
fn no_lock_is_held_while_a_listener_runs() {
    let bus = EventBus::default();
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let meeting = barrier.clone();
    bus.on("meet", move |_| {
        meeting.wait();
    })
    .unwrap()
    .detach();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| bus.emit(&event(&bus, "meet")));
        }
        bus.on("other", |_| ()).unwrap().detach();
        assert!(bus.stats().listeners >= 2);
        barrier.wait();
    });
}
