//! Events of the server, and answers to them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_core::socketio::Args;
use tidings_core::socketio::manager::AckKey;

use super::args::{Arguments, EmitArgs, write};
use super::error::EmitError;
use super::orders::{Order, Shared};

/// An event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub name: Arc<str>,
    /// What came with it. Where the server keeps the state of clients that are cut off, its offset
    /// is the last one, as with `socket.io-client`.
    pub args: Arguments,
    /// Set when the server waits for an acknowledgement.
    pub responder: Option<Responder>,
}

impl Event {
    pub(super) fn new(args: Args, ack: Option<AckKey>, shared: &Arc<Shared>) -> Self {
        let name = args.value(0);
        // A name that is no string is one in JSON, as for `socket.io-client`, where 1 becomes "1".
        let name = name.map_or_else(Arc::default, |name| match name.as_str() {
            Some(name) => Arc::from(&*name),
            None => Arc::from(name.raw()),
        });
        let responder =
            ack.map(|key| Responder { key, shared: shared.clone(), answered: Arc::default() });
        Self { name, args: Arguments::new(args, 1), responder }
    }

    /// Acknowledges the event, if the server waits for that; see [`Responder::respond`].
    ///
    /// # Errors
    /// If an argument cannot be written, or the manager is closed.
    pub fn ack(&self, args: impl EmitArgs) -> Result<(), EmitError> {
        self.responder.as_ref().map_or(Ok(()), |responder| responder.respond(args))
    }
}

/// Acknowledges one event of the server, once: later calls do nothing, nor do they when the
/// connection it came on has ended. It may be kept and used at any time, from any task.
#[derive(Clone)]
pub struct Responder {
    key: AckKey,
    shared: Arc<Shared>,
    answered: Arc<AtomicBool>,
}

impl Responder {
    /// Sends the acknowledgement.
    ///
    /// # Errors
    /// If an argument cannot be written, or the manager is closed.
    pub fn respond(&self, args: impl EmitArgs) -> Result<(), EmitError> {
        let args = write(Args::new(), &args);
        let args = args.map_err(|error| EmitError::Arguments(error.to_string()))?;
        if self.answered.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let order = Order::Acknowledge { to: self.key, args };
        if self.shared.give(order) { Ok(()) } else { Err(EmitError::Closed) }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("answered", &self.answered.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
