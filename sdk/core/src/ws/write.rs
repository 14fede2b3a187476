//! What both sides write.

use super::payload::{self, Style};
use super::{Encoding, msgpack};
use crate::event::{Event, Payload, Priority};
use crate::json::{self, Writer};
use crate::message::{ClientMessage, Delivery, Gap, Publish, Refusal, ServerMessage, Subscribe};
use crate::spelling;

/// A message that says nothing but what it is.
pub(super) fn bare(encoding: Encoding, out: &mut Vec<u8>, kind: &str) {
    encoded(encoding, out, None, |text, _| {
        Writer::new(text).begin_array().str(kind).end_array();
    });
}

/// Appends a client's message.
pub(super) fn client(encoding: Encoding, out: &mut Vec<u8>, message: &ClientMessage) {
    let payload = match message {
        ClientMessage::Publish(Publish { volatile: true, payload, .. })
        | ClientMessage::Reply { result: Ok(payload), .. } => Some((2, payload)),
        ClientMessage::Publish(Publish { payload, .. })
        | ClientMessage::Request { payload, .. } => Some((3, payload)),
        _ => None,
    };
    encoded(encoding, out, payload, |text, style| client_text(text, message, style));
}

/// Appends a server's message.
pub(super) fn server(encoding: Encoding, out: &mut Vec<u8>, message: &ServerMessage) {
    let payload = match message {
        ServerMessage::Event(delivery) => return event(encoding, out, delivery),
        ServerMessage::Reply { result: Ok(payload), .. } => Some((2, payload)),
        ServerMessage::Request { payload, .. } => Some((3, payload)),
        _ => None,
    };
    encoded(encoding, out, payload, |text, style| server_text(text, message, style));
}

/// Appends an event.
pub(super) fn event(encoding: Encoding, out: &mut Vec<u8>, delivery: &Delivery) {
    let place = if delivery.position.is_some() { 4 } else { 2 };
    let payload = Some((place, &delivery.event.payload));
    encoded(encoding, out, payload, |text, style| event_text(text, delivery, style));
}

fn encoded(
    encoding: Encoding,
    out: &mut Vec<u8>,
    payload: Option<(usize, &Payload)>,
    write: impl FnOnce(&mut Vec<u8>, Style),
) {
    match encoding {
        Encoding::Msgpack if cfg!(feature = "msgpack") => {
            let mut text = Vec::with_capacity(TEXT_ROOM);
            write(&mut text, Style::Apart);
            msgpack::write(out, &text, payload);
        }
        Encoding::Json | Encoding::Msgpack => write(out, Style::Inline),
    }
}

/// Most messages without their payload are shorter, in bytes.
const TEXT_ROOM: usize = 128;

fn client_text(out: &mut Vec<u8>, message: &ClientMessage, style: Style) {
    let mut writer = Writer::new(out);
    let w = writer.begin_array();
    match message {
        ClientMessage::Hello(hello) => spelling::write_hello(w.str("hello"), hello),
        ClientMessage::Subscribe(subscribe) => write_subscribe(w, subscribe),
        ClientMessage::Unsubscribe(id) => {
            w.str("unsub").u64(id.0.into());
        }
        ClientMessage::Publish(publish) => write_publish(w, publish, style),
        ClientMessage::Request { id, name, payload } => {
            payload::write(w.str("req").u64(id.0.into()).str(name), payload, style);
        }
        ClientMessage::Cancel(id) => {
            w.str("cancel").u64(id.0.into());
        }
        ClientMessage::Reply { id, result } => write_reply(w, id.0, result, style),
        ClientMessage::Token(token) => {
            w.str("token").str(token);
        }
        ClientMessage::Bye => {
            w.str("bye");
        }
    }
    w.end_array();
}

