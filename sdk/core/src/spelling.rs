//! How the parts of session messages are spelled in JSON, wherever both transports spell them
//! alike: hello and welcome, cursors, subscriptions, headers, refusals.
//!
//! Unknown members of objects and surplus elements of arrays are ignored, so that the protocol can
//! grow.

use std::time::Duration;

use crate::event::Headers;
use crate::json::{Value, Writer};
use crate::lane::{Cursor, Epoch, Lane, Offset, Place};
use crate::message::{
    ErrorCode, Hello, Identity, PROTOCOL_VERSION, Refusal, SubId, Subscribe, Welcome,
};

const EXPIRES_IN: &str = "expires_in";

/// A part of a message that is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` must be {expected}")]
pub struct Misspelled {
    /// Which part.
    pub part: &'static str,
    /// What it should be.
    pub expected: &'static str,
}

impl From<Misspelled> for Refusal {
    fn from(error: Misspelled) -> Self {
        Self::new(ErrorCode::BAD_REQUEST, error.to_string())
    }
}

const fn misspelled<T>(part: &'static str, expected: &'static str) -> Result<T, Misspelled> {
    Err(Misspelled { part, expected })
}

/// Writes `[[lane, epoch, offset], ...]`.
pub fn write_cursor(w: &mut Writer<'_>, cursor: &Cursor) {
    w.begin_array();
    for (lane, place) in cursor.iter() {
        w.begin_array();
        w.u64(lane.number().into()).u64(place.epoch.0.into()).u64(place.offset.0);
        w.end_array();
    }
    w.end_array();
}

/// Reads `[[lane, epoch, offset], ...]`.
///
/// # Errors
/// When it is anything else.
pub fn read_cursor(part: &'static str, value: Value<'_>) -> Result<Cursor, Misspelled> {
    let entry = |entry: Value<'_>| {
        let mut numbers = entry.array()?;
        let lane = Lane::from_number(numbers.next()?.as_u32()?)?;
        let epoch = Epoch(numbers.next()?.as_u32()?);
        let offset = Offset(numbers.next()?.as_u64()?);
        Some((lane, Place { epoch, offset }))
    };
    let cursor = value.array().and_then(|entries| entries.map(entry).collect());
    cursor.map_or(misspelled(part, "a cursor: [[lane, epoch, offset], ...]"), Ok)
}

/// Writes the members of a hello.
pub fn write_hello(w: &mut Writer<'_>, hello: &Hello) {
    w.begin_object().key("v").u64(PROTOCOL_VERSION.into());
    if let Some(session) = &hello.session {
        w.key("session").str(session);
    }
    w.key("producer").str(&hello.producer);
    if let Some(token) = &hello.token {
        w.key("token").str(token);
    }
    w.key("subs").begin_array();
    for sub in &hello.subscriptions {
        w.begin_array().u64(sub.id.0.into()).str(&sub.pattern);
        if let Some(since) = &sub.since {
            w.begin_object().key("since");
            write_cursor(w, since);
            w.end_object();
        }
        w.end_array();
    }
    w.end_array().key("cursor");
    write_cursor(w, &hello.cursor);
    if hello.batch > 0 {
        w.key("batch").u64(hello.batch.into());
    }
    if !hello.batch_delay.is_zero() {
        let millis = u32::try_from(hello.batch_delay.as_millis()).unwrap_or(u32::MAX);
        w.key("batch_delay").u64(millis.into());
    }
    w.end_object();
}

/// Reads the members of a hello, after its version was checked with [`version`].
///
/// # Errors
/// When a part is not what it should be.
pub fn read_hello(value: Value<'_>) -> Result<Hello, Misspelled> {
    let Some(members) = value.object() else { return misspelled("hello", "an object") };
    let mut hello = Hello::default();
    let mut producer = None;
    for (key, value) in members {
        match key.as_ref() {
            "session" => hello.session = optional_string("session", value)?,
            "producer" => producer = Some(string("producer", value)?),
            "token" => hello.token = optional_string("token", value)?,
            "subs" => {
                let subs = value.array().and_then(|subs| subs.map(subscription).collect());
                hello.subscriptions =
                    subs.map_or(misspelled("subs", "[[id, \"pattern\"], ...]"), Ok)?;
            }
            "cursor" => hello.cursor = read_cursor("cursor", value)?,
            "batch" => {
                let bytes = value.as_u32();
                hello.batch = bytes.map_or(misspelled("batch", "a number of bytes"), Ok)?;
            }
            "batch_delay" => {
                let millis = value.as_u32().map(|millis| Duration::from_millis(millis.into()));
                hello.batch_delay =
                    millis.map_or(misspelled("batch_delay", "a number of milliseconds"), Ok)?;
            }
            _ => {}
        }
    }
    hello.producer = producer.map_or(misspelled("producer", "a string"), Ok)?;
    Ok(hello)
}

