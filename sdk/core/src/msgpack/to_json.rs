//! MessagePack to JSON.

use std::io::Write;

use super::{Error, MAX_DEPTH, Reader, Token};
use crate::json::Writer;

/// Reads one value and appends it to `out` as JSON.
///
/// # Errors
/// When the bytes are not MessagePack, are nested deeper than `max_depth`, make `out` longer than
/// `max_len`, or hold something that JSON does not have. `out` then ends somewhere in the middle.
///
/// ```
/// use tidings_core::msgpack::{Reader, to_json};
/// let mut out = Vec::new();
/// to_json(&mut Reader::new(&[0x81, 0xa1, b'n', 0x07]), &mut out, 64, 1024)?;
/// assert_eq!(out, br#"{"n":7}"#);
/// # Ok::<(), tidings_core::msgpack::Error>(())
/// ```
pub fn to_json(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    max_depth: usize,
    max_len: usize,
) -> Result<(), Error> {
    to_json_with(reader, out, max_depth, max_len, |_, token, _| {
        Err(match token {
            Token::Bin(_) => Error::Binary,
            Token::Ext(kind, _) => Error::Extension(kind),
            _ => Error::NotFinite,
        })
    })
}

/// As [`to_json`], for messages in which bytes and extensions have a meaning: `foreign` writes what
/// JSON does not have. It is given the first byte too, because some senders tell two kinds of
/// extension apart by the way their length is written.
///
/// # Errors
/// As [`to_json`], or when `foreign` fails.
pub fn to_json_with<'a>(
    reader: &mut Reader<'a>,
    out: &mut Vec<u8>,
    max_depth: usize,
    max_len: usize,
    foreign: impl FnMut(u8, Token<'a>, &mut Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let max_depth = max_depth.min(MAX_DEPTH);
    Translation { reader, max_depth, max_len, foreign }.value(out, 0)
}

struct Translation<'r, 'a, F> {
    reader: &'r mut Reader<'a>,
    max_depth: usize,
    max_len: usize,
    foreign: F,
}

impl<'a, F> Translation<'_, 'a, F>
where
    F: FnMut(u8, Token<'a>, &mut Vec<u8>) -> Result<(), Error>,
{
    /// One value. It calls itself at most `max_depth` levels deep.
    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
        let first = self.reader.rest().first().copied().unwrap_or_default();
        let token = self.reader.token()?;
        if let Token::Array(_) | Token::Map(_) = token
            && depth == self.max_depth
        {
            return Err(Error::TooDeep { limit: self.max_depth });
        }
        match token {
            Token::Array(len) => {
                out.push(b'[');
                for i in 0..len {
                    if i > 0 {
                        out.push(b',');
                    }
                    self.value(out, depth + 1)?;
                }
                out.push(b']');
            }
            Token::Map(len) => {
                out.push(b'{');
                for i in 0..len {
                    if i > 0 {
                        out.push(b',');
                    }
                    let Token::Str(key) = self.reader.token()? else { return Err(Error::Key) };
                    Writer::new(out).key(key);
                    self.value(out, depth + 1)?;
                }
                out.push(b'}');
            }
            Token::Bin(_) | Token::Ext(..) => (self.foreign)(first, token, out)?,
            Token::Float(value) if !value.is_finite() => (self.foreign)(first, token, out)?,
            scalar => write_scalar(out, scalar),
        }
        if out.len() > self.max_len {
            return Err(Error::TooLarge { limit: self.max_len });
        }
        Ok(())
    }
}

/// Writes what JSON has, apart from containers.
fn write_scalar(out: &mut Vec<u8>, token: Token<'_>) {
    match token {
        Token::Nil => {
            Writer::new(out).null();
        }
        Token::Bool(value) => {
            Writer::new(out).bool(value);
        }
        Token::Unsigned(value) => {
            Writer::new(out).u64(value);
        }
        Token::Negative(value) => {
            out.push(b'-');
            Writer::new(out).u64(value.unsigned_abs());
        }
        Token::Float(value) => {
            // The shortest digits that give the same double, with an exponent where it is far
            // from one. Writing to a vector cannot fail.
            let _ = write!(out, "{value:?}");
        }
        Token::Str(value) => {
            Writer::new(out).str(value);
        }
        Token::Bin(_) | Token::Ext(..) | Token::Array(_) | Token::Map(_) => {}
    }
}
