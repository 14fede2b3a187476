//! What goes wrong and is told.

use std::sync::Arc;

use tidings_core::bus::{BusConfig, Notice};
use tidings_core::{Event, EventBus, NameError, Pattern};

use crate::{Log, emit, event, notices};

#[test]
fn a_panicking_listener_does_not_stop_the_others() {
    let (bus, log) = (EventBus::default(), Log::default());
    let told = notices(&bus);
    let id = bus.on("a", |_| panic!("number {}", 7)).unwrap().detach();
    bus.on("a", |_| panic!("plain")).unwrap().detach();
    bus.on("a", |_| std::panic::panic_any(7)).unwrap().detach();
    bus.on("a", log.names()).unwrap().detach();
    told.lock().unwrap().clear();
    assert_eq!(emit(&bus, "a"), 4);
    assert_eq!(log.take(), ["a"]);
    assert_eq!((bus.stats().panicked, bus.stats().called), (3, 4));
    let messages: Vec<_> = told
        .lock()
        .unwrap()
        .iter()
        .map(|notice| match notice {
            Notice::Panicked { listener, event, message } => {
                assert_eq!((listener.id == id, &**event), (message == "number 7", "a"));
                message.clone()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(messages, ["number 7", "plain", "(no text)"]);
    assert!(bus.off(id), "the bus goes on working");
    assert_eq!(emit(&bus, "a"), 3);
}

#[test]
fn a_panic_while_told_a_notice_is_counted_and_goes_no_further() {
    let bus = EventBus::default();
    bus.on_notice(|_| panic!("on purpose")).detach();
    let told = notices(&bus);
    let handle = bus.on("a", |_| ()).unwrap();
    assert_eq!(bus.stats().panicked, 1);
    assert_eq!(told.lock().unwrap().len(), 1);
    drop(handle);
    assert_eq!(bus.stats().panicked, 2);
}

#[test]
fn adding_and_removing_listeners_is_told() {
    let (bus, log) = (EventBus::default(), Log::default());
    let (weak, inner) = (bus.downgrade(), log.clone());
    let watching = bus.on_notice(move |notice| {
        let count = weak.upgrade().unwrap().listener_count();
        inner.add(match notice {
            Notice::NewListener(info) => format!("new {:?}, {count} there", info.pattern),
            Notice::RemoveListener(info) => format!("gone {:?}, {count} left", info.pattern),
            other => format!("{other:?}"),
        });
    });
    let handle = bus.on("a.*", |_| ()).unwrap();
    bus.on_any(|_| ()).detach();
    drop(handle);
    bus.once("b", |_| ()).unwrap().detach();
    emit(&bus, "b");
    bus.off_all();
    let a = format!("{:?}", Some(Pattern::new("a.*").unwrap()));
    let b = format!("{:?}", Some(Pattern::new("b").unwrap()));
    assert_eq!(
        log.take(),
        [
            format!("new {a}, 0 there"),
            String::from("new None, 1 there"),
            format!("gone {a}, 1 left"),
            format!("new {b}, 1 there"),
            format!("gone {b}, 1 left"),
            String::from("gone None, 0 left"),
        ]
    );
    assert!(watching.off());
    bus.on("a", |_| ()).unwrap().detach();
    assert!(log.take().is_empty());
}

#[test]
fn notices_are_not_events() {
    let (bus, log) = (EventBus::default(), Log::default());
    bus.on_any(log.names()).detach();
    bus.on("**", log.names()).unwrap().detach();
    bus.on("newListener", |_| ()).unwrap().detach();
    assert!(log.take().is_empty());
    assert_eq!(emit(&bus, "newListener"), 3, "the name is like any other");
}

#[test]
fn too_many_listeners_to_a_pattern_are_told_once() {
    let bus = EventBus::new(BusConfig { max_listeners: 2, ..BusConfig::default() });
    let told = notices(&bus);
    let warnings = || {
        let mut told = told.lock().unwrap();
        let all = std::mem::take(&mut *told);
        let counts = all.into_iter().filter_map(|notice| match notice {
            Notice::TooManyListeners { pattern, count, limit } => {
                Some((pattern.to_string(), count, limit))
            }
            _ => None,
        });
        counts.collect::<Vec<_>>()
    };
    let add = |pattern: &str| bus.on(pattern, |_| ()).unwrap();
    let handles: Vec<_> = ["a.*", "a.b", "a.*", "a.b"].map(add).into();
    assert_eq!(warnings(), []);
    let third = add("a.*");
    assert_eq!(warnings(), [("a.*".to_owned(), 3, 2)]);
    drop(third);
    drop(add("a.*"));
    assert_eq!(warnings(), [], "told already");
    drop(handles);
    let handles: Vec<_> = ["a.*"; 3].map(add).into();
    assert_eq!(warnings(), [("a.*".to_owned(), 3, 2)], "all had gone: told again");
    assert_eq!(bus.max_listeners(), 2);
    bus.set_max_listeners(0);
    let unlimited: Vec<_> = ["x"; 20].map(add).into();
    assert_eq!(warnings(), []);
    assert_eq!(bus.stats().listeners, handles.len() + unlimited.len());
}

#[test]
fn an_event_without_a_valid_name_reaches_nobody() {
    let (bus, log) = (EventBus::default(), Log::default());
    bus.on_any(log.names()).detach();
    bus.on("**", log.names()).unwrap().detach();
    let told = notices(&bus);
    let name: Arc<str> = "foo.*".into();
    assert_eq!(bus.emit(&Event { name: name.clone(), ..event(&bus, "a") }), 0);
    assert!(log.take().is_empty());
    assert_eq!(bus.stats().refused, 1);
    assert_eq!(bus.stats().emitted, [0; 4]);
    let error = NameError::Wildcard { segment: 2, wildcard: "*" };
    assert_eq!(*told.lock().unwrap(), [Notice::Refused { event: name, error }]);
}

#[test]
fn what_a_listener_captured_may_use_the_bus_when_it_is_dropped() {
    struct EmitsOnDrop(EventBus, Log);
    impl Drop for EmitsOnDrop {
        fn drop(&mut self) {
            self.1.add(format!("dropped with {} left", self.0.listener_count()));
            emit(&self.0, "dropped");
            self.0.off_all();
        }
    }
    let (bus, log) = (EventBus::default(), Log::default());
    bus.on("dropped", log.names()).unwrap().detach();
    for as_any in [false, true] {
        let captured = EmitsOnDrop(bus.clone(), log.clone());
        let listener = move |_: &Event| {
            let _keep = &captured;
        };
        let handle = if as_any { bus.on_any(listener) } else { bus.on("x", listener).unwrap() };
        drop(handle);
    }
    assert_eq!(log.take(), ["dropped with 1 left", "dropped", "dropped with 0 left"]);
}
