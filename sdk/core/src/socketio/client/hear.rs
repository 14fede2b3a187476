//! What the server says: packets to session messages.

use bytes::Bytes;

use crate::json::{self, Value};
use crate::message::{
    Close, CloseCode, LinkError, PROTOCOL_VERSION, RequestId, ServerMessage, SubId,
};
use crate::spelling::{self, Misspelled};

use super::super::control::{self, AT, CLOSE, ENDED, ERROR, EVENT, GAP, PREFIX, REQUEST};
use super::super::packet::{Args, Body, Packet};
use super::{Asked, ClientLink, State, bad_frame};

impl ClientLink {
    pub(super) fn packet(&mut self, packet: Packet) -> Result<(), LinkError> {
        if packet.namespace != self.config.socketio.namespace {
            let reason =
                format!("a packet for {}, which was not asked for", packet.namespace.as_str());
            return Err(bad_frame(reason));
        }
        match (packet.body, self.state) {
            (Body::Connect(answer), State::Joining { .. }) => self.welcome(answer.as_ref()),
            (Body::ConnectError(error), State::Joining { .. }) => Err(connect_error(&error)),
            (Body::Event { ack, args }, State::Joined) => match ack {
                Some(ack) => self.request(ack, &args),
                None => self.event(&args).map_err(|error| bad_frame(error.to_string())),
            },
            (Body::Ack { ack, args }, State::Joined) => {
                self.answer(ack, &args).map_err(|error| bad_frame(error.to_string()))
            }
            (Body::Disconnect, State::Joined) => {
                Err(LinkError::new(CloseCode::ENDED, "the server ended the session"))
            }
            (_, State::Left) => Ok(()),
            (Body::Connect(_) | Body::ConnectError(_), _) => Err(bad_frame("a second welcome")),
            (_, State::Joining { .. }) => Err(bad_frame("a packet before the welcome")),
        }
    }

    fn welcome(&mut self, answer: Option<&Bytes>) -> Result<(), LinkError> {
        let answer = answer.and_then(|answer| json::parse(answer, json::MAX_DEPTH).ok());
        let Some(tidings) = answer.and_then(|answer| answer.get("tidings")) else {
            let reason = "the server speaks Socket.IO but does not know Tidings";
            return Err(LinkError::new(CloseCode::UNSUPPORTED, reason));
        };
        if spelling::version(tidings) != Some(PROTOCOL_VERSION) {
            let reason = format!("the server does not speak version {PROTOCOL_VERSION} of Tidings");
            return Err(LinkError::new(CloseCode::UNSUPPORTED, reason));
        }
        let welcome =
            spelling::read_welcome(tidings).map_err(|error| bad_frame(error.to_string()))?;
        self.state = State::Joined;
        self.inbox.push_back(ServerMessage::Welcome(welcome));
        Ok(())
    }

    fn request(&mut self, ack: u64, args: &Args) -> Result<(), LinkError> {
        let id = u32::try_from(ack).map_err(|_| bad_frame("a request's id must be below 2^32"))?;
        let name = |at| args.value(at).and_then(Value::as_str);
        let (name, from) = match name(0) {
            Some(escaped) if escaped == REQUEST => (name(1), 2),
            other => (other, 1),
        };
        let name = name.ok_or_else(|| bad_frame("a request's name must be a string"))?;
        let payload =
            control::read_payload(args, from).map_err(|refusal| bad_frame(refusal.message))?;
        self.inbox.push_back(ServerMessage::Request {
            id: RequestId(id),
            name: name.into(),
            payload,
        });
        Ok(())
    }

    fn event(&mut self, args: &Args) -> Result<(), Misspelled> {
        let name = args.value(0).and_then(Value::as_str).unwrap_or_default();
        let message = match name.as_ref() {
            EVENT => ServerMessage::Event(control::read_delivery(args, 1)?),
            name if name.starts_with(PREFIX) => match control_event(name, args)? {
                Some(message) => message,
                // From a server that knows more.
                None => return Ok(()),
            },
            _ => ServerMessage::Event(control::read_delivery(args, 0)?),
        };
        self.inbox.push_back(message);
        Ok(())
    }

