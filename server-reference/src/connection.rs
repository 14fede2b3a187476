//! One connection after its handshake.

use std::sync::Arc;

use crate::accepted::Accepted;
use crate::app::App;

/// Takes a connection over: reads, writes and keeps its timers until it is closed.
pub(crate) fn spawn(app: &Arc<App>, accepted: Accepted) {
    drop((app, accepted));
}
