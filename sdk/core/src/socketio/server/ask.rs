//! What clients ask: events to session messages.

use crate::event::{Headers, Payload, Priority};
use crate::json::{ErrorKind, Value};
use crate::link::check_name;
use crate::message::{
    ClientMessage, ErrorCode, Identity, Publish, Refusal, RequestId, SubId, Subscribe,
};
use crate::spelling::{self, Misspelled};

use super::super::control::{
    self, CANCEL, PREFIX, PUBLISH, REQUEST, SUBSCRIBE, TOKEN, UNSUBSCRIBE,
};
use super::super::packet::{Args, ArgumentError};
use super::{Awaited, ServerLink};

/// Numbers of subscriptions from here on are made up by the link; clients use those below.
pub(super) const FIRST_MADE_UP_SUB: u32 = 1 << 31;

/// How the sender of an event expects to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnsweredAs {
    /// `ack({"ok": ...})`
    Control,
    /// `ack(reply)` or `ack(null, {"error": ...})`
    Request,
}

/// How the sender of an event of this name expects to be answered.
pub(super) fn answered_as(name: &str) -> AnsweredAs {
    match name {
        SUBSCRIBE | UNSUBSCRIBE | PUBLISH | TOKEN | CANCEL => AnsweredAs::Control,
        _ => AnsweredAs::Request,
    }
}

/// The refusal of a packet that could not be read to its end.
pub(super) fn argument_refusal(reason: &ArgumentError) -> Refusal {
    let code = match reason {
        ArgumentError::Json(error) if matches!(error.kind, ErrorKind::TooDeep { .. }) => {
            ErrorCode::TOO_DEEP
        }
        _ => ErrorCode::BAD_REQUEST,
    };
    Refusal::new(code, reason.to_string())
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BAD_REQUEST, message)
}

impl ServerLink {
    /// Takes an event of the client; if it is refused, the client is told.
    pub(super) fn event(&mut self, ack: Option<u64>, args: &Args) {
        let Some(name) = args.value(0).and_then(Value::as_str) else {
            let refusal = Refusal::new(ErrorCode::BAD_NAME, "an event's name must be a string");
            return self.refuse(AnsweredAs::Request, ack, &refusal);
        };
        let result = match name.as_ref() {
            SUBSCRIBE => self.subscribe(ack, args),
            UNSUBSCRIBE => self.unsubscribe(ack, args),
            PUBLISH => self.publish(ack, args),
            TOKEN => self.token(ack, args),
            CANCEL => self.cancel(args),
            REQUEST => match args.value(1).and_then(Value::as_str) {
                Some(name) => self.request(ack, &name, args, 2),
                None => Err(bad_request("the request's name must be a string")),
            },
            name if name.starts_with(PREFIX) => Err(bad_request(format!(
                "unknown control event {name:?}: names beginning with {PREFIX:?} are reserved"
            ))),
            name if control::is_reserved(name) => {
                Err(Refusal::new(ErrorCode::BAD_NAME, format!("{name:?} is reserved by Socket.IO")))
            }
            name => self.request(ack, name, args, 1),
        };
        if let Err(refusal) = result {
            self.refuse(answered_as(&name), ack, &refusal);
        }
    }

    /// Whether one more answer may be owed.
    fn check_unanswered(&self) -> Result<(), Refusal> {
        let max = self.config.socketio.max_unanswered;
        if self.unanswered.len() + self.tokens.len() < max {
            return Ok(());
        }
        let message = format!("{max} messages of this connection are waiting for their answer");
        Err(Refusal::new(ErrorCode::TOO_MANY, message))
    }

    /// Remembers what the client waits for.
    fn expect(&mut self, awaited: Awaited, ack: Option<u64>) -> Result<(), Refusal> {
        let Some(ack) = ack else { return Ok(()) };
        self.check_unanswered()?;
        self.unanswered.insert(awaited, ack);
        Ok(())
    }

