//! The Tidings server: Socket.IO and Tidings clients on one port, services that only see an event
//! bus.
//!
//! ```no_run
#![doc = include_str!("../examples/quick_start_server.rs")]
//! ```
#![deny(missing_docs)]

mod accepted;
mod alarm;
mod app;
mod bridge;
mod clock;
mod connection;
mod connections;
mod dashboards;
mod engine_sessions;
mod front;
mod handlers;
mod history;
mod http;
mod ids;
mod instances;
mod page_file;
mod quota;
mod rate;
mod server;
mod session;
mod sessions;
mod shard;
mod shutdown;
mod stream;
mod tls;
mod trace;

pub mod auth;
pub mod backplane;
pub mod cli;
pub mod collections;
pub mod config;
pub mod demo;
pub mod engineio;
pub mod schemas;
pub mod socketio;
pub mod stats;
pub mod store;

pub use config::{Config, ConfigError};
pub use handlers::{Request, reply};
pub use server::{BadNamespace, Builder, Remote, Server, ServerError};
