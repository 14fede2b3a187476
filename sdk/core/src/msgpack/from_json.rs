//! JSON to MessagePack.

use super::{Error, MAX_DEPTH, Writer};
use crate::json::{self, ErrorKind, Scanner};

/// Appends the JSON value in `text` to `out` as MessagePack.
///
/// # Errors
/// When the text is not JSON, is nested deeper than `max_depth`, or holds a number that neither 64
/// bits nor a double can hold. `out` then ends somewhere in the middle.
///
/// ```
/// use tidings_core::msgpack::from_json;
/// let mut out = Vec::new();
/// from_json(br#"{"n": 7}"#, &mut out, 64)?;
/// assert_eq!(out, [0x81, 0xa1, b'n', 0x07]);
/// # Ok::<(), tidings_core::msgpack::Error>(())
/// ```
pub fn from_json(text: &[u8], out: &mut Vec<u8>, max_depth: usize) -> Result<(), Error> {
    let max_depth = max_depth.min(MAX_DEPTH);
    let mut translation = Translation { scanner: Scanner::new(json::utf8(text)?, max_depth) };
    translation.value(out, max_depth)?;
    Ok(translation.scanner.end()?)
}

struct Translation<'a> {
    scanner: Scanner<'a>,
}

impl Translation<'_> {
    /// One value. It calls itself at most `deeper` levels deep.
    fn value(&mut self, out: &mut Vec<u8>, deeper: usize) -> Result<(), Error> {
        match self.scanner.peek() {
            Some(open @ (b'[' | b'{')) => {
                let Some(deeper) = deeper.checked_sub(1) else {
                    let limit = self.scanner.max_depth();
                    return Ok(self.scanner.error(ErrorKind::TooDeep { limit })?);
                };
                let object = open == b'{';
                self.scanner.bump();
                let start = out.len();
                out.push(0);
                let mut len = 0;
                while self.scanner.another(object, len == 0)? {
                    if object {
                        let key = self.scanner.key()?;
                        Writer::new(out).str(&key.as_str().unwrap_or_default());
                    }
                    self.value(out, deeper)?;
                    len += 1;
                }
                announce(out, start, object, len);
            }
            _ => self.scalar(out)?,
        }
        Ok(())
    }

    fn scalar(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let value = self.scanner.value()?;
        let mut w = Writer::new(out);
        match value.kind() {
            json::Kind::Null => w.nil(),
            json::Kind::Bool => w.bool(value.as_bool() == Some(true)),
            json::Kind::String => w.str(&value.as_str().unwrap_or_default()),
            _ => {
                let raw = value.raw();
                let at = self.scanner.at() - raw.len();
                return write_number(&mut w, raw).ok_or(Error::Number { at });
            }
        };
        Ok(())
    }
}

/// Whole numbers as such, everything else (and minus zero, which is no whole number) as a double.
fn write_number(w: &mut Writer<'_>, raw: &str) -> Option<()> {
    if raw == "-0" || raw.contains(['.', 'e', 'E']) {
        w.f64(raw.parse().ok().filter(|value: &f64| value.is_finite())?);
    } else if raw.starts_with('-') {
        w.i64(raw.parse().ok()?);
    } else {
        w.u64(raw.parse().ok()?);
    }
    Some(())
}

/// Writes the header of an array or map whose content begins after the byte at `start`, now that
/// its length is known. Few are so long that the content has to make room.
fn announce(out: &mut Vec<u8>, start: usize, object: bool, len: usize) {
    if let (0..=15, Some(place)) = (len, out.get_mut(start)) {
        *place = if object { 0x80 } else { 0x90 } | len as u8;
        return;
    }
    let mut header = Vec::new();
    let mut w = Writer::new(&mut header);
    if object {
        w.map(len)
    } else {
        w.array(len)
    };
    out.splice(start..=start, header);
}
