//! One bus listening to another.

use std::num::NonZeroU32;

use tidings_core::{Event, EventBus, Payload};

use crate::{Log, emit};

fn unchanged(event: &Event) -> Option<Event> {
    Some(event.clone())
}

#[test]
fn events_are_forwarded_mapped_and_filtered() {
    let (source, target, log) = (EventBus::default(), EventBus::default(), Log::default());
    target.on_any(log.names()).detach();
    let handle = target
        .listen_to(&source, "orders.**", |event| {
            let rest = event.name.strip_prefix("orders.")?;
            (rest != "secret").then(|| Event { name: format!("eu.{rest}").into(), ..event.clone() })
        })
        .unwrap();
    assert_eq!(emit(&source, "orders.created"), 1, "forwarding counts as one listener");
    assert_eq!(emit(&source, "orders.secret"), 0);
    assert_eq!(emit(&source, "orders"), 0, "the map left it out");
    assert_eq!(emit(&source, "users.created"), 0);
    assert_eq!(log.take(), ["eu.created"]);
    drop(handle);
    assert_eq!(emit(&source, "orders.created"), 0);
    assert!(target.listen_to(&source, "", unchanged).is_err());
}

#[test]
fn buses_that_listen_to_each_other_do_not_loop() {
    let log = Log::default();
    let buses = [EventBus::default(), EventBus::default(), EventBus::default()];
    for (i, bus) in buses.iter().enumerate() {
        bus.on("a", log.writes(&i.to_string())).unwrap().detach();
    }
    for bus in &buses {
        for other in &buses {
            // Including itself.
            bus.listen_to(other, "**", unchanged).unwrap().detach();
        }
    }
    emit(&buses[0], "a");
    // Two ways lead to each of the others: straight and by the third.
    assert_eq!(log.take(), ["0", "1", "2", "2", "1"]);
}

#[test]
fn a_listener_may_still_emit_on_the_bus_it_was_forwarded_from() {
    let (a, b, log) = (EventBus::default(), EventBus::default(), Log::default());
    b.listen_to(&a, "question", unchanged).unwrap().detach();
    let back = a.downgrade();
    b.on("question", move |_| {
        emit(&back.upgrade().unwrap(), "answer");
    })
    .unwrap()
    .detach();
    a.on("answer", log.names()).unwrap().detach();
    emit(&a, "question");
    assert_eq!(log.take(), ["answer"]);
}

#[test]
fn forwarding_does_not_keep_the_target_alive() {
    let (source, target) = (EventBus::default(), EventBus::default());
    target.listen_to(&source, "a", unchanged).unwrap().detach();
    assert_eq!(emit(&source, "a"), 1);
    let weak = target.downgrade();
    drop(target);
    assert!(weak.upgrade().is_none());
    assert_eq!(emit(&source, "a"), 0);
}

#[test]
fn payload_priority_and_headers_survive() {
    let (source, target, log) = (EventBus::default(), EventBus::default(), Log::default());
    target.listen_to(&source, "*", unchanged).unwrap().detach();
    let seen = log.clone();
    let sent = Event {
        priority: tidings_core::Priority::High,
        headers: tidings_core::Headers::new([("trace".into(), "1".into())]),
        ..source.event("a", Payload::Json("[1]".into())).unwrap()
    };
    let expected = sent.clone();
    let times = NonZeroU32::MIN;
    target
        .many("a", times, move |event| {
            assert_eq!(*event, expected);
            seen.add("same");
        })
        .unwrap()
        .detach();
    source.emit(&sent);
    assert_eq!(log.take(), ["same"]);
    assert_eq!(target.stats().emitted, [0, 0, 1, 0]);
}
