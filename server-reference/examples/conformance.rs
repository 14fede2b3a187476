//! The server that the published protocol test suites of Engine.IO 4 and Socket.IO 5 expect.
//!
//! ```text
//! cargo run -p tidings-server --example conformance -- 127.0.0.1:3000             # Socket.IO
//! cargo run -p tidings-server --example conformance -- 127.0.0.1:3000 --engine    # Engine.IO alone
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use tidings_server::engineio::Socket as EngineSocket;
use tidings_server::socketio::{Ack, RawArgs, Socket};
use tidings_server::{Config, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let engine = arguments.iter().any(|argument| argument == "--engine");
    let listen = arguments.iter().find(|argument| !argument.starts_with("--"));
    let listen = listen.map_or("127.0.0.1:3000", String::as_str).parse()?;
    let config = config(listen);
    let server = if engine { engine_io(config).await? } else { socket_io(config).await? };
    println!("listening on http://{}", server.local_addr());
    server.serve(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}

/// The settings that the suites expect.
pub(crate) fn config(listen: SocketAddr) -> Config {
    Config::default().listen(listen).with(|c| {
        c.heartbeat.ping_interval = Duration::from_millis(300);
        c.heartbeat.ping_timeout = Duration::from_millis(200);
        c.limits.max_payload = 1_000_000;
        c.limits.max_frame = 1_000_000;
        c.timeouts.hello = Duration::from_secs(1);
        c.cors.origins = vec!["*".to_owned()];
    })
}

/// Sends back what it gets.
pub(crate) async fn engine_io(config: Config) -> Result<Server, Box<dyn Error>> {
    let server = Server::builder().config(config).bind().await?;
    server.engine("/engine.io/", |socket: &EngineSocket, message| socket.send(message));
    Ok(server)
}

/// Sends back the handshake's `auth` and each `message`, and acknowledges `message-with-ack`.
pub(crate) async fn socket_io(config: Config) -> Result<Server, Box<dyn Error>> {
    let server = Server::builder().config(config).bind().await?;
    for path in ["/", "/custom"] {
        let namespace = server.namespace(path)?;
        namespace
            .on_connect(|socket: Socket, auth: RawArgs| async move { socket.emit("auth", auth) });
        namespace.on("message", |socket: Socket, arguments: RawArgs| async move {
            socket.emit("message-back", arguments)
        });
        namespace.on("message-with-ack", |ack: Ack, arguments: RawArgs| async move {
            ack.send(arguments)
        });
    }
    Ok(server)
}
