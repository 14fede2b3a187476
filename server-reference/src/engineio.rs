//! Applications of Engine.IO itself, as Node's `engine.io` has them: messages without events,
//! namespaces or acknowledgements. Most want [`socketio`](crate::socketio).

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use tidings_core::engineio::Packet;
use tidings_core::message::{Close, CloseCode};

pub use tidings_core::message::Frame;

use crate::connection::{Command, Connection};
use crate::engine_sessions::EngineSessions;
use crate::session::finished;

/// One client of an Engine.IO endpoint.
#[derive(Debug, Clone)]
pub struct Socket(Arc<Connection>);

impl Socket {
    pub(crate) const fn new(connection: Arc<Connection>) -> Self {
        Self(connection)
    }

    /// Sends the client a message. A client that does not take what it is sent is disconnected
    /// when its queue is full (`queues.application`).
    pub fn send(&self, message: Frame) {
        self.0.offer_application(&finished(&Packet::Message(message).encode()), false, None);
        self.0.flush_from_outside();
    }

    /// Disconnects the client.
    pub fn close(&self) {
        self.0.command(Command::Close(Close::new(CloseCode::NORMAL, "closed by the application")));
    }
}

pub(crate) type Handler = Arc<dyn Fn(&Socket, Frame) + Send + Sync>;

/// Where Engine.IO is spoken, and by whom.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) sessions: Arc<EngineSessions>,
    /// Who takes the messages; Socket.IO does where there is none.
    pub(crate) handler: Option<Handler>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// The Engine.IO endpoints of an application, by their paths.
#[derive(Debug, Default)]
pub(crate) struct Endpoints(RwLock<Vec<(String, Endpoint)>>);

impl Endpoints {
    pub(crate) fn add(&self, path: &str, handler: Handler) {
        let endpoint = Endpoint { sessions: Arc::default(), handler: Some(handler) };
        self.0.write().push((path.to_owned(), endpoint));
    }

    pub(crate) fn all(&self) -> Vec<(String, Endpoint)> {
        self.0.read().clone()
    }
}
