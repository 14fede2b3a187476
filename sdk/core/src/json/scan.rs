//! The scanner: checks one value after the other and moves past it.

use super::value::Value;
use super::{Error, ErrorKind, MAX_DEPTH, string};

/// A place in a text, and the way forward from it.
#[derive(Debug, Clone)]
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    max_depth: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str, max_depth: usize) -> Self {
        Self { text, at: 0, max_depth: max_depth.min(MAX_DEPTH) }
    }

    pub(crate) fn limit_depth(&mut self, max_depth: usize) {
        self.max_depth = max_depth.min(MAX_DEPTH);
    }

    /// The deepest nesting accepted.
    pub(crate) const fn max_depth(&self) -> usize {
        self.max_depth
    }

    /// The place reached, in bytes from the beginning.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Inside a container: moves past the comma before the next entry, or past the closing bracket,
    /// if there is no other.
    pub(crate) fn another(&mut self, object: bool, first: bool) -> Result<bool, Error> {
        let end = if object { b'}' } else { b']' };
        match self.peek() {
            Some(byte) if byte == end => {
                self.bump();
                Ok(false)
            }
            Some(b',') if !first => {
                self.bump();
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ => self.error(ErrorKind::ExpectedCommaOrEnd),
        }
    }

    /// An error at the place reached; at the end of the text it is that the text is incomplete.
    #[cold]
    pub(crate) fn error<T>(&self, kind: ErrorKind) -> Result<T, Error> {
        let ended = self.at >= self.text.len() && kind != ErrorKind::Trailing;
        Err(Error { kind: if ended { ErrorKind::Incomplete } else { kind }, at: self.at })
    }

    /// The next byte that is not white space; it is not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Moves past the byte that was peeked.
    pub(crate) fn bump(&mut self) {
        self.at += 1;
    }

    /// That nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.error(ErrorKind::Trailing),
        }
    }

    /// The next value, checked.
    pub(crate) fn value(&mut self) -> Result<Value<'a>, Error> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        Ok(Value::checked(self.text.get(start..self.at).unwrap_or_default()))
    }

    /// The next object key and its colon; returns the string with its quotes.
    pub(crate) fn key(&mut self) -> Result<Value<'a>, Error> {
        self.peek();
        let start = self.at;
        let end = self.skip_key()?;
        Ok(Value::checked(self.text.get(start..end).unwrap_or_default()))
    }

    /// Moves past the next object key and its colon; returns the place after the string.
    #[inline]
    fn skip_key(&mut self) -> Result<usize, Error> {
        if self.peek() != Some(b'"') {
            return self.error(ErrorKind::ExpectedKey);
        }
        let end = string::skip(self.text.as_bytes(), self.at)?;
        self.at = end;
        if self.peek() != Some(b':') {
            return self.error(ErrorKind::ExpectedColon);
        }
        self.bump();
        Ok(end)
    }

    /// Checks one value. Which of the containers around the place reached are objects is kept in
    /// the bits of one number, the innermost lowest: no recursion, no allocation.
    fn skip_value(&mut self) -> Result<(), Error> {
        let mut depth = 0;
        let mut objects = 0_u128;
        'value: loop {
            match self.peek() {
                Some(b'"') => self.at = string::skip(self.text.as_bytes(), self.at)?,
                Some(open @ (b'{' | b'[')) => {
                    if depth >= self.max_depth {
                        return self.error(ErrorKind::TooDeep { limit: self.max_depth });
                    }
                    let object = open == b'{';
                    depth += 1;
                    objects = objects << 1 | u128::from(object);
                    self.bump();
                    match self.peek() {
                        // Closed below, like any other end.
                        Some(b'}') if object => {}
                        Some(b']') if !object => {}
                        _ if object => {
                            self.skip_key()?;
                            continue 'value;
                        }
                        _ => continue 'value,
                    }
                }
                Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                Some(b't') => self.skip_word("true")?,
                Some(b'f') => self.skip_word("false")?,
                Some(b'n') => self.skip_word("null")?,
                _ => return self.error(ErrorKind::ExpectedValue),
            }
            while depth > 0 {
                let object = objects & 1 == 1;
                match self.peek() {
                    Some(b',') => {
                        self.bump();
                        if object {
                            self.skip_key()?;
                        }
                        continue 'value;
                    }
                    Some(b'}') if object => {}
                    Some(b']') if !object => {}
                    _ => return self.error(ErrorKind::ExpectedCommaOrEnd),
                }
                self.bump();
                depth -= 1;
                objects >>= 1;
            }
            return Ok(());
        }
    }

    #[inline]
    fn skip_word(&mut self, word: &str) -> Result<(), Error> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if word.bytes().eq(rest.iter().take(word.len()).copied()) {
            self.at += word.len();
            Ok(())
        } else if word.as_bytes().starts_with(rest) {
            Err(Error { kind: ErrorKind::Incomplete, at: self.text.len() })
        } else {
            self.error(ErrorKind::ExpectedValue)
        }
    }

    fn skip_number(&mut self) -> Result<(), Error> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'0'..=b'9')) {
                return self.error(ErrorKind::Number);
            }
        } else {
            self.skip_digits()?;
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn skip_digits(&mut self) -> Result<(), Error> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        while let Some(b'0'..=b'9') = bytes.get(self.at) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { self.error(ErrorKind::Number) }
    }
}
