//! The format of `createAdapter` of `@socket.io/redis-adapter` 8, and of `@socket.io/redis-emitter`:
//! Redis' pub/sub, broadcasts as MessagePack, nearly everything else as JSON.

use std::time::Duration;

use bytes::Bytes;
use tidings_core::json::{Value, Writer};
use tidings_core::socketio::Args;

use super::document::{
    Document, as_msgpack, members, number, options, rooms, text, without_attachments, write_arg,
    write_args, write_options, write_rooms, write_sockets,
};
use super::message::{Asked, Format, Heard, Malformed, Message, Question, Reply};
use crate::backplane::Channel;
use crate::config::NodeAdapter;
use crate::socketio::table::Target;

/// Node's numbers of requests.
mod kind {
    pub(super) const SOCKETS: u64 = 0;
    pub(super) const ALL_ROOMS: u64 = 1;
    pub(super) const REMOTE_JOIN: u64 = 2;
    pub(super) const REMOTE_LEAVE: u64 = 3;
    pub(super) const REMOTE_DISCONNECT: u64 = 4;
    pub(super) const REMOTE_FETCH: u64 = 5;
    pub(super) const SERVER_SIDE_EMIT: u64 = 6;
    pub(super) const BROADCAST: u64 = 7;
    pub(super) const BROADCAST_CLIENT_COUNT: u64 = 8;
    pub(super) const BROADCAST_ACK: u64 = 9;
}

/// The type of an event's packet.
const EVENT: u64 = 2;

/// The format of the classic adapter.
pub(super) struct Classic {
    uid: String,
    prefix: String,
    max_message: usize,
    specific_responses: bool,
}

impl Classic {
    /// `uid` is what this member calls itself: Node's have 6 characters.
    pub(super) fn new(uid: String, settings: &NodeAdapter) -> Self {
        Self {
            uid,
            prefix: settings.prefix.clone(),
            max_message: settings.max_message,
            specific_responses: settings.specific_responses,
        }
    }

    fn broadcasts(&self, namespace: &str) -> String {
        format!("{}#{namespace}#", self.prefix)
    }

    fn requests(&self, namespace: &str) -> Channel {
        Channel::plain(format!("{}-request#{namespace}#", self.prefix))
    }

    fn responses(&self, namespace: &str) -> String {
        format!("{}-response#{namespace}#", self.prefix)
    }

