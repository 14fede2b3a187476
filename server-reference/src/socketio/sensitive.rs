//! What is sensitive in the events of applications: by their names, as in those of Tidings. The payload is
//! the first argument.

use std::sync::Arc;

use tidings_core::link::Redact;
use tidings_core::socketio::Args;
use tidings_core::{Event, Headers, Payload, Priority};

use super::socket::Socket;

/// An event for those who may not see what is sensitive in it.
pub(super) struct Hidden {
    name: String,
    /// What they get.
    pub(super) args: Args,
}

impl Hidden {
    /// `None` if nothing in the event is sensitive. `has_offset`: its last argument is what recovery
    /// knows it by.
    pub(super) fn of(redact: &dyn Redact, args: &Args, has_offset: bool) -> Option<Self> {
        let name = args.value(0)?.as_str()?.into_owned();
        let payload = Payload::Json(args.json(1)?.clone());
        let (id, priority, headers) = ("".into(), Priority::Normal, Headers::NONE);
        let event = Event { name: name.as_str().into(), payload, id, priority, time: 0, headers };
        let Payload::Json(redacted) = redact.redact(&event)? else { return None };
        let mut hidden = Args::new();
        hidden.push_str(&name);
        let rest = if args.attachments().is_empty() {
            hidden.push_json(redacted);
            2
        } else {
            // Which of the attachments would be seen is not known.
            hidden.push_payload(&Payload::NULL);
            if has_offset { args.len() - 1 } else { args.len() }
        };
        (rest.max(2)..args.len())
            .filter_map(|n| args.json(n))
            .for_each(|json| hidden.push_json(json.clone()));
        Some(Self { name, args: hidden })
    }

    /// Whether the client of a socket gets this instead of the event.
    pub(super) fn is_for(&self, socket: &Socket) -> bool {
        !socket.handshake().identity().rights().may_see_sensitive(&self.name)
    }
}

/// Knows what is sensitive in events, if anything is.
pub(super) type Redacting = Option<Arc<dyn Redact>>;
