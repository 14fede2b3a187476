//! Events that are encoded once for many connections.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;

use super::{Wire, encode_event};
use crate::event::{Event, Payload};
use crate::message::Delivery;
use crate::socketio::Namespace;

/// Knows what is sensitive in events.
pub trait Redact: fmt::Debug + Send + Sync {
    /// The payload for those who may not see what is sensitive in it; `None` if nothing is.
    ///
    /// The same for the same event: it is asked once, and the answer is kept with the event.
    fn redact(&self, event: &Event) -> Option<Payload>;
}

/// What is delivered of an event, with its finished frames: each wire format is encoded at most
/// once, when the first connection asks for it, and shared by all. An event with something sensitive
/// in it has a second version, without that.
#[derive(Debug)]
pub struct Framed {
    delivery: Delivery,
    frames: [OnceLock<Bytes>; Wire::COUNT],
    redacted: OnceLock<Option<Box<Framed>>>,
}

impl Framed {
    /// Nothing is encoded yet.
    pub fn new(delivery: Delivery) -> Self {
        Self { delivery, frames: Default::default(), redacted: OnceLock::new() }
    }

    /// What is delivered.
    pub const fn delivery(&self) -> &Delivery {
        &self.delivery
    }

    /// The finished frames for connections of this wire. `namespace` is where Socket.IO clients
    /// speak Tidings, and has to be the same for all who ask.
    pub fn frame(&self, wire: Wire, namespace: &Namespace) -> &Bytes {
        self.frames[wire.index()].get_or_init(|| encode_event(wire, namespace, &self.delivery))
    }

    /// The version for those who may not see what is sensitive in it; `None` if nothing is. `redact`
    /// has to be the same for all who ask.
    pub fn redacted(&self, redact: &dyn Redact) -> Option<&Self> {
        let version = self.redacted.get_or_init(|| {
            let event = &self.delivery.event;
            let payload = redact.redact(event)?;
            let event = Event { payload, ..event.clone() };
            Some(Box::new(Self::new(Delivery { event, ..self.delivery.clone() })))
        });
        version.as_deref()
    }
}
