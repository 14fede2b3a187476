//! Sockets of the operating system, by tokio, rustls and hyper.

mod connect;
mod handshake;
mod http;
mod socket;
mod stream;

use std::task::Context;

pub(crate) use connect::TlsConfig;
pub(crate) use http::{Exchange, HttpClient};
pub(crate) use socket::Socket;

/// A WebSocket that a page has begun to open before there was a client. There are none outside of browsers.
#[derive(Debug)]
pub enum OpenedSocket {}

/// Tells when a network may be there again. A program is not told by its system: it tries, with
/// backoff.
#[derive(Debug)]
pub(crate) struct Returns;

impl Returns {
    pub(crate) const fn new() -> Self {
        Self
    }

    /// Whether it has returned since this was last asked.
    pub(crate) const fn poll(&mut self, _: &mut Context<'_>) -> bool {
        false
    }
}
