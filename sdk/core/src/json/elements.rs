//! One pass over a message's outer array.

use super::scan::Scanner;
use super::value::{Value, utf8};
use super::{Error, ErrorKind};

/// Reads an array from unchecked text, checking each element as it is reached.
///
/// ```
/// use tidings_core::json::Elements;
/// let mut message = Elements::new(br#"["ack", 7, [[["too deep"]]]]"#, 2)?;
/// assert_eq!(message.read()?.and_then(|v| v.as_str()).as_deref(), Some("ack"));
/// assert_eq!(message.read()?.and_then(|v| v.as_u64()), Some(7));
/// assert!(message.read().is_err());
/// # Ok::<(), tidings_core::json::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    scanner: Scanner<'a>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    First,
    Later,
    Ended,
    Failed(Error),
}

impl<'a> Elements<'a> {
    /// Begins to read `json`, which must be an array; each of its elements may be nested at most
    /// `max_depth` levels.
    pub fn new(json: &'a [u8], max_depth: usize) -> Result<Self, Error> {
        let mut scanner = Scanner::new(utf8(json)?, max_depth);
        if scanner.peek() != Some(b'[') {
            return scanner.error(ErrorKind::ExpectedArray);
        }
        scanner.bump();
        Ok(Self { scanner, state: State::First })
    }

    /// Lets the elements still to be read be nested at most `max_depth` levels.
    pub fn limit_depth(&mut self, max_depth: usize) {
        self.scanner.limit_depth(max_depth);
    }

    /// The next element; `None` when the array is complete and nothing follows it.
    ///
    /// After an error the rest cannot be read: every further call gives the same error.
    pub fn read(&mut self) -> Result<Option<Value<'a>>, Error> {
        let element = self.advance();
        if let Err(error) = element {
            self.state = State::Failed(error);
        }
        element
    }

    fn advance(&mut self) -> Result<Option<Value<'a>>, Error> {
        match (self.state, self.scanner.peek()) {
            (State::Ended, _) => Ok(None),
            (State::Failed(error), _) => Err(error),
            (State::First | State::Later, Some(b']')) => {
                self.scanner.bump();
                self.scanner.end()?;
                self.state = State::Ended;
                Ok(None)
            }
            (State::First, _) => {
                self.state = State::Later;
                self.scanner.value().map(Some)
            }
            (State::Later, Some(b',')) => {
                self.scanner.bump();
                self.scanner.value().map(Some)
            }
            (State::Later, _) => self.scanner.error(ErrorKind::ExpectedCommaOrEnd),
        }
    }

    /// Checks all that is left.
    pub fn finish(mut self) -> Result<(), Error> {
        while self.read()?.is_some() {}
        Ok(())
    }
}
