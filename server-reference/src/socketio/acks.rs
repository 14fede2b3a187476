//! Acknowledgements that clients owe.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidings_core::socketio::Args;
use tokio::sync::mpsc;

/// Where the answer to one event goes. It is dropped when no answer can come any more.
pub(super) type Answer = mpsc::Sender<Args>;

/// What one socket has to acknowledge, by the ids of the events.
#[derive(Debug, Default)]
pub(super) struct Acks(Mutex<HashMap<u64, Answer>>);

impl Acks {
    pub(super) fn expect(&self, id: u64, answer: Answer) {
        self.0.lock().insert(id, answer);
    }

    /// Nobody waits for it any more.
    pub(super) fn forget(&self, id: u64) {
        self.0.lock().remove(&id);
    }

    /// The client has acknowledged. An answer nobody waits for is nobody's loss.
    pub(super) fn answered(&self, id: u64, args: Args) {
        if let Some(answer) = self.0.lock().remove(&id) {
            // There is room for each answer that is waited for.
            let _ = answer.try_send(args);
        }
    }

    /// The client is gone: no answer comes any more.
    pub(super) fn end(&self) {
        self.0.lock().clear();
    }
}
