//! The server's side of delivery: who gets which event, and how it waits for a slow connection.
//!
//! - [`Hub`] knows the subscriptions of a set of connections and finds those an event is for.
//! - [`Feed`] is what one connection still has to get: live events, or a place in the log from
//!   which it reads until it has caught up.
//! - [`Outbox`] holds the finished frames that wait for one connection, bounded in bytes.
//!
//! None of them locks, waits or writes: the host (the real server, the simulator) does.

mod feed;
mod hub;
mod ledger;
mod log_reader;
mod outbox;

pub use feed::{Feed, FeedConfig, FeedStats};
pub use hub::{Hub, HubKey};
pub use ledger::{Ledger, Mark, Seen};
pub use log_reader::LogReader;
pub use outbox::Outbox;