    /// A request in JSON; with an id it is a question.
    fn request(
        &self,
        namespace: &str,
        id: Option<&str>,
        kind: u64,
        rest: impl FnOnce(&mut Writer<'_>),
    ) -> Written {
        let mut json = Vec::with_capacity(128);
        let mut w = Writer::new(&mut json);
        w.begin_object().key("uid").str(&self.uid);
        if let Some(id) = id {
            w.key("requestId").str(id);
        }
        w.key("type").u64(kind);
        rest(&mut w);
        w.end_object();
        (self.requests(namespace), json.into())
    }

    /// An event for sockets that nobody acknowledges.
    fn emit(&self, namespace: &str, target: &Target, args: &Args, volatile: bool) -> Written {
        let mut json = Vec::with_capacity(128 + args.bytes());
        let mut w = Writer::new(&mut json);
        w.begin_array().str(&self.uid);
        write_packet(&mut w, args, namespace);
        write_options(&mut w, target, volatile, None);
        w.end_array();
        let mut channel = self.broadcasts(namespace);
        if let [room] = &*target.rooms {
            channel.push_str(room);
            channel.push('#');
        }
        (Channel::plain(channel), as_msgpack(&json, args.attachments()))
    }

    fn question(&self, namespace: &str, request: &str, question: &Question) -> Written {
        let ask = |kind, rest: &dyn Fn(&mut Writer<'_>)| {
            self.request(namespace, Some(request), kind, rest)
        };
        match question {
            Question::Sockets(target) => ask(kind::REMOTE_FETCH, &|w| write_target(w, target)),
            Question::Ids(rooms) => ask(kind::SOCKETS, &|w| {
                w.key("rooms");
                write_rooms(w, rooms);
            }),
            Question::Rooms => ask(kind::ALL_ROOMS, &|_| {}),
            Question::ServerSide(args) => ask(kind::SERVER_SIDE_EMIT, &|w| {
                w.key("data");
                write_args(w, &without_attachments(args));
            }),
            Question::Emit { target, args, volatile, timeout } => {
                let (channel, json) = ask(kind::BROADCAST, &|w| {
                    w.key("packet");
                    write_packet(w, args, namespace);
                    w.key("opts");
                    write_options(w, target, *volatile, *timeout);
                });
                (channel, as_msgpack(&json, args.attachments()))
            }
        }
    }

    fn read_broadcast(&self, namespace: &str, message: &Bytes) -> Read {
        let document = Document::read(message, self.max_message)?;
        let mut parts = document.value()?.array().ok_or(Malformed::Member("a broadcast"))?;
        let from = text(parts.next());
        let packet = parts.next().ok_or(Malformed::Member("packet"))?;
        let [data, of] = members(packet, ["data", "nsp"]);
        let elsewhere = text(of).as_deref().unwrap_or("/") != namespace;
        if elsewhere || from.as_deref() == Some(&self.uid) {
            return Ok(None);
        }
        let (target, volatile, _) = options(parts.next().ok_or(Malformed::Member("opts"))?);
        let args = document.event(data)?;
        Ok(Some(Heard::Message { from, message: Message::Emit { target, args, volatile } }))
    }

    fn read_request(&self, message: &Bytes) -> Read {
        let document = Document::read(message, self.max_message)?;
        let keys = ["type", "uid", "requestId", "opts", "rooms", "close", "data", "packet"];
        let [kind, from, request, opts, in_rooms, close, data, packet] =
            members(document.value()?, keys);
        let from = text(from);
        if from.as_deref() == Some(&self.uid) {
            return Ok(None);
        }
        let target = || opts.map(options).ok_or(Malformed::Member("opts"));
        let asks = |question| {
            let request = text(request).ok_or(Malformed::Member("requestId"))?;
            Ok::<_, Malformed>(Message::Ask { request, question })
        };
        let message = match number(kind) {
            Some(kind::SOCKETS) => asks(Question::Ids(rooms(in_rooms)))?,
            Some(kind::ALL_ROOMS) => asks(Question::Rooms)?,
            Some(kind::REMOTE_JOIN) => {
                Message::Join { target: target()?.0, rooms: rooms(in_rooms) }
            }
            Some(kind::REMOTE_LEAVE) => {
                Message::Leave { target: target()?.0, rooms: rooms(in_rooms) }
            }
            Some(kind::REMOTE_DISCONNECT) => {
                let close = close.and_then(Value::as_bool) == Some(true);
                Message::Disconnect { target: target()?.0, close }
            }
            Some(kind::REMOTE_FETCH) => asks(Question::Sockets(target()?.0))?,
            Some(kind::SERVER_SIDE_EMIT) => {
                let args = document.event(data)?;
                match request {
                    Some(_) => asks(Question::ServerSide(args))?,
                    None => Message::ServerSide { args },
                }
            }
            Some(kind::BROADCAST) => {
                let [data] = members(packet.ok_or(Malformed::Member("packet"))?, ["data"]);
                let (target, volatile, timeout) = target()?;
                let timeout = timeout.map(Duration::from_millis);
                asks(Question::Emit { target, args: document.event(data)?, volatile, timeout })?
            }
            _ => return Err(Malformed::Member("type")),
        };
        Ok(Some(Heard::Message { from, message }))
    }

    fn read_response(&self, message: &Bytes) -> Read {
        let document = Document::read(message, self.max_message)?;
        let keys = ["type", "requestId", "sockets", "rooms", "data", "clientCount", "packet"];
        let [kind, request, sockets, in_rooms, data, count, packet] =
            members(document.value()?, keys);
        let request = text(request).ok_or(Malformed::Member("requestId"))?;
        let reply = match (number(kind), sockets, in_rooms) {
            (Some(kind::SERVER_SIDE_EMIT), ..) => Reply::ServerSide(document.arg(data)),
            (Some(kind::BROADCAST_CLIENT_COUNT), ..) => {
                let count = number(count).and_then(|count| usize::try_from(count).ok());
                Reply::Clients(count.ok_or(Malformed::Member("clientCount"))?)
            }
            (Some(kind::BROADCAST_ACK), ..) => Reply::Acknowledged(document.arg(packet)),
            (None, Some(sockets), _) => Reply::Sockets(document.sockets(sockets)?),
            (None, None, Some(_)) => Reply::Rooms(rooms(in_rooms)),
            _ => return Err(Malformed::Member("type")),
        };
        Ok(Some(Heard::Reply { request, reply }))
    }
}

type Written = (Channel, Bytes);
type Read = Result<Option<Heard>, Malformed>;

impl Format for Classic {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn channels(&self, namespace: &str) -> Vec<Channel> {
        let responses = self.responses(namespace);
        let own = format!("{responses}{}#", self.uid);
        vec![
            Channel::prefix(self.broadcasts(namespace)),
            Channel::plain(responses),
            Channel::plain(own),
            self.requests(namespace),
        ]
    }

