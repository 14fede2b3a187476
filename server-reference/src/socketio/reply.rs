//! The acknowledgement of a client's event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_core::socketio::{Args, Body};

use super::args::{ArgsError, IntoArgs};
use super::socket::Socket;

/// The acknowledgement of a client's event: Node's last parameter of a handler. Only the first
/// answer counts.
#[derive(Debug, Clone)]
pub struct Ack {
    socket: Socket,
    id: Option<u64>,
    answered: Arc<AtomicBool>,
}

impl Ack {
    pub(super) fn new(socket: &Socket, id: Option<u64>) -> Self {
        Self { socket: socket.clone(), id, answered: Arc::default() }
    }

    pub(super) fn unwanted(socket: &Socket) -> Self {
        Self::new(socket, None)
    }

    /// Whether the client waits for it, and has not been answered yet.
    pub fn is_wanted(&self) -> bool {
        self.id.is_some() && !self.answered.load(Ordering::Acquire)
    }

    /// Answers the client; does nothing if it does not wait for an answer.
    ///
    /// # Errors
    /// When the arguments cannot be written as JSON; then nothing has been answered.
    pub fn send(&self, arguments: impl IntoArgs) -> Result<(), ArgsError> {
        if self.is_wanted() {
            let mut args = Args::new();
            arguments.append_to(&mut args)?;
            self.send_args(&args);
        }
        Ok(())
    }

    pub(super) fn send_args(&self, args: &Args) {
        if let Some(ack) = self.id
            && !self.answered.swap(true, Ordering::AcqRel)
        {
            self.socket.send_body(Body::Ack { ack, args: args.clone() });
        }
    }
}
