//! The format of `createShardedAdapter` of `@socket.io/redis-adapter` 8: sharded pub/sub, JSON, or
//! MessagePack when there is binary in it. Tidings instances use it among themselves, too.

use std::time::Duration;

use bytes::Bytes;
use tidings_core::json::{Value, Writer};
use tidings_core::socketio::Args;

use super::document::{
    Document, as_msgpack, members, number, options, rooms, text, write_arg, write_args,
    write_options, write_rooms, write_sockets,
};
use super::message::{Asked, Format, Heard, Malformed, Message, Question, Reply};
use crate::backplane::Channel;
use crate::config::{NodeAdapter, NodeAdapterMode};
use crate::socketio::table::Target;

/// Node's numbers of messages.
mod kind {
    pub(super) const BROADCAST: u64 = 3;
    pub(super) const SOCKETS_JOIN: u64 = 4;
    pub(super) const SOCKETS_LEAVE: u64 = 5;
    pub(super) const DISCONNECT_SOCKETS: u64 = 6;
    pub(super) const FETCH_SOCKETS: u64 = 7;
    pub(super) const FETCH_SOCKETS_RESPONSE: u64 = 8;
    pub(super) const SERVER_SIDE_EMIT: u64 = 9;
    pub(super) const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
    pub(super) const BROADCAST_CLIENT_COUNT: u64 = 11;
    pub(super) const BROADCAST_ACK: u64 = 12;
}

/// The type of an event's packet.
const EVENT: u64 = 2;

/// How many characters a room's name has that Node takes for the id of a socket.
const ID_LENGTH: usize = 20;

/// The format of the sharded adapter.
pub(super) struct Sharded {
    uid: String,
    prefix: String,
    mode: NodeAdapterMode,
    max_message: usize,
}

impl Sharded {
    /// `uid` is what this member calls itself: Node's have 16 hexadecimal digits.
    pub(super) fn new(uid: String, prefix: String, settings: &NodeAdapter) -> Self {
        let (mode, max_message) = (settings.mode, settings.max_message);
        Self { uid, prefix, mode, max_message }
    }

