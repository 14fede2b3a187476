//! Writing JSON.

use std::fmt;

use super::string::plain_len;
use crate::base64;

/// Writes JSON text to the end of a buffer and sets the commas.
///
/// It trusts its caller to open and close containers in order and to give keys in objects.
///
/// ```
/// use tidings_core::json::Writer;
/// let mut out = Vec::new();
/// let mut w = Writer::new(&mut out);
/// w.begin_array().str("say \"hi\"").u64(7).begin_object().key("raw").raw(b"[1, 2]");
/// w.end_object().end_array();
/// assert_eq!(out, br#"["say \"hi\"",7,{"raw":[1, 2]}]"#);
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    comma: bool,
}

impl<'a> Writer<'a> {
    /// A writer at the end of `out`, where a value may stand.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, comma: false }
    }

    /// Opens an array.
    pub fn begin_array(&mut self) -> &mut Self {
        self.open(b'[')
    }

    /// Closes an array.
    pub fn end_array(&mut self) -> &mut Self {
        self.close(b']')
    }

    /// Opens an object.
    pub fn begin_object(&mut self) -> &mut Self {
        self.open(b'{')
    }

    /// Closes an object.
    pub fn end_object(&mut self) -> &mut Self {
        self.close(b'}')
    }

    /// A member's key; its value must follow.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.str(key);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// A string, escaped.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        escape(value, self.out);
        self.out.push(b'"');
        self
    }

    /// A string that holds `bytes` as base64.
    pub fn base64(&mut self, bytes: &[u8]) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        base64::encode(bytes, self.out);
        self.out.push(b'"');
        self
    }

    /// A whole number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.separate();
        let mut digits = [0; 20];
        let start = format_u64(value, &mut digits);
        self.out.extend_from_slice(digits.get(start..).unwrap_or_default());
        self
    }

    /// `true` or `false`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.raw(if value { b"true" } else { b"false" })
    }

    /// `null`.
    pub fn null(&mut self) -> &mut Self {
        self.raw(b"null")
    }

    /// A value that is JSON text already.
    pub fn raw(&mut self, json: &[u8]) -> &mut Self {
        self.separate();
        self.out.extend_from_slice(json);
        self
    }

    fn separate(&mut self) {
        if self.comma {
            self.out.push(b',');
        }
        self.comma = true;
    }

    fn open(&mut self, bracket: u8) -> &mut Self {
        self.separate();
        self.out.push(bracket);
        self.comma = false;
        self
    }

    fn close(&mut self, bracket: u8) -> &mut Self {
        self.out.push(bracket);
        self.comma = true;
        self
    }
}

/// How many bytes `value` takes as a JSON string, quotes included.
pub fn escaped_len(value: &str) -> usize {
    let mut bytes = value.as_bytes();
    let mut len = 2 + bytes.len();
    loop {
        let plain = plain_len(bytes);
        let Some(byte) = bytes.get(plain) else { return len };
        len += escape_of(*byte).len() - 1;
        bytes = bytes.get(plain + 1..).unwrap_or_default();
    }
}

/// How many digits `value` has.
pub const fn number_len(value: u64) -> usize {
    match value.checked_ilog10() {
        Some(log) => log as usize + 1,
        None => 1,
    }
}

fn escape(value: &str, out: &mut Vec<u8>) {
    let mut bytes = value.as_bytes();
    loop {
        let (plain, rest) = bytes.split_at(plain_len(bytes));
        out.extend_from_slice(plain);
        let Some((byte, rest)) = rest.split_first() else { return };
        out.extend_from_slice(&escape_of(*byte));
        bytes = rest;
    }
}

/// How a quote, a backslash or a control character is written: as short as possible.
fn escape_of(byte: u8) -> Escape {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = |c| Escape { bytes: [b'\\', c, 0, 0, 0, 0], len: 2 };
    match byte {
        b'"' | b'\\' => short(byte),
        0x08 => short(b'b'),
        0x09 => short(b't'),
        0x0A => short(b'n'),
        0x0C => short(b'f'),
        0x0D => short(b'r'),
        _ => {
            let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
            Escape { bytes: [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)], len: 6 }
        }
    }
}

/// An escape sequence of two or six bytes.
struct Escape {
    bytes: [u8; 6],
    len: usize,
}

impl std::ops::Deref for Escape {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Writes the decimal digits to the end of `digits`; returns where they begin.
fn format_u64(mut value: u64, digits: &mut [u8; 20]) -> usize {
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    start
}
/// A text in a message for people, in quotes and escaped as in JSON.
///
/// [`str`]'s `Debug` shows nearly the same, but brings tables of what is printable: pages download them.
///
/// ```
/// use tidings_core::json::Quoted;
/// assert_eq!(format!("no event {}", Quoted("a\n")), r#"no event "a\n""#);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut quoted = Vec::with_capacity(self.0.len() + 2);
        Writer::new(&mut quoted).str(self.0);
        f.write_str(&String::from_utf8_lossy(&quoted))
    }
}
