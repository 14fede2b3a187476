//! Socket.IO applications: namespaces, handlers, rooms, broadcasts and acknowledgements, as Node's
//! `socket.io` has them.
//!
//! A handler is an asynchronous function whose parameters say what it wants of an event: its
//! arguments as [`Data`], the [`Socket`], the acknowledgement as [`Ack`], and so on.
//!
//! ```
//! use tidings_server::socketio::{Ack, Data, Reply, Socket, State};
//! use tidings_server::{Config, Server};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let listen = "127.0.0.1:0".parse()?;
//! let server = Server::builder().config(Config::default().listen(listen)).bind().await?;
//! let chat = server.namespace("/chat")?;
//! chat.on_connect(|socket: Socket, Data(auth): Data<serde_json::Value>| async move {
//!     socket.join("lobby");
//!     socket.emit("welcome", (socket.id(), auth))
//! });
//! chat.on("message", |socket: Socket, Data((room, text)): Data<(String, String)>| async move {
//!     socket.to(room).emit("message", text).map(|()| Reply("sent"))
//! });
//! chat.on("echo", |Data(anything): Data<serde_json::Value>, ack: Ack| async move {
//!     ack.send(anything)
//! });
//! chat.emit("news", "the server has started")?;
//! # Ok(())
//! # }
//! ```
//!
//! Where it differs from Node's, docs/socketio.md says so.

mod acks;
mod args;
mod asking;
mod broadcast;
mod cluster;
mod handler;
mod handshake;
mod listeners;
mod mailbox;
mod namespace;
mod namespaces;
mod reason;
mod recovery;
mod remote_socket;
mod reply;
mod sensitive;
mod socket;
mod table;

pub use args::{ArgsError, Binary, IntoArgs, RawArgs};
pub use broadcast::{AckError, Broadcast, EmitError, IntoRooms, MissingAcks};
pub use cluster::{MembersStats, MissingAnswers};
pub use handler::{
    Call, ConnectError, Data, EventName, FromCall, Handler, HandlerOutput, Middleware, Reply, State,
};
pub use handshake::Handshake;
pub use namespace::Namespace;
pub use namespaces::NamespacePattern;
pub use reason::DisconnectReason;
pub use remote_socket::RemoteSocket;
pub use reply::Ack;
pub use socket::{Socket, ToSocket};
pub use tidings_core::socketio::Args;

pub(crate) use cluster::Cluster;
pub(crate) use handshake::Opening;
pub(crate) use namespaces::Namespaces;
pub(crate) use recovery::SessionLeft;
pub(crate) use socket::{Connecting, HandledBy, SessionReturned};
