//! A chat with rooms. The same for Node is tests/node/chat/server.js; docs/migrating-from-socketio.md
//! has both side by side.
//!
//! ```text
//! cargo run -p tidings-server --example chat -- 127.0.0.1:3000
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_server::socketio::{ConnectError, Data, MissingAcks, Reply, Socket};
use tidings_server::{Config, Server};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or("127.0.0.1:3000".into()).parse()?;
    let server = server(listen).await?;
    println!("listening on http://{}", server.local_addr());
    server.serve(async { drop(tokio::signal::ctrl_c().await) }).await;
    Ok(())
}

/// Who a socket belongs to.
struct Name(String);

fn name(socket: &Socket) -> String {
    socket.data::<Name>().map(|name| name.0.clone()).unwrap_or_default()
}

pub(crate) async fn server(listen: SocketAddr) -> Result<Server, Box<dyn Error>> {
    let server = Server::builder().config(Config::default().listen(listen)).bind().await?;
    let chat = server.namespace("/chat")?;

    chat.middleware(|socket: Socket, Data(auth): Data<Value>| async move {
        match auth["name"].as_str() {
            Some(name) if !name.is_empty() => {
                socket.set_data(Name(name.to_owned()));
                Ok(())
            }
            _ => Err(ConnectError::new("a name is needed").data(json!({ "code": "NO_NAME" }))),
        }
    });

    chat.on("join", |socket: Socket, Data(room): Data<String>| async move {
        socket.join(&room);
        let joined = json!({ "room": room, "name": name(&socket) });
        socket.to(&room).emit("joined", joined)?;
        let members = socket.namespace().to(&room).local_sockets();
        let mut names: Vec<String> = members.iter().map(name).collect();
        names.sort();
        Ok::<_, Box<dyn Error + Send + Sync>>(Reply(names))
    });

    chat.on("message", |socket: Socket, Data((room, text)): Data<(String, String)>| async move {
        if !socket.rooms().iter().any(|joined| **joined == *room) {
            return Ok(Reply(json!({ "error": "join the room first" })));
        }
        let message = json!({ "room": room, "name": name(&socket), "text": text });
        socket.namespace().to(&room).emit("message", message)?;
        Ok::<_, Box<dyn Error + Send + Sync>>(Reply(json!({ "ok": true })))
    });

    chat.on("typing", |socket: Socket, Data(room): Data<String>| async move {
        let typing = json!({ "room": room, "name": name(&socket) });
        socket.to(&room).volatile().emit("typing", typing)
    });

    chat.on("vote", |socket: Socket, Data((room, question)): Data<(String, String)>| async move {
        let others = socket.to(room).timeout(Duration::from_secs(5));
        let votes = others.emit_with_ack::<Value>("vote", question).await?;
        let votes = votes.unwrap_or_else(|MissingAcks { received, .. }| received);
        Ok::<_, Box<dyn Error + Send + Sync>>(Reply(votes))
    });

    chat.on_disconnect(|socket: Socket| async move {
        for room in socket.rooms() {
            let left = json!({ "room": *room, "name": name(&socket) });
            socket.to(room).emit("left", left)?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });

    Ok(server)
}
