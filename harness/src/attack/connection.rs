//! A connection of an attacker.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use tidings_core::message::Frame;
use tidings_core::websocket::{Decoder, Incoming, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::tally::{Tally, add};

/// The longest head of an answer that is looked at.
const MAX_HEAD: usize = 16 * 1024;

/// Everything a socket has is read in portions of this.
const SCRATCH: usize = 16 * 1024;

/// The largest message that is taken from the server.
const MAX_MESSAGE: usize = 4 << 20;

/// How much a reader that reads nothing leaves to the kernel.
const SMALL_BUFFER: u32 = 4096;

/// Who is attacked, by whom.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) server: SocketAddr,
    /// The address that the attacker names.
    pub(super) named: Ipv4Addr,
    pub(super) tally: Rc<Tally>,
}

/// What came first.
pub(super) enum Head {
    /// The status of an HTTP answer; what follows are frames, if it is 101.
    Status(u16),
    /// The connection ended, or what came was no HTTP.
    Ended,
}

/// An open connection.
pub(super) struct Connection {
    stream: TcpStream,
    tally: Rc<Tally>,
    /// Frames come next.
    is_websocket: bool,
    /// What came after the head of the answer.
    rest: Vec<u8>,
}

impl Target {
    /// Opens a connection; `None` when it is refused.
    pub(super) async fn open(&self) -> Option<Connection> {
        self.opened(TcpSocket::new_v4().ok()?).await
    }

    /// Opens one that holds next to nothing until it is read.
    async fn open_narrow(&self) -> Option<Connection> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_recv_buffer_size(SMALL_BUFFER).ok()?;
        self.opened(socket).await
    }

    async fn opened(&self, socket: TcpSocket) -> Option<Connection> {
        let stream = socket.connect(self.server).await.ok()?;
        add(&self.tally.connections, 1);
        Some(Connection {
            stream,
            tally: Rc::clone(&self.tally),
            is_websocket: false,
            rest: Vec::new(),
        })
    }

    /// Opens a WebSocket of the Tidings protocol and says hello; `None` when it is refused.
    pub(super) async fn open_session(&self, narrow: bool, hello: &str) -> Option<Connection> {
        let mut connection = if narrow { self.open_narrow().await } else { self.open().await }?;
        connection.write(super::bytes::upgrade(self.named, "/ws").as_bytes()).await?;
        match connection.head().await {
            Head::Status(101) => {}
            Head::Status(_) | Head::Ended => return None,
        }
        connection.write(&super::bytes::text(hello)).await?;
        Some(connection)
    }
}

impl Connection {
    /// Writes all of it; `None` when the connection is over.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(len @ 1..) = self.stream.write(rest).await else {
                add(&self.tally.ended, 1);
                return None;
            };
            add(&self.tally.bytes, len as u64);
            rest = rest.get(len..).unwrap_or_default();
        }
        Some(())
    }

    /// Reads the head of an HTTP answer, and tells it.
    pub(super) async fn head(&mut self) -> Head {
        let head = head(&mut self.stream, &self.tally, &mut self.rest).await;
        self.is_websocket = matches!(head, Head::Status(101));
        head
    }

    /// Reads what the server says until it ends the connection, and tells it.
    pub(super) async fn listen(self) {
        let Self { mut stream, tally, is_websocket, rest } = self;
        hear(&mut stream, &tally, is_websocket, rest).await;
    }

    /// Writes `bytes` while it listens, for this long at most.
    pub(super) async fn tell(self, bytes: &[u8], patience: Duration) {
        let Self { stream, tally, is_websocket, rest } = self;
        let (mut reader, mut writer) = stream.into_split();
        let write = async {
            for portion in bytes.chunks(64 * 1024) {
                if writer.write_all(portion).await.is_err() {
                    return;
                }
                add(&tally.bytes, portion.len() as u64);
            }
            std::future::pending().await
        };
        let both = async {
            tokio::select! {
                () = hear(&mut reader, &tally, is_websocket, rest) => {}
                () = write => add(&tally.ended, 1),
            }
        };
        // One that the server keeps open is given up.
        let _ = timeout(patience, both).await;
    }

    /// The two directions, to write while a task listens.
    pub(super) fn split(self) -> (tokio::net::tcp::OwnedWriteHalf, impl Future<Output = ()>) {
        let Self { stream, tally, is_websocket, rest } = self;
        let (mut reader, writer) = stream.into_split();
        (writer, async move { hear(&mut reader, &tally, is_websocket, rest).await })
    }
}