    /// The answer to something that was asked.
    fn answer(&mut self, ack: u64, args: &Args) -> Result<(), Misspelled> {
        // An answer that nobody waits for any more is no error.
        let Some(asked) = self.asked.remove(&ack) else { return Ok(()) };
        if let Asked::Request(id) = asked {
            let result = control::read_reply(args);
            self.inbox.push_back(ServerMessage::Reply { id, result });
            return Ok(());
        }
        let message = match (asked, control::read_outcome(args)?) {
            (Asked::Subscribe(id), Ok(outcome)) => {
                let cursor = match outcome.get("cursor") {
                    Some(cursor) => spelling::read_cursor("cursor", cursor)?,
                    None => crate::lane::Cursor::new(),
                };
                ServerMessage::Subscribed { id, cursor }
            }
            (Asked::Subscribe(id), Err(refusal)) => ServerMessage::SubscribeRefused { id, refusal },
            (Asked::Unsubscribe(id), Ok(_)) => ServerMessage::Unsubscribed(id),
            (Asked::Publish(seq), Ok(outcome)) => {
                let expected = "an object with lane and offset";
                let position = control::read_position(outcome);
                let position = position.ok_or(Misspelled { part: "acknowledgement", expected })?;
                ServerMessage::Published { seq, position }
            }
            (Asked::Publish(seq), Err(refusal)) => ServerMessage::PublishRefused { seq, refusal },
            (Asked::Token, Ok(outcome)) => {
                ServerMessage::TokenAnswer(Ok(spelling::read_expires_in(outcome)?))
            }
            (Asked::Token, Err(refusal)) => ServerMessage::TokenAnswer(Err(refusal)),
            (Asked::Unsubscribe(_) | Asked::Request(_), Err(refusal)) => {
                ServerMessage::Refused(refusal)
            }
            (Asked::Request(_), Ok(_)) => return Ok(()),
        };
        self.inbox.push_back(message);
        Ok(())
    }
}

/// Reads a control event; `None` if its name is unknown.
fn control_event(name: &str, args: &Args) -> Result<Option<ServerMessage>, Misspelled> {
    let wrong = Misspelled { part: "control event", expected: "as the protocol spells it" };
    let value = args.value(1).ok_or(wrong)?;
    Ok(Some(match name {
        AT => ServerMessage::Progress(spelling::read_cursor("cursor", value)?),
        GAP => ServerMessage::Gap(control::read_gap(value).ok_or(wrong)?),
        ERROR => ServerMessage::Refused(spelling::read_refusal(value).ok_or(wrong)?),
        CLOSE => {
            let reason = value.get("reason").and_then(Value::as_str).unwrap_or_default();
            ServerMessage::Close(control::read_close(value, &reason).ok_or(wrong)?)
        }
        ENDED => {
            let id = SubId(value.get("id").and_then(Value::as_u32).ok_or(wrong)?);
            match value.get("error").and_then(spelling::read_refusal) {
                Some(refusal) => ServerMessage::SubscribeRefused { id, refusal },
                None => ServerMessage::Unsubscribed(id),
            }
        }
        _ => return Ok(None),
    }))
}

/// Why the namespace was refused: told by a Tidings server in `data`, or by another one in words.
fn connect_error(error: &Bytes) -> LinkError {
    let value = json::parse(error, json::MAX_DEPTH).ok();
    let message = value.and_then(|v| v.as_str().or_else(|| v.get("message")?.as_str()));
    let message = message.unwrap_or("the server refused the connection".into());
    let close = value.and_then(|v| control::read_close(v.get("data")?, &message));
    let code = match message.as_ref() {
        super::super::INVALID_NAMESPACE => CloseCode::UNSUPPORTED,
        _ => CloseCode::UNAUTHORIZED,
    };
    LinkError { close: close.unwrap_or_else(|| Close::new(code, message)) }
}
