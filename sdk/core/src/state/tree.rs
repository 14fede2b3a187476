//! JSON taken apart into members, for as long as one operation takes.

use std::borrow::Cow;

use crate::json::{Kind, Value, Writer};
use crate::map::Map;

/// The members of an object.
pub(super) type Members<'a> = Map<Cow<'a, str>, Tree<'a>>;

/// A JSON value. Members are in the order of their keys and each is there once (of several with
/// one key the last counts), so that equal values are written alike. Numbers stay as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree<'a> {
    /// `null`, `true`, `false`, a number or a string.
    Scalar(Cow<'a, str>),
    Array(Vec<Tree<'a>>),
    Object(Members<'a>),
}

impl<'a> Tree<'a> {
    pub(super) fn read(value: Value<'a>) -> Self {
        match value.kind() {
            Kind::Object => Self::Object(members(value)),
            Kind::Array => {
                Self::Array(value.array().into_iter().flatten().map(Self::read).collect())
            }
            Kind::String if value.raw().contains('\\') => {
                Self::Scalar(plainly_escaped(value).into())
            }
            _ => Self::Scalar(value.raw().into()),
        }
    }

    pub(super) const fn null() -> Self {
        Self::Scalar(Cow::Borrowed("null"))
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(text) if text == "null")
    }

    pub(super) const fn as_object(&self) -> Option<&Members<'a>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The number, if it is a whole one of 64 bits.
    pub(super) fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Scalar(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn owned<'b>(self) -> Tree<'b> {
        match self {
            Self::Scalar(text) => Tree::Scalar(text.into_owned().into()),
            Self::Array(elements) => {
                Tree::Array(elements.into_iter().map(|element| element.owned()).collect())
            }
            Self::Object(members) => Tree::Object(owned(members)),
        }
    }

    fn write(&self, out: &mut Writer<'_>) {
        match self {
            Self::Scalar(text) => {
                out.raw(text.as_bytes());
            }
            Self::Array(elements) => {
                out.begin_array();
                elements.iter().for_each(|element| element.write(out));
                out.end_array();
            }
            Self::Object(members) => write_members(members, out),
        }
    }
}

/// The members of an object, of none if it is something else.
pub(super) fn members(object: Value<'_>) -> Members<'_> {
    object.object().into_iter().flatten().map(|(key, value)| (key, Tree::read(value))).collect()
}

/// The same members, borrowed from nowhere.
pub(super) fn owned<'a>(members: Members<'_>) -> Members<'a> {
    let owned = |(key, value): (Cow<'_, str>, Tree<'_>)| (key.into_owned().into(), value.owned());
    members.into_iter().map(owned).collect()
}

/// The text of the object that has these members.
pub(super) fn text(members: &Members<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_members(members, &mut Writer::new(&mut out));
    out
}

fn write_members(members: &Members<'_>, out: &mut Writer<'_>) {
    out.begin_object();
    for (key, value) in members {
        out.key(key);
        value.write(out);
    }
    out.end_object();
}

/// The string with no more escapes than it needs.
fn plainly_escaped(value: Value<'_>) -> String {
    let mut out = Vec::new();
    Writer::new(&mut out).str(&value.as_str().unwrap_or_default());
    String::from_utf8(out).unwrap_or_default()
}
