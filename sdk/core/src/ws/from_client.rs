//! What a server reads.

use bytes::Bytes;

use super::Encoding;
use super::fields::{Bad, Fields, Source};
use crate::event::{Headers, Payload, Priority};
use crate::json::Value;
use crate::link::{ServerLinkConfig, check_name};
use crate::message::{
    ClientMessage, CloseCode, ErrorCode, LinkError, PROTOCOL_VERSION, Publish, Refusal, RequestId,
    ServerMessage, SubId, Subscribe,
};
use crate::spelling::{self, Misspelled};

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    Message(ClientMessage),
    /// Answers the heartbeat.
    Pong,
}

/// Why nothing came of a frame.
#[derive(Debug)]
pub(super) enum Rejected {
    /// The connection cannot go on.
    Close(LinkError),
    /// The client is told, and the connection goes on.
    Answer(Box<ServerMessage>),
}

impl Bad {
    /// Joins a refusal to the message it belongs to.
    fn answer(self, message: impl FnOnce(Refusal) -> ServerMessage) -> Rejected {
        match self {
            Self::Frame(reason) => Rejected::Close(LinkError::new(CloseCode::BAD_FRAME, reason)),
            Self::Message(refusal) => Rejected::Answer(Box::new(message(refusal))),
        }
    }
}

impl From<Bad> for Rejected {
    /// For messages that have no answer of their own, or whose number could not be read.
    fn from(bad: Bad) -> Self {
        bad.answer(ServerMessage::Refused)
    }
}

