//! A WebSocket on which the client of a polling session tries whether it can move there.

use std::io;

use tidings_core::engineio::{Packet, Probe, ProbeStep};
use tidings_core::websocket::{self, Decoder, Incoming, Opcode, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::upgrade::Opened;
use crate::accepted::TransportKind;
use crate::app::App;
use crate::connection::{Connection, Moved};
use crate::stream::Stream;

/// Bytes read at once: probes are short, what follows is the session's to read.
const READ_BUFFER: usize = 1 << 10;

/// Serves the WebSocket until the session has moved to it, or it comes to nothing.
pub(super) async fn serve(app: &App, session: &Connection, opened: Opened) {
    let Opened { mut stream, leftover, peer, permit } = opened;
    let Some(mut alive) = session.begin_probe(app.now()) else {
        // Another one is being tried, or the session has moved already: it stays as it is.
        return close(app, stream).await;
    };
    let trying = Trying(session);
    let moves = tokio::select! {
        moves = probe(app, session, &mut stream, leftover.into()) => moves,
        _ = alive.changed() => None,
    };
    match moves {
        Some((decoder, rest)) => {
            let moved = Moved { decoder, rest, permit: permit.upgrade(TransportKind::SocketIo) };
            if let Err(stream) = session.move_to(stream, moved) {
                drop(trying);
                return close(app, stream).await;
            }
            tracing::debug!(%peer, "session moved to a WebSocket");
        }
        None => {
            drop(trying);
            close(app, stream).await;
        }
    }
}

/// The session is being tried elsewhere for as long as this lives.
struct Trying<'a>(&'a Connection);

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        self.0.end_probe();
    }
}

/// Reads until the client moves; gives what has been read behind that. `None` if it does not.
async fn probe(
    app: &App,
    session: &Connection,
    stream: &mut Stream,
    mut unread: Vec<u8>,
) -> Option<(Decoder, Vec<u8>)> {
    let mut probe = Probe::new(app.now(), app.config.timeouts.upgrade);
    let mut decoder = Decoder::new(Role::Server, app.config.limits.max_frame);
    loop {
        let mut rest = unread.as_slice();
        while let Some(incoming) = decoder.decode(&mut rest).ok()? {
            let frame = match incoming {
                Incoming::Message(frame) => frame,
                Incoming::Ping(data) => {
                    send(stream, Opcode::Pong, &data).await.ok()?;
                    continue;
                }
                Incoming::Pong(_) => continue,
                Incoming::Close(_) => return None,
            };
            match probe.receive(app.now(), &Packet::decode(frame).ok()?) {
                ProbeStep::Answer(packet) => {
                    let mut text = Vec::new();
                    packet.encode_text(&mut text);
                    send(stream, Opcode::Text, &text).await.ok()?;
                }
                ProbeStep::Move => return Some((decoder, rest.to_vec())),
                ProbeStep::Fail => return None,
            }
        }
        unread.resize(READ_BUFFER, 0);
        let read = loop {
            if probe.handle_timeout(app.now()).ok()? {
                session.noop();
            }
            let due = app.instant(probe.next_timeout());
            tokio::select! {
                read = stream.read(&mut unread) => break read.ok()?,
                () = tokio::time::sleep_until(due) => {}
            }
        };
        if read == 0 {
            return None;
        }
        unread.truncate(read);
    }
}

async fn send(stream: &mut Stream, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
    let mut frame = Vec::new();
    websocket::encode(&mut frame, opcode, payload, None);
    stream.write_all(&frame).await?;
    stream.flush().await
}

/// Closes a WebSocket that came to nothing, and gives the client time to agree: closing it with
/// bytes unread would take the close frame with it.
async fn close(app: &App, mut stream: Stream) {
    let agreed = async {
        if send(&mut stream, Opcode::Close, &[]).await.is_ok() {
            let mut unread = [0; READ_BUFFER];
            while matches!(stream.read(&mut unread).await, Ok(read) if read > 0) {}
        }
    };
    // The client had its time; there is nothing else to do about it.
    let _ = tokio::time::timeout(app.config.timeouts.closing, agreed).await;
}
