//! The SDK's Socket.IO client against the servers of the Socket.IO project.

mod connecting;
mod healing;
mod speaking;

use std::time::Duration;

use futures_util::StreamExt;
use tidings::socketio::{Event, Events, Manager, ManagerBuilder, Socket, Transport};
use tidings_tests::foreign_server::ForeignServer;

/// The newest server, and one from before it could restore the state of clients.
const SERVERS: [&str; 2] = ["socket.io", "socket.io-4.5"];

/// How a client may reach its server.
const WAYS: [&[Transport]; 3] =
    [&[Transport::Polling, Transport::WebSocket], &[Transport::WebSocket], &[Transport::Polling]];

fn server(package: &str, options: &str) -> ForeignServer {
    ForeignServer::start(package, options).expect("a server")
}

fn builder(server: &ForeignServer) -> ManagerBuilder {
    let (min, max) = (Duration::from_millis(20), Duration::from_millis(200));
    Manager::builder(server.url()).reconnection_delay(min, max)
}

/// A socket of the main namespace that is connected.
async fn connected(manager: &Manager) -> Socket {
    let socket = manager.socket("/").expect("a namespace");
    let connected = tokio::time::timeout(Duration::from_secs(30), socket.connected()).await;
    connected.unwrap_or_else(|_| panic!("no connection: {socket:?}")).expect("connected");
    socket
}

/// What the server knows about the client.
async fn who(socket: &Socket) -> serde_json::Value {
    let answer = socket.emit_with_ack("who", ()).await.expect("an answer");
    answer.get(0).expect("an object")
}

async fn next(events: &mut Events) -> Event {
    let next = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    next.expect("an event within 30 s").expect("the stream goes on").expect("none was dropped")
}

/// Waits until what the server says about the client's transport is this.
async fn carried_by(socket: &Socket, transport: &str) {
    while who(socket).await["transport"] != transport {}
}
