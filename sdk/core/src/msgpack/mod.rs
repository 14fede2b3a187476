//! MessagePack: what JSON can say, in fewer bytes, and bytes as such.
//!
//! [`from_json`] and [`to_json`] translate between JSON text and MessagePack without building
//! trees; [`Reader`] and [`Writer`] are the single steps, [`Value`] looks into a checked message.
//! Like the JSON scanner this is code of its own, because serde's data model would be most of the
//! browser build; rmpv is the foreign implementation in the tests.
//!
//! What JSON says survives the way to MessagePack and back, with numbers meant as JavaScript and
//! most JSON libraries mean them: whole numbers of up to 64 bits exactly, all others as the nearest
//! double. What one side cannot carry is an [`Error`] that names it: whole numbers beyond 64 bits
//! and doubles beyond their range on the way out; bytes, extensions, keys that are no strings, and
//! doubles that are no finite number on the way back.

mod from_json;
mod read;
mod to_json;
mod value;
mod write;

pub use from_json::from_json;
pub use read::{Reader, Token};
pub use to_json::{to_json, to_json_with};
pub use value::{Array, Map, Value, parse};
pub use write::Writer;

use crate::json;

/// The deepest nesting that can be asked for; larger limits are lowered to it.
///
/// A scalar has depth 0, an empty array or map depth 1, as in JSON.
pub const MAX_DEPTH: usize = json::MAX_DEPTH;

/// The bytes are not MessagePack, or cannot be said in the other language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end inside a value.
    #[error("the MessagePack value ends before it is complete")]
    Incomplete,
    /// The byte 0xC1, which MessagePack never uses.
    #[error("the byte 0xC1 has no meaning in MessagePack")]
    Reserved,
    /// A string that is not UTF-8.
    #[error("MessagePack strings must be UTF-8; one is not")]
    Utf8,
    /// More bytes after the value.
    #[error("nothing was expected after the MessagePack value")]
    Trailing,
    /// More nested arrays and maps than the limit.
    #[error("the value is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// The JSON text would be longer than the limit.
    #[error("the value takes more than {limit} bytes as JSON")]
    TooLarge {
        /// The limit that was exceeded.
        limit: usize,
    },
    /// Bytes, which JSON does not have.
    #[error(
        "binary data inside a value cannot be said in JSON; only a whole payload may be binary"
    )]
    Binary,
    /// An extension type, which JSON does not have.
    #[error("the extension type {0} cannot be said in JSON")]
    Extension(i8),
    /// A map's key that is not a string.
    #[error("a map's key must be a string to be said in JSON")]
    Key,
    /// Infinity, or not a number at all.
    #[error("JSON has no infinite numbers, nor NaN")]
    NotFinite,
    /// A JSON number that needs more than 64 bits.
    #[error("the JSON number at byte {at} fits neither 64 bits nor a double")]
    Number {
        /// Where it stands in the text.
        at: usize,
    },
    /// The text was not JSON in the first place.
    #[error(transparent)]
    Json(#[from] json::Error),
}

impl Error {
    /// Whether the bytes themselves are broken, rather than only impossible to translate.
    pub const fn is_malformed(self) -> bool {
        matches!(self, Self::Incomplete | Self::Reserved | Self::Utf8 | Self::Trailing)
    }
}
