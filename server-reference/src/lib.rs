//! The Tidings server: Socket.IO and Tidings clients on one port, services that only see an event
//! bus.
//!
//! ```no_run
#![doc = include_str!("../examples/quick_start.rs")]
//! ```
#![deny(missing_docs)]
// Until connections do more than close, much of what they will use is unused.
#![allow(dead_code)]

mod accepted;
mod app;
mod connection;
mod connections;
mod handlers;
mod http;
mod ids;
mod server;
mod shutdown;

pub mod cli;
pub mod config;
pub mod stats;

pub use config::{Config, ConfigError};
pub use handlers::{Request, reply};
pub use server::{Builder, Server, ServerError};
