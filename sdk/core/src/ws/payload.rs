//! How payloads stand in messages.
//!
//! JSON has no bytes: a binary payload is written as `{"$bin": "base64"}`. An application's object
//! that could be taken for that, or for its own escape, is written as `{"$esc": object}`.

use std::borrow::Cow;

use bytes::Bytes;

use crate::base64;
use crate::event::Payload;
use crate::json::{self, Value, Writer};
use crate::message::{ErrorCode, Refusal};

const BINARY: &str = "$bin";
const ESCAPE: &str = "$esc";

/// How many bytes [`write`] takes.
pub(crate) fn written_len(payload: &Payload) -> usize {
    match payload {
        Payload::Binary(bytes) => r#"{"$bin":""}"#.len() + base64::encoded_len(bytes.len()),
        Payload::Json(text) if must_escape(text) => r#"{"$esc":}"#.len() + text.len(),
        Payload::Json(text) => text.len(),
    }
}

/// Where a message's payload goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Into the JSON text.
    Inline,
    /// Elsewhere; `null` holds its place.
    Apart,
}

pub(crate) fn write(w: &mut Writer<'_>, payload: &Payload, style: Style) {
    match payload {
        _ if style == Style::Apart => w.null(),
        Payload::Binary(bytes) => w.begin_object().key(BINARY).base64(bytes).end_object(),
        Payload::Json(text) if must_escape(text) => {
            w.begin_object().key(ESCAPE).raw(text).end_object()
        }
        Payload::Json(text) => w.raw(text),
    };
}

/// The payload that `value`, a piece of `frame`, stands for.
pub(crate) fn read(frame: &Bytes, value: Value<'_>) -> Result<Payload, Refusal> {
    match marker(value.raw().as_bytes(), || Some(value)) {
        Some((key, content)) if key == BINARY => {
            let bytes = content.as_str().and_then(|text| base64::decode(text.as_bytes()));
            let expected = "the payload {\"$bin\": ...} must hold a string of base64 (RFC 4648 \
                section 4, padded); an object of the application's own is written {\"$esc\": object}";
            bytes
                .map(|bytes| Payload::Binary(bytes.into()))
                .ok_or_else(|| Refusal::new(ErrorCode::BAD_REQUEST, expected))
        }
        Some((_, content)) => Ok(Payload::Json(frame.slice_ref(content.raw().as_bytes()))),
        None => Ok(Payload::Json(frame.slice_ref(value.raw().as_bytes()))),
    }
}

fn must_escape(text: &[u8]) -> bool {
    marker(text, || json::parse(text, json::MAX_DEPTH).ok()).is_some()
}

/// The only member of an object, if its key is one of the two that mean something here. Most
/// objects are told apart by the first byte of their first key, without being parsed.
fn marker<'a>(
    text: &[u8],
    parsed: impl FnOnce() -> Option<Value<'a>>,
) -> Option<(Cow<'a, str>, Value<'a>)> {
    let first_key = text.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start();
    let (b'$' | b'\\') = first_key.strip_prefix(b"\"")?.first()? else { return None };
    let mut members = parsed()?.object()?;
    let (key, value) = members.next()?;
    let marks = key == BINARY || key == ESCAPE;
    (marks && members.next().is_none()).then_some((key, value))
}
