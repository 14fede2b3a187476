//! The msgpack parser: a packet is one MessagePack map in one binary message.
//!
//! What `socket.io-msgpack-parser` writes: `{type, data, id, nsp}`, binary in its place among the
//! data. Here it is brought into the form of the default parser: JSON, with placeholders for
//! binary.

mod date;

pub use date::write_date;

use bytes::Bytes;

use crate::json::{self, Kind, Value};
use crate::message::Frame;
use crate::msgpack::{self, Error, MAX_DEPTH, Reader, Token, Writer};

use super::packet::{
    Args, ArgumentError, BadArgument, Body, DecodeError, MAX_ACK_ID, Namespace, Packet,
    PacketLimits, write_placeholder,
};

/// How JavaScript's `undefined` begins, an extension of one byte.
const UNDEFINED: u8 = 0xD4;
/// How a date begins, an extension of eight bytes.
const DATE: u8 = 0xD7;

/// The message that a packet is.
pub fn frame(packet: &Packet) -> Frame {
    let mut out = Vec::with_capacity(64);
    encode(packet, &mut out);
    Frame::Binary(out.into())
}

/// Appends the packet.
pub fn encode(packet: &Packet, out: &mut Vec<u8>) {
    let (number, ack, json, args) = match &packet.body {
        Body::Connect(json) => (0, None, json.as_ref(), None),
        Body::Disconnect => (1, None, None, None),
        Body::Event { ack, args } => (2, *ack, None, Some(args)),
        Body::Ack { ack, args } => (3, Some(*ack), None, Some(args)),
        Body::ConnectError(json) => (4, None, Some(json), None),
    };
    let data = json.is_some() || args.is_some();
    let mut w = Writer::new(out);
    w.map(2 + usize::from(data) + usize::from(ack.is_some())).str("type").u64(number);
    if data {
        w.str("data");
    }
    if let Some(json) = json {
        encode_json(json, &[], out);
    }
    if let Some(args) = args {
        Writer::new(out).array(args.len());
        for value in &args.values {
            encode_json(value, &args.attachments, out);
        }
    }
    let mut w = Writer::new(out);
    if let Some(ack) = ack {
        w.str("id").u64(ack);
    }
    w.str("nsp").str(packet.namespace.as_str());
}

/// Appends a JSON value, which must be well-formed, with its binary in the places of the placeholders.
pub fn encode_json(json: &[u8], attachments: &[Bytes], out: &mut Vec<u8>) {
    let start = out.len();
    if attachments.is_empty() && msgpack::from_json(json, out, MAX_DEPTH).is_ok() {
        return;
    }
    out.truncate(start);
    match json::parse(json, json::MAX_DEPTH) {
        Ok(value) => write_value(out, value, attachments),
        // Arguments are checked where they are made.
        Err(_) => {
            Writer::new(out).nil();
        }
    }
}

/// Writes a value step by step: binary in the place of placeholders, and numbers beyond 64 bits as
/// JavaScript reads them, as the nearest double.
fn write_value(out: &mut Vec<u8>, value: Value<'_>, attachments: &[Bytes]) {
    match value.kind() {
        Kind::Array => {
            let elements = value.array();
            Writer::new(out).array(elements.clone().map_or(0, Iterator::count));
            for element in elements.into_iter().flatten() {
                write_value(out, element, attachments);
            }
        }
        Kind::Object => {
            let num = Args::placeholder_in(value);
            if let Some(data) = num.and_then(|num| attachments.get(num)) {
                Writer::new(out).bin(data);
                return;
            }
            let members = value.object();
            Writer::new(out).map(members.clone().map_or(0, Iterator::count));
            for (key, member) in members.into_iter().flatten() {
                Writer::new(out).str(&key);
                write_value(out, member, attachments);
            }
        }
        _ => {
            if msgpack::from_json(value.raw().as_bytes(), out, 0).is_err() {
                Writer::new(out).f64(value.raw().parse().unwrap_or_default());
            }
        }
    }
}

