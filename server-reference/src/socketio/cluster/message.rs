//! What members of a cluster tell and ask each other, apart from how it is written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_core::socketio::Args;
use tidings_core::{json, msgpack};

use crate::backplane::Channel;
use crate::socketio::table::Target;

/// What a member tells, or asks, all others in a namespace.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::socketio) enum Message {
    /// An event for sockets.
    Emit { target: Target, args: Args, volatile: bool },
    /// Sockets are to be in these rooms.
    Join { target: Target, rooms: Vec<Arc<str>> },
    /// Sockets are not to be in these rooms any more.
    Leave { target: Target, rooms: Vec<Arc<str>> },
    /// Sockets are to be disconnected.
    Disconnect { target: Target, close: bool },
    /// An event for the members themselves.
    ServerSide { args: Args },
    /// A question, to be answered with its id.
    Ask { request: String, question: Question },
}

/// What a member asks the others.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::socketio) enum Question {
    /// Which sockets are meant.
    Sockets(Target),
    /// The ids of the sockets that are in one of these rooms, or of all.
    Ids(Vec<Arc<str>>),
    /// Which rooms there are.
    Rooms,
    /// An event for the members themselves, to be acknowledged by each.
    ServerSide(Args),
    /// An event for sockets, to be acknowledged by their clients.
    Emit { target: Target, args: Args, volatile: bool, timeout: Option<Duration> },
}

/// What a member answers.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::socketio) enum Reply {
    /// Its sockets that are meant.
    Sockets(Vec<Details>),
    /// The ids of its sockets that are meant.
    Ids(Vec<Arc<str>>),
    /// Its rooms, those that are named by a socket's id among them.
    Rooms(Vec<Arc<str>>),
    /// What it says to an event for the members: at most one value.
    ServerSide(Args),
    /// So many of its clients got the event.
    Clients(usize),
    /// One of its clients has acknowledged: at most one value.
    Acknowledged(Args),
}

/// What is known of a socket elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::socketio) struct Details {
    pub(in crate::socketio) id: Arc<str>,
    pub(in crate::socketio) rooms: Vec<Arc<str>>,
    /// JSON.
    pub(in crate::socketio) handshake: Bytes,
    /// JSON, with placeholders for `attachments`.
    pub(in crate::socketio) data: Bytes,
    pub(in crate::socketio) attachments: Arc<[Bytes]>,
}

/// A question, as far as its answer has to know it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) request: String,
    /// Who asked.
    pub(super) from: String,
}

/// What came by a channel.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// Something for all; who does not want answers need not say who it is.
    Message { from: Option<String>, message: Message },
    /// The answer to a question of this member.
    Reply { request: String, reply: Reply },
}

/// How members write what they tell each other, and on which channels.
pub(super) trait Format: Send + Sync {
    /// What this member calls itself.
    fn uid(&self) -> &str;

    /// What a member listens to in a namespace.
    fn channels(&self, namespace: &str) -> Vec<Channel>;

    /// What a member also listens to while one of its sockets is in a room; `own`: the room is
    /// named by the id of one.
    fn room_channel(&self, _namespace: &str, _room: &str, _own: bool) -> Option<Channel> {
        None
    }

    /// The channel that each member listens to, so that its listeners can be counted.
    fn members(&self, namespace: &str) -> Channel;

    /// Whether members can be asked for their rooms.
    fn knows_rooms(&self) -> bool;

    /// The message and its channel.
    fn message(&self, namespace: &str, message: &Message) -> (Channel, Bytes);

    /// The answer and its channel; `None` if nobody can ask for it.
    fn reply(&self, namespace: &str, asked: &Asked, reply: &Reply) -> Option<(Channel, Bytes)>;

    /// The room that alone is meant by what comes on a channel, if the channel tells.
    fn room_of<'a>(&self, _namespace: &str, _channel: &'a str) -> Option<&'a str> {
        None
    }

    /// What came by a channel; `None` if it is this member's own, or means nothing here.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(
        &self,
        namespace: &str,
        channel: &str,
        message: &Bytes,
    ) -> Result<Option<Heard>, Malformed>;
}

/// A message that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error(transparent)]
    Json(#[from] json::Error),
    #[error(transparent)]
    Msgpack(#[from] msgpack::Error),
    #[error("{0} is missing, or not what it should be")]
    Member(&'static str),
}
