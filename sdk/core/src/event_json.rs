//! Events as JSON objects with named members, as REST and Server-Sent Events have them.
//!
//! Payloads stand there as the `ws` protocol has them in JSON: a binary one as `{"$bin": "base64"}`.

use bytes::Bytes;

use crate::event::{Event, Priority};
use crate::json::{self, Value, Writer};
use crate::link::{ServerLinkConfig, check_name};
use crate::message::{ErrorCode, Identity, Position, Publish, Refusal};
use crate::spelling;
use crate::ws::payload::{self, Style};

/// Appends `{"id": ..., "name": ..., "payload": ..., "priority": ..., "time": ..., "headers": {...},
/// "lane": ..., "offset": ...}`; without `headers` if there are none, without `lane` and `offset` if
/// it has no place in the log.
pub fn write(out: &mut Vec<u8>, event: &Event, position: Option<Position>) {
    let mut writer = Writer::new(out);
    let w = writer.begin_object();
    w.key("id").str(&event.id).key("name").str(&event.name).key("payload");
    payload::write(w, &event.payload, Style::Inline);
    w.key("priority").str(event.priority.as_str()).key("time").u64(event.time);
    if !event.headers.is_empty() {
        spelling::write_headers(w.key("headers"), &event.headers);
    }
    if let Some(Position { lane, offset }) = position {
        w.key("lane").u64(lane.number().into()).key("offset").u64(offset.0);
    }
    w.end_object();
}

/// An event that somebody wants to publish, and what it is to be recognised by if it is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The event; it has no number.
    pub publish: Publish,
    /// What the publisher calls it: of all that are called so, one has an effect. 1 to 128 bytes
    /// without control characters.
    pub idempotency_key: Option<String>,
}

/// Reads what somebody wants to publish: `{"name": ..., "payload": ...}` with `priority`,
/// `volatile`, `headers` and `idempotency_key` if wanted. `object` is a part of `text`.
///
/// # Errors
/// When it is not that, or is larger or nested deeper than `config` accepts.
pub fn read(config: &ServerLinkConfig, text: &Bytes, object: Value<'_>) -> Result<Asked, Refusal> {
    let members = object.object().ok_or_else(|| bad("an event must be an object".to_owned()))?;
    let (mut name, mut has_payload) = (None, false);
    let mut publish = Publish {
        seq: 0,
        name: "".into(),
        payload: crate::event::Payload::NULL,
        priority: Priority::Normal,
        volatile: false,
        headers: crate::event::Headers::NONE,
        identity: None,
    };
    let mut idempotency_key = None;
    for (key, value) in members {
        match &*key {
            "name" => name = Some(value.as_str().ok_or_else(|| wrong("name", "a string"))?),
            "payload" => {
                json::parse(value.raw().as_bytes(), config.max_depth).map_err(|error| {
                    Refusal::new(ErrorCode::TOO_DEEP, format!("payload: {error}"))
                })?;
                publish.payload = payload::read(text, value)?;
                has_payload = true;
            }
            "priority" => {
                let word = value.as_str();
                let priority = word.and_then(|word| word.parse().ok());
                publish.priority =
                    priority.ok_or_else(|| wrong("priority", "low, normal, high or critical"))?;
            }
            "volatile" => {
                publish.volatile =
                    value.as_bool().ok_or_else(|| wrong("volatile", "true or false"))?;
            }
            "headers" => {
                let headers = spelling::read_headers(value);
                publish.headers = headers.map_err(|error| bad(error.to_string()))?;
            }
            "idempotency_key" => {
                let key = value.as_str().filter(|key| Identity::new(&**key, 1).is_some());
                let expected = "a string of 1 to 128 bytes without control characters";
                let key = key.ok_or_else(|| wrong("idempotency_key", expected))?;
                idempotency_key = Some(key.into_owned());
            }
            other => {
                return Err(bad(format!(
                    "an event has no member {other:?}, only name, payload, priority, volatile, \
                     headers and idempotency_key"
                )));
            }
        }
    }
    let name = name.ok_or_else(|| bad("name: an event must have one".to_owned()))?;
    check_name(&name)?;
    publish.name = name.into();
    if !has_payload {
        return Err(bad("payload: it must be there (null, if there is nothing to say)".to_owned()));
    }
    config.check_payload(&publish.payload)?;
    config.check_headers(&publish.headers)?;
    Ok(Asked { publish, idempotency_key })
}

fn bad(message: String) -> Refusal {
    Refusal::new(ErrorCode::BAD_REQUEST, message)
}

fn wrong(member: &str, expected: &str) -> Refusal {
    bad(format!("{member}: it must be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Headers, Payload};
    use crate::lane::{Lane, Offset};

    fn asked(text: &'static str) -> Result<Asked, Refusal> {
        let text = Bytes::from_static(text.as_bytes());
        let value = json::parse(&text, json::MAX_DEPTH).expect("JSON");
        read(&ServerLinkConfig { max_depth: 2, ..ServerLinkConfig::default() }, &text, value)
    }

    #[test]
    fn what_is_read_is_what_is_written() {
        let publish = asked(
            r#"{"name": "a.b", "payload": {"x": [1]}, "priority": "high", "headers": {"k": "v"},
                "volatile": false, "idempotency_key": "no. 1"}"#,
        )
        .expect("an event");
        assert_eq!(publish.idempotency_key.as_deref(), Some("no. 1"));
        let Publish { name, payload, priority, headers, .. } = publish.publish;
        let event = Event { name, payload, id: "7-9".into(), priority, time: 5, headers };
        let (mut out, lane) = (Vec::new(), Lane::from_number(7).expect("a lane"));
        write(&mut out, &event, Some(Position { lane, offset: Offset(9) }));
        let expected = r#"{"id":"7-9","name":"a.b","payload":{"x": [1]},"priority":"high","time":5,"headers":{"k":"v"},"lane":7,"offset":9}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);
        let binary = Event {
            payload: Payload::Binary(Bytes::from_static(b"hi")),
            headers: Headers::NONE,
            ..event
        };
        out.clear();
        write(&mut out, &binary, None);
        assert!(out.starts_with(br#"{"id":"7-9","name":"a.b","payload":{"$bin":"aGk="},"#));
        assert!(out.ends_with(br#""time":5}"#));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |text| asked(text).expect_err("it is wrong").message;
        assert_eq!(why("[]"), "an event must be an object");
        assert!(why(r#"{"payload": 1}"#).starts_with("name: "));
        assert!(why(r#"{"name": "a"}"#).starts_with("payload: "));
        assert!(why(r#"{"name": 1}"#).starts_with("name: "));
        assert!(why(r#"{"name": "a", "payload": [[[1]]]}"#).contains("deeper than 2"));
        assert!(
            why(r#"{"name": "a", "payload": 1, "priority": "most"}"#).starts_with("priority: ")
        );
        assert!(why(r#"{"name": "a", "payload": 1, "idempotency_key": ""}"#).contains("128"));
        assert!(why(r#"{"name": "a", "payload": 1, "topic": ""}"#).contains("\"topic\""));
        assert_eq!(
            asked(r#"{"name": "a.*", "payload": 1}"#).unwrap_err().code,
            ErrorCode::BAD_NAME
        );
    }
}