/// Reads a packet.
///
/// # Errors
/// When it is none. After [`DecodeError::Argument`] the connection can go on.
pub fn decode(message: &Bytes, limits: &PacketLimits) -> Result<Packet, DecodeError> {
    let (len, max) = (message.len(), limits.max_bytes);
    if len > max {
        return Err(DecodeError::TooLarge { len, max });
    }
    let members = Members::read(message)?;
    let namespace = members.namespace.and_then(Namespace::new).ok_or(DecodeError::Namespace)?;
    let ack = match members.id {
        None => None,
        Some(id) => Some(id.filter(|id| *id <= MAX_ACK_ID).ok_or(DecodeError::AckId)?),
    };
    let data = members.data;
    let wrong = |packet, expected| Err(DecodeError::Data { packet, expected });
    let mut fault = None;
    let body = match (members.kind, data.map(first_token)) {
        (Some(0), None) => Body::Connect(None),
        (Some(0), Some(Token::Map(_))) => Body::Connect(Some(whole_json(data, limits)?)),
        (Some(0), _) => return wrong("CONNECT", "a map or nothing"),
        (Some(1), None) => Body::Disconnect,
        (Some(1), _) => return wrong("DISCONNECT", "no data"),
        (Some(2), Some(Token::Array(_))) => {
            let args;
            (args, fault) = read_args(message, data, limits)?;
            match (args.value(0).map(Value::kind), &fault) {
                (Some(Kind::String | Kind::Number), _) | (None, Some(_)) => {}
                _ => return wrong("EVENT", "an array that begins with the event's name"),
            }
            Body::Event { ack, args }
        }
        (Some(2), _) => return wrong("EVENT", "an array that begins with the event's name"),
        (Some(3), Some(Token::Array(_))) => {
            let args;
            (args, fault) = read_args(message, data, limits)?;
            Body::Ack { ack: ack.ok_or(DecodeError::AckId)?, args }
        }
        (Some(3), _) => return wrong("ACK", "an array"),
        (Some(4), Some(Token::Map(_) | Token::Str(_))) => {
            Body::ConnectError(whole_json(data, limits)?)
        }
        (Some(4), _) => return wrong("CONNECT_ERROR", "a map or a string"),
        (kind, _) => {
            let kind = kind.map_or("none".into(), |kind| kind.to_string());
            return Err(DecodeError::UnknownType(kind));
        }
    };
    let packet = Packet { namespace, body };
    match fault {
        Some(reason) => Err(DecodeError::Argument(Box::new(BadArgument { packet, reason }))),
        None => Ok(packet),
    }
}

/// The members of a packet's map that mean something; JavaScript's `undefined` counts as absent.
#[derive(Default)]
struct Members<'a> {
    kind: Option<u64>,
    namespace: Option<&'a str>,
    /// The inner one is absent when it is not a whole number.
    id: Option<Option<u64>>,
    data: Option<&'a [u8]>,
}

impl<'a> Members<'a> {
    fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut members = Self::default();
        let mut reader = Reader::new(message);
        let Token::Map(count) = reader.token().map_err(DecodeError::Msgpack)? else {
            return Err(DecodeError::Data { packet: "a packet", expected: "to be a map" });
        };
        for _ in 0..count {
            let key = reader.token().map_err(DecodeError::Msgpack)?;
            let rest = reader.rest();
            match reader.skip(MAX_DEPTH) {
                // The reader is past it; who needs the value finds out again.
                Ok(_) | Err(Error::TooDeep { .. }) => {}
                Err(error) => return Err(DecodeError::Msgpack(error)),
            }
            let value = rest.get(..rest.len() - reader.rest().len()).unwrap_or_default();
            let token = first_token(value);
            let absent = match token {
                Token::Nil => true,
                Token::Ext(0, content) => content.len() == 1,
                _ => false,
            };
            match (key, token) {
                _ if absent => {}
                (Token::Str("type"), Token::Unsigned(kind)) => members.kind = Some(kind),
                (Token::Str("nsp"), Token::Str(namespace)) => members.namespace = Some(namespace),
                (Token::Str("id"), Token::Unsigned(id)) => members.id = Some(Some(id)),
                (Token::Str("id"), _) => members.id = Some(None),
                (Token::Str("data"), _) => members.data = Some(value),
                _ => {}
            }
        }
        match reader.rest() {
            [] => Ok(members),
            _ => Err(DecodeError::Msgpack(Error::Trailing)),
        }
    }
}

fn first_token(value: &[u8]) -> Token<'_> {
    Reader::new(value).token().unwrap_or(Token::Nil)
}

