//! Reading MessagePack step by step.

use super::{Error, MAX_DEPTH};

/// One step: a scalar, or the beginning of an array or a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Token<'a> {
    /// Nil.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number that is not negative.
    Unsigned(u64),
    /// A negative whole number.
    Negative(i64),
    /// A floating-point number; those of 32 bits are widened, which is exact.
    Float(f64),
    /// A string.
    Str(&'a str),
    /// Bytes.
    Bin(&'a [u8]),
    /// An extension: its type and content.
    Ext(i8, &'a [u8]),
    /// An array of so many values, which follow.
    Array(usize),
    /// A map of so many keys and values, which follow in turns.
    Map(usize),
}

/// A place in MessagePack bytes, and the way forward from it.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins to read `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next step.
    ///
    /// ```
    /// use tidings_core::msgpack::{Reader, Token};
    /// let mut reader = Reader::new(&[0x92, 0x01, 0xa2, b'h', b'i']);
    /// assert_eq!(reader.token(), Ok(Token::Array(2)));
    /// assert_eq!(reader.token(), Ok(Token::Unsigned(1)));
    /// assert_eq!(reader.token(), Ok(Token::Str("hi")));
    /// assert!(reader.token().is_err());
    /// ```
    pub fn token(&mut self) -> Result<Token<'a>, Error> {
        let [first] = self.array()?;
        Ok(match first {
            0x00..=0x7F => Token::Unsigned(first.into()),
            0x80..=0x8F => Token::Map((first & 0x0F).into()),
            0x90..=0x9F => Token::Array((first & 0x0F).into()),
            0xA0..=0xBF => self.string((first & 0x1F).into())?,
            0xC0 => Token::Nil,
            0xC1 => return Err(Error::Reserved),
            0xC2 => Token::Bool(false),
            0xC3 => Token::Bool(true),
            0xC4..=0xC6 => {
                let len = self.length(first - 0xC4)?;
                Token::Bin(self.take(len)?)
            }
            0xC7..=0xC9 => {
                let len = self.length(first - 0xC7)?;
                self.extension(len)?
            }
            0xCA => Token::Float(f32::from_be_bytes(self.array()?).into()),
            0xCB => Token::Float(f64::from_be_bytes(self.array()?)),
            0xCC => Token::Unsigned(u8::from_be_bytes(self.array()?).into()),
            0xCD => Token::Unsigned(u16::from_be_bytes(self.array()?).into()),
            0xCE => Token::Unsigned(u32::from_be_bytes(self.array()?).into()),
            0xCF => Token::Unsigned(u64::from_be_bytes(self.array()?)),
            0xD0 => signed(i8::from_be_bytes(self.array()?).into()),
            0xD1 => signed(i16::from_be_bytes(self.array()?).into()),
            0xD2 => signed(i32::from_be_bytes(self.array()?).into()),
            0xD3 => signed(i64::from_be_bytes(self.array()?)),
            0xD4..=0xD8 => self.extension(1 << (first - 0xD4))?,
            0xD9..=0xDB => {
                let len = self.length(first - 0xD9)?;
                self.string(len)?
            }
            0xDC => Token::Array(u16::from_be_bytes(self.array()?).into()),
            0xDD => Token::Array(self.length(2)?),
            0xDE => Token::Map(u16::from_be_bytes(self.array()?).into()),
            0xDF => Token::Map(self.length(2)?),
            0xE0..=0xFF => Token::Negative(i8::from_be_bytes([first]).into()),
        })
    }

    /// Moves past one value, nested at most `max_depth` levels; returns its bytes.
    ///
    /// Too deep a value is moved past nevertheless, as far as it is one.
    pub fn skip(&mut self, max_depth: usize) -> Result<&'a [u8], Error> {
        let start = self.rest;
        let limit = max_depth.min(MAX_DEPTH);
        let mut too_deep = false;
        // How many values are still to come, at each level. What a count announces is not there
        // yet, so that levels are only gone into, never allocated by a count; levels beyond the
        // limit are counted together, since nothing is known of them but that they must end.
        let mut levels = Vec::new();
        let mut left = 1_u64;
        while left > 0 {
            left -= 1;
            let inner = match self.token()? {
                Token::Array(len) => Some(len as u64),
                Token::Map(len) => Some(len as u64 * 2),
                _ => None,
            };
            if let Some(inner) = inner {
                if levels.len() < limit {
                    levels.push(left);
                    left = inner;
                } else {
                    too_deep = true;
                    left = left.saturating_add(inner);
                }
            }
            while left == 0
                && let Some(outer) = levels.pop()
            {
                left = outer;
            }
        }
        if too_deep {
            return Err(Error::TooDeep { limit });
        }
        Ok(start.get(..start.len() - self.rest.len()).unwrap_or_default())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Incomplete)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length of 1, 2 or 4 bytes, for the exponents 0, 1 and 2.
    fn length(&mut self, exponent: u8) -> Result<usize, Error> {
        Ok(match exponent {
            0 => u8::from_be_bytes(self.array()?).into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn string(&mut self, len: usize) -> Result<Token<'a>, Error> {
        std::str::from_utf8(self.take(len)?).map(Token::Str).map_err(|_| Error::Utf8)
    }

    fn extension(&mut self, len: usize) -> Result<Token<'a>, Error> {
        let kind = i8::from_be_bytes(self.array()?);
        Ok(Token::Ext(kind, self.take(len)?))
    }
}

fn signed(number: i64) -> Token<'static> {
    u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned)
}
