//! Which connection carries which session.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::connection::{Command, Connection};

/// The sessions this instance serves. A session has one connection; while a client moves from one
/// to another there are two for a moment, and the newer one counts.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Arc<str>, Arc<Connection>>>);

impl Sessions {
    /// `connection` carries `session` from now on; the one before is told.
    pub(crate) fn enter(&self, session: &Arc<str>, connection: &Arc<Connection>) {
        let before = self.0.lock().insert(Arc::clone(session), Arc::clone(connection));
        if let Some(before) = before {
            before.command(Command::Superseded);
        }
    }

    /// `connection` has ended.
    pub(crate) fn leave(&self, session: &str, connection: &Arc<Connection>) {
        let mut sessions = self.0.lock();
        if sessions.get(session).is_some_and(|current| Arc::ptr_eq(current, connection)) {
            sessions.remove(session);
        }
    }

    /// The connection of a session.
    pub(crate) fn find(&self, session: &str) -> Option<Arc<Connection>> {
        self.0.lock().get(session).cloned()
    }
}
