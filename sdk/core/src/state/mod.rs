//! Collections: records that servers and clients keep in step.
//!
//! A [`Collection`] is the server's: it judges each [`Mutation`], once, and says what has changed.
//! A [`Store`] is a client's: what the server has confirmed, and on top of it what is pending.
//! What it shows is always both, anew for each confirmed change, by the same rules by which the
//! server will decide. How conflicts end is the collection's [`Policy`].
//!
//! Records are JSON text ([`Document`]), not trees: see there.

mod apply;
mod clients;
mod collection;
mod document;
pub mod draft;
mod fields;
mod judge;
mod mutation;
mod policy;
mod store;
mod tree;
pub mod wire;

pub use apply::{Reason, Rejection};
pub use collection::{Collection, Judged, Limits, Load, Page, Verdict};
pub use document::{Document, DocumentError, IncrementError, Patch};
pub use judge::{Asked, Check, Keep, Rules};
pub use mutation::{
    Change, Edit, Key, KeyError, MAX_CLIENT_BYTES, MAX_KEY_BYTES, Mutation, MutationId, Op, Record,
    Stamp, Version,
};
pub use policy::{Conflict, Outcome, Policy, Resolution, Resolve, UnknownPolicy};
pub use store::{MutateError, Notice, Store, StoreConfig, Unsaved};
