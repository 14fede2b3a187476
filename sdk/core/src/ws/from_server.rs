//! What a client reads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Encoding;
use super::fields::{Bad, Fields, Source};
use crate::event::{Event, Headers, Priority};
use crate::json::Value;
use crate::lane::{Epoch, Lane, Offset};
use crate::link::LinkConfig;
use crate::message::{
    Close, CloseCode, Delivery, Gap, LinkError, PROTOCOL_VERSION, Position, RequestId,
    ServerMessage, SubId,
};
use crate::spelling::{self, Misspelled};

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    Message(ServerMessage),
    /// To be answered by a pong.
    Ping,
    /// A message that this version does not know.
    Unknown,
}

/// Reads a server's message. A server that does not keep to the protocol cannot be gone on with.
pub(super) fn read(
    config: &LinkConfig,
    encoding: Encoding,
    frame: &Bytes,
) -> Result<Received, LinkError> {
    let source = Source::new(encoding, frame, config.max_frame);
    source.and_then(|source| read_message(config, &source)).map_err(|bad| match bad {
        Bad::Frame(reason) => LinkError::new(CloseCode::BAD_FRAME, reason),
        Bad::Message(refusal) => LinkError::new(CloseCode::BAD_FRAME, refusal.message),
    })
}

fn read_message(config: &LinkConfig, source: &Source) -> Result<Received, Bad> {
    let mut fields = Fields::new(source, config.max_depth)?;
    let kind = fields.str("type")?;
    let message = match kind.as_ref() {
        "e" => ServerMessage::Event(event(&mut fields)?),
        "v" => ServerMessage::Event(volatile(&mut fields)?),
        "ack" => {
            fields.expect(r#"["ack", seq, lane, offset]"#);
            let seq = fields.u64("seq")?;
            let position = position(&mut fields)?;
            ServerMessage::Published { seq, position }
        }
        "nack" => {
            fields.expect(r#"["nack", seq, code, "message"]"#);
            let seq = fields.u64("seq")?;
            ServerMessage::PublishRefused { seq, refusal: fields.refusal()? }
        }
        "at" => {
            fields.expect(r#"["at", cursor]"#);
            ServerMessage::Progress(cursor(&mut fields)?)
        }
        "gap" => ServerMessage::Gap(gap(&mut fields)?),
        "subbed" => {
            fields.expect(r#"["subbed", id, cursor]"#);
            let id = SubId(fields.u32("id")?);
            ServerMessage::Subscribed { id, cursor: cursor(&mut fields)? }
        }
        "suberr" => {
            fields.expect(r#"["suberr", id, code, "message"]"#);
            let id = SubId(fields.u32("id")?);
            ServerMessage::SubscribeRefused { id, refusal: fields.refusal()? }
        }
        "unsubbed" => {
            fields.expect(r#"["unsubbed", id]"#);
            ServerMessage::Unsubscribed(SubId(fields.u32("id")?))
        }
        "req" => {
            fields.expect(r#"["req", id, "name", payload]"#);
            let id = RequestId(fields.u32("id")?);
            ServerMessage::Request { id, name: fields.name()?, payload: fields.payload()? }
        }
        "res" => {
            fields.expect(r#"["res", id, payload]"#);
            let id = RequestId(fields.u32("id")?);
            ServerMessage::Reply { id, result: Ok(fields.payload()?) }
        }
        "rerr" => {
            fields.expect(r#"["rerr", id, code, "message"]"#);
            let id = RequestId(fields.u32("id")?);
            ServerMessage::Reply { id, result: Err(fields.refusal()?) }
        }
        "tokened" => {
            fields.expect(r#"["tokened", expires_in_ms?]"#);
            let expires_in = fields.next()?.and_then(Value::as_u64).map(Duration::from_millis);
            ServerMessage::TokenAnswer(Ok(expires_in))
        }
        "tokerr" => {
            fields.expect(r#"["tokerr", code, "message"]"#);
            ServerMessage::TokenAnswer(Err(fields.refusal()?))
        }
        "err" => {
            fields.expect(r#"["err", code, "message"]"#);
            ServerMessage::Refused(fields.refusal()?)
        }
        "close" => ServerMessage::Close(close(&mut fields)?),
        "ping" => {
            fields.finish()?;
            return Ok(Received::Ping);
        }
        "welcome" => welcome(&mut fields)?,
        _ => {
            fields.finish()?;
            return Ok(Received::Unknown);
        }
    };
    fields.finish()?;
    Ok(Received::Message(message))
}

fn welcome(fields: &mut Fields<'_>) -> Result<ServerMessage, Bad> {
    fields.expect(r#"["welcome", {"v": 1, "session": "...", ...}]"#);
    let members = fields.field("welcome", "an object", Some)?;
    if spelling::version(members) != Some(PROTOCOL_VERSION) {
        return Err(fields.misspelled(Misspelled { part: "v", expected: "1" }));
    }
    let welcome = spelling::read_welcome(members);
    welcome.map(ServerMessage::Welcome).map_err(|error| fields.misspelled(error))
}

fn event(fields: &mut Fields<'_>) -> Result<Delivery, Bad> {
    fields.expect(r#"["e", lane, offset, "name", payload, meta]"#);
    let position = position(fields)?;
    let mut event = bare_event(fields, position.lane.priority())?;
    let replay_for = meta(fields, &mut event)?;
    Ok(Delivery { event, position: Some(position), replay_for })
}

fn volatile(fields: &mut Fields<'_>) -> Result<Delivery, Bad> {
    fields.expect(r#"["v", "name", payload, meta]"#);
    let mut event = bare_event(fields, Priority::Normal)?;
    let replay_for = meta(fields, &mut event)?;
    Ok(Delivery { event, position: None, replay_for })
}

fn bare_event(fields: &mut Fields<'_>, priority: Priority) -> Result<Event, Bad> {
    let name = fields.name()?;
    let payload = fields.payload()?;
    Ok(Event { name, payload, id: Arc::default(), priority, time: 0, headers: Headers::NONE })
}

/// Reads what comes after an event's payload.
fn meta(fields: &mut Fields<'_>, event: &mut Event) -> Result<Option<SubId>, Bad> {
    let wrong = |part, expected| Misspelled { part, expected };
    let Some(members) = fields.next()?.and_then(Value::object) else {
        return Err(fields.misspelled(wrong("meta", "an object")));
    };
    let mut replay_for = None;
    for (key, value) in members {
        let read = match key.as_ref() {
            "i" => value.as_str().map(|id| event.id = id.into()).ok_or(wrong("i", "a string")),
            "t" => value.as_u64().map(|t| event.time = t).ok_or(wrong("t", "a whole number")),
            "h" => spelling::read_headers(value).map(|headers| event.headers = headers),
            "p" => value
                .as_str()
                .and_then(|priority| priority.parse().ok())
                .map(|priority| event.priority = priority)
                .ok_or(wrong("p", "low, normal, high or critical")),
            "s" => value
                .as_u32()
                .map(|id| replay_for = Some(SubId(id)))
                .ok_or(wrong("s", "the number of a subscription")),
            _ => Ok(()),
        };
        read.map_err(|error| fields.misspelled(error))?;
    }
    Ok(replay_for)
}

fn lane(fields: &mut Fields<'_>) -> Result<Lane, Bad> {
    fields.field("lane", "the number of a lane", |v| v.as_u32().and_then(Lane::from_number))
}

fn position(fields: &mut Fields<'_>) -> Result<Position, Bad> {
    Ok(Position { lane: lane(fields)?, offset: Offset(fields.u64("offset")?) })
}

fn cursor(fields: &mut Fields<'_>) -> Result<crate::Cursor, Bad> {
    let value = fields.field("cursor", "an array", Some)?;
    spelling::read_cursor("cursor", value).map_err(|error| fields.misspelled(error))
}

fn gap(fields: &mut Fields<'_>) -> Result<Gap, Bad> {
    fields.expect(r#"["gap", lane, from, to, epoch, sub?]"#);
    Ok(Gap {
        lane: lane(fields)?,
        from: Offset(fields.u64("from")?),
        to: Offset(fields.u64("to")?),
        epoch: Epoch(fields.u32("epoch")?),
        replay_for: match fields.next()? {
            Some(id) if !id.is_null() => {
                let wrong = Misspelled { part: "sub", expected: "the number of a subscription" };
                Some(SubId(id.as_u32().ok_or_else(|| fields.misspelled(wrong))?))
            }
            _ => None,
        },
    })
}

fn close(fields: &mut Fields<'_>) -> Result<Close, Bad> {
    fields.expect(r#"["close", code, "reason", delay_ms?]"#);
    let code = fields.field("code", "a whole number below 65536", |value| {
        value.as_u64().and_then(|code| code.try_into().ok())
    })?;
    let reason = fields.str("reason")?.into_owned();
    let delay = fields.next()?.and_then(Value::as_u64).map(Duration::from_millis);
    Ok(Close { code: CloseCode(code), reason, delay })
}