/// The data of a packet that has no arguments. Node's server leaves members `undefined` in it.
fn whole_json(data: Option<&[u8]>, limits: &PacketLimits) -> Result<Bytes, DecodeError> {
    let mut json = Vec::new();
    let mut reader = Reader::new(data.unwrap_or_default());
    let foreign = |first, token, out: &mut Vec<u8>| match (first, token) {
        (_, Token::Bin(_)) => Err(Error::Binary),
        (UNDEFINED, Token::Ext(0, _)) => {
            out.extend_from_slice(b"null");
            Ok(())
        }
        (DATE, Token::Ext(0, data)) => {
            date::read(data).and_then(|millis| write_date(out, millis)).ok_or(Error::Extension(0))
        }
        (_, Token::Ext(kind, _)) => Err(Error::Extension(kind)),
        _ => Err(Error::NotFinite),
    };
    msgpack::to_json_with(&mut reader, &mut json, limits.max_depth, limits.max_bytes, foreign)
        .map_err(DecodeError::Msgpack)?;
    Ok(json.into())
}

/// Brings an array's elements into the form of the default parser.
fn read_args(
    message: &Bytes,
    data: Option<&[u8]>,
    limits: &PacketLimits,
) -> Result<(Args, Option<ArgumentError>), DecodeError> {
    let mut args = Args::new();
    let mut reader = Reader::new(data.unwrap_or_default());
    let Ok(Token::Array(count)) = reader.token() else { return Ok((args, None)) };
    let mut room = limits.max_bytes;
    for _ in 0..count {
        if args.len() == limits.max_arguments {
            return Ok((args, Some(ArgumentError::TooMany { max: limits.max_arguments })));
        }
        let mut json = Vec::new();
        let mut too_many = false;
        let attachments = &mut args.attachments;
        let foreign = |first, token, out: &mut Vec<u8>| match (first, token) {
            (_, Token::Bin(data)) | (0xC7..=0xC9, Token::Ext(0, data)) => {
                if attachments.len() == limits.max_attachments {
                    too_many = true;
                    return Err(Error::Binary);
                }
                write_placeholder(&mut json::Writer::new(out), attachments.len());
                attachments.push(message.slice_ref(data));
                Ok(())
            }
            (UNDEFINED, Token::Ext(0, _)) => {
                out.extend_from_slice(b"null");
                Ok(())
            }
            (DATE, Token::Ext(0, data)) => date::read(data)
                .and_then(|millis| write_date(out, millis))
                .ok_or(Error::Extension(0)),
            (_, Token::Ext(kind, _)) => Err(Error::Extension(kind)),
            _ => Err(Error::NotFinite),
        };
        match msgpack::to_json_with(&mut reader, &mut json, limits.max_depth, room, foreign) {
            Ok(()) => {
                room = room.saturating_sub(json.len());
                args.push_json(json.into());
            }
            Err(error) if error.is_malformed() => return Err(DecodeError::Msgpack(error)),
            Err(_) if too_many => {
                let max = limits.max_attachments;
                return Ok((args, Some(ArgumentError::TooManyAttachments { max })));
            }
            Err(error) => return Ok((args, Some(ArgumentError::Msgpack(error)))),
        }
    }
    Ok((args, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PacketLimits =
        PacketLimits { max_bytes: 200, max_depth: 2, max_arguments: 3, max_attachments: 2 };

    /// Writes one value.
    trait Fill: for<'b, 'w> FnOnce(&'b mut Writer<'w>) -> &'b mut Writer<'w> {}
    impl<F: for<'b, 'w> FnOnce(&'b mut Writer<'w>) -> &'b mut Writer<'w>> Fill for F {}

    /// A packet of this type with what `write` writes as its data.
    fn packet(kind: u64, data: impl Fill) -> Bytes {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.map(3).str("type").u64(kind).str("nsp").str("/").str("data");
        data(&mut w);
        out.into()
    }

    /// The arguments of an event whose second argument is what `write` writes.
    fn event(write: impl Fill) -> Result<Args, DecodeError> {
        let message = packet(2, |w| write(w.array(2).str("x")));
        match decode(&message, &LIMITS)?.body {
            Body::Event { ack: None, args } => Ok(args),
            other => panic!("{other:?}"),
        }
    }

    fn refused(write: impl Fill) -> ArgumentError {
        match event(write) {
            Err(DecodeError::Argument(bad)) => bad.reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_javascript_has_besides_json_is_understood() {
        let json = |args: &Args| String::from_utf8_lossy(&args.values[1]).into_owned();
        let undefined = event(|w| w.array(1).ext(0, &[0])).expect("undefined");
        assert_eq!(json(&undefined), "[null]");
        let date = 1_717_240_205_678_u64.to_be_bytes();
        let date = event(|w| w.ext(0, &date)).expect("a date");
        assert_eq!(json(&date), "\"2024-06-01T11:10:05.678Z\"");
        let array_buffer = event(|w| w.raw(&[0xC7, 8, 0]).raw(b"12345678")).expect("bytes");
        assert_eq!(array_buffer.attachments(), ["12345678"]);
        let inner = event(|w| w.array(2).bin(b"a").bin(b"b")).expect("bytes");
        assert_eq!(inner.attachments(), ["a", "b"]);
        assert!(inner.has_inner_binary());
    }

    #[test]
    fn a_bad_argument_leaves_the_rest_of_the_packet() {
        let deep = refused(|w| w.array(1).array(1).array(0));
        assert_eq!(deep, ArgumentError::Msgpack(Error::TooDeep { limit: 2 }));
        assert_eq!(refused(|w| w.ext(5, b"?")), ArgumentError::Msgpack(Error::Extension(5)));
        let infinite = refused(|w| w.f64(f64::INFINITY));
        assert_eq!(infinite, ArgumentError::Msgpack(Error::NotFinite));
        let key = refused(|w| w.map(1).u64(1).u64(2));
        assert_eq!(key, ArgumentError::Msgpack(Error::Key));
        let binary = refused(|w| w.array(3).bin(b"").bin(b"").bin(b""));
        assert_eq!(binary, ArgumentError::TooManyAttachments { max: 2 });
        // Zero bytes take six times their room in JSON.
        let large = refused(|w| w.str(&"\0".repeat(50)));
        assert!(matches!(large, ArgumentError::Msgpack(Error::TooLarge { .. })), "{large}");
        let message = packet(3, |w| w.array(4).nil().nil().nil().nil());
        assert_eq!(decode(&message, &LIMITS), Err(DecodeError::AckId));
        let message = packet(2, |w| w.array(4).str("x").nil().nil().nil());
        let result = decode(&message, &LIMITS);
        let Err(DecodeError::Argument(bad)) = result else { panic!("{result:?}") };
        assert_eq!(bad.reason, ArgumentError::TooMany { max: 3 });
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |message: Bytes| decode(&message, &LIMITS).expect_err("not a packet");
        for (kind, message) in [
            ("CONNECT", packet(0, |w| w.array(0))),
            ("DISCONNECT", packet(1, |w| w.map(0))),
            ("EVENT", packet(2, |w| w.array(0))),
            ("EVENT", packet(2, |w| w.array(1).nil())),
            ("EVENT", packet(2, |w| w.nil())),
            ("ACK", packet(3, |w| w.map(0))),
            ("CONNECT_ERROR", packet(4, |w| w.nil())),
            ("a packet", Bytes::from_static(&[0x90])),
        ] {
            match error(message) {
                DecodeError::Data { packet, .. } => assert_eq!(packet, kind),
                other => panic!("{kind}: {other:?}"),
            }
        }
        assert_eq!(error(packet(5, |w| w.nil())), DecodeError::UnknownType("5".into()));
        assert_eq!(error(Bytes::from_static(&[0x80])), DecodeError::Namespace);
        assert_eq!(error(Bytes::new()), DecodeError::Msgpack(Error::Incomplete));
        let trailing = [packet(1, |w| w.nil()).as_ref(), &[0]].concat();
        assert_eq!(error(trailing.into()), DecodeError::Msgpack(Error::Trailing));
        let large = error(vec![0; 201].into());
        assert_eq!(large, DecodeError::TooLarge { len: 201, max: 200 });
    }

    #[test]
    fn numbers_beyond_64_bits_become_doubles() {
        for (json, double) in
            [("18446744073709551616", 18446744073709551616.0), ("1e999", f64::INFINITY)]
        {
            let mut out = Vec::new();
            encode_json(format!("[{json}]").as_bytes(), &[], &mut out);
            let mut expected = Vec::new();
            Writer::new(&mut expected).array(1).f64(double);
            assert_eq!(out, expected, "{json}");
        }
    }
}
