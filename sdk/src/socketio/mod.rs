//! A client for any Socket.IO server of version 3 or 4, with or without Tidings.
//!
//! ```no_run
//! use tidings::socketio::Manager;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let manager = Manager::builder("http://127.0.0.1:3000").build()?;
//! let chat = manager.socket("/chat")?;
//! chat.on("message", |event| match event.args.parse::<(String, Option<u64>)>() {
//!     Ok((text, number)) => println!("{text} {number:?}"),
//!     Err(error) => eprintln!("{error}"),
//! });
//! chat.emit("join", ("room", 17))?;
//! let answer = chat.emit_with_ack("history", ()).await?;
//! println!("{answer:?}");
//! # Ok(())
//! # }
//! ```
//!
//! A [`Manager`] keeps one connection, by HTTP polling or a WebSocket, and brings it back when it
//! is lost; a [`Socket`] is one namespace on it. What stands in `docs/socketio.md` under "Client"
//! says feature by feature how this compares with `socket.io-client`.

mod args;
mod driver;
mod error;
mod event;
mod events;
mod listeners;
mod manager;
mod orders;
mod socket;

pub use args::{ArgumentError, Arguments, Binary, EmitArgs, FromArguments};
pub use error::EmitError;
pub use event::{Event, Responder};
pub use events::{Events, Lagged};
pub use manager::{Manager, ManagerBuilder, SocketOptions};
pub use socket::{EmitWithAck, NotConnected, Socket, SocketState, SocketStatus, Subscription};
pub use tidings_core::engineio::Carrier as Transport;
pub use tidings_core::socketio::Parser;
pub use tidings_core::socketio::manager::{
    AckError, BufferLimits, BufferOverflow, ConnectError, DisconnectReason, ManagerState,
    ManagerStatus,
};
