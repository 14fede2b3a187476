//! What a server of a run does for clients that know nothing of Tidings: an application of
//! Socket.IO with rooms. On Node, node/server.js does the same.

use tidings_server::socketio::{Args, Data, RawArgs, Reply, Socket};
use tidings_server::{BadNamespace, Server};

/// The namespace it is in.
pub(crate) const NAMESPACE: &str = "/rooms";

/// Adds it: `join` brings a client into a room, `publish` emits an event with the room's name to
/// all who are in there. Both are acknowledged.
pub(super) fn add(server: &Server) -> Result<(), BadNamespace> {
    server
        .namespace(NAMESPACE)?
        .on("join", |socket: Socket, Data(room): Data<String>| async move {
            socket.join(room);
            Reply(())
        })
        .on("publish", |socket: Socket, Data(room): Data<String>, RawArgs(args)| async move {
            let mut event = Args::new();
            if let Some(payload) = args.json(1) {
                event.push_json(payload.clone());
            }
            let all = socket.namespace().sockets().to([&*room]);
            all.emit(&room, RawArgs(event)).map(|()| Reply(()))
        });
    Ok(())
}
