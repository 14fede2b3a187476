//! A checked piece of JSON text, and ways to look into it.

use std::borrow::Cow;

use super::scan::Scanner;
use super::{Error, ErrorKind, MAX_DEPTH, string};

/// Checks that `json` is one JSON value, nested at most `max_depth` levels, with nothing but white
/// space around it.
///
/// ```
/// use tidings_core::json;
/// let order = json::parse(br#"{"id": 7, "note": "to \u00d8rsted"}"#, 64)?;
/// assert_eq!(order.get("id").and_then(|id| id.as_u64()), Some(7));
/// assert_eq!(order.get("note").and_then(|note| note.as_str()).as_deref(), Some("to Ørsted"));
/// assert!(json::parse(b"[1, 2,]", 64).is_err());
/// # Ok::<(), json::Error>(())
/// ```
pub fn parse(json: &[u8], max_depth: usize) -> Result<Value<'_>, Error> {
    let mut scanner = Scanner::new(utf8(json)?, max_depth);
    let value = scanner.value()?;
    scanner.end()?;
    Ok(value)
}

pub(crate) fn utf8(json: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(json).map_err(|e| Error { kind: ErrorKind::Utf8, at: e.valid_up_to() })
}

/// What sort of value a [`Value`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, of any size.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// One value: a slice of checked JSON text without white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a str);

impl<'a> Value<'a> {
    pub(super) const fn checked(raw: &'a str) -> Self {
        Self(raw)
    }

    /// The text as it was written.
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// What sort of value it is.
    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// `true` or `false`, if it is one of them.
    pub fn as_bool(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The number, if it is written as a whole one (digits only) and fits.
    pub fn as_u64(self) -> Option<u64> {
        if self.0.is_empty() {
            return None;
        }
        self.0.bytes().try_fold(0_u64, |n, byte| {
            let digit = byte.wrapping_sub(b'0');
            // A checked multiplication takes 128 bits, which 32-bit platforms have to make up.
            if digit > 9 || n > u64::MAX / 10 { None } else { (n * 10).checked_add(digit.into()) }
        })
    }

    /// The number, if it is written as a whole one (digits only) and fits.
    pub fn as_u32(self) -> Option<u32> {
        self.as_u64().and_then(|n| n.try_into().ok())
    }

    /// The string with its escapes replaced; borrowed if it has none.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(string::unescape(inner))
    }

    /// The elements, if it is an array.
    pub fn array(self) -> Option<Array<'a>> {
        self.enter(Kind::Array).map(Array)
    }

    /// The members in the order they are written, if it is an object.
    pub fn object(self) -> Option<Object<'a>> {
        self.enter(Kind::Object).map(Object)
    }

    /// The value of the last member with this key, if it is an object that has one.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.object()?.filter(|(k, _)| k == key).last().map(|(_, value)| value)
    }

    fn enter(self, kind: Kind) -> Option<Scanner<'a>> {
        (self.kind() == kind).then(|| {
            let mut scanner = Scanner::new(self.0, MAX_DEPTH);
            scanner.bump();
            scanner
        })
    }
}

/// The elements of an array; see [`Value::array`].
#[derive(Debug, Clone)]
pub struct Array<'a>(Scanner<'a>);

impl<'a> Iterator for Array<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        match self.0.peek()? {
            b']' => return None,
            b',' => self.0.bump(),
            _ => {}
        }
        self.0.value().ok()
    }
}

/// The members of an object; see [`Value::object`].
#[derive(Debug, Clone)]
pub struct Object<'a>(Scanner<'a>);

impl<'a> Iterator for Object<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.peek()? {
            b'}' => return None,
            b',' => self.0.bump(),
            _ => {}
        }
        let key = self.0.key().ok()?;
        Some((key.as_str()?, self.0.value().ok()?))
    }
}
