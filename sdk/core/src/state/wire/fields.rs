//! Reading members of objects, and saying which one is wrong.

use std::sync::Arc;

use super::WireError;
use crate::json::{self, Kind, Value};
use crate::state::document::object;
use crate::state::{Document, Key, MAX_CLIENT_BYTES, Patch, Version};

/// The object in a payload.
pub(super) fn payload(json: &[u8], max_depth: usize) -> Result<Value<'_>, WireError> {
    let value = json::parse(json, max_depth).map_err(|error| WireError::new("payload", error))?;
    match value.kind() {
        Kind::Object => Ok(value),
        _ => Err(WireError::new("payload", "must be an object")),
    }
}

/// A member that need not be there; `null` is not there, either.
pub(super) fn optional<'a>(object: Value<'a>, name: &str) -> Option<Value<'a>> {
    object.get(name).filter(|value| !value.is_null())
}

pub(super) fn required<'a>(object: Value<'a>, name: &str) -> Result<Value<'a>, WireError> {
    optional(object, name).ok_or_else(|| WireError::new(name, "is missing"))
}

pub(super) fn optional_u64(object: Value<'_>, name: &str) -> Result<Option<u64>, WireError> {
    let number = |value: Value<'_>| {
        value.as_u64().ok_or_else(|| WireError::new(name, "must be a whole number"))
    };
    optional(object, name).map(number).transpose()
}

pub(super) fn u64(object: Value<'_>, name: &str) -> Result<u64, WireError> {
    optional_u64(object, name)?.ok_or_else(|| WireError::new(name, "is missing"))
}

pub(super) fn version(object: Value<'_>, name: &str) -> Result<Version, WireError> {
    u64(object, name).map(Version)
}

pub(super) fn optional_text(object: Value<'_>, name: &str) -> Result<Option<Arc<str>>, WireError> {
    let text = |value: Value<'_>| {
        let text = value.as_str().map(|text| Arc::from(&*text));
        text.ok_or_else(|| WireError::new(name, "must be a string"))
    };
    optional(object, name).map(text).transpose()
}

pub(super) fn text(object: Value<'_>, name: &str) -> Result<Arc<str>, WireError> {
    optional_text(object, name)?.ok_or_else(|| WireError::new(name, "is missing"))
}

/// The id of a client that counts its mutations, if there is one.
pub(super) fn optional_client(object: Value<'_>) -> Result<Option<Arc<str>>, WireError> {
    let client = optional_text(object, "client")?;
    match client {
        Some(client) if client.len() > MAX_CLIENT_BYTES => {
            let bytes = client.len();
            let problem = format!("has at most {MAX_CLIENT_BYTES} bytes, this has {bytes}");
            Err(WireError::new("client", problem))
        }
        client => Ok(client),
    }
}

pub(super) fn key(object: Value<'_>) -> Result<Key, WireError> {
    Key::new(text(object, "key")?).map_err(|error| WireError::new("key", error))
}

pub(super) fn optional_document(
    value: Value<'_>,
    name: &str,
) -> Result<Option<Document>, WireError> {
    let document = |value| {
        let object = object(value).map_err(|error| WireError::new(name, error))?;
        Ok(Document::from_value(object))
    };
    optional(value, name).map(document).transpose()
}

pub(super) fn document(value: Value<'_>, name: &str) -> Result<Document, WireError> {
    optional_document(value, name)?.ok_or_else(|| WireError::new(name, "is missing"))
}

pub(super) fn optional_patch(value: Value<'_>, name: &str) -> Result<Option<Patch>, WireError> {
    let patch = |value| {
        let object = object(value).map_err(|_| WireError::new(name, "must be an object"))?;
        Ok(Patch::from_value(object))
    };
    optional(value, name).map(patch).transpose()
}

pub(super) fn patch(value: Value<'_>, name: &str) -> Result<Patch, WireError> {
    optional_patch(value, name)?.ok_or_else(|| WireError::new(name, "is missing"))
}

/// The elements of a member, each read by `read`.
pub(super) fn list<T>(
    object: Value<'_>,
    name: &str,
    read: impl Fn(Value<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let elements = required(object, name)?.array();
    let elements = elements.ok_or_else(|| WireError::new(name, "must be an array"))?;
    let element = |(n, value): (usize, Value<'_>)| {
        if value.kind() != Kind::Object {
            return Err(WireError::new(format!("{name}[{n}]"), "must be an object"));
        }
        read(value).map_err(|error| error.within(format_args!("{name}[{n}]")))
    };
    elements.enumerate().map(element).collect()
}
