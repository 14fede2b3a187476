//! WebSockets and HTTP requests of the platform. With `runtime`, the only module that knows which
//! platform it is.

mod connect;
mod handshake;
mod http;
mod native;
mod stream;

use tidings_core::message::{Close, Frame};

pub(crate) use connect::TlsConfig;
pub(crate) use http::{Exchange, HttpClient};
pub(crate) use native::Socket;

/// What became of a socket.
#[derive(Debug)]
pub(crate) enum SocketEvent {
    /// It is open, with the subprotocol the server chose.
    Opened(Option<String>),
    /// A frame has arrived.
    Frame(Frame),
    /// It could not be opened, or it is over. Nothing comes after this.
    Closed(Close),
}
