//! The same messages in MessagePack.
//!
//! They are written and read by way of their JSON text, so that each message is spelled in one
//! place; only payloads stand apart: bytes are never turned into text, and a JSON payload that
//! MessagePack cannot carry exactly travels as its text, in an extension.

use bytes::Bytes;

use super::fields::Bad;
use crate::event::Payload;
use crate::json;
use crate::message::{ErrorCode, Refusal};
use crate::msgpack::{Error, MAX_DEPTH, Reader, Token, Writer, from_json, to_json};

/// The extension type whose content is JSON text.
const JSON_TEXT: i8 = 1;

/// A message as JSON, with what JSON cannot say beside it.
#[derive(Debug)]
pub(super) struct Translated {
    /// The array. `null` stands where something could not be said.
    pub(super) text: Bytes,
    /// The first element that is binary, and which one it is.
    pub(super) binary: Option<(usize, Bytes)>,
    /// Why the first element that could not be translated was not, and which one it is.
    pub(super) failed: Option<(usize, Refusal)>,
}

/// Translates a message whose JSON text may have up to `max_len` bytes.
pub(super) fn read(frame: &Bytes, max_len: usize) -> Result<Translated, Bad> {
    let mut reader = Reader::new(frame);
    let Token::Array(len) = reader.token().map_err(broken)? else {
        return Err(Bad::Frame("a message is one MessagePack array".into()));
    };
    let mut text = Vec::with_capacity(frame.len() + frame.len() / 4);
    let (mut binary, mut failed) = (None, None);
    for index in 0..len {
        text.push(if index == 0 { b'[' } else { b',' });
        let mut ahead = reader.clone();
        if let Token::Bin(bytes) = ahead.token().map_err(broken)? {
            text.extend_from_slice(b"null");
            binary.get_or_insert_with(|| (index, frame.slice_ref(bytes)));
            reader = ahead;
            continue;
        }
        let start = text.len();
        let mut ahead = reader.clone();
        match element(&mut ahead, &mut text, max_len) {
            Ok(()) => reader = ahead,
            Err(error) if error.is_malformed() => return Err(broken(error)),
            Err(error) => {
                text.truncate(start);
                text.extend_from_slice(b"null");
                failed.get_or_insert_with(|| (index, refusal(error)));
                match reader.skip(MAX_DEPTH) {
                    Ok(_) | Err(Error::TooDeep { .. }) => {}
                    Err(error) => return Err(broken(error)),
                }
            }
        }
    }
    if !reader.rest().is_empty() {
        return Err(broken(Error::Trailing));
    }
    text.extend_from_slice(if len == 0 { b"[]" } else { b"]" });
    Ok(Translated { text: text.into(), binary, failed })
}

fn element(reader: &mut Reader<'_>, text: &mut Vec<u8>, max_len: usize) -> Result<(), Error> {
    let mut ahead = reader.clone();
    if let Ok(Token::Ext(JSON_TEXT, content)) = ahead.token() {
        *reader = ahead;
        let value = json::parse(content, MAX_DEPTH)?;
        if text.len() + value.raw().len() > max_len {
            return Err(Error::TooLarge { limit: max_len });
        }
        text.extend_from_slice(value.raw().as_bytes());
        return Ok(());
    }
    to_json(reader, text, MAX_DEPTH, max_len)
}

/// Appends the message whose JSON text is `text`, with `payload` as the element of that number.
pub(super) fn write(out: &mut Vec<u8>, text: &[u8], payload: Option<(usize, &Payload)>) {
    let Some(elements) = json::parse(text, MAX_DEPTH).ok().and_then(json::Value::array) else {
        return;
    };
    Writer::new(out).array(elements.clone().count());
    for (index, element) in elements.enumerate() {
        match payload {
            Some((place, Payload::Binary(bytes))) if place == index => {
                Writer::new(out).bin(bytes);
            }
            Some((place, Payload::Json(text))) if place == index => write_json(out, text),
            _ => write_json(out, element.raw().as_bytes()),
        }
    }
}

fn write_json(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    if from_json(text, out, MAX_DEPTH).is_err() {
        out.truncate(start);
        Writer::new(out).ext(JSON_TEXT, text);
    }
}

fn refusal(error: Error) -> Refusal {
    let code = match error {
        Error::TooDeep { .. }
        | Error::Json(json::Error { kind: json::ErrorKind::TooDeep { .. }, .. }) => {
            ErrorCode::TOO_DEEP
        }
        Error::TooLarge { .. } => ErrorCode::TOO_LARGE,
        _ => ErrorCode::BAD_REQUEST,
    };
    Refusal::new(code, error.to_string())
}

fn broken(error: Error) -> Bad {
    Bad::Frame(format!("a message is one MessagePack array: {error}"))
}
