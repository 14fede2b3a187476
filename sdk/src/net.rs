//! WebSockets and HTTP requests of the platform. With `runtime`, the only module that knows which
//! platform it is.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

use tidings_core::message::{Close, Frame};

#[cfg(target_family = "wasm")]
pub use browser::OpenedSocket;
#[cfg(target_family = "wasm")]
pub(crate) use browser::{Exchange, HttpClient, Returns, Socket, TlsConfig};
#[cfg(not(target_family = "wasm"))]
pub use native::OpenedSocket;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{Exchange, HttpClient, Returns, Socket, TlsConfig};

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
