//! Messages of Node's adapters: JSON, or MessagePack where binary may be in it. Both are brought
//! into the form that arguments have: JSON with placeholders for what is binary.

use std::sync::Arc;

use bytes::Bytes;
use tidings_core::json::{self, Kind, Value, Writer};
use tidings_core::msgpack::{self, Error, Reader, Token};
use tidings_core::socketio::Args;
use tidings_core::socketio::msgpack::{encode_json, write_date};

use super::message::{Details, Malformed};
use crate::socketio::table::Target;

/// How JavaScript's `undefined` begins where older members write it.
const UNDEFINED: u8 = 0xD4;

/// A message that was read.
pub(super) struct Document {
    json: Bytes,
    attachments: Vec<Bytes>,
}

impl Document {
    /// Reads a message, whose JSON may have `max` bytes.
    pub(super) fn read(message: &Bytes, max: usize) -> Result<Self, Malformed> {
        if message.first() == Some(&b'{') {
            json::parse(message, json::MAX_DEPTH)?;
            return Ok(Self { json: message.clone(), attachments: Vec::new() });
        }
        let (mut text, mut attachments) = (Vec::new(), Vec::new());
        let mut reader = Reader::new(message);
        msgpack::to_json_with(
            &mut reader,
            &mut text,
            json::MAX_DEPTH,
            max,
            |first, token, out| {
                match (first, token) {
                    // Older members write an ArrayBuffer so.
                    (_, Token::Bin(data)) | (0xC7..=0xC9, Token::Ext(0, data)) => {
                        let num = attachments.len() as u64;
                        let mut w = Writer::new(out);
                        w.begin_object().key("_placeholder").bool(true).key("num").u64(num);
                        w.end_object();
                        attachments.push(message.slice_ref(data));
                    }
                    (_, Token::Ext(-1, data)) => {
                        let millis = timestamp(data).ok_or(Error::Extension(-1))?;
                        write_date(out, millis).ok_or(Error::Extension(-1))?;
                    }
                    (UNDEFINED, Token::Ext(0, _)) | (_, Token::Float(_)) => {
                        out.extend_from_slice(b"null");
                    }
                    (_, Token::Ext(kind, _)) => return Err(Error::Extension(kind)),
                    _ => return Err(Error::Reserved),
                }
                Ok(())
            },
        )?;
        if !reader.rest().is_empty() {
            return Err(Error::Trailing.into());
        }
        Ok(Self { json: text.into(), attachments })
    }

    /// The whole of it.
    pub(super) fn value(&self) -> Result<Value<'_>, Malformed> {
        Ok(json::parse(&self.json, json::MAX_DEPTH)?)
    }

    /// The elements of an array as an event's name and arguments.
    pub(super) fn event(&self, array: Option<Value<'_>>) -> Result<Args, Malformed> {
        let mut elements =
            array.and_then(Value::array).ok_or(Malformed::Member("an event"))?.peekable();
        // Clients close the connection when an event has no name.
        match elements.peek().map(|name| name.kind()) {
            Some(Kind::String | Kind::Number) => {}
            _ => return Err(Malformed::Member("an event's name")),
        }
        let mut args = Args::new();
        elements.for_each(|value| args.push_json(self.slice(value)));
        self.attach(&mut args);
        Ok(args)
    }

    /// A value as the only argument; `undefined` is none.
    pub(super) fn arg(&self, value: Option<Value<'_>>) -> Args {
        let mut args = Args::new();
        value.into_iter().for_each(|value| args.push_json(self.slice(value)));
        self.attach(&mut args);
        args
    }

    fn attach(&self, args: &mut Args) {
        for data in &self.attachments {
            args.push_attachment(data.clone());
        }
    }

    fn slice(&self, value: Value<'_>) -> Bytes {
        self.json.slice_ref(value.raw().as_bytes())
    }

    /// Sockets of another member.
    pub(super) fn sockets(&self, array: Value<'_>) -> Result<Vec<Details>, Malformed> {
        let attachments: Arc<[Bytes]> = self.attachments.clone().into();
        let sockets = array.array().ok_or(Malformed::Member("sockets"))?;
        let read = sockets.map(|socket| {
            let [id, handshake, in_rooms, data] =
                members(socket, ["id", "handshake", "rooms", "data"]);
            let id = text(id).ok_or(Malformed::Member("sockets[].id"))?;
            let slice = |value| Option::map_or(value, "{}".into(), |value| self.slice(value));
            Ok(Details {
                id: id.into(),
                rooms: rooms(in_rooms),
                handshake: slice(handshake),
                data: slice(data),
                attachments: Arc::clone(&attachments),
            })
        });
        read.collect()
    }
}

