//! The sans-io core of Tidings.
//!
//! Nothing in here reads a clock, a socket or a random source: bytes, commands and the current
//! [`Time`] go in; bytes, events and deadlines come out. The same code therefore runs in the
//! server, in native clients, in the browser and in a simulator.
#![deny(missing_docs)]

pub mod backoff;
pub mod base64;
pub mod bus;
pub mod client;
pub mod endpoint;
pub mod engineio;
pub mod event;
pub mod event_json;
pub mod io;
pub mod json;
pub mod lane;
pub mod link;
pub mod log;
pub mod map;
pub mod message;
pub mod msgpack;
pub mod name;
pub mod pattern;
pub mod pattern_index;
pub mod rng;
pub mod server;
pub mod socketio;
pub mod spelling;
pub mod sse;
pub mod state;
pub mod time;
pub mod typed;
pub mod websocket;
pub mod ws;

pub use bus::EventBus;
pub use event::{Event, Headers, Payload, Priority};
pub use lane::{Cursor, Epoch, Lane, Offset, Partitioning, Place};
pub use name::{FieldProblem, MAX_NAME_BYTES, MAX_SEGMENTS, Name, NameError};
pub use pattern::{Pattern, PatternSegment, PatternSet};
pub use pattern_index::{PatternIndex, PatternKey};
pub use time::Time;
pub use typed::{Codec, CodecError, NameWriter, TypedEvent};