pub(super) fn read(
    config: &ServerLinkConfig,
    encoding: Encoding,
    frame: &Bytes,
) -> Result<Received, Rejected> {
    let source = Source::new(encoding, frame, config.max_frame)?;
    let mut fields = Fields::new(&source, config.max_depth)?;
    let kind = fields.field("type", "a string", Value::as_str).map_err(|bad| match bad {
        Bad::Message(refusal) => Bad::Frame(refusal.message),
        frame => frame,
    })?;
    let message = match kind.as_ref() {
        "pub" => {
            fields.expect(r#"["pub", seq, "name", payload, options?]"#);
            let seq =
                fields.field("seq", "a whole number from 1", |v| v.as_u64().filter(|n| *n > 0))?;
            publish(config, fields, seq).map_err(|bad| {
                bad.answer(|refusal| ServerMessage::PublishRefused { seq, refusal })
            })?
        }
        "vol" => {
            fields.expect(r#"["vol", "name", payload, options?]"#);
            publish(config, fields, 0)?
        }
        "sub" => {
            fields.expect(r#"["sub", id, "pattern", {"since": cursor}?]"#);
            let id = SubId(fields.u32("id")?);
            subscribe(fields, id).map_err(|bad| {
                bad.answer(|refusal| ServerMessage::SubscribeRefused { id, refusal })
            })?
        }
        "unsub" => {
            fields.expect(r#"["unsub", id]"#);
            let id = SubId(fields.u32("id")?);
            fields.finish()?;
            ClientMessage::Unsubscribe(id)
        }
        "req" => {
            fields.expect(r#"["req", id, "name", payload]"#);
            let id = RequestId(fields.u32("id")?);
            let refuse = |refusal| ServerMessage::Reply { id, result: Err(refusal) };
            request(config, fields, id).map_err(|bad| bad.answer(refuse))?
        }
        "cancel" => {
            fields.expect(r#"["cancel", id]"#);
            let id = RequestId(fields.u32("id")?);
            fields.finish()?;
            ClientMessage::Cancel(id)
        }
        "res" => {
            fields.expect(r#"["res", id, payload]"#);
            let id = RequestId(fields.u32("id")?);
            // Whoever asked is told of a reply that cannot be used: nobody else waits for it.
            let result = match checked_payload(config, &mut fields) {
                Ok(payload) => Ok(payload),
                Err(Bad::Message(refusal)) => Err(refusal),
                Err(frame) => return Err(frame.into()),
            };
            if result.is_ok() {
                fields.finish()?;
            }
            ClientMessage::Reply { id, result }
        }
        "rerr" => {
            fields.expect(r#"["rerr", id, code, "message"]"#);
            let id = RequestId(fields.u32("id")?);
            let refusal = fields.refusal()?;
            fields.finish()?;
            ClientMessage::Reply { id, result: Err(refusal) }
        }
        "token" => {
            fields.expect(r#"["token", "token"]"#);
            token(config, fields)
                .map_err(|bad| bad.answer(|refusal| ServerMessage::TokenAnswer(Err(refusal))))?
        }
        "pong" => {
            fields.finish()?;
            return Ok(Received::Pong);
        }
        "bye" => {
            fields.finish()?;
            ClientMessage::Bye
        }
        "hello" => hello(config, fields)?,
        unknown => {
            let message = format!(
                "{unknown:?} is not a message of version {PROTOCOL_VERSION}; a client may send hello, \
                 sub, unsub, pub, vol, req, cancel, res, rerr, token, pong or bye"
            );
            fields.finish()?;
            return Err(Bad::Message(Refusal::new(ErrorCode::BAD_REQUEST, message)).into());
        }
    };
    Ok(Received::Message(message))
}

/// A hello that cannot be understood leaves nothing to go on with.
fn hello(config: &ServerLinkConfig, mut fields: Fields<'_>) -> Result<ClientMessage, Rejected> {
    fields.expect(r#"["hello", {"v": 1, "producer": "...", "subs": [...], "cursor": [...], ...}]"#);
    let close = |code, reason: String| Rejected::Close(LinkError::new(code, reason));
    let refuse = |bad| match bad {
        Bad::Frame(reason) => close(CloseCode::BAD_FRAME, reason),
        Bad::Message(refusal) => close(CloseCode::BAD_FRAME, refusal.message),
    };
    let members = fields.field("hello", "an object", Some).map_err(refuse)?;
    if spelling::version(members) != Some(PROTOCOL_VERSION) {
        let reason = format!("this server speaks version {PROTOCOL_VERSION}: \"v\" must say so");
        return Err(close(CloseCode::UNSUPPORTED, reason));
    }
    let hello = spelling::read_hello(members).map_err(|e| refuse(fields.misspelled(e)))?;
    if let Some(token) = &hello.token {
        config.check_token(token).map_err(|r| close(CloseCode::UNAUTHORIZED, r.message))?;
    }
    fields.finish().map_err(refuse)?;
    Ok(ClientMessage::Hello(hello))
}

fn publish(
    config: &ServerLinkConfig,
    mut fields: Fields<'_>,
    seq: u64,
) -> Result<ClientMessage, Bad> {
    let name = fields.name()?;
    check_name(&name)?;
    let payload = checked_payload(config, &mut fields)?;
    let mut publish = Publish {
        seq,
        name,
        payload,
        priority: Priority::Normal,
        volatile: seq == 0,
        headers: Headers::NONE,
        identity: None,
    };
    if let Some(options) = fields.next()? {
        let wrong = |part, expected| Misspelled { part, expected };
        let Some(options) = options.object() else {
            return Err(fields.misspelled(wrong("options", "an object")));
        };
        for (key, value) in options {
            match key.as_ref() {
                "priority" => {
                    let priority = value.as_str().and_then(|priority| priority.parse().ok());
                    publish.priority = priority.ok_or_else(|| {
                        fields.misspelled(wrong("priority", "low, normal, high or critical"))
                    })?;
                }
                "headers" => {
                    let headers = spelling::read_headers(value);
                    publish.headers = headers.map_err(|error| fields.misspelled(error))?;
                    config.check_headers(&publish.headers)?;
                }
                "as" => {
                    let identity = spelling::read_identity(value);
                    publish.identity = Some(identity.map_err(|error| fields.misspelled(error))?);
                }
                _ => {}
            }
        }
    }
    fields.finish()?;
    Ok(ClientMessage::Publish(publish))
}

fn subscribe(mut fields: Fields<'_>, id: SubId) -> Result<ClientMessage, Bad> {
    let pattern = fields.str("pattern")?.into_owned();
    let since = match fields.next()?.and_then(|options| options.get("since")) {
        Some(since) => {
            Some(spelling::read_cursor("since", since).map_err(|error| fields.misspelled(error))?)
        }
        None => None,
    };
    fields.finish()?;
    Ok(ClientMessage::Subscribe(Subscribe { id, pattern, since }))
}

fn request(
    config: &ServerLinkConfig,
    mut fields: Fields<'_>,
    id: RequestId,
) -> Result<ClientMessage, Bad> {
    let name = fields.name()?;
    check_name(&name)?;
    let payload = checked_payload(config, &mut fields)?;
    fields.finish()?;
    Ok(ClientMessage::Request { id, name, payload })
}

fn token(config: &ServerLinkConfig, mut fields: Fields<'_>) -> Result<ClientMessage, Bad> {
    let token = fields.str("token")?.into_owned();
    config.check_token(&token)?;
    fields.finish()?;
    Ok(ClientMessage::Token(token))
}

fn checked_payload(config: &ServerLinkConfig, fields: &mut Fields<'_>) -> Result<Payload, Bad> {
    let payload = fields.payload()?;
    config.check_payload(&payload)?;
    Ok(payload)
}
