//! What both sides write.

use super::payload;
use crate::event::{Event, Payload, Priority};
use crate::json::{self, Writer};
use crate::message::{ClientMessage, Delivery, Gap, Publish, Refusal, ServerMessage, Subscribe};
use crate::spelling;

pub(super) const PING: &str = r#"["ping"]"#;
pub(super) const PONG: &str = r#"["pong"]"#;

/// Appends a client's message.
pub(super) fn client(out: &mut Vec<u8>, message: &ClientMessage) {
    let mut writer = Writer::new(out);
    let w = writer.begin_array();
    match message {
        ClientMessage::Hello(hello) => spelling::write_hello(w.str("hello"), hello),
        ClientMessage::Subscribe(subscribe) => write_subscribe(w, subscribe),
        ClientMessage::Unsubscribe(id) => {
            w.str("unsub").u64(id.0.into());
        }
        ClientMessage::Publish(publish) => write_publish(w, publish),
        ClientMessage::Request { id, name, payload } => {
            payload::write(w.str("req").u64(id.0.into()).str(name), payload);
        }
        ClientMessage::Cancel(id) => {
            w.str("cancel").u64(id.0.into());
        }
        ClientMessage::Reply { id, result } => write_reply(w, id.0, result),
        ClientMessage::Token(token) => {
            w.str("token").str(token);
        }
        ClientMessage::Bye => {
            w.str("bye");
        }
    }
    w.end_array();
}

/// Appends a server's message.
pub(super) fn server(out: &mut Vec<u8>, message: &ServerMessage) {
    if let ServerMessage::Event(delivery) = message {
        return event(out, delivery);
    }
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
            payload::write(w.str("req").u64(id.0.into()).str(name), payload);
        }
        ServerMessage::Reply { id, result } => write_reply(w, id.0, result),
        ServerMessage::TokenAnswer(Ok(())) => {
            w.str("tokened");
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

/// Appends an event.
pub(super) fn event(out: &mut Vec<u8>, delivery: &Delivery) {
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
    payload::write(w.str(&event.name), &event.payload);
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

fn write_publish(w: &mut Writer<'_>, publish: &Publish) {
    if publish.volatile {
        w.str("vol");
    } else {
        w.str("pub").u64(publish.seq);
    }
    payload::write(w.str(&publish.name), &publish.payload);
    let urgent = publish.priority != Priority::Normal;
    if urgent || !publish.headers.is_empty() {
        w.begin_object();
        if urgent {
            w.key("priority").str(publish.priority.as_str());
        }
        if !publish.headers.is_empty() {
            spelling::write_headers(w.key("headers"), &publish.headers);
        }
        w.end_object();
    }
}

fn write_reply(w: &mut Writer<'_>, id: u32, result: &Result<Payload, Refusal>) {
    match result {
        Ok(payload) => payload::write(w.str("res").u64(id.into()), payload),
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
