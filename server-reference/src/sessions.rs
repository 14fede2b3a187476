//! Which connection carries which session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::connection::{Command, Connection};

/// The sessions this instance serves. A session has one connection; while a client moves from one
/// to another there are two for a moment, and the newer one counts.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Arc<str>, Carried>>);

/// What carries a session.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(crate) connection: Arc<Connection>,
    /// Where the client connected from.
    pub(crate) peer: SocketAddr,
    /// Who the client is, if it has said so.
    pub(crate) subject: Option<Arc<str>>,
    /// Since when, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
}

impl Sessions {
    /// `session` is carried by this connection from now on; the one before is told.
    pub(crate) fn enter(&self, session: &Arc<str>, carried: Carried) {
        let before = self.0.lock().insert(Arc::clone(session), carried);
        if let Some(before) = before {
            before.connection.command(Command::Superseded);
        }
    }

    /// `connection` has ended.
    pub(crate) fn leave(&self, session: &str, connection: &Arc<Connection>) {
        let mut sessions = self.0.lock();
        if sessions.get(session).is_some_and(|current| Arc::ptr_eq(&current.connection, connection))
        {
            sessions.remove(session);
        }
    }

    /// The connection of a session.
    pub(crate) fn find(&self, session: &str) -> Option<Arc<Connection>> {
        self.0.lock().get(session).map(|carried| Arc::clone(&carried.connection))
    }

    /// All sessions, in no order.
    pub(crate) fn all(&self) -> Vec<(Arc<str>, Carried)> {
        self.0.lock().iter().map(|(id, carried)| (Arc::clone(id), carried.clone())).collect()
    }
}
