//! Patterns: which names a listener or a subscription wants.

mod set;

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

pub use set::PatternSet;

use crate::name::{ANY, MAX_SEGMENTS, NameError, ONE, check_text, segments};

/// A name in which a segment may be `*` (exactly one segment, which may be empty) or `**` (any
/// number of segments, also none). `**` may stand anywhere and more than once.
///
/// The semantics are those of EventEmitter2's wildcard mode with its accidents corrected; see
/// `docs/event-bus.md`. A `*` inside a longer segment (`a*`) is an ordinary character, as there.
/// The limits are those of [names](crate::Name).
///
/// ```
/// use tidings_core::{NameError, Pattern};
/// let created = Pattern::new("orders.*.created")?;
/// assert!(created.matches("orders.eu.created"));
/// assert!(!created.matches("orders.created"));
/// let orders = Pattern::new("orders.**")?;
/// assert!(orders.matches("orders") && orders.matches("orders.eu.created"));
/// # Ok::<(), NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Arc<str>);

/// One segment of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatternSegment<'a> {
    /// This text and nothing else.
    Literal(&'a str),
    /// `*`: exactly one segment.
    One,
    /// `**`: any number of segments.
    Any,
}

impl Pattern {
    /// A pattern, if `text` is one.
    ///
    /// # Errors
    /// Says what is wrong with the text and where.
    pub fn new(text: impl Into<Arc<str>>) -> Result<Self, NameError> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self(text))
    }

    /// Whether `name` is one of the names this pattern stands for. Costs at most the number of
    /// segments of the one times those of the other, whatever the wildcards. A text that is not a
    /// [`Name`](crate::Name) because it has too many segments is matched by nothing.
    pub fn matches(&self, name: &str) -> bool {
        // Bit i is set when the pattern's segments seen so far can cover the first i segments of
        // the name.
        let mut covered = 1_u64;
        let length = segments(name).count();
        if length > MAX_SEGMENTS {
            return false;
        }
        let end = 1_u64 << length;
        for segment in self.segments() {
            covered = match segment {
                PatternSegment::Literal(text) => {
                    let equal = segments(name)
                        .enumerate()
                        .fold(0, |bits, (i, s)| bits | (u64::from(s == text) << i));
                    (covered & equal) << 1
                }
                PatternSegment::One => (covered & (end - 1)) << 1,
                PatternSegment::Any => from_first(covered, end),
            };
            if covered == 0 {
                return false;
            }
        }
        covered & end != 0
    }

    /// The segments, in order.
    pub fn segments(&self) -> impl Iterator<Item = PatternSegment<'_>> + Clone {
        segments(&self.0).map(|segment| match segment {
            ONE => PatternSegment::One,
            ANY => PatternSegment::Any,
            text => PatternSegment::Literal(text),
        })
    }

    /// Whether there is no wildcard in it: it matches the one name that is written like it.
    pub fn is_literal(&self) -> bool {
        self.segments().all(|segment| matches!(segment, PatternSegment::Literal(_)))
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The places of a name that `**` reaches: from the first of `places` on up to the end of the
/// name (the bit `end`), since it can cover any number of segments. `places` is not empty.
pub(crate) const fn from_first(places: u64, end: u64) -> u64 {
    (end | (end - 1)) & (u64::MAX << places.trailing_zeros())
}

impl Deref for Pattern {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Pattern {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Pattern {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Pattern {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<crate::Name> for Pattern {
    fn from(name: crate::Name) -> Self {
        Self(name.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Semantics that EventEmitter2 has too: pattern, names it matches, names it does not.
    const SHARED: &[(&str, &[&str], &[&str])] = &[
        ("foo", &["foo"], &["foo.", "foo.bar", "bar", "fo"]),
        ("foo.*", &["foo.bar", "foo."], &["foo", "foo.a.b"]),
        ("*", &["foo", "chat message"], &["foo.bar"]),
        ("foo.**", &["foo", "foo.a", "foo.a.b", "foo."], &["fool", "bar.foo"]),
        ("**", &["foo", "a.b.c", "."], &[]),
        ("**.bar", &["bar", "a.bar", "a.b.bar"], &["bar.a", "foobar"]),
        ("foo.**.bar", &["foo.bar", "foo.a.b.bar"], &["foo", "bar", "foo.bar.a"]),
        ("*.*", &["a.b", "."], &["a", "a.b.c"]),
        ("a*", &["a*"], &["ab", "a"]),
        ("a.***", &["a.***"], &["a", "a.b"]),
    ];

    /// Where EventEmitter2 has an accident and we do not.
    const CORRECTED: &[(&str, &[&str], &[&str])] = &[
        ("**.b.c", &["b.c", "a.b.c", "a.b.b.c", "b.c.b.c"], &["b.b", "c"]),
        ("**.**", &["a", "a.b"], &[]),
        ("a.**.**.b", &["a.b", "a.x.b"], &["a"]),
        ("a.**.*", &["a.b", "a.b.c", "a."], &["a"]),
        ("a.*.**", &["a.b", "a.b.c"], &["a"]),
        ("**.*", &["foo", "foo.bar"], &[]),
        ("*.**", &["foo", "foo.bar"], &[]),
        ("**.*.**.*", &["a.b", "a.b.c"], &["a"]),
    ];

    #[test]
    fn semantics_of_the_wildcards() {
        for (pattern, yes, no) in SHARED.iter().chain(CORRECTED) {
            let parsed = Pattern::new(*pattern).unwrap();
            for name in *yes {
                assert!(parsed.matches(name), "{pattern} should match {name}");
            }
            for name in *no {
                assert!(!parsed.matches(name), "{pattern} should not match {name}");
            }
        }
    }

    #[test]
    fn the_limits_of_names_hold_for_patterns() {
        assert_eq!(Pattern::new(""), Err(NameError::Empty));
        assert!(matches!(Pattern::new("\u{1}"), Err(NameError::Control { at: 0, .. })));
        assert!(matches!(Pattern::new("x".repeat(256)), Err(NameError::TooLong { bytes: 256 })));
        let deep = ["**"; MAX_SEGMENTS + 1].join(".");
        assert!(matches!(Pattern::new(deep), Err(NameError::TooManySegments { segments: 64 })));
    }

    #[test]
    fn names_of_every_length_up_to_the_limit_match() {
        for length in 1..=MAX_SEGMENTS {
            let name = vec!["a"; length].join(".");
            let ones = vec!["*"; length].join(".");
            for pattern in ["**", "a.**", "**.a", name.as_str(), ones.as_str()] {
                assert!(Pattern::new(pattern).unwrap().matches(&name), "{pattern} {name}");
            }
            assert_eq!(Pattern::new("a").unwrap().matches(&name), length == 1);
        }
        assert!(!Pattern::new("**").unwrap().matches(&".".repeat(MAX_SEGMENTS)));
    }

    #[test]
    fn a_pattern_knows_whether_it_is_a_name() {
        assert!(Pattern::new("a.b").unwrap().is_literal());
        assert!(!Pattern::new("a.*").unwrap().is_literal());
        let name = crate::Name::new("a.b").unwrap();
        assert_eq!(Pattern::from(name), "a.b".parse().unwrap());
        assert_eq!(Pattern::try_from(String::from("a.*")).unwrap().to_string(), "a.*");
        assert!(Pattern::try_from("").is_err());
        assert_eq!(Pattern::new("a.**").unwrap().len(), 4);
    }
}
