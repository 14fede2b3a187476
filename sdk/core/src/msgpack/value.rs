//! A checked piece of MessagePack, and ways to look into it.

use super::{Error, MAX_DEPTH, Reader, Token};

/// Checks that `bytes` are one MessagePack value, nested at most `max_depth` levels, and no more.
///
/// ```
/// use tidings_core::msgpack;
/// let packet = msgpack::parse(&[0x82, 0xa1, b'n', 0x07, 0xa1, b'b', 0xc4, 1, 0xff], 64)?;
/// assert_eq!(packet.get("n").and_then(|n| n.as_u64()), Some(7));
/// assert_eq!(packet.get("b").and_then(|b| b.as_bin()), Some(&[0xff][..]));
/// # Ok::<(), msgpack::Error>(())
/// ```
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Value<'_>, Error> {
    let mut reader = Reader::new(bytes);
    let value = reader.skip(max_depth)?;
    if reader.rest().is_empty() { Ok(Value(value)) } else { Err(Error::Trailing) }
}

/// One value: a slice of checked MessagePack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// The bytes as they were written.
    pub const fn raw(self) -> &'a [u8] {
        self.0
    }

    /// What it is: the scalar itself, or how many values an array or a map has.
    pub fn token(self) -> Token<'a> {
        Reader::new(self.0).token().unwrap_or(Token::Nil)
    }

    /// The number, if it is a whole one and not negative.
    pub fn as_u64(self) -> Option<u64> {
        match self.token() {
            Token::Unsigned(value) => Some(value),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(self) -> Option<&'a str> {
        match self.token() {
            Token::Str(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is binary.
    pub fn as_bin(self) -> Option<&'a [u8]> {
        match self.token() {
            Token::Bin(value) => Some(value),
            _ => None,
        }
    }

    /// The values, if it is an array.
    pub fn array(self) -> Option<Array<'a>> {
        let mut reader = Reader::new(self.0);
        match reader.token() {
            Ok(Token::Array(left)) => Some(Array { reader, left }),
            _ => None,
        }
    }

    /// The keys and values in the order they are written, if it is a map.
    pub fn map(self) -> Option<Map<'a>> {
        let mut reader = Reader::new(self.0);
        match reader.token() {
            Ok(Token::Map(left)) => {
                Some(Map { values: Array { reader, left: left.saturating_mul(2) } })
            }
            _ => None,
        }
    }

    /// The value of the last member with this key, if it is a map that has one.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.map()?.filter(|(k, _)| k.as_str() == Some(key)).last().map(|(_, value)| value)
    }
}

/// The values of an array; see [`Value::array`].
#[derive(Debug, Clone)]
pub struct Array<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Array<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.reader.skip(MAX_DEPTH).ok().map(Value)
    }
}

/// The members of a map; see [`Value::map`].
#[derive(Debug, Clone)]
pub struct Map<'a> {
    values: Array<'a>,
}

impl<'a> Iterator for Map<'a> {
    type Item = (Value<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.values.next()?, self.values.next()?))
    }
}
