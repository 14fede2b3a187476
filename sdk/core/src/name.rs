//! Names of events.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes a name or pattern may have.
pub const MAX_NAME_BYTES: usize = 255;

/// The most segments a name or pattern may have. It bounds what one match can cost, and lets a
/// set of places in a name fit one machine word.
pub const MAX_SEGMENTS: usize = 63;

/// The segment of a pattern that stands for exactly one segment of a name.
pub(crate) const ONE: &str = "*";

/// The segment of a pattern that stands for any number of segments of a name.
pub(crate) const ANY: &str = "**";

/// What separates segments.
pub(crate) const SEPARATOR: char = '.';

/// The name of an event: segments separated by dots, `orders.eu.created`.
///
/// Any UTF-8 text without control characters, 1 to [`MAX_NAME_BYTES`] bytes and up to
/// [`MAX_SEGMENTS`] segments. Segments may be empty (`orders.` has two). Names used with Socket.IO
/// for years, such as `chat message`, are names of one segment. The segments `*` and `**` are not
/// allowed: they are what [patterns](crate::Pattern) are made of.
///
/// ```
/// use tidings_core::{Name, NameError};
/// let name = Name::new("orders.eu.created")?;
/// assert_eq!(name.segments().collect::<Vec<_>>(), ["orders", "eu", "created"]);
/// let error = Name::new("orders.*.created").unwrap_err();
/// assert_eq!(error.to_string(), "segment 2 is `*`, which only a pattern may contain: \
///     an event's name says exactly what happened");
/// # Ok::<(), NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// A name, if `text` is one.
    ///
    /// # Errors
    /// Says what is wrong with the text and where.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        Self::check(&text)?;
        Ok(Self(text))
    }

    /// Whether `text` is a name, without keeping it.
    ///
    /// # Errors
    /// Says what is wrong with the text and where.
    pub fn check(text: &str) -> Result<(), NameError> {
        if is_plainly_a_name(text) {
            return Ok(());
        }
        check_text(text)?;
        for (index, segment) in segments(text).enumerate() {
            let wildcard = match segment {
                ONE => ONE,
                ANY => ANY,
                _ => continue,
            };
            return Err(NameError::Wildcard { segment: index + 1, wildcard });
        }
        Ok(())
    }

    /// The text between the dots, in order.
    pub fn segments(&self) -> impl Iterator<Item = &str> + Clone {
        segments(&self.0)
    }

    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The segments of a name or a pattern.
pub(crate) fn segments(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(SEPARATOR)
}

/// The rules that names and patterns share.
pub(crate) fn check_text(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { bytes: text.len() });
    }
    if let Some((at, character)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(NameError::Control { at, character });
    }
    let segments = segments(text).count();
    if segments > MAX_SEGMENTS {
        return Err(NameError::TooManySegments { segments });
    }
    Ok(())
}

/// Whether one look at each byte tells that this is a name, which it does for nearly every name:
/// too short to have too many segments, and no byte with which a control character or a wildcard
/// could begin.
fn is_plainly_a_name(text: &str) -> bool {
    let conspicuous = |b: u8| (b < 0x20) | (b == 0x7f) | (b == 0xc2) | (b == b'*');
    (1..MAX_SEGMENTS).contains(&text.len())
        && !text.bytes().fold(false, |found, b| found | conspicuous(b))
}

