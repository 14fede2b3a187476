//! The events that carry session messages: their names, and how their arguments are spelled.

use std::time::Duration;

use crate::event::{Event, Headers, Payload, Priority};
use crate::json::{Value, Writer};
use crate::lane::{Epoch, Lane, Offset};
use crate::message::{
    Close, CloseCode, Delivery, ErrorCode, Gap, Position, Refusal, RequestId, SubId,
};
use crate::server::Mark;
use crate::spelling::{
    Misspelled, millis, read_headers, read_refusal, write_headers, write_refusal,
};

use super::broadcast::EventForm;
use super::packet::Args;

/// Client: asks for the events of a pattern.
pub(super) const SUBSCRIBE: &str = "subscribe";
/// Client: ends a subscription.
pub(super) const UNSUBSCRIBE: &str = "unsubscribe";
/// Client: publishes an event.
pub(super) const PUBLISH: &str = "publish";

/// What the names of all other control events begin with.
pub(super) const PREFIX: &str = "tidings:";
/// Client: a fresh token.
pub(super) const TOKEN: &str = "tidings:token";
/// Client: nobody waits for the answer to the request with this acknowledgement id any more.
pub(super) const CANCEL: &str = "tidings:cancel";
/// Either: a request whose name cannot be an event's name here; it is the first argument.
pub(super) const REQUEST: &str = "tidings:request";
/// Server: an event whose name cannot be an event's name here; it is the first argument.
pub(super) const EVENT: &str = "tidings:event";
/// Server: everything up to a cursor has been sent.
pub(super) const AT: &str = "tidings:at";
/// Server: loss, told.
pub(super) const GAP: &str = "tidings:gap";
/// Server: the connection is about to be closed.
pub(super) const CLOSE: &str = "tidings:close";
/// Server: something was refused that has no acknowledgement.
pub(super) const ERROR: &str = "tidings:error";
/// Server: a subscription has ended or was refused, and nobody waits for that.
pub(super) const ENDED: &str = "tidings:unsubscribed";

/// Names that Socket.IO keeps for itself: its parsers refuse events named so.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Whether Socket.IO keeps this name for itself: no event may be called so.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// Whether an event of this name is for the session, whoever else listens.
pub fn is_control(name: &str) -> bool {
    name.starts_with(PREFIX) || matches!(name, SUBSCRIBE | UNSUBSCRIBE | PUBLISH)
}

/// Whether an event from the server may be called so.
fn is_free_for_server(name: &str) -> bool {
    !is_reserved(name) && !name.starts_with(PREFIX)
}

/// Whether an event from a client may be called so without being taken for a control event.
fn is_free_for_client(name: &str) -> bool {
    is_free_for_server(name) && !is_control(name)
}

/// Begins the arguments of a control event.
pub(super) fn control(name: &str) -> Args {
    let mut args = Args::new();
    args.push_str(name);
    args
}

/// The arguments of a request, from the server or from a client.
pub(super) fn request_args(by_server: bool, name: &str, payload: &Payload) -> Args {
    let free = if by_server { is_free_for_server(name) } else { is_free_for_client(name) };
    let mut args = if free { Args::new() } else { control(REQUEST) };
    args.push_str(name);
    args.push_payload(payload);
    args
}

/// The arguments of an event for a client.
pub(super) fn delivery_args(delivery: &Delivery, form: EventForm) -> Args {
    let event = &delivery.event;
    let mut args = if is_free_for_server(&event.name) { Args::new() } else { control(EVENT) };
    args.push_str(&event.name);
    args.push_payload(&event.payload);
    match (form, delivery.position) {
        (EventForm::Tidings, _) => args.push_written(|w| write_metadata(w, delivery)),
        // A replay is not what the client has come to, nor is a volatile event.
        (EventForm::Recoverable, Some(position)) if delivery.replay_for.is_none() => {
            args.push_str(&Mark::Event(position.lane, position.offset).to_string());
        }
        (EventForm::Recoverable | EventForm::Plain, _) => {}
    }
    args
}

fn write_metadata(w: &mut Writer<'_>, delivery: &Delivery) {
    let event = &delivery.event;
    w.begin_object();
    match delivery.position {
        Some(position) => {
            w.key("l").u64(position.lane.number().into()).key("o").u64(position.offset.0);
        }
        None if event.priority != Priority::Normal => {
            w.key("p").str(event.priority.as_str());
        }
        None => {}
    }
    w.key("i").str(&event.id).key("t").u64(event.time);
    if !event.headers.is_empty() {
        write_headers(w.key("h"), &event.headers);
    }
    if let Some(SubId(id)) = delivery.replay_for {
        w.key("s").u64(id.into());
    }
    w.end_object();
}