    fn members(&self, namespace: &str) -> Channel {
        self.requests(namespace)
    }

    fn knows_rooms(&self) -> bool {
        true
    }

    fn message(&self, namespace: &str, message: &Message) -> Written {
        let tell = |kind, rest: &dyn Fn(&mut Writer<'_>)| self.request(namespace, None, kind, rest);
        let to_rooms = |w: &mut Writer<'_>, target, rooms| {
            write_target(w, target);
            w.key("rooms");
            write_rooms(w, rooms);
        };
        match message {
            Message::Emit { target, args, volatile } => {
                self.emit(namespace, target, args, *volatile)
            }
            Message::Join { target, rooms } => {
                tell(kind::REMOTE_JOIN, &|w| to_rooms(w, target, rooms))
            }
            Message::Leave { target, rooms } => {
                tell(kind::REMOTE_LEAVE, &|w| to_rooms(w, target, rooms))
            }
            Message::Disconnect { target, close } => tell(kind::REMOTE_DISCONNECT, &|w| {
                write_target(w, target);
                w.key("close").bool(*close);
            }),
            Message::ServerSide { args } => tell(kind::SERVER_SIDE_EMIT, &|w| {
                w.key("data");
                write_args(w, &without_attachments(args));
            }),
            Message::Ask { request, question } => self.question(namespace, request, question),
        }
    }

    fn reply(&self, namespace: &str, asked: &Asked, reply: &Reply) -> Option<Written> {
        let mut json = Vec::with_capacity(128);
        let mut w = Writer::new(&mut json);
        let mut begin = |kind: Option<u64>| {
            w.begin_object();
            if let Some(kind) = kind {
                w.key("type").u64(kind);
            }
            w.key("requestId").str(&asked.request);
        };
        let mut channel = self.responses(namespace);
        // Node listens for these on the shared channel alone.
        let shared = matches!(reply, Reply::ServerSide(_));
        if self.specific_responses && !shared {
            channel.push_str(&asked.from);
            channel.push('#');
        }
        let mut attachments: &[Bytes] = &[];
        let mut binary = false;
        match reply {
            Reply::Sockets(sockets) => {
                begin(None);
                w.key("sockets");
                write_sockets(&mut w, sockets);
            }
            Reply::Ids(ids) => {
                begin(None);
                w.key("sockets");
                write_rooms(&mut w, ids);
            }
            Reply::Rooms(rooms) => {
                begin(None);
                w.key("rooms");
                write_rooms(&mut w, rooms);
            }
            Reply::ServerSide(answer) => {
                begin(Some(kind::SERVER_SIDE_EMIT));
                write_arg(&mut w, "data", &without_attachments(answer));
            }
            Reply::Clients(count) => {
                begin(Some(kind::BROADCAST_CLIENT_COUNT));
                w.key("clientCount").u64(*count as u64);
            }
            Reply::Acknowledged(answer) => {
                begin(Some(kind::BROADCAST_ACK));
                write_arg(&mut w, "packet", answer);
                attachments = answer.attachments();
                binary = true;
            }
        }
        w.end_object();
        let message = if binary { as_msgpack(&json, attachments) } else { json.into() };
        Some((Channel::plain(channel), message))
    }

    fn room_of<'a>(&self, namespace: &str, channel: &'a str) -> Option<&'a str> {
        let room = channel.strip_prefix(&self.broadcasts(namespace))?.strip_suffix('#')?;
        (!room.is_empty()).then_some(room)
    }

    fn read(&self, namespace: &str, channel: &str, message: &Bytes) -> Read {
        if channel.starts_with(&self.broadcasts(namespace)) {
            self.read_broadcast(namespace, message)
        } else if channel.starts_with(&self.responses(namespace)) {
            self.read_response(message)
        } else {
            self.read_request(message)
        }
    }
}

fn write_packet(w: &mut Writer<'_>, args: &Args, namespace: &str) {
    w.begin_object().key("type").u64(EVENT).key("data");
    write_args(w, args);
    w.key("nsp").str(namespace).end_object();
}

/// Requests in JSON have no flags.
fn write_target(w: &mut Writer<'_>, target: &Target) {
    w.key("opts").begin_object().key("rooms");
    write_rooms(w, &target.rooms);
    w.key("except");
    write_rooms(w, &target.except);
    w.end_object();
}