fn subscription(value: Value<'_>) -> Option<Subscribe> {
    let mut parts = value.array()?;
    let id = SubId(parts.next()?.as_u32()?);
    let pattern = parts.next()?.as_str()?.into_owned();
    let since = match parts.next().and_then(|options| options.get("since")) {
        Some(since) => Some(read_cursor("since", since).ok()?),
        None => None,
    };
    Some(Subscribe { id, pattern, since })
}

/// Writes the identity of a publish.
pub fn write_identity(w: &mut Writer<'_>, identity: &Identity) {
    w.begin_array().str(&identity.producer).u64(identity.number).end_array();
}

/// Reads the identity of a publish.
pub fn read_identity(value: Value<'_>) -> Result<Box<Identity>, Misspelled> {
    let identity = value.array().and_then(|mut parts| {
        let producer = parts.next()?.as_str()?;
        Identity::new(&*producer, parts.next()?.as_u64()?)
    });
    identity.map(Box::new).map_or(misspelled("as", "[\"producer\", number]"), Ok)
}

/// The protocol version that a hello or a welcome says it is written in.
pub fn version(value: Value<'_>) -> Option<u32> {
    value.get("v")?.as_u32()
}

/// Writes the members of a welcome.
pub fn write_welcome(w: &mut Writer<'_>, welcome: &Welcome) {
    w.begin_object().key("v").u64(PROTOCOL_VERSION.into());
    w.key("session").str(&welcome.session).key("resumed").bool(welcome.resumed);
    w.key("instance").str(&welcome.instance);
    w.key("ping").begin_array();
    w.u64(millis(welcome.ping_interval)).u64(millis(welcome.ping_timeout)).end_array();
    w.key("max_payload").u64(welcome.max_payload.into());
    w.key("max_in_flight").u64(welcome.max_in_flight.into());
    w.key("cursor");
    write_cursor(w, &welcome.cursor);
    w.key("refused").begin_array();
    for (id, refusal) in &welcome.refused {
        w.begin_array().u64(id.0.into()).u64(refusal.code.0.into()).str(&refusal.message);
        w.end_array();
    }
    w.end_array();
    write_expires_in(w, welcome.expires_in);
    w.end_object();
}

/// Writes the member that says for how long a token is good, if it expires.
pub fn write_expires_in(w: &mut Writer<'_>, expires_in: Option<Duration>) {
    if let Some(expires_in) = expires_in {
        w.key(EXPIRES_IN).u64(millis(expires_in));
    }
}

/// Reads the member that says for how long a token is good; `None` if it does not expire.
///
/// # Errors
/// When it is not a number of milliseconds.
pub fn read_expires_in(value: Value<'_>) -> Result<Option<Duration>, Misspelled> {
    match value.get(EXPIRES_IN) {
        Some(millis) if !millis.is_null() => {
            let millis = millis.as_u64().map(Duration::from_millis);
            millis.map_or(misspelled(EXPIRES_IN, "a number of milliseconds"), |d| Ok(Some(d)))
        }
        _ => Ok(None),
    }
}

/// Reads the members of a welcome, after its version was checked with [`version`].
///
/// # Errors
/// When a part is missing or not what it should be.
pub fn read_welcome(value: Value<'_>) -> Result<Welcome, Misspelled> {
    let whole = "a whole number below 2^32";
    let number = |part| {
        let number = value.get(part).and_then(Value::as_u32);
        number.map_or(misspelled(part, whole), Ok)
    };
    let text = |part| value.get(part).map_or(misspelled(part, "a string"), |v| string(part, v));
    let resumed = value.get("resumed").and_then(Value::as_bool);
    let ping = value.get("ping").and_then(|ping| {
        let mut parts = ping.array()?;
        Some((parts.next()?.as_u64()?, parts.next()?.as_u64()?))
    });
    let expected = "[interval, timeout] in milliseconds";
    let (interval, timeout) = ping.map_or(misspelled("ping", expected), Ok)?;
    Ok(Welcome {
        session: text("session")?,
        resumed: resumed.map_or(misspelled("resumed", "true or false"), Ok)?,
        instance: text("instance")?,
        ping_interval: Duration::from_millis(interval),
        ping_timeout: Duration::from_millis(timeout),
        max_payload: number("max_payload")?,
        max_in_flight: number("max_in_flight")?,
        cursor: match value.get("cursor") {
            Some(cursor) => read_cursor("cursor", cursor)?,
            None => Cursor::new(),
        },
        refused: match value.get("refused") {
            Some(refused) => {
                let refused = refused.array().and_then(|all| all.map(refused_entry).collect());
                refused.map_or(misspelled("refused", "[[id, code, \"message\"], ...]"), Ok)?
            }
            None => Vec::new(),
        },
        expires_in: read_expires_in(value)?,
    })
}

