//! Who listens to what on one socket.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tidings_core::socketio::Args;
use tidings_core::socketio::manager::{ConnectError, DisconnectReason};
use tidings_core::{Pattern, PatternIndex, PatternKey};

use super::args::Arguments;
use super::event::Event;
use crate::buffer::Buffer;

/// A listener. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ListenerId(pub(super) u64);

type Call<A> = Box<dyn FnMut(A) + Send>;
type Calls<A> = Vec<(ListenerId, Call<A>)>;
/// An event that is sent: its name and its arguments.
type Sent = (Arc<str>, Arguments);

/// Something that listens.
pub(super) enum Listener {
    /// To events of one name.
    Named { name: Arc<str>, once: bool, sink: Sink },
    /// To events whose names match.
    Pattern(Pattern, Sink),
    /// To all events; first of all if `prepend`.
    Any { prepend: bool, sink: Sink },
    /// To all events that are sent; first of all if `prepend`.
    Outgoing { prepend: bool, call: Call<Sent> },
    /// To the socket being connected: its id, and whether its state was restored.
    Connect(Call<(Arc<str>, bool)>),
    /// To refusals.
    ConnectError(Call<ConnectError>),
    /// To the end of the connection, with details.
    Disconnect(Call<(DisconnectReason, String)>),
}

/// Where events go.
pub(super) enum Sink {
    Call(Call<Event>),
    Stream(Arc<Buffer<Event>>),
}

impl Sink {
    fn take(&mut self, event: Event) {
        match self {
            Self::Call(call) => guarded(call, event),
            Self::Stream(buffer) => buffer.push(event),
        }
    }
}

/// The listeners of one socket.
#[derive(Default)]
pub(super) struct Listeners {
    any: Vec<(ListenerId, Sink)>,
    named: HashMap<Arc<str>, Vec<(ListenerId, bool, Sink)>>,
    patterns: PatternIndex<ListenerId>,
    patterned: HashMap<ListenerId, (PatternKey, Sink)>,
    outgoing: Calls<Sent>,
    connect: Calls<(Arc<str>, bool)>,
    connect_error: Calls<ConnectError>,
    disconnect: Calls<(DisconnectReason, String)>,
}

impl Listeners {
    pub(super) fn add(&mut self, id: ListenerId, listener: Listener) {
        match listener {
            Listener::Named { name, once, sink } => {
                self.named.entry(name).or_default().push((id, once, sink));
            }
            Listener::Pattern(pattern, sink) => {
                let key = self.patterns.insert(&pattern, id);
                self.patterned.insert(id, (key, sink));
            }
            Listener::Any { prepend, sink } => insert(&mut self.any, prepend, (id, sink)),
            Listener::Outgoing { prepend, call } => insert(&mut self.outgoing, prepend, (id, call)),
            Listener::Connect(call) => self.connect.push((id, call)),
            Listener::ConnectError(call) => self.connect_error.push((id, call)),
            Listener::Disconnect(call) => self.disconnect.push((id, call)),
        }
    }

    pub(super) fn remove(&mut self, id: ListenerId) {
        if let Some((key, _)) = self.patterned.remove(&id) {
            self.patterns.remove(&key);
            return;
        }
        self.any.retain(|(other, _)| *other != id);
        self.outgoing.retain(|(other, _)| *other != id);
        self.connect.retain(|(other, _)| *other != id);
        self.connect_error.retain(|(other, _)| *other != id);
        self.disconnect.retain(|(other, _)| *other != id);
        self.named.retain(|_, listeners| {
            listeners.retain(|(other, ..)| *other != id);
            !listeners.is_empty()
        });
    }

    /// Whether events that are sent are of interest.
    pub(super) const fn watch_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Hands an event out: to those who listen to all, then to those of its name, then to those
    /// whose pattern it matches, in the order in which they came.
    pub(super) fn event(&mut self, event: &Event) {
        for (_, sink) in &mut self.any {
            sink.take(event.clone());
        }
        if let Some(listeners) = self.named.get_mut(&event.name) {
            for (_, _, sink) in listeners.iter_mut() {
                sink.take(event.clone());
            }
            listeners.retain(|(_, once, _)| !once);
            if listeners.is_empty() {
                self.named.remove(&event.name);
            }
        }
        if !self.patterned.is_empty() {
            let mut matching = Vec::new();
            self.patterns.match_into(&event.name, &mut matching);
            matching.sort_unstable();
            for id in matching {
                if let Some((_, sink)) = self.patterned.get_mut(&id) {
                    sink.take(event.clone());
                }
            }
        }
    }

    pub(super) fn outgoing(&mut self, args: &Args) {
        let name: Arc<str> =
            args.value(0).and_then(|name| name.as_str()).unwrap_or_default().into();
        for (_, call) in &mut self.outgoing {
            guarded(call, (name.clone(), Arguments::new(args.clone(), 1)));
        }
    }

    pub(super) fn connected(&mut self, id: &Arc<str>, recovered: bool) {
        for (_, call) in &mut self.connect {
            guarded(call, (id.clone(), recovered));
        }
    }

    pub(super) fn connect_error(&mut self, error: &ConnectError) {
        for (_, call) in &mut self.connect_error {
            guarded(call, error.clone());
        }
    }

    pub(super) fn disconnected(&mut self, reason: DisconnectReason, detail: &str) {
        for (_, call) in &mut self.disconnect {
            guarded(call, (reason, detail.to_owned()));
        }
    }

    /// There will be no more events.
    pub(super) fn end(self) {
        let any = self.any.into_iter().map(|(_, sink)| sink);
        let named = self.named.into_values().flatten().map(|(_, _, sink)| sink);
        let patterned = self.patterned.into_values().map(|(_, sink)| sink);
        for sink in any.chain(named).chain(patterned) {
            if let Sink::Stream(buffer) = sink {
                buffer.end(None);
            }
        }
    }
}

fn insert<T>(list: &mut Vec<T>, first: bool, item: T) {
    if first { list.insert(0, item) } else { list.push(item) }
}

/// A callback that panics has had its say on standard error; others go on.
fn guarded<A>(call: &mut Call<A>, argument: A) {
    drop(catch_unwind(AssertUnwindSafe(|| call(argument))));
}
