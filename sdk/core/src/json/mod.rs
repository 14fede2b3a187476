//! JSON (RFC 8259) as raw text: checked, split, never built into trees.
//!
//! Payloads travel as they were written, so all that is needed here is to check a text once and to
//! cut it into slices: [`parse`] gives a [`Value`], a checked piece of the input; [`Elements`]
//! walks a message's outer array in a single pass, checking each element as it is reached, so that
//! an error in one element still leaves those before it. Slices of a frame become [`bytes::Bytes`]
//! without a copy by [`bytes::Bytes::slice_ref`]. [`Writer`] goes the other way.
//!
//! Why not serde_json: it cannot hand out raw slices without its tree machinery, and in the browser
//! build it doubles the size of the whole client (measured: 75,900 against 31,200 bytes of gzip).
//! It serves as the foreign implementation in the tests: both accept and reject the same texts.
//!
//! Stricter than the grammar in two points: a `\u` escape must not be half of a surrogate pair (no
//! UTF-8 string could hold it), and nesting is bounded. Numbers may be of any size; they are text
//! until somebody asks for their value.

mod elements;
mod scan;
mod string;
mod value;
mod write;

pub use elements::Elements;
pub(crate) use scan::Scanner;
pub(crate) use value::utf8;
pub use value::{Array, Kind, Object, Value, parse};
pub use write::{Quoted, Writer, escaped_len, number_len};

/// The deepest nesting that can be asked for; larger limits are lowered to it.
///
/// A scalar has depth 0, `[]` has depth 1.
pub const MAX_DEPTH: usize = 128;

/// The text is not what RFC 8259 says, or nested too deeply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {at}")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where, in bytes from the beginning of the text.
    pub at: usize,
}

/// What is wrong with a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// Bytes that are not UTF-8.
    #[error("JSON must be UTF-8; it is not")]
    Utf8,
    /// The text ends inside a value.
    #[error("the JSON text ends before it is complete")]
    Incomplete,
    /// Something else where a value should begin.
    #[error("a JSON value was expected")]
    ExpectedValue,
    /// [`Elements`] was given something else than an array.
    #[error("a JSON array was expected")]
    ExpectedArray,
    /// Something else where an object's key should begin.
    #[error("a string was expected as the object's key")]
    ExpectedKey,
    /// No colon after a key.
    #[error("a colon was expected after the object's key")]
    ExpectedColon,
    /// Neither a comma nor the end of the container.
    #[error("a comma or the closing bracket was expected")]
    ExpectedCommaOrEnd,
    /// More text after the value.
    #[error("nothing was expected after the JSON value")]
    Trailing,
    /// A number that is not written as RFC 8259 section 6 says.
    #[error("the number is malformed")]
    Number,
    /// An unescaped control character in a string.
    #[error("control characters in strings must be escaped")]
    Control,
    /// An escape that is not one of RFC 8259 section 7.
    #[error("the escape sequence is not one of JSON's")]
    Escape,
    /// Half of a surrogate pair.
    #[error("the \\u escape is half of a surrogate pair")]
    Surrogate,
    /// More nested arrays and objects than the limit.
    #[error("the value is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit that was exceeded.
        limit: usize,
    },
}