fn refused_entry(value: Value<'_>) -> Option<(SubId, Refusal)> {
    let mut parts = value.array()?;
    let id = SubId(parts.next()?.as_u32()?);
    let code = ErrorCode(parts.next()?.as_u32()?.try_into().ok()?);
    Some((id, Refusal::new(code, parts.next()?.as_str()?)))
}

/// Writes headers as an object of strings.
pub fn write_headers(w: &mut Writer<'_>, headers: &Headers) {
    w.begin_object();
    for (key, value) in headers.iter() {
        w.key(key).str(value);
    }
    w.end_object();
}

/// Reads headers.
///
/// # Errors
/// When it is not an object of strings.
pub fn read_headers(value: Value<'_>) -> Result<Headers, Misspelled> {
    let pairs: Option<Vec<_>> = value.object().and_then(|members| {
        members.map(|(key, value)| Some((key.into_owned(), value.as_str()?.into_owned()))).collect()
    });
    pairs.map_or(misspelled("headers", "an object of strings"), |pairs| Ok(Headers::new(pairs)))
}

/// Writes `{"code": n, "message": "..."}`.
pub fn write_refusal(w: &mut Writer<'_>, refusal: &Refusal) {
    w.begin_object().key("code").u64(refusal.code.0.into()).key("message").str(&refusal.message);
    w.end_object();
}

/// Reads `{"code": n, "message": "..."}`.
pub fn read_refusal(value: Value<'_>) -> Option<Refusal> {
    let code = value.get("code")?.as_u32()?.try_into().ok()?;
    let message = value.get("message")?.as_str()?;
    Some(Refusal::new(ErrorCode(code), message))
}

fn string(part: &'static str, value: Value<'_>) -> Result<String, Misspelled> {
    value.as_str().map_or(misspelled(part, "a string"), |s| Ok(s.into_owned()))
}

fn optional_string(part: &'static str, value: Value<'_>) -> Result<Option<String>, Misspelled> {
    if value.is_null() { Ok(None) } else { string(part, value).map(Some) }
}

/// Whole milliseconds, as durations travel.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn read<T>(text: &str, read: impl FnOnce(Value<'_>) -> T) -> T {
        read(json::parse(text.as_bytes(), 16).expect("JSON"))
    }

    fn written(write: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out));
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn hello_and_welcome_survive() {
        let place = Place { epoch: Epoch(3), offset: Offset(1 << 50) };
        let cursor: Cursor = [(Lane::from_number(5).expect("a lane"), place)].into_iter().collect();
        let sub = |id, since| Subscribe { id: SubId(id), pattern: "a.\"*".into(), since };
        let hello = Hello {
            session: Some("s".into()),
            producer: "p".into(),
            token: Some("t".into()),
            subscriptions: vec![sub(1, None), sub(2, Some(cursor.clone()))],
            cursor: cursor.clone(),
            batch: 16_384,
            batch_delay: Duration::from_millis(16),
        };
        let text = written(|w| write_hello(w, &hello));
        assert_eq!(read(&text, version), Some(1));
        assert_eq!(read(&text, read_hello), Ok(hello));

        let welcome = Welcome {
            session: "s".into(),
            resumed: true,
            instance: "i".into(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1 << 20,
            max_in_flight: 64,
            cursor,
            refused: vec![(SubId(2), Refusal::new(ErrorCode::FORBIDDEN, "no"))],
            expires_in: Some(Duration::from_secs(60)),
        };
        let text = written(|w| write_welcome(w, &welcome));
        assert_eq!(read(&text, read_welcome), Ok(welcome));
    }

    #[test]
    fn what_is_misspelled_is_named() {
        let hello = |text: &str| read(text, read_hello).expect_err(text).part;
        assert_eq!(hello("[]"), "hello");
        assert_eq!(hello("{}"), "producer");
        assert_eq!(hello(r#"{"producer":7}"#), "producer");
        assert_eq!(hello(r#"{"producer":"p","token":7}"#), "token");
        assert_eq!(hello(r#"{"producer":"p","subs":[[1]]}"#), "subs");
        assert_eq!(hello(r#"{"producer":"p","cursor":[[4294967295,0,0]]}"#), "cursor");
        assert_eq!(hello(r#"{"producer":"p","batch":true}"#), "batch");
        assert_eq!(hello(r#"{"producer":"p","batch_delay":-1}"#), "batch_delay");
        let least = read(r#"{"producer":"p","token":null,"more":[]}"#, read_hello);
        assert_eq!(least, Ok(Hello { producer: "p".into(), ..Hello::default() }));
    }
}