    fn subscribe(&mut self, ack: Option<u64>, args: &Args) -> Result<(), Refusal> {
        const EXPECTED: &str = "subscribe needs a pattern, or an object with a pattern";
        let wanted = args.value(1).ok_or_else(|| bad_request(EXPECTED))?;
        let pattern = wanted.as_str().or_else(|| wanted.get("pattern")?.as_str());
        let pattern = pattern.ok_or_else(|| bad_request(EXPECTED))?.into_owned();
        let since = match wanted.get("since") {
            Some(since) if !since.is_null() => Some(spelling::read_cursor("since", since)?),
            _ => None,
        };
        let id = match wanted.get("id") {
            Some(id) => {
                let id = id.as_u32().filter(|id| *id < FIRST_MADE_UP_SUB);
                SubId(id.ok_or(Misspelled { part: "id", expected: "a number below 2^31" })?)
            }
            None => SubId(self.next_sub),
        };
        self.expect(Awaited::Subscribed(id), ack)?;
        if id.0 == self.next_sub {
            self.next_sub = self.next_sub.checked_add(1).unwrap_or(FIRST_MADE_UP_SUB);
            self.numbered.insert(id, pattern.clone());
        }
        self.inbox.push_back(ClientMessage::Subscribe(Subscribe { id, pattern, since }));
        Ok(())
    }

    fn unsubscribe(&mut self, ack: Option<u64>, args: &Args) -> Result<(), Refusal> {
        const EXPECTED: &str = "unsubscribe needs a pattern, or an object with the id";
        let what = args.value(1).ok_or_else(|| bad_request(EXPECTED))?;
        let ids: Vec<SubId> = match what.as_str() {
            Some(pattern) => {
                let same = self.numbered.iter().filter(|(_, p)| **p == pattern);
                let ids: Vec<_> = same.map(|(id, _)| *id).collect();
                if ids.is_empty() {
                    return Err(bad_request(format!("not subscribed to {pattern:?}")));
                }
                ids
            }
            None => {
                let id = what.get("id").and_then(Value::as_u32);
                vec![SubId(id.ok_or_else(|| bad_request(EXPECTED))?)]
            }
        };
        // The session answers in order, so the last answer is the one to wait for.
        if let Some(last) = ids.last() {
            self.expect(Awaited::Unsubscribed(*last), ack)?;
        }
        for id in ids {
            self.numbered.remove(&id);
            self.inbox.push_back(ClientMessage::Unsubscribe(id));
        }
        Ok(())
    }

    fn publish(&mut self, ack: Option<u64>, args: &Args) -> Result<(), Refusal> {
        let name = args.value(1).and_then(Value::as_str);
        let name = name.ok_or_else(|| bad_request("publish needs the event's name, a string"))?;
        check_name(&name)?;
        let payload = args.payload(2).unwrap_or(Payload::NULL);
        if args.has_inner_binary() {
            return Err(bad_request(
                "binary inside of a payload: binary must be the payload by itself",
            ));
        }
        self.config.check_payload(&payload)?;
        let options = self.options(args.value(3))?;
        let seq = match (options.volatile, self.tidings) {
            (true, _) => 0,
            (false, true) => options.seq.ok_or_else(|| {
                bad_request("publish needs seq, the producer's sequence number, counted from 1")
            })?,
            (false, false) => self.last_seq.saturating_add(1),
        };
        if options.volatile {
            if let Some(ack) = ack {
                self.send_ack(ack, control::outcome_args(Ok(()), |_| {}));
            }
        } else {
            self.expect(Awaited::Published(seq), ack)?;
            self.last_seq = seq;
        }
        let Options { priority, volatile, headers, identity, .. } = options;
        self.inbox.push_back(ClientMessage::Publish(Publish {
            seq,
            name: name.into(),
            payload,
            priority,
            volatile,
            headers,
            identity,
        }));
        Ok(())
    }