fn server_text(out: &mut Vec<u8>, message: &ServerMessage, style: Style) {
    let mut writer = Writer::new(out);
    let w = writer.begin_array();
    match message {
        ServerMessage::Welcome(welcome) => spelling::write_welcome(w.str("welcome"), welcome),
        ServerMessage::Subscribed { id, cursor } => {
            spelling::write_cursor(w.str("subbed").u64(id.0.into()), cursor);
        }
        ServerMessage::SubscribeRefused { id, refusal } => {
            write_refusal(w.str("suberr").u64(id.0.into()), refusal);
        }
        ServerMessage::Unsubscribed(id) => {
            w.str("unsubbed").u64(id.0.into());
        }
        // Written by `event_text`.
        ServerMessage::Event(_) => {}
        ServerMessage::Progress(cursor) => spelling::write_cursor(w.str("at"), cursor),
        ServerMessage::Gap(gap) => write_gap(w, gap),
        ServerMessage::Published { seq, position } => {
            w.str("ack").u64(*seq).u64(position.lane.number().into()).u64(position.offset.0);
        }
        ServerMessage::PublishRefused { seq, refusal } => {
            write_refusal(w.str("nack").u64(*seq), refusal);
        }
        ServerMessage::Request { id, name, payload } => {
            payload::write(w.str("req").u64(id.0.into()).str(name), payload, style);
        }
        ServerMessage::Reply { id, result } => write_reply(w, id.0, result, style),
        ServerMessage::TokenAnswer(Ok(expires_in)) => {
            w.str("tokened");
            if let Some(expires_in) = expires_in {
                w.u64(spelling::millis(*expires_in));
            }
        }
        ServerMessage::TokenAnswer(Err(refusal)) => write_refusal(w.str("tokerr"), refusal),
        ServerMessage::Refused(refusal) => write_refusal(w.str("err"), refusal),
        ServerMessage::Close(close) => {
            w.str("close").u64(close.code.0.into()).str(&close.reason);
            if let Some(delay) = close.delay {
                w.u64(spelling::millis(delay));
            }
        }
    }
    w.end_array();
}

fn event_text(out: &mut Vec<u8>, delivery: &Delivery, style: Style) {
    let event = &delivery.event;
    let mut writer = Writer::new(out);
    let w = writer.begin_array();
    match delivery.position {
        Some(position) => {
            w.str("e").u64(position.lane.number().into()).u64(position.offset.0);
        }
        None => {
            w.str("v");
        }
    }
    payload::write(w.str(&event.name), &event.payload, style);
    w.begin_object().key("i").str(&event.id).key("t").u64(event.time);
    if delivery.position.is_none() && event.priority != Priority::Normal {
        w.key("p").str(event.priority.as_str());
    }
    if !event.headers.is_empty() {
        spelling::write_headers(w.key("h"), &event.headers);
    }
    if let Some(id) = delivery.replay_for {
        w.key("s").u64(id.0.into());
    }
    w.end_object().end_array();
}

/// The room that [`event`] needs, or a little more.
pub(super) fn event_room(event: &Event) -> usize {
    const ALL_BUT_TEXTS: usize = r#"["e",262143,9007199254740991,,,{"i":,"t":18446744073709551615,"p":"critical","h":{},"s":4294967295}]"#.len();
    let headers: usize = event
        .headers
        .iter()
        .map(|(key, value)| json::escaped_len(key) + json::escaped_len(value) + 2)
        .sum();
    ALL_BUT_TEXTS
        + json::escaped_len(&event.name)
        + payload::written_len(&event.payload)
        + json::escaped_len(&event.id)
        + headers
}

fn write_subscribe(w: &mut Writer<'_>, subscribe: &Subscribe) {
    w.str("sub").u64(subscribe.id.0.into()).str(&subscribe.pattern);
    if let Some(since) = &subscribe.since {
        w.begin_object().key("since");
        spelling::write_cursor(w, since);
        w.end_object();
    }
}

fn write_publish(w: &mut Writer<'_>, publish: &Publish, style: Style) {
    if publish.volatile {
        w.str("vol");
    } else {
        w.str("pub").u64(publish.seq);
    }
    payload::write(w.str(&publish.name), &publish.payload, style);
    let urgent = publish.priority != Priority::Normal;
    if urgent || !publish.headers.is_empty() || publish.identity.is_some() {
        w.begin_object();
        if urgent {
            w.key("priority").str(publish.priority.as_str());
        }
        if !publish.headers.is_empty() {
            spelling::write_headers(w.key("headers"), &publish.headers);
        }
        if let Some(identity) = &publish.identity {
            spelling::write_identity(w.key("as"), identity);
        }
        w.end_object();
    }
}

fn write_reply(w: &mut Writer<'_>, id: u32, result: &Result<Payload, Refusal>, style: Style) {
    match result {
        Ok(payload) => payload::write(w.str("res").u64(id.into()), payload, style),
        Err(refusal) => write_refusal(w.str("rerr").u64(id.into()), refusal),
    }
}

fn write_refusal(w: &mut Writer<'_>, refusal: &Refusal) {
    w.u64(refusal.code.0.into()).str(&refusal.message);
}

fn write_gap(w: &mut Writer<'_>, gap: &Gap) {
    w.str("gap").u64(gap.lane.number().into()).u64(gap.from.0).u64(gap.to.0);
    w.u64(gap.epoch.0.into());
    if let Some(id) = gap.replay_for {
        w.u64(id.0.into());
    }
}