/// Why a text is not a name (or not a pattern).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no text.
    #[error("a name or pattern must have at least one character")]
    Empty,
    /// The text is longer than [`MAX_NAME_BYTES`].
    #[error("a name or pattern may have up to {MAX_NAME_BYTES} bytes, this one has {bytes}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The text has more than [`MAX_SEGMENTS`] segments.
    #[error("a name or pattern may have up to {MAX_SEGMENTS} segments, this one has {segments}")]
    TooManySegments {
        /// How many it has.
        segments: usize,
    },
    /// The text contains a control character.
    #[error(
        "control character U+{:04X} at byte {at}: a name or pattern is text without control \
         characters",
        u32::from(*character)
    )]
    Control {
        /// Where it is, in bytes from the start.
        at: usize,
        /// Which one it is.
        character: char,
    },
    /// A name contains a segment that only patterns may contain.
    #[error(
        "segment {segment} is `{wildcard}`, which only a pattern may contain: an event's name \
         says exactly what happened"
    )]
    Wildcard {
        /// Which segment, counted from 1.
        segment: usize,
        /// `*` or `**`.
        wildcard: &'static str,
    },
    /// A field of a typed event cannot stand in its name (see [`TypedEvent`](crate::TypedEvent)).
    #[error("the field `{field}` cannot be a segment of the event's name: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// What is wrong with its value.
        problem: FieldProblem,
    },
}

/// Why the value of a field cannot be one segment of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldProblem {
    /// It is empty: `orders..created` is not what subscribers of `orders.eu.created` expect.
    #[error("it is empty")]
    Empty,
    /// It contains a dot and would become several segments.
    #[error("it contains a dot, which would make it several segments")]
    Separator,
    /// It is `*` or `**`.
    #[error("it is `*` or `**`, which only a pattern may contain")]
    Wildcard,
    /// Its `Display` implementation failed.
    #[error("it cannot be written as text")]
    Unprintable,
}

impl From<Infallible> for NameError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Name {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<Name> for Arc<str> {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_any_text_without_control_characters() {
        for text in ["a", "chat message", "orders.eu.created", "foo.", ".", "été.über.名前", "a*b"]
        {
            let name = Name::new(text).expect(text);
            assert_eq!(name.as_str(), text);
            assert_eq!(name.to_string(), text);
            assert_eq!(name.segments().collect::<Vec<_>>().join("."), text);
        }
        assert_eq!(Name::new("a..b").unwrap().segments().collect::<Vec<_>>(), ["a", "", "b"]);
    }

    #[test]
    fn limits_are_exact() {
        assert!(Name::check(&"x".repeat(MAX_NAME_BYTES)).is_ok());
        let long = "x".repeat(MAX_NAME_BYTES + 1);
        assert_eq!(Name::check(&long), Err(NameError::TooLong { bytes: 256 }));
        assert!(Name::check(&".".repeat(MAX_SEGMENTS - 1)).is_ok());
        let deep = ".".repeat(MAX_SEGMENTS);
        assert_eq!(Name::check(&deep), Err(NameError::TooManySegments { segments: 64 }));
        assert_eq!(Name::check(""), Err(NameError::Empty));
    }

    #[test]
    fn control_characters_are_found_and_located() {
        for (text, at, character) in [
            ("a\nb", 1, '\n'),
            ("\0", 0, '\0'),
            ("ab\u{7f}", 2, '\u{7f}'),
            ("é\u{85}", 2, '\u{85}'),
        ] {
            assert_eq!(Name::check(text), Err(NameError::Control { at, character }));
        }
        assert!(
            Name::check("\u{a0}\u{ff}").is_ok(),
            "0xc2 alone does not make a control character"
        );
        let message = Name::check("a\nb").unwrap_err().to_string();
        assert!(message.starts_with("control character U+000A at byte 1"), "{message}");
    }

    #[test]
    fn wildcard_segments_are_refused_and_located() {
        assert_eq!(Name::check("a.b.**"), Err(NameError::Wildcard { segment: 3, wildcard: "**" }));
        assert_eq!(Name::check("*"), Err(NameError::Wildcard { segment: 1, wildcard: "*" }));
        assert!(Name::check("a.***.*b").is_ok(), "only whole segments are wildcards");
    }

    #[test]
    fn conversions_check_too() {
        assert_eq!("a.b".parse::<Name>(), Name::new("a.b"));
        assert_eq!(Name::try_from("a.b"), Name::new("a.b"));
        assert!(Name::try_from(String::from("*")).is_err());
        let text: Arc<str> = Name::new("a.b").unwrap().into();
        assert_eq!(&*text, "a.b");
        assert_eq!(Name::new("a.b").unwrap().len(), 3);
    }
}