/// The milliseconds since 1970 of MessagePack's own timestamp.
fn timestamp(data: &[u8]) -> Option<i64> {
    let (seconds, nanos) = match data.len() {
        4 => (i64::from(u32::from_be_bytes(data.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(data.try_into().ok()?);
            ((both & ((1 << 34) - 1)) as i64, both >> 34)
        }
        12 => {
            let (nanos, seconds) = data.split_at(4);
            let nanos = u32::from_be_bytes(nanos.try_into().ok()?);
            (i64::from_be_bytes(seconds.try_into().ok()?), nanos.into())
        }
        _ => return None,
    };
    seconds.checked_mul(1000)?.checked_add((nanos / 1_000_000) as i64)
}

/// The members with these keys, found in one pass.
pub(super) fn members<'a, const N: usize>(
    object: Value<'a>,
    keys: [&str; N],
) -> [Option<Value<'a>>; N] {
    let mut found = [None; N];
    for (key, value) in object.object().into_iter().flatten() {
        if let Some(at) = keys.iter().position(|wanted| *wanted == key) {
            found[at] = Some(value);
        }
    }
    found
}

/// A string.
pub(super) fn text(value: Option<Value<'_>>) -> Option<String> {
    Some(value?.as_str()?.into_owned())
}

/// A whole number. MessagePack's writer in Node writes large ones as such, too.
pub(super) fn number(value: Option<Value<'_>>) -> Option<u64> {
    value?.as_u64()
}

/// Names of rooms. In Node they may be numbers.
pub(super) fn rooms(value: Option<Value<'_>>) -> Vec<Arc<str>> {
    let name = |value: Value<'_>| match value.kind() {
        Kind::Number => Some(value.raw().into()),
        _ => Some(value.as_str()?.as_ref().into()),
    };
    value.and_then(Value::array).into_iter().flatten().filter_map(name).collect()
}

/// Whom something is for, and the flags that go with it: volatile, and a time-out in milliseconds.
pub(super) fn options(value: Value<'_>) -> (Target, bool, Option<u64>) {
    let [to, except, flags] = members(value, ["rooms", "except", "flags"]);
    let target = Target { rooms: rooms(to), except: rooms(except) };
    let [volatile, timeout] =
        flags.map_or([None; 2], |flags| members(flags, ["volatile", "timeout"]));
    (target, volatile.and_then(Value::as_bool) == Some(true), number(timeout))
}

pub(super) fn write_args(w: &mut Writer<'_>, args: &Args) {
    w.begin_array();
    for json in (0..args.len()).filter_map(|index| args.json(index)) {
        w.raw(json);
    }
    w.end_array();
}

/// Writes the member `key`, unless there is no value: JavaScript's `undefined`.
pub(super) fn write_arg(w: &mut Writer<'_>, key: &str, args: &Args) {
    if let Some(json) = args.json(0) {
        w.key(key).raw(json);
    }
}

pub(super) fn write_rooms(w: &mut Writer<'_>, rooms: &[Arc<str>]) {
    w.begin_array();
    for room in rooms {
        w.str(room);
    }
    w.end_array();
}

pub(super) fn write_options(
    w: &mut Writer<'_>,
    target: &Target,
    volatile: bool,
    timeout: Option<std::time::Duration>,
) {
    w.begin_object().key("rooms");
    write_rooms(w, &target.rooms);
    w.key("except");
    write_rooms(w, &target.except);
    w.key("flags").begin_object();
    if volatile {
        w.key("volatile").bool(true);
    }
    if let Some(timeout) = timeout {
        w.key("timeout").u64(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    }
    w.end_object().end_object();
}

pub(super) fn write_sockets(w: &mut Writer<'_>, sockets: &[Details]) {
    w.begin_array();
    for socket in sockets {
        w.begin_object().key("id").str(&socket.id).key("handshake").raw(&socket.handshake);
        w.key("rooms");
        write_rooms(w, &socket.rooms);
        w.key("data").raw(&socket.data).end_object();
    }
    w.end_array();
}

/// JSON as MessagePack, with its binary.
pub(super) fn as_msgpack(json: &[u8], attachments: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(json.len());
    encode_json(json, attachments, &mut out);
    out.into()
}

/// Arguments as Node writes them where only JSON can be written: what is binary as the object that
/// `JSON.stringify` makes of a `Buffer`.
pub(super) fn without_attachments(args: &Args) -> Args {
    if args.attachments().is_empty() {
        return args.clone();
    }
    let mut plain = Args::new();
    for value in (0..args.len()).filter_map(|index| args.value(index)) {
        let mut json = Vec::new();
        write_buffers(value, args.attachments(), &mut json);
        plain.push_json(json.into());
    }
    plain
}

/// It calls itself at most as deep as `value` is nested, which is bounded.
fn write_buffers(value: Value<'_>, attachments: &[Bytes], out: &mut Vec<u8>) {
    match value.kind() {
        Kind::Array => {
            out.push(b'[');
            for (index, element) in value.array().into_iter().flatten().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_buffers(element, attachments, out);
            }
            out.push(b']');
        }
        Kind::Object => {
            let [marked, num] = members(value, ["_placeholder", "num"]);
            let num = num.filter(|_| marked.and_then(Value::as_bool) == Some(true));
            let num = number(num).and_then(|num| usize::try_from(num).ok());
            if let Some(data) = num.and_then(|num| attachments.get(num)) {
                let mut w = Writer::new(out);
                w.begin_object().key("type").str("Buffer").key("data").begin_array();
                for byte in data {
                    w.u64(u64::from(*byte));
                }
                w.end_array().end_object();
                return;
            }
            out.push(b'{');
            for (index, (key, member)) in value.object().into_iter().flatten().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                Writer::new(out).key(&key);
                write_buffers(member, attachments, out);
            }
            out.push(b'}');
        }
        _ => out.extend_from_slice(value.raw().as_bytes()),
    }
}