/// Reads an event whose name is argument `at`. Without metadata it counts as volatile: that is
/// how handlers of a Socket.IO application emit.
pub(super) fn read_delivery(args: &Args, at: usize) -> Result<Delivery, Misspelled> {
    let name = args.value(at).and_then(Value::as_str);
    let name = name.ok_or(Misspelled { part: "event", expected: "a name" })?;
    let mut delivery = Delivery {
        event: Event {
            name: name.into(),
            payload: args.payload(at + 1).unwrap_or(Payload::NULL),
            id: "".into(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        },
        position: None,
        replay_for: None,
    };
    if let Some(metadata) = args.value(at + 2) {
        read_metadata(metadata, &mut delivery)?;
    }
    Ok(delivery)
}

fn read_metadata(metadata: Value<'_>, delivery: &mut Delivery) -> Result<(), Misspelled> {
    let wrong = |part| Misspelled { part, expected: "as the protocol spells an event's metadata" };
    let (mut lane, mut offset) = (None, None);
    let event = &mut delivery.event;
    for (key, value) in metadata.object().ok_or_else(|| wrong("metadata"))? {
        match key.as_ref() {
            "l" => {
                let number = value.as_u32().and_then(Lane::from_number);
                lane = Some(number.ok_or_else(|| wrong("l"))?);
            }
            "o" => offset = Some(Offset(value.as_u64().ok_or_else(|| wrong("o"))?)),
            "i" => event.id = value.as_str().ok_or_else(|| wrong("i"))?.into(),
            "t" => event.time = value.as_u64().ok_or_else(|| wrong("t"))?,
            "h" => event.headers = read_headers(value)?,
            "p" => event.priority = read_priority(value)?,
            "s" => delivery.replay_for = Some(SubId(value.as_u32().ok_or_else(|| wrong("s"))?)),
            _ => {}
        }
    }
    delivery.position = match (lane, offset) {
        (Some(lane), Some(offset)) => {
            event.priority = lane.priority();
            Some(Position { lane, offset })
        }
        (None, None) => None,
        _ => {
            return Err(Misspelled { part: "metadata", expected: "with both l and o, or neither" });
        }
    };
    Ok(())
}

/// Reads the word for a priority.
pub(super) fn read_priority(value: Value<'_>) -> Result<Priority, Misspelled> {
    let priority = value.as_str().and_then(|word| word.parse().ok());
    priority.ok_or(Misspelled { part: "priority", expected: "low, normal, high or critical" })
}

/// The payload of a request or a reply: no argument is `null`, one is itself, several are an array
/// of them. `from` is the first argument that counts.
pub(super) fn read_payload(args: &Args, from: usize) -> Result<Payload, Refusal> {
    if args.has_inner_binary() {
        return Err(Refusal::new(
            ErrorCode::BAD_REQUEST,
            "binary inside of an argument: binary must be the payload by itself",
        ));
    }
    match args.len().saturating_sub(from) {
        0 => Ok(Payload::NULL),
        1 => Ok(args.payload(from).unwrap_or(Payload::NULL)),
        _ if !args.attachments().is_empty() => Err(Refusal::new(
            ErrorCode::BAD_REQUEST,
            "binary among several arguments: binary must be the only one",
        )),
        _ => {
            let mut json = Vec::new();
            let mut w = Writer::new(&mut json);
            w.begin_array();
            for value in (from..args.len()).filter_map(|index| args.json(index)) {
                w.raw(value);
            }
            w.end_array();
            Ok(Payload::Json(json.into()))
        }
    }
}

/// The arguments that answer a request: the reply, or `null` and an error.
pub(super) fn reply_args(result: &Result<Payload, Refusal>) -> Args {
    match result {
        Ok(payload) => {
            let mut args = Args::new();
            args.push_payload(payload);
            args
        }
        Err(refusal) => refusal_args(refusal),
    }
}

/// The arguments that answer a request with a refusal: `null` and `{"error": {"code", "message"}}`.
pub fn refusal_args(refusal: &Refusal) -> Args {
    let mut args = Args::new();
    args.push_written(|w| {
        w.null();
    });
    args.push_written(|w| {
        write_refusal(w.begin_object().key("error"), refusal);
        w.end_object();
    });
    args
}

/// The arguments of the event that tells a client of a refusal nobody waits for an answer to.
pub fn error_event_args(refusal: &Refusal) -> Args {
    let mut args = control(ERROR);
    args.push_written(|w| write_refusal(w, refusal));
    args
}

/// Reads the arguments that answer a request.
pub(super) fn read_reply(args: &Args) -> Result<Payload, Refusal> {
    if args.value(0).is_some_and(Value::is_null)
        && let Some(error) = args.value(1).and_then(|second| second.get("error"))
        && let Some(refusal) = read_refusal(error)
    {
        return Err(refusal);
    }
    read_payload(args, 0)
}

/// The argument that answers a control event: `{"ok": true, ...}`, where `more` writes members, or
/// `{"ok": false, "error": {...}}`.
pub(super) fn outcome_args(
    result: Result<(), &Refusal>,
    more: impl FnOnce(&mut Writer<'_>),
) -> Args {
    let mut args = Args::new();
    args.push_written(|w| {
        w.begin_object().key("ok").bool(result.is_ok());
        match result {
            Ok(()) => more(w),
            Err(refusal) => write_refusal(w.key("error"), refusal),
        }
        w.end_object();
    });
    args
}

/// Reads the answer to a control event: its object if it is good, or the refusal.
pub(super) fn read_outcome(args: &Args) -> Result<Result<Value<'_>, Refusal>, Misspelled> {
    let wrong = Misspelled { part: "acknowledgement", expected: "{\"ok\": true} or an error" };
    let outcome = args.value(0).ok_or(wrong)?;
    match outcome.get("ok").and_then(Value::as_bool) {
        Some(true) => Ok(Ok(outcome)),
        Some(false) => Ok(Err(outcome.get("error").and_then(read_refusal).ok_or(wrong)?)),
        None => Err(wrong),
    }
}

/// Writes the members of a position.
pub(super) fn write_position(w: &mut Writer<'_>, position: Position) {
    w.key("lane").u64(position.lane.number().into()).key("offset").u64(position.offset.0);
}

/// Reads the members of a position.
pub(super) fn read_position(value: Value<'_>) -> Option<Position> {
    let lane = Lane::from_number(value.get("lane")?.as_u32()?)?;
    Some(Position { lane, offset: Offset(value.get("offset")?.as_u64()?) })
}

/// Writes `{"lane", "from", "to", "epoch", "id"?}`.
pub(super) fn write_gap(w: &mut Writer<'_>, gap: Gap) {
    w.begin_object().key("lane").u64(gap.lane.number().into());
    w.key("from").u64(gap.from.0).key("to").u64(gap.to.0).key("epoch").u64(gap.epoch.0.into());
    if let Some(SubId(id)) = gap.replay_for {
        w.key("id").u64(id.into());
    }
    w.end_object();
}

/// Reads what [`write_gap`] writes.
pub(super) fn read_gap(value: Value<'_>) -> Option<Gap> {
    let number = |part| value.get(part).and_then(Value::as_u64);
    Some(Gap {
        lane: Lane::from_number(value.get("lane")?.as_u32()?)?,
        from: Offset(number("from")?),
        to: Offset(number("to")?),
        epoch: Epoch(value.get("epoch")?.as_u32()?),
        replay_for: match value.get("id") {
            Some(id) => Some(SubId(id.as_u32()?)),
            None => None,
        },
    })
}

/// Writes the members of a close, apart from its reason: `"code"`, `"delay"?` in milliseconds.
pub(super) fn write_close(w: &mut Writer<'_>, close: &Close) {
    w.key("code").u64(close.code.0.into());
    if let Some(delay) = close.delay {
        w.key("delay").u64(millis(delay));
    }
}

/// Reads what [`write_close`] writes.
pub(super) fn read_close(value: Value<'_>, reason: &str) -> Option<Close> {
    let code = CloseCode(value.get("code")?.as_u32()?.try_into().ok()?);
    let delay = value.get("delay").and_then(Value::as_u64).map(Duration::from_millis);
    Some(Close { code, reason: reason.to_owned(), delay })
}

/// The acknowledgement id that belongs to a request of the server, and back.
pub(super) const fn ack_of(RequestId(id): RequestId) -> u64 {
    id as u64
}
