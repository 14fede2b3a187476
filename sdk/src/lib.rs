//! The Tidings client.
//!
//! A [`Client`] keeps one connection to a server, over a plain WebSocket or Socket.IO, and heals
//! it: after a cut it comes back by itself, takes its subscriptions along, gets what it missed,
//! and sends again what was not acknowledged. Nothing is lost without being told, and nothing
//! comes twice.
//!
//! ```no_run
//! use futures_util::StreamExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = tidings::Client::builder("http://127.0.0.1:9000").build()?;
//! let mut created = client.subscribe::<String>("orders.*.created").await?;
//! client.publish("orders.eu.created", "No. 17").await?;
//! if let Some(Ok(order)) = created.next().await {
//!     println!("{} by way of {}", order.value, order.meta.name);
//! }
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod buffer;
mod builder;
mod client;
mod codec;
pub mod collection;
mod desk;
mod driver;
pub mod error;
mod net;
mod network;
mod orders;
mod publish;
pub mod relay;
mod request;
mod runtime;
mod signal;
pub mod socketio;
mod subscription;

pub use buffer::Overflow;
pub use builder::{AuthError, ClientBuilder};
pub use client::{Client, Pause};
pub use codec::Json;
pub use collection::Collection;
pub use net::OpenedSocket;
pub use publish::{PublishBuilder, Publishing, VolatileBuilder, VolatileSending};
pub use request::{Request, RequestBuilder};
pub use runtime::MaybeSend;
pub use subscription::{Meta, RawSubscription, Received, Subscribed, Subscription};
pub use tidings_core::bus;
pub use tidings_core::client::{Counters, RoundTrips, State, Stats, Status, Transport};
pub use tidings_core::message::{
    Advice, Close, CloseCode, Delivery, ErrorCode, Gap, Identity, Position, Refusal,
};
pub use tidings_core::ws::Encoding;
pub use tidings_core::{
    Cursor, Headers, Lane, Name, NameError, NameWriter, Offset, Payload, Priority, TypedEvent,
};
pub use tidings_macros::Event;
