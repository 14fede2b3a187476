//! The semantics of the bus, one module for each part of them.

mod asynchronous;
mod failures;
mod forwarding;
mod listeners;
mod threads;
mod typed;

use std::sync::{Arc, Mutex};

use tidings_core::bus::Notice;
use tidings_core::{Event, EventBus, Payload};

/// Remembers what it is told, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// A listener that writes this line.
    fn writes(&self, line: &str) -> impl Fn(&Event) + Send + Sync + 'static + use<> {
        let (log, line) = (self.clone(), line.to_owned());
        move |_| log.add(line.clone())
    }

    /// A listener that writes the event's name.
    fn names(&self) -> impl Fn(&Event) + Send + Sync + 'static + use<> {
        let log = self.clone();
        move |event| log.add(&*event.name)
    }

    /// What was written since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// An event without content.
fn event(bus: &EventBus, name: &str) -> Event {
    bus.event(name, Payload::NULL).expect("a name")
}

/// Emits an event without content.
fn emit(bus: &EventBus, name: &str) -> usize {
    bus.emit(&event(bus, name))
}

/// Collects the notices of a bus.
fn notices(bus: &EventBus) -> Arc<Mutex<Vec<Notice>>> {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let collected = notices.clone();
    bus.on_notice(move |notice| collected.lock().unwrap().push(notice.clone())).detach();
    notices
}
