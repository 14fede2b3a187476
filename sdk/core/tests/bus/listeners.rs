//! Who is called, in which order, how often.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tidings_core::bus::BusConfig;
use tidings_core::{EventBus, Name, NameError, Pattern, Priority};

use crate::{Log, emit, event};

fn times(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

#[test]
fn listeners_are_called_in_order_of_registration_whatever_their_patterns() {
    let (bus, log) = (EventBus::default(), Log::default());
    for pattern in ["**.bar", "**", "*.*", "*.bar", "foo.**", "foo.*", "foo.bar", "other"] {
        bus.on(pattern, log.writes(pattern)).unwrap().detach();
    }
    assert_eq!(emit(&bus, "foo.bar"), 7);
    assert_eq!(log.take(), ["**.bar", "**", "*.*", "*.bar", "foo.**", "foo.*", "foo.bar"]);
}

#[test]
fn prepending_and_priorities_go_across_patterns() {
    let (bus, log) = (EventBus::default(), Log::default());
    bus.on("a.*", log.writes("first")).unwrap().detach();
    bus.prepend("a.b", log.writes("prepended")).unwrap().detach();
    bus.prepend("**", log.writes("prepended later")).unwrap().detach();
    bus.listen("*.b").priority(-1).prepend().call(log.writes("low")).unwrap().detach();
    bus.listen("a.**").priority(5).call(log.writes("high")).unwrap().detach();
    bus.listen("a.b").priority(5).call(log.writes("high later")).unwrap().detach();
    bus.on_any(log.writes("any")).detach();
    bus.prepend_any(log.writes("any prepended")).detach();
    assert_eq!(emit(&bus, "a.b"), 8);
    let order = [
        "any prepended",
        "any",
        "high",
        "high later",
        "prepended later",
        "prepended",
        "first",
        "low",
    ];
    assert_eq!(log.take(), order);
    let listed: Vec<_> = bus.listeners("a.b").into_iter().map(|info| info.priority).collect();
    assert_eq!(listed, [0, 0, 5, 5, 0, 0, 0, -1], "lists are in the order of the calls");
}

#[test]
fn emit_returns_how_many_were_called() {
    let (bus, log) = (EventBus::default(), Log::default());
    assert_eq!(emit(&bus, "a"), 0);
    bus.on("a", log.names()).unwrap().detach();
    bus.on("a", log.names()).unwrap().detach();
    bus.on_any(log.names()).detach();
    assert_eq!((emit(&bus, "a"), emit(&bus, "b")), (3, 1));
    assert_eq!(log.take(), ["a", "a", "a", "b"]);
}

#[test]
fn dropping_a_handle_unsubscribes_and_detaching_does_not() {
    let (bus, log) = (EventBus::default(), Log::default());
    let dropped = bus.on("a", log.writes("dropped")).unwrap();
    let off = bus.on("a", log.writes("off")).unwrap();
    let id = bus.on("a", log.writes("detached")).unwrap().detach();
    drop(dropped);
    assert!(off.off());
    assert_eq!(emit(&bus, "a"), 1);
    assert_eq!(log.take(), ["detached"]);
    assert!(bus.off(id) && !bus.off(id));
    assert_eq!(emit(&bus, "a"), 0);
    let any = bus.on_any(log.names());
    assert_eq!(format!("{any:?}"), format!("ListenerHandle({:?})", any.id()));
    assert!(bus.off(any.id()) && !any.off());
    assert_eq!(emit(&bus, "a"), 0);
}

#[test]
fn a_handle_outlives_its_bus() {
    let bus = EventBus::default();
    let weak = bus.downgrade();
    let handle = bus.on("a", |_| ()).unwrap();
    assert!(weak.upgrade().is_some());
    drop(bus);
    assert!(weak.upgrade().is_none());
    assert!(!handle.off());
    assert_eq!(format!("{weak:?}"), "WeakEventBus");
}

#[test]
fn once_and_many_count_the_calls_of_all_names_together() {
    let (bus, log) = (EventBus::default(), Log::default());
    bus.once("a.*", log.writes("once")).unwrap().detach();
    bus.many("a.*", times(3), log.writes("many")).unwrap().detach();
    bus.prepend_once("a.*", log.writes("before once")).unwrap().detach();
    bus.prepend_many("a.*", times(2), log.writes("before many")).unwrap().detach();
    assert_eq!(bus.listeners("a.x").first().and_then(|info| info.times), Some(times(2)));
    assert_eq!(
        [emit(&bus, "a.x"), emit(&bus, "a.y"), emit(&bus, "a.z"), emit(&bus, "a.x")],
        [4, 2, 1, 0]
    );
    let calls = ["before many", "before once", "once", "many", "before many", "many", "many"];
    assert_eq!(log.take(), calls);
    assert_eq!(bus.listener_count(), 0);
}

#[test]
fn a_once_listener_that_emits_the_same_event_is_not_called_again() {
    let (bus, log) = (EventBus::default(), Log::default());
    let (weak, inner) = (bus.downgrade(), log.clone());
    bus.once("a", move |_| {
        inner.add("once");
        let bus = weak.upgrade().unwrap();
        assert_eq!(bus.listener_count(), 0, "it is off before its last call");
        assert_eq!(emit(&bus, "a"), 0);
    })
    .unwrap()
    .detach();
    assert_eq!(emit(&bus, "a"), 1);
    assert_eq!(log.take(), ["once"]);
}

#[test]
fn an_exhausted_listener_is_passed_over_by_emissions_that_began_before() {
    let (bus, log) = (EventBus::default(), Log::default());
    let (weak, has_emitted) = (bus.downgrade(), AtomicBool::new(false));
    bus.on("a", move |_| {
        if !has_emitted.swap(true, Ordering::Relaxed) {
            let called = emit(&weak.upgrade().unwrap(), "a");
            assert_eq!(called, 2, "the inner emission takes the only call");
        }
    })
    .unwrap()
    .detach();
    bus.once("a", log.names()).unwrap().detach();
    assert_eq!(emit(&bus, "a"), 1);
    assert_eq!(log.take(), ["a"]);
}

#[test]
fn the_set_of_listeners_is_a_snapshot() {
    let (bus, log) = (EventBus::default(), Log::default());
    let second = Arc::new(Mutex::new(None));
    let (weak, inner, victim) = (bus.downgrade(), log.clone(), second.clone());
    bus.on("a", move |_| {
        let bus = weak.upgrade().unwrap();
        bus.on("a", inner.writes("added")).unwrap().detach();
        drop(victim.lock().unwrap().take());
    })
    .unwrap()
    .detach();
    *second.lock().unwrap() = Some(bus.on("a", log.writes("removed")).unwrap());
    assert_eq!(emit(&bus, "a"), 2);
    assert_eq!(log.take(), ["removed"], "removed meanwhile: still called; added: not yet");
    assert_eq!(emit(&bus, "a"), 2);
    assert_eq!(log.take(), ["added"]);
}

#[test]
fn removing_by_pattern_takes_that_pattern_and_no_other() {
    let (bus, log) = (EventBus::default(), Log::default());
    for pattern in ["foo.*", "foo.*", "foo.bar", "**"] {
        bus.on(pattern, log.writes(pattern)).unwrap().detach();
    }
    bus.on_any(log.writes("any")).detach();
    assert_eq!(bus.off_pattern(&Pattern::new("foo.*").unwrap()), 2);
    assert_eq!(bus.off_pattern(&Pattern::new("foo.*").unwrap()), 0);
    emit(&bus, "foo.bar");
    assert_eq!(log.take(), ["any", "foo.bar", "**"]);
    assert_eq!(bus.off_all(), 3);
    assert_eq!(emit(&bus, "foo.bar"), 0);
}

#[test]
fn listeners_and_patterns_can_be_listed() {
    let bus = EventBus::default();
    assert!(!bus.has_listeners("a.b"));
    assert_eq!((bus.listener_count(), bus.patterns()), (0, vec![]));
    let first = bus.on("b.*", |_| ()).unwrap();
    bus.on("a.b", |_| ()).unwrap().detach();
    bus.on(Pattern::new("b.*").unwrap(), |_| ()).unwrap().detach();
    bus.on(String::from("a.**"), |_| ()).unwrap().detach();
    assert!(bus.has_listeners("a.b") && bus.has_listeners("b.x") && !bus.has_listeners("x"));
    let patterns = |bus: &EventBus| -> Vec<String> {
        bus.patterns().iter().map(ToString::to_string).collect()
    };
    assert_eq!(patterns(&bus), ["b.*", "a.b", "a.**"], "in order of first registration");
    drop(first);
    assert_eq!(patterns(&bus), ["b.*", "a.b", "a.**"], "another one still listens to b.*");
    assert_eq!(bus.listener_count(), 3);
    let listed: Vec<_> = bus.listeners("a.b").into_iter().map(|info| info.pattern).collect();
    assert_eq!(listed, [Pattern::new("a.b").ok(), Pattern::new("a.**").ok()]);
    bus.on_any(|_| ()).detach();
    assert!(bus.has_listeners("x"));
    assert_eq!(bus.listeners("x")[0].pattern, None);
    assert_eq!(format!("{bus:?}"), "EventBus { listeners: 4 }");
}

#[test]
fn events_are_made_with_ids_and_checked_names() {
    let config = BusConfig { event_id_prefix: "host-7-".into(), ..BusConfig::default() };
    assert!(format!("{config:?}").contains("spawner: false"));
    let bus = EventBus::new(config);
    let (first, second) = (event(&bus, "a"), event(&bus, "a"));
    assert_eq!((&*first.id, &*second.id), ("host-7-0", "host-7-1"));
    assert_eq!((first.priority, first.time), (Priority::Normal, 0));
    let error = bus.event("a.*", tidings_core::Payload::NULL).unwrap_err();
    assert_eq!(error, Name::check("a.*").unwrap_err());
    assert_eq!(bus.on("", |_| ()).unwrap_err(), NameError::Empty);
    assert!(bus.listen("a\n").call_async(|_| async {}).is_err());
}

#[test]
fn statistics_count_what_happened() {
    let (bus, log) = (EventBus::default(), Log::default());
    bus.on("a.*", log.names()).unwrap().detach();
    bus.on("a.b", log.names()).unwrap().detach();
    emit(&bus, "a.b");
    emit(&bus, "x");
    bus.emit(&tidings_core::Event { priority: Priority::Critical, ..event(&bus, "a.x") });
    let stats = bus.stats();
    assert_eq!(stats.emitted, [0, 2, 0, 1]);
    assert_eq!((stats.called, stats.unheard), (3, 1));
    assert_eq!((stats.listeners, stats.patterns, stats.posted), (2, 2, 0));
    assert_eq!((stats.panicked, stats.refused, stats.skipped, stats.undecodable), (0, 0, 0, 0));
}
