//! A socket that may be connected to another instance.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tidings_core::socketio::Args;

use super::args::{self, ArgsError, IntoArgs};
use super::broadcast::{AckError, Broadcast, EmitError, IntoRooms, MissingAcks};
use super::cluster::{Details, details};
use super::namespace::Namespace;
use super::socket::Socket;

/// A socket of this instance or another one, as it was when it was asked for; Node's
/// `RemoteSocket`.
#[derive(Debug, Clone)]
pub struct RemoteSocket {
    namespace: Namespace,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Here(Socket),
    Elsewhere(Arc<Details>),
}

impl RemoteSocket {
    pub(super) fn here(socket: Socket) -> Self {
        Self { namespace: socket.namespace().clone(), place: Place::Here(socket) }
    }

    pub(super) fn elsewhere(namespace: &Namespace, details: Details) -> Self {
        Self { namespace: namespace.clone(), place: Place::Elsewhere(Arc::new(details)) }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        match &self.place {
            Place::Here(socket) => socket.id(),
            Place::Elsewhere(details) => &details.id,
        }
    }

    /// The socket itself, if it is connected to this instance.
    pub fn local(&self) -> Option<&Socket> {
        match &self.place {
            Place::Here(socket) => Some(socket),
            Place::Elsewhere(_) => None,
        }
    }

    /// The rooms it is in, the one that is named by its id among them.
    pub fn rooms(&self) -> Vec<Arc<str>> {
        match &self.place {
            Place::Here(socket) => socket.rooms(),
            Place::Elsewhere(details) => details.rooms.clone(),
        }
    }

    /// What the client said when it connected, with the members that Node gives it: `headers`,
    /// `query`, `auth`, `address`, `url`, `time`, `issued`, `secure` and `xdomain`.
    ///
    /// # Errors
    /// When it is not what the type wants.
    pub fn handshake<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        self.read(|details| details.handshake.clone())
    }

    /// Node's `socket.data`; of a socket of Tidings what
    /// [`Socket::set_shared_data`] has set.
    ///
    /// # Errors
    /// When it is not what the type wants.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        self.read(|details| details.data.clone())
    }

    fn read<T: DeserializeOwned>(
        &self,
        part: impl FnOnce(&Details) -> Bytes,
    ) -> Result<T, ArgsError> {
        let known;
        let details = match &self.place {
            Place::Here(socket) => {
                known = details(socket);
                &known
            }
            Place::Elsewhere(details) => &**details,
        };
        let mut args = Args::new();
        args.push_json(part(details));
        for data in details.attachments.iter() {
            args.push_attachment(data.clone());
        }
        args::read(&args, 0)
    }

    fn only(&self) -> Broadcast {
        self.namespace.to(self.id())
    }

    /// Sends the client an event.
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn emit(&self, event: &str, arguments: impl IntoArgs) -> Result<(), EmitError> {
        self.only().emit(event, arguments)
    }

    /// Sends the client an event, and waits for its acknowledgement, at most for `limit`.
    ///
    /// # Errors
    /// When it cannot be sent, or is not acknowledged in time with a `T`.
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        arguments: impl IntoArgs,
        limit: Duration,
    ) -> Result<T, AckError> {
        let answers = self.only().timeout(limit).emit_with_ack(event, arguments).await?;
        let received = match answers {
            Ok(received) | Err(MissingAcks { received, .. }) => received,
        };
        received.into_iter().next().ok_or(AckError::Timeout(limit))
    }

    /// Puts the socket into rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.only().sockets_join(rooms);
    }

    /// Takes the socket out of a room.
    pub fn leave(&self, room: &str) {
        self.only().sockets_leave(room);
    }

    /// Disconnects the client; see [`Socket::disconnect`].
    pub fn disconnect(&self, close: bool) {
        self.only().disconnect_sockets(close);
    }
}
