//! Reading the elements of a message one after the other.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::msgpack::{self, Translated};
use super::{Encoding, payload};
use crate::event::Payload;
use crate::json::{self, Elements, ErrorKind, Value};
use crate::message::{ErrorCode, Refusal};
use crate::spelling::Misspelled;

/// Why a message cannot be used.
#[derive(Debug)]
pub(super) enum Bad {
    /// The frame is not a message at all.
    Frame(String),
    /// The message is not right; others may be.
    Message(Refusal),
}

impl From<Refusal> for Bad {
    fn from(refusal: Refusal) -> Self {
        Self::Message(refusal)
    }
}

/// A message as JSON, whatever it came as.
pub(super) enum Source {
    Json(Bytes),
    Msgpack(Translated),
}

impl Source {
    /// The message in `frame`; the JSON text of what came as MessagePack may have `max_len` bytes.
    pub(super) fn new(encoding: Encoding, frame: &Bytes, max_len: usize) -> Result<Self, Bad> {
        match encoding {
            Encoding::Json => Ok(Self::Json(frame.clone())),
            Encoding::Msgpack if cfg!(feature = "msgpack") => {
                msgpack::read(frame, max_len).map(Self::Msgpack)
            }
            Encoding::Msgpack => Err(Bad::Frame("MessagePack was left out of this build".into())),
        }
    }

    const fn text(&self) -> &Bytes {
        match self {
            Self::Json(text) | Self::Msgpack(Translated { text, .. }) => text,
        }
    }
}

/// The elements of a message, not yet all checked.
pub(super) struct Fields<'a> {
    source: &'a Source,
    elements: Elements<'a>,
    /// How many elements were read.
    read: usize,
    max_depth: usize,
    /// How such a message looks, to tell the peer.
    form: &'static str,
}

impl<'a> Fields<'a> {
    /// The elements of a message whose payload may be nested `max_depth` levels.
    pub(super) fn new(source: &'a Source, max_depth: usize) -> Result<Self, Bad> {
        let elements = Elements::new(source.text(), json::MAX_DEPTH).map_err(frame_error)?;
        Ok(Self { source, elements, read: 0, max_depth, form: "[\"type\", ...]" })
    }

    /// Says how the message looks that is being read.
    pub(super) fn expect(&mut self, form: &'static str) {
        self.form = form;
    }

    /// The next element, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Value<'a>>, Bad> {
        let place = self.read;
        self.read += 1;
        if let Source::Msgpack(Translated { failed: Some((index, refusal)), .. }) = self.source
            && *index == place
        {
            return Err(Bad::Message(refusal.clone()));
        }
        self.elements.read().map_err(|error| match error.kind {
            ErrorKind::TooDeep { .. } => {
                Bad::Message(Refusal::new(ErrorCode::TOO_DEEP, error.to_string()))
            }
            _ => frame_error(error),
        })
    }

    /// Checks that the rest, which means nothing here, is well-formed.
    pub(super) fn finish(self) -> Result<(), Bad> {
        self.elements.finish().map_err(frame_error)
    }

    /// The next element as `read` sees it.
    pub(super) fn field<T>(
        &mut self,
        part: &'static str,
        expected: &'static str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T, Bad> {
        match self.next()?.and_then(read) {
            Some(field) => Ok(field),
            None => Err(self.misspelled(Misspelled { part, expected })),
        }
    }

    pub(super) fn u32(&mut self, part: &'static str) -> Result<u32, Bad> {
        self.field(part, "a whole number below 2^32", Value::as_u32)
    }

    pub(super) fn u64(&mut self, part: &'static str) -> Result<u64, Bad> {
        self.field(part, "a whole number", Value::as_u64)
    }

    pub(super) fn str(&mut self, part: &'static str) -> Result<Cow<'a, str>, Bad> {
        self.field(part, "a string", Value::as_str)
    }

    pub(super) fn name(&mut self) -> Result<Arc<str>, Bad> {
        self.str("name").map(Arc::from)
    }

    pub(super) fn refusal(&mut self) -> Result<Refusal, Bad> {
        let code = self.field("code", "a whole number below 65536", |value| {
            value.as_u64().and_then(|code| code.try_into().ok())
        })?;
        Ok(Refusal::new(ErrorCode(code), self.str("message")?))
    }

    pub(super) fn payload(&mut self) -> Result<Payload, Bad> {
        self.elements.limit_depth(self.max_depth);
        let place = self.read;
        let value = self.next()?;
        self.elements.limit_depth(json::MAX_DEPTH);
        let Some(value) = value else {
            let expected = "there (null, if there is nothing to say)";
            return Err(self.misspelled(Misspelled { part: "payload", expected }));
        };
        match self.source {
            Source::Json(text) => Ok(payload::read(text, value)?),
            Source::Msgpack(Translated { binary: Some((index, bytes)), .. }) if *index == place => {
                Ok(Payload::Binary(bytes.clone()))
            }
            Source::Msgpack(Translated { text, .. }) => {
                Ok(Payload::Json(text.slice_ref(value.raw().as_bytes())))
            }
        }
    }

    /// What is wrong with a part of this message, together with how it should look.
    pub(super) fn misspelled(&self, error: Misspelled) -> Bad {
        let message = format!("{error}: {}", self.form);
        Bad::Message(Refusal::new(ErrorCode::BAD_REQUEST, message))
    }
}

fn frame_error(error: json::Error) -> Bad {
    Bad::Frame(format!("a message is one JSON array: {error}"))
}
