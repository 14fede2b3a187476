//! Events as Rust types.
//!
//! An event is bytes with a name: that is what travels, and what listeners without types get. The
//! typed layer lies on top and consists of two traits. [`TypedEvent`] says how a type is named
//! (usually derived: `#[derive(Event)]`); [`Codec`] turns values into payloads and back. The core
//! implements no codec, which keeps serialisation frameworks out of it; the SDK brings one for
//! JSON.

use std::fmt::{Display, Write};

use crate::event::{Payload, Priority};
use crate::name::{ANY, FieldProblem, Name, NameError, ONE, SEPARATOR};

/// A type whose values are events of one kind.
///
/// Usually derived. By hand it looks like this:
/// ```
/// use tidings_core::{Name, NameError, NameWriter, Priority, TypedEvent};
///
/// struct OrderCreated { region: String, total: u32 }
///
/// impl TypedEvent for OrderCreated {
///     const PATTERN: &'static str = "orders.*.created";
///     const PRIORITY: Priority = Priority::High;
///
///     fn name(&self) -> Result<Name, NameError> {
///         let mut name = NameWriter::default();
///         name.literal("orders");
///         name.field("region", &self.region)?;
///         name.literal("created");
///         name.finish()
///     }
/// }
///
/// let order = OrderCreated { region: "eu".into(), total: 7 };
/// assert_eq!(order.name()?.as_str(), "orders.eu.created");
/// let broken = OrderCreated { region: "eu.west".into(), total: 7 };
/// assert!(matches!(broken.name(), Err(NameError::Field { field: "region", .. })));
/// # Ok::<(), NameError>(())
/// ```
pub trait TypedEvent {
    /// The pattern that the names of all values match: what subscribers ask for.
    const PATTERN: &'static str;

    /// How urgent events of this kind are unless the publisher says otherwise.
    const PRIORITY: Priority = Priority::Normal;

    /// The name of this event.
    ///
    /// # Errors
    /// If a field that is part of the name has a value that cannot be one segment.
    fn name(&self) -> Result<Name, NameError>;
}

/// Turns values of type `T` into payloads and back.
pub trait Codec<T> {
    /// The payload of a value.
    ///
    /// # Errors
    /// If the value cannot be written in this format.
    fn encode(&self, value: &T) -> Result<Payload, CodecError>;

    /// The value of a payload.
    ///
    /// # Errors
    /// If the payload is not a `T`.
    fn decode(&self, payload: &Payload) -> Result<T, CodecError>;
}

/// Why a value could not be written or a payload could not be read; names the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(pub String);

/// Puts a name together from segments, checking the values that come from outside.
#[derive(Debug, Default)]
pub struct NameWriter {
    text: String,
    segments: usize,
}

impl NameWriter {
    /// Adds segments known when the program was written; [`finish`](Self::finish) checks them.
    pub fn literal(&mut self, segments: &str) {
        self.separate();
        self.text.push_str(segments);
    }

    /// Adds the value of `field` as one segment.
    ///
    /// # Errors
    /// If the value is empty, contains a dot, or is a wildcard: it would silently become another
    /// name than its type promises.
    pub fn field(&mut self, field: &'static str, value: &dyn Display) -> Result<(), NameError> {
        self.separate();
        let start = self.text.len();
        // Writing to a string fails only if the value's own `Display` says so.
        let written = write!(self.text, "{value}");
        let problem = match self.text.get(start..).unwrap_or_default() {
            _ if written.is_err() => FieldProblem::Unprintable,
            "" => FieldProblem::Empty,
            ONE | ANY => FieldProblem::Wildcard,
            segment if segment.contains(SEPARATOR) => FieldProblem::Separator,
            _ => return Ok(()),
        };
        Err(NameError::Field { field, problem })
    }

    /// The name.
    ///
    /// # Errors
    /// If the whole is not a name, for instance because it is too long.
    pub fn finish(self) -> Result<Name, NameError> {
        Name::new(self.text)
    }

    fn separate(&mut self) {
        if self.segments > 0 {
            self.text.push(SEPARATOR);
        }
        self.segments += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    struct Unprintable;

    impl Display for Unprintable {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Err(fmt::Error)
        }
    }

    fn field(value: &dyn Display) -> Result<Name, NameError> {
        let mut name = NameWriter::default();
        name.literal("a.b");
        name.field("f", value)?;
        name.finish()
    }

    #[test]
    fn fields_become_single_segments_or_errors() {
        assert_eq!(field(&17).unwrap().as_str(), "a.b.17");
        assert_eq!(field(&"x y").unwrap().as_str(), "a.b.x y");
        for (value, problem) in [
            ("", FieldProblem::Empty),
            ("x.y", FieldProblem::Separator),
            ("*", FieldProblem::Wildcard),
            ("**", FieldProblem::Wildcard),
        ] {
            assert_eq!(field(&value), Err(NameError::Field { field: "f", problem }));
        }
        let problem = FieldProblem::Unprintable;
        assert_eq!(field(&Unprintable), Err(NameError::Field { field: "f", problem }));
        assert!(matches!(field(&"\n"), Err(NameError::Control { at: 4, .. })));
        assert!(matches!(field(&"x".repeat(300)), Err(NameError::TooLong { .. })));
    }

    #[test]
    fn a_field_may_come_first() {
        let mut name = NameWriter::default();
        name.field("f", &"").unwrap_err();
        let mut name = NameWriter::default();
        name.field("f", &1).unwrap();
        name.literal("x");
        assert_eq!(name.finish().unwrap().as_str(), "1.x");
    }
}