/// Reads the head of an HTTP answer, and tells it. What came behind it stays in `rest`.
async fn head(reader: &mut (impl AsyncReadExt + Unpin), tally: &Tally, rest: &mut Vec<u8>) -> Head {
    let mut scratch = vec![0; SCRATCH];
    while rest.len() < MAX_HEAD {
        if let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(rest.get(..end).unwrap_or_default());
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
            let Some(status) = status else { return Head::Ended };
            tally.answered(format!("HTTP {status}"));
            rest.drain(..end + 4);
            return Head::Status(status);
        }
        match reader.read(&mut scratch).await {
            Ok(len @ 1..) => rest.extend_from_slice(&scratch[..len]),
            _ => break,
        }
    }
    add(&tally.ended, 1);
    Head::Ended
}

/// Reads what comes until the connection ends: first the answer to a request, unless that was a
/// WebSocket's and has come.
async fn hear(
    reader: &mut (impl AsyncReadExt + Unpin),
    tally: &Tally,
    is_websocket: bool,
    mut rest: Vec<u8>,
) {
    if is_websocket {
        return frames(reader, tally, rest).await;
    }
    match head(reader, tally, &mut rest).await {
        Head::Status(101) => frames(reader, tally, rest).await,
        Head::Status(_) => {
            let mut scratch = vec![0; SCRATCH];
            while matches!(reader.read(&mut scratch).await, Ok(1..)) {}
            add(&tally.ended, 1);
        }
        Head::Ended => {}
    }
}

/// Reads frames until the connection ends.
async fn frames(reader: &mut (impl AsyncReadExt + Unpin), tally: &Tally, first: Vec<u8>) {
    let mut decoder = Decoder::new(Role::Client, MAX_MESSAGE);
    let mut bytes = first;
    let mut scratch = vec![0; SCRATCH];
    while decode(&mut decoder, &bytes, tally) {
        match reader.read(&mut scratch).await {
            Ok(len @ 1..) => {
                bytes.clear();
                bytes.extend_from_slice(&scratch[..len]);
            }
            _ => break,
        }
    }
    add(&tally.ended, 1);
}

/// Tells what the frames say; false when they end the connection.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], tally: &Tally) -> bool {
    loop {
        match decoder.decode(&mut bytes) {
            Ok(Some(Incoming::Message(Frame::Text(text)))) => {
                if let Some(answer) = said(&text) {
                    tally.answered(answer);
                }
            }
            Ok(Some(Incoming::Close(code))) => {
                if let Some((code, _)) = code {
                    tally.answered(format!("closed {}", code.0));
                }
                return false;
            }
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// What a message is, with the code if it has one; nothing of events and heartbeats.
fn said(text: &[u8]) -> Option<String> {
    // Most of what comes are events: they are not parsed.
    if text.starts_with(b"[\"e\"") || text.starts_with(b"[\"v\"") || text.starts_with(b"[\"at\"") {
        return None;
    }
    let message: Value = serde_json::from_slice(text).ok()?;
    let kind = message.get(0)?.as_str()?;
    let code = match kind {
        "nack" | "suberr" | "rerr" => message.get(2)?,
        "err" | "close" | "tokerr" => message.get(1)?,
        "ping" => return None,
        _ => return Some(kind.to_owned()),
    };
    Some(format!("{kind} {code}"))
}
