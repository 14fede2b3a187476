//! The Engine.IO sessions by the ids that HTTP requests name them by.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_core::engineio::Carrier;

use crate::connection::Connection;
use crate::ids::random_id;

/// An id as bytes: there is one for each session, and most sessions never need it.
type Sid = [u8; 20];

/// The sessions of one Engine.IO endpoint.
#[derive(Debug, Default)]
pub(crate) struct EngineSessions(Mutex<HashMap<Sid, Arc<Connection>>>);

impl EngineSessions {
    /// Gives the session an id nobody can guess. `upgrades` is where it may move.
    pub(crate) fn enter(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        upgrades: &'static [Carrier],
    ) -> Entry {
        let id = random_id();
        if let Ok(sid) = Sid::try_from(id.as_bytes()) {
            self.0.lock().insert(sid, Arc::clone(connection));
        }
        Entry { sessions: Arc::clone(self), sid: id, upgrades }
    }

    /// The session with this id.
    pub(crate) fn find(&self, sid: &str) -> Option<Arc<Connection>> {
        let sid = Sid::try_from(sid.as_bytes()).ok()?;
        self.0.lock().get(&sid).cloned()
    }

    /// All there are.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.0.lock().values().cloned().collect()
    }
}

/// A session that is known by its id until this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    sessions: Arc<EngineSessions>,
    sid: String,
    upgrades: &'static [Carrier],
}

impl Entry {
    pub(crate) fn sid(&self) -> &str {
        &self.sid
    }

    pub(crate) const fn upgrades(&self) -> &'static [Carrier] {
        self.upgrades
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Ok(sid) = Sid::try_from(self.sid.as_bytes()) {
            self.sessions.0.lock().remove(&sid);
        }
    }
}