    fn main(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    fn part(&self, namespace: &str, name: &str) -> Channel {
        Channel::sharded(format!("{}#{namespace}#{name}#", self.prefix))
    }

    /// Where an event goes that nobody acknowledges.
    fn channel_of(&self, namespace: &str, target: &Target) -> Channel {
        if let [room] = &*target.rooms {
            let apart = match self.mode {
                // As JavaScript counts.
                NodeAdapterMode::Dynamic => room.encode_utf16().count() != ID_LENGTH,
                NodeAdapterMode::DynamicPrivate => true,
                NodeAdapterMode::Static => false,
            };
            if apart {
                return self.part(namespace, room);
            }
        }
        Channel::sharded(self.main(namespace))
    }

    /// A message whose `data` has the members that `write` writes, and this binary.
    fn envelope(
        &self,
        namespace: &str,
        kind: u64,
        attachments: &[Bytes],
        write: impl FnOnce(&mut Writer<'_>),
    ) -> Bytes {
        let mut json = Vec::with_capacity(256);
        let mut w = Writer::new(&mut json);
        w.begin_object().key("type").u64(kind).key("data").begin_object();
        write(&mut w);
        w.end_object().key("uid").str(&self.uid).key("nsp").str(namespace).end_object();
        if attachments.is_empty() { json.into() } else { as_msgpack(&json, attachments) }
    }

    fn emit(
        &self,
        namespace: &str,
        request: Option<&str>,
        args: &Args,
        write_opts: impl FnOnce(&mut Writer<'_>),
    ) -> Bytes {
        self.envelope(namespace, kind::BROADCAST, args.attachments(), |w| {
            w.key("packet").begin_object().key("type").u64(EVENT).key("data");
            write_args(w, args);
            w.end_object();
            if let Some(request) = request {
                w.key("requestId").str(request);
            }
            w.key("opts");
            write_opts(w);
        })
    }

    fn server_side(&self, namespace: &str, request: Option<&str>, args: &Args) -> Bytes {
        self.envelope(namespace, kind::SERVER_SIDE_EMIT, args.attachments(), |w| {
            if let Some(request) = request {
                w.key("requestId").str(request);
            }
            w.key("packet");
            write_args(w, args);
        })
    }

    fn question(&self, namespace: &str, request: &str, question: &Question) -> Bytes {
        match question {
            Question::Sockets(target) => self.envelope(namespace, kind::FETCH_SOCKETS, &[], |w| {
                write_opts(w, target);
                w.key("requestId").str(request);
            }),
            // It has no such questions: the answer is in that to another one.
            Question::Ids(rooms) => {
                let target = Target { rooms: rooms.clone(), except: Vec::new() };
                self.question(namespace, request, &Question::Sockets(target))
            }
            Question::Rooms => {
                self.question(namespace, request, &Question::Sockets(Target::default()))
            }
            Question::ServerSide(args) => self.server_side(namespace, Some(request), args),
            Question::Emit { target, args, volatile, timeout } => {
                self.emit(namespace, Some(request), args, |w| {
                    write_options(w, target, *volatile, *timeout);
                })
            }
        }
    }

    fn read_message(
        document: &Document,
        kind: u64,
        data: Value<'_>,
    ) -> Result<Option<Message>, Malformed> {
        let [request, packet, opts, in_rooms, close] =
            members(data, ["requestId", "packet", "opts", "rooms", "close"]);
        let target = || opts.map(options).ok_or(Malformed::Member("opts"));
        let request = text(request);
        let asks = |question| {
            let request = request.clone().ok_or(Malformed::Member("requestId"))?;
            Ok::<_, Malformed>(Message::Ask { request, question })
        };
        Ok(Some(match kind {
            kind::BROADCAST => {
                let [data] = members(packet.ok_or(Malformed::Member("packet"))?, ["data"]);
                let args = document.event(data)?;
                let (target, volatile, timeout) = target()?;
                match request {
                    Some(_) => {
                        let timeout = timeout.map(Duration::from_millis);
                        asks(Question::Emit { target, args, volatile, timeout })?
                    }
                    None => Message::Emit { target, args, volatile },
                }
            }
            kind::SOCKETS_JOIN => Message::Join { target: target()?.0, rooms: rooms(in_rooms) },
            kind::SOCKETS_LEAVE => Message::Leave { target: target()?.0, rooms: rooms(in_rooms) },
            kind::DISCONNECT_SOCKETS => {
                let close = close.and_then(Value::as_bool) == Some(true);
                Message::Disconnect { target: target()?.0, close }
            }
            kind::FETCH_SOCKETS => asks(Question::Sockets(target()?.0))?,
            kind::SERVER_SIDE_EMIT => {
                let args = document.event(packet)?;
                match request {
                    Some(_) => asks(Question::ServerSide(args))?,
                    None => Message::ServerSide { args },
                }
            }
            // Heartbeats, and what later versions may tell.
            _ => return Ok(None),
        }))
    }

    fn read_reply(
        document: &Document,
        kind: u64,
        data: Value<'_>,
    ) -> Result<Option<Reply>, Malformed> {
        let [sockets, packet, count] = members(data, ["sockets", "packet", "clientCount"]);
        Ok(Some(match kind {
            kind::FETCH_SOCKETS_RESPONSE => {
                let sockets = sockets.ok_or(Malformed::Member("sockets"))?;
                Reply::Sockets(document.sockets(sockets)?)
            }
            kind::SERVER_SIDE_EMIT_RESPONSE => Reply::ServerSide(document.arg(packet)),
            kind::BROADCAST_CLIENT_COUNT => {
                let count = number(count).and_then(|count| usize::try_from(count).ok());
                Reply::Clients(count.ok_or(Malformed::Member("clientCount"))?)
            }
            kind::BROADCAST_ACK => Reply::Acknowledged(document.arg(packet)),
            _ => return Ok(None),
        }))
    }
}

impl Format for Sharded {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn channels(&self, namespace: &str) -> Vec<Channel> {
        vec![self.part(namespace, &self.uid), Channel::sharded(self.main(namespace))]
    }

    fn room_channel(&self, namespace: &str, room: &str, own: bool) -> Option<Channel> {
        let apart = match self.mode {
            NodeAdapterMode::Dynamic => !own,
            NodeAdapterMode::DynamicPrivate => true,
            NodeAdapterMode::Static => false,
        };
        apart.then(|| self.part(namespace, room))
    }

    fn members(&self, namespace: &str) -> Channel {
        Channel::sharded(self.main(namespace))
    }

    fn knows_rooms(&self) -> bool {
        false
    }

    fn message(&self, namespace: &str, message: &Message) -> (Channel, Bytes) {
        let message = match message {
            Message::Emit { target, args, volatile } => {
                let message = self.emit(namespace, None, args, |w| {
                    write_options(w, target, *volatile, None);
                });
                return (self.channel_of(namespace, target), message);
            }
            Message::Join { target, rooms } => {
                self.envelope(namespace, kind::SOCKETS_JOIN, &[], |w| {
                    write_opts(w, target);
                    w.key("rooms");
                    write_rooms(w, rooms);
                })
            }
            Message::Leave { target, rooms } => {
                self.envelope(namespace, kind::SOCKETS_LEAVE, &[], |w| {
                    write_opts(w, target);
                    w.key("rooms");
                    write_rooms(w, rooms);
                })
            }
            Message::Disconnect { target, close } => {
                self.envelope(namespace, kind::DISCONNECT_SOCKETS, &[], |w| {
                    write_opts(w, target);
                    w.key("close").bool(*close);
                })
            }
            Message::ServerSide { args } => self.server_side(namespace, None, args),
            Message::Ask { request, question } => self.question(namespace, request, question),
        };
        (Channel::sharded(self.main(namespace)), message)
    }

    fn reply(&self, namespace: &str, asked: &Asked, reply: &Reply) -> Option<(Channel, Bytes)> {
        let id = |w: &mut Writer<'_>| {
            w.key("requestId").str(&asked.request);
        };
        let message = match reply {
            Reply::Sockets(sockets) => {
                self.envelope(namespace, kind::FETCH_SOCKETS_RESPONSE, &[], |w| {
                    id(w);
                    w.key("sockets");
                    write_sockets(w, sockets);
                })
            }
            Reply::Ids(_) | Reply::Rooms(_) => return None,
            Reply::ServerSide(answer) => {
                let kind = kind::SERVER_SIDE_EMIT_RESPONSE;
                self.envelope(namespace, kind, answer.attachments(), |w| {
                    id(w);
                    write_arg(w, "packet", answer);
                })
            }
            Reply::Clients(count) => {
                self.envelope(namespace, kind::BROADCAST_CLIENT_COUNT, &[], |w| {
                    id(w);
                    w.key("clientCount").u64(*count as u64);
                })
            }
            Reply::Acknowledged(answer) => {
                self.envelope(namespace, kind::BROADCAST_ACK, answer.attachments(), |w| {
                    id(w);
                    write_arg(w, "packet", answer);
                })
            }
        };
        Some((self.part(namespace, &asked.from), message))
    }

    fn read(
        &self,
        namespace: &str,
        _channel: &str,
        message: &Bytes,
    ) -> Result<Option<Heard>, Malformed> {
        let document = Document::read(message, self.max_message)?;
        let [kind, data, from, of] = members(document.value()?, ["type", "data", "uid", "nsp"]);
        let from = text(from).ok_or(Malformed::Member("uid"))?;
        if from == self.uid || text(of).as_deref() != Some(namespace) {
            return Ok(None);
        }
        let kind = number(kind).ok_or(Malformed::Member("type"))?;
        let Some(data) = data else { return Ok(None) };
        if let Some(reply) = Self::read_reply(&document, kind, data)? {
            let [request] = members(data, ["requestId"]);
            let request = text(request).ok_or(Malformed::Member("requestId"))?;
            return Ok(Some(Heard::Reply { request, reply }));
        }
        let message = Self::read_message(&document, kind, data)?;
        Ok(message.map(|message| Heard::Message { from: Some(from), message }))
    }
}

fn write_opts(w: &mut Writer<'_>, target: &Target) {
    w.key("opts");
    write_options(w, target, false, None);
}
