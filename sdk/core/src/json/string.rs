//! Strings: finding their end, and what their escapes mean.

use std::borrow::Cow;

use super::{Error, ErrorKind};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte of `word` that is zero. Bits above the first hit may be false hits.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// How many bytes at the front of `bytes` stand for themselves in a JSON string: everything up to
/// the first quote, backslash or control character. Eight bytes at a time, since most strings are
/// too short for a vectorised search to pay.
#[inline]
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (i, chunk) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let quote = zeros(word ^ (ONES * b'"' as u64));
        let backslash = zeros(word ^ (ONES * b'\\' as u64));
        let special = control | quote | backslash;
        if special != 0 {
            return i * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    let plain = rest.iter().position(|b| *b < 0x20 || *b == b'"' || *b == b'\\');
    words.len() * 8 + plain.unwrap_or(rest.len())
}

/// Checks the string whose opening quote stands at `at`; returns the place after its closing quote.
#[inline]
pub(super) fn skip(bytes: &[u8], at: usize) -> Result<usize, Error> {
    let mut at = at + 1;
    loop {
        at += plain_len(bytes.get(at..).unwrap_or_default());
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = skip_escape(bytes, at)?,
            Some(_) => return Err(Error { kind: ErrorKind::Control, at }),
            None => return Err(Error { kind: ErrorKind::Incomplete, at: bytes.len() }),
        }
    }
}

/// Checks the escape whose backslash stands at `at`; returns the place after it.
fn skip_escape(bytes: &[u8], at: usize) -> Result<usize, Error> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => match hex4(bytes, at + 2)? {
            0xD800..=0xDBFF => {
                let low = match (bytes.get(at + 6), bytes.get(at + 7)) {
                    (Some(b'\\'), Some(b'u')) => hex4(bytes, at + 8)?,
                    _ => return Err(Error { kind: ErrorKind::Surrogate, at }),
                };
                match low {
                    0xDC00..=0xDFFF => Ok(at + 12),
                    _ => Err(Error { kind: ErrorKind::Surrogate, at }),
                }
            }
            0xDC00..=0xDFFF => Err(Error { kind: ErrorKind::Surrogate, at }),
            _ => Ok(at + 6),
        },
        Some(_) => Err(Error { kind: ErrorKind::Escape, at }),
        None => Err(Error { kind: ErrorKind::Incomplete, at: bytes.len() }),
    }
}

/// The four hexadecimal digits at `at`.
fn hex4(bytes: &[u8], at: usize) -> Result<u32, Error> {
    let mut code = 0;
    for at in at..at + 4 {
        let Some(byte) = bytes.get(at) else {
            return Err(Error { kind: ErrorKind::Incomplete, at: bytes.len() });
        };
        let Some(digit) = char::from(*byte).to_digit(16) else {
            return Err(Error { kind: ErrorKind::Escape, at });
        };
        code = code * 16 + digit;
    }
    Ok(code)
}

/// What stands between the quotes of a checked string, with its escapes replaced.
pub(super) fn unescape(inner: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'\\', inner.as_bytes()) else {
        return Cow::Borrowed(inner);
    };
    let (plain, mut rest) = inner.split_at(first);
    let mut out = String::with_capacity(inner.len());
    out.push_str(plain);
    while let Some(escape) = rest.strip_prefix('\\') {
        let (c, after) = unescape_one(escape);
        out.push(c);
        let plain = memchr::memchr(b'\\', after.as_bytes()).unwrap_or(after.len());
        let (plain, next) = after.split_at(plain);
        out.push_str(plain);
        rest = next;
    }
    Cow::Owned(out)
}

/// The character an escape means, and what follows it. Malformed ones, which a checked string does
/// not have, become U+FFFD.
fn unescape_one(escape: &str) -> (char, &str) {
    let bytes = escape.as_bytes();
    let (c, len) = match bytes.first() {
        Some(b'b') => ('\u{8}', 1),
        Some(b'f') => ('\u{c}', 1),
        Some(b'n') => ('\n', 1),
        Some(b'r') => ('\r', 1),
        Some(b't') => ('\t', 1),
        Some(b'u') => match (hex4(bytes, 1), hex4(bytes, 7)) {
            (Ok(high @ 0xD800..=0xDBFF), Ok(low @ 0xDC00..=0xDFFF)) => {
                let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11)
            }
            (code, _) => {
                (code.ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER), 5)
            }
        },
        Some(byte) if byte.is_ascii() => (char::from(*byte), 1),
        _ => (char::REPLACEMENT_CHARACTER, 0),
    };
    (c, escape.get(len..).unwrap_or_default())
}