    fn options(&self, value: Option<Value<'_>>) -> Result<Options, Refusal> {
        let mut options = Options::default();
        let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(options) };
        let members = value.object();
        for (key, value) in
            members.ok_or_else(|| bad_request("publish: options must be an object"))?
        {
            match key.as_ref() {
                "seq" => {
                    let seq = value.as_u64().filter(|seq| *seq > 0);
                    let expected = "a whole number, counted from 1";
                    options.seq = Some(seq.ok_or(Misspelled { part: "seq", expected })?);
                }
                "priority" => options.priority = control::read_priority(value)?,
                "volatile" => {
                    let volatile = value.as_bool();
                    let expected = "true or false";
                    options.volatile = volatile.ok_or(Misspelled { part: "volatile", expected })?;
                }
                "headers" => {
                    let headers = spelling::read_headers(value)?;
                    self.config.check_headers(&headers)?;
                    options.headers = headers;
                }
                "as" => options.identity = Some(spelling::read_identity(value)?),
                _ => {}
            }
        }
        Ok(options)
    }

    fn token(&mut self, ack: Option<u64>, args: &Args) -> Result<(), Refusal> {
        let token = args.value(1).and_then(Value::as_str);
        let token = token.ok_or_else(|| bad_request("tidings:token needs the token, a string"))?;
        self.config.check_token(&token)?;
        self.check_unanswered()?;
        self.tokens.push_back(ack);
        self.inbox.push_back(ClientMessage::Token(token.into_owned()));
        Ok(())
    }

    fn cancel(&mut self, args: &Args) -> Result<(), Refusal> {
        let ack = args.value(1).and_then(Value::as_u64);
        let ack = ack.ok_or_else(|| {
            bad_request("tidings:cancel needs the acknowledgement id of the request")
        })?;
        let open = self.unanswered.iter().find_map(|(awaited, open)| match awaited {
            Awaited::Reply(id) if *open == ack => Some(*id),
            _ => None,
        });
        // Otherwise the reply is on its way already.
        if let Some(id) = open {
            self.unanswered.remove(&Awaited::Reply(id));
            self.inbox.push_back(ClientMessage::Cancel(id));
        }
        Ok(())
    }

    /// Any other event is a request if an acknowledgement is asked for. `from` is the argument
    /// after the name.
    fn request(
        &mut self,
        ack: Option<u64>,
        name: &str,
        args: &Args,
        from: usize,
    ) -> Result<(), Refusal> {
        check_name(name)?;
        if ack.is_none() {
            return Err(Refusal::new(
                ErrorCode::NO_HANDLER,
                format!("no handler for event {name:?}: to tell others, emit \"publish\""),
            ));
        }
        let payload = control::read_payload(args, from)?;
        self.config.check_payload(&payload)?;
        let id = RequestId(self.next_request);
        self.expect(Awaited::Reply(id), ack)?;
        self.next_request = self.next_request.wrapping_add(1);
        self.inbox.push_back(ClientMessage::Request { id, name: name.into(), payload });
        Ok(())
    }

    /// The client answers a request of the server.
    pub(super) fn acknowledged(&mut self, ack: u64, args: &Args) {
        let result = control::read_reply(args).and_then(|payload| {
            self.config.check_payload(&payload)?;
            Ok(payload)
        });
        self.replied(ack, result);
    }

    pub(super) fn replied(&mut self, ack: u64, result: Result<Payload, Refusal>) {
        // Greater ids are none that was given out.
        if let Ok(id) = u32::try_from(ack) {
            self.inbox.push_back(ClientMessage::Reply { id: RequestId(id), result });
        }
    }
}

/// What a publish may say besides its name and payload.
#[derive(Debug, Default)]
struct Options {
    seq: Option<u64>,
    priority: Priority,
    volatile: bool,
    headers: Headers,
    identity: Option<Box<Identity>>,
}
