//! Async listeners, waiting, posting. The only runtime is a waker that counts.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tidings_core::bus::{BoxFuture, BusConfig, Notice, PostError, WaitError};
use tidings_core::{Event, EventBus, Priority, Time};

use crate::{Log, emit, event, notices};

/// Counts how often it was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A gate that futures wait at until it is opened, and how often they were polled there.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(bool, Vec<Waker>, usize)>>);

impl Gate {
    fn open(&self) {
        let wakers = {
            let mut gate = self.0.lock().unwrap();
            gate.0 = true;
            std::mem::take(&mut gate.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn polls(&self) -> usize {
        self.0.lock().unwrap().2
    }

    fn passed(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.clone();
        poll_fn(move |cx| {
            let mut gate = gate.0.lock().unwrap();
            gate.2 += 1;
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// A listener that waits at a gate and then writes a line.
fn waits(
    gate: &Gate,
    log: &Log,
    line: &str,
) -> impl Fn(Event) -> BoxFuture + Send + Sync + 'static + use<> {
    let (gate, log, line) = (gate.clone(), log.clone(), line.to_owned());
    move |event| {
        let (gate, log, line) = (gate.clone(), log.clone(), format!("{line} {}", event.name));
        Box::pin(async move {
            log.add(format!("{line} begins"));
            gate.passed().await;
            log.add(format!("{line} ends"));
        })
    }
}

fn poll<F: Future + Unpin>(future: &mut F, wakes: &Arc<Wakes>) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(&wakes.clone().into()))
}

#[test]
fn async_listeners_run_side_by_side_while_awaited() {
    let (bus, log, wakes) = (EventBus::default(), Log::default(), Arc::new(Wakes::default()));
    let gates = [Gate::default(), Gate::default()];
    bus.listen("a").call_async(waits(&gates[0], &log, "1")).unwrap().detach();
    bus.listen_any().call_async(waits(&gates[1], &log, "2")).unwrap().detach();
    bus.on("a", log.writes("sync")).unwrap().detach();
    let mut emitting = bus.emit_async(&event(&bus, "a"));
    assert_eq!(log.take(), ["sync"], "sync listeners have been called, async ones not begun");
    assert_eq!(emitting.called(), 3);
    assert!(format!("{emitting:?}").starts_with("EmitAsync { called: 3"));
    assert_eq!(poll(&mut emitting, &wakes), Poll::Pending);
    assert_eq!(log.take(), ["2 a begins", "1 a begins"]);
    gates[0].open();
    assert_eq!(wakes.count(), 1);
    assert_eq!(poll(&mut emitting, &wakes), Poll::Pending);
    assert_eq!(log.take(), ["1 a ends"]);
    assert_eq!(gates[1].polls(), 1, "who was not woken is not polled");
    gates[1].open();
    assert_eq!(poll(&mut emitting, &wakes), Poll::Ready(3));
    assert_eq!(log.take(), ["2 a ends"]);
}

#[test]
fn they_run_one_after_the_other_if_asked() {
    let (bus, log, wakes) = (EventBus::default(), Log::default(), Arc::new(Wakes::default()));
    let gate = Gate::default();
    for name in ["1", "2"] {
        bus.listen("a").call_async(waits(&gate, &log, name)).unwrap().detach();
    }
    let mut emitting = bus.emit_async(&event(&bus, "a")).in_order();
    assert_eq!(poll(&mut emitting, &wakes), Poll::Pending);
    assert_eq!(log.take(), ["1 a begins"]);
    gate.open();
    assert_eq!(poll(&mut emitting, &wakes), Poll::Ready(2));
    assert_eq!(log.take(), ["1 a ends", "2 a begins", "2 a ends"]);
}

#[test]
fn without_async_listeners_there_is_nothing_to_wait_for() {
    let (bus, wakes) = (EventBus::default(), Arc::new(Wakes::default()));
    assert_eq!(poll(&mut bus.emit_async(&event(&bus, "a")), &wakes), Poll::Ready(0));
}

#[test]
fn a_panic_in_a_future_is_counted_and_does_not_stop_the_others() {
    let (bus, log, wakes) = (EventBus::default(), Log::default(), Arc::new(Wakes::default()));
    let (gate, told) = (Gate::default(), notices(&bus));
    gate.open();
    bus.listen("a").call_async(|_| async { panic!("in the future") }).unwrap().detach();
    bus.listen("a").call_async(waits(&gate, &log, "other")).unwrap().detach();
    told.lock().unwrap().clear();
    assert_eq!(poll(&mut bus.emit_async(&event(&bus, "a")), &wakes), Poll::Ready(2));
    assert_eq!(log.take(), ["other a begins", "other a ends"]);
    assert_eq!(bus.stats().panicked, 1);
    assert!(
        matches!(&told.lock().unwrap()[..], [Notice::Panicked { message, .. }] if message == "in the future")
    );
    let orphan = bus.emit_async(&event(&bus, "a"));
    drop(bus);
    assert_eq!(poll(&mut { orphan }, &wakes), Poll::Ready(2), "the bus may be gone by then");
}

#[test]
fn a_plain_emit_skips_async_listeners_and_says_so() {
    let (bus, log) = (EventBus::default(), Log::default());
    let told = notices(&bus);
    let once = bus.listen("a").times(std::num::NonZeroU32::MIN);
    let id = once.call_async(waits(&Gate::default(), &log, "async")).unwrap().detach();
    bus.on("a", log.writes("sync")).unwrap().detach();
    told.lock().unwrap().clear();
    assert_eq!(emit(&bus, "a"), 1);
    assert_eq!(log.take(), ["sync"]);
    assert_eq!(bus.stats().skipped, 1);
    match &told.lock().unwrap()[..] {
        [Notice::Skipped { listener, event }] => assert_eq!((listener.id, &**event), (id, "a")),
        other => panic!("{other:?}"),
    }
    assert_eq!(bus.emit_async(&event(&bus, "a")).called(), 2, "its one call was not used up");
    assert_eq!(bus.emit_async(&event(&bus, "a")).called(), 1);
}

#[test]
fn a_spawner_runs_async_listeners_of_a_plain_emit() {
    let spawned: Arc<Mutex<Vec<BoxFuture>>> = Arc::default();
    let spawner = spawned.clone();
    let bus = EventBus::new(BusConfig {
        spawner: Some(Arc::new(move |future| spawner.lock().unwrap().push(future))),
        ..BusConfig::default()
    });
    let (log, gate, wakes) = (Log::default(), Gate::default(), Arc::new(Wakes::default()));
    gate.open();
    bus.listen("a").call_async(waits(&gate, &log, "spawned")).unwrap().detach();
    assert_eq!(emit(&bus, "a"), 1);
    assert!(log.take().is_empty());
    let mut futures = std::mem::take(&mut *spawned.lock().unwrap());
    assert_eq!(futures.len(), 1);
    assert_eq!(poll(&mut futures[0], &wakes), Poll::Ready(()));
    assert_eq!(log.take(), ["spawned a begins", "spawned a ends"]);
}

#[test]
fn forwarded_events_are_awaited_too() {
    let (source, target, log) = (EventBus::default(), EventBus::default(), Log::default());
    let (gate, wakes) = (Gate::default(), Arc::new(Wakes::default()));
    target.listen("a").call_async(waits(&gate, &log, "there")).unwrap().detach();
    target.listen_to(&source, "a", |event| Some(event.clone())).unwrap().detach();
    let mut emitting = source.emit_async(&event(&source, "a"));
    assert_eq!(poll(&mut emitting, &wakes), Poll::Pending);
    gate.open();
    assert_eq!(poll(&mut emitting, &wakes), Poll::Ready(1));
    assert_eq!(log.take(), ["there a begins", "there a ends"]);
}

const fn at(millis: u64) -> Time {
    Time::from_start(Duration::from_millis(millis))
}

#[test]
fn waiting_ends_with_the_first_event_that_passes_the_filter() {
    let (bus, wakes) = (EventBus::default(), Arc::new(Wakes::default()));
    let mut waiting = bus.wait_for("a.*", None, |event| event.name.ends_with("yes")).unwrap();
    assert!(format!("{waiting:?}").starts_with("WaitFor"));
    assert_eq!(poll(&mut waiting, &wakes), Poll::Pending);
    assert_eq!((emit(&bus, "a.no"), wakes.count()), (0, 0), "a filtered event is not a call");
    let yes = event(&bus, "a.yes");
    assert_eq!((bus.emit(&yes), bus.emit(&yes), wakes.count()), (1, 0, 1));
    assert_eq!(poll(&mut waiting, &wakes), Poll::Ready(Ok(yes)));
    assert!(bus.wait_for("", None, |_| true).is_err());
}

#[test]
fn deadlines_pass_when_the_driver_says_so() {
    let (bus, wakes) = (EventBus::default(), Arc::new(Wakes::default()));
    let wait = |time| bus.wait_for("a", time, |_| true).unwrap();
    let (mut early, mut late, mut never) = (wait(Some(at(10))), wait(Some(at(20))), wait(None));
    let dropped = wait(Some(at(5)));
    assert_eq!(bus.next_timeout(), Some(at(5)));
    drop(dropped);
    assert_eq!(bus.next_timeout(), Some(at(10)));
    bus.advance(at(9));
    assert_eq!(poll(&mut early, &wakes), Poll::Pending);
    bus.advance(at(10));
    assert_eq!(wakes.count(), 1);
    assert_eq!(poll(&mut early, &wakes), Poll::Ready(Err(WaitError::TimedOut)));
    assert_eq!((bus.next_timeout(), bus.listener_count()), (Some(at(20)), 2));
    assert_eq!(emit(&bus, "a"), 2);
    bus.advance(at(1000));
    assert_eq!(bus.next_timeout(), None);
    assert!(matches!(poll(&mut late, &wakes), Poll::Ready(Ok(_))), "it had come in time");
    assert!(matches!(poll(&mut never, &wakes), Poll::Ready(Ok(_))));
}

#[test]
fn waiting_ends_when_the_event_cannot_come_any_more() {
    let (bus, wakes) = (EventBus::default(), Arc::new(Wakes::default()));
    let mut cleared = bus.wait_for("a", Some(at(5)), |_| true).unwrap();
    assert_eq!(poll(&mut cleared, &wakes), Poll::Pending);
    bus.off_all();
    assert_eq!(wakes.count(), 1);
    assert_eq!(poll(&mut cleared, &wakes), Poll::Ready(Err(WaitError::Cancelled)));
    let mut orphan = bus.wait_for("a", None, |_| true).unwrap();
    drop(bus);
    assert_eq!(poll(&mut orphan, &wakes), Poll::Ready(Err(WaitError::Cancelled)));
}

#[test]
fn dropping_the_future_stops_waiting() {
    let bus = EventBus::default();
    drop(bus.wait_for("a", None, |_| true).unwrap());
    assert_eq!((bus.listener_count(), emit(&bus, "a")), (0, 0));
}

#[test]
fn posted_events_are_delivered_by_priority_and_then_age() {
    let bus = EventBus::new(BusConfig { max_posted: 5, ..BusConfig::default() });
    let (log, wakes) = (Log::default(), Arc::new(Wakes::default()));
    bus.on_any(log.names()).detach();
    let waker = wakes.clone().into();
    let context = Context::from_waker(&waker);
    assert_eq!(bus.poll_posted(&context), Poll::Pending);
    let post = |name: &str, priority| bus.post(Event { priority, ..event(&bus, name) });
    post("low", Priority::Low).unwrap();
    post("normal.1", Priority::Normal).unwrap();
    post("critical", Priority::Critical).unwrap();
    post("normal.2", Priority::Normal).unwrap();
    post("high", Priority::High).unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!(bus.poll_posted(&context), Poll::Ready(()));
    let PostError { event, limit } = post("one too many", Priority::Critical).unwrap_err();
    assert_eq!((&*event.name, limit), ("one too many", 5));
    assert!(log.take().is_empty());
    assert_eq!(bus.stats().posted, 5);
    assert_eq!(bus.deliver_posted(2), 2);
    assert_eq!(log.take(), ["critical", "high"]);
    assert_eq!(bus.deliver_posted(usize::MAX), 3);
    assert_eq!(log.take(), ["normal.1", "normal.2", "low"]);
    assert_eq!(bus.deliver_posted(1), 0);
}

#[test]
fn an_event_posted_by_a_listener_takes_its_place() {
    let (bus, log) = (EventBus::default(), Log::default());
    bus.on_any(log.names()).detach();
    let weak = bus.downgrade();
    bus.once("first", move |_| {
        let bus = weak.upgrade().unwrap();
        bus.post(Event { priority: Priority::High, ..event(&bus, "urgent") }).unwrap();
    })
    .unwrap()
    .detach();
    bus.post(event(&bus, "first")).unwrap();
    bus.post(event(&bus, "second")).unwrap();
    assert_eq!(bus.deliver_posted(10), 3);
    assert_eq!(log.take(), ["first", "urgent", "second"]);
}
