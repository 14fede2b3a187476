//! The bare write loop: the least a server of this protocol could do.
//!
//! One thread; for each publish an acknowledgement, then one write of the finished frame to every
//! subscriber, and nothing else: no log, no recovery, no priorities, no limits. What a server
//! takes longer than this is what its promises cost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use sha1::{Digest, Sha1};
use tidings_core::lane::{Cursor, Epoch, Lane, Offset, Place};
use tidings_core::link::ServerLinkConfig;
use tidings_core::message::{
    ClientMessage, Delivery, ErrorCode, Frame, Position, Publish, Refusal, ServerMessage, SubId,
    Subscribe, Welcome,
};
use tidings_core::websocket::{self, Decoder, Incoming, Opcode, Role};
use tidings_core::ws::{Encoding, ServerLink, encode_event};
use tidings_core::{Event, Pattern, PatternIndex, PatternKey, Priority, Time, base64};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::raise_open_files;
use super::serve::orphaned;
use super::server::LISTENING;
use crate::cli::Trouble;

/// The longest request for a WebSocket.
const MAX_REQUEST: usize = 8 * 1024;

/// Everything a socket has is read in portions of this.
const SCRATCH: usize = 16 * 1024;

/// RFC 6455, section 1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

const ENCODING: Encoding = Encoding::Json;

/// Runs until the harness is gone.
pub(crate) fn run(listen: SocketAddr) -> Result<(), Trouble> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind(listen).await?;
        println!("{LISTENING}{}", listener.local_addr()?);
        let floor = Rc::new(RefCell::new(Floor::default()));
        let accepting = async {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                tokio::task::spawn_local(connection(stream, floor.clone()));
            }
        };
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            failed = accepting => failed,
            _ = terminate.recv() => Ok(()),
            _ = orphaned() => Ok(()),
        }
    })
}

/// Who is subscribed to what.
#[derive(Default)]
struct Floor {
    index: PatternIndex<u64>,
    connections: HashMap<u64, Rc<Connection>>,
    next: u64,
    offset: u64,
    matching: Vec<u64>,
}

struct Connection {
    stream: TcpStream,
    /// What the socket did not take at once.
    backlog: RefCell<Vec<u8>>,
    /// Tells the reader, which also writes the backlog, that there is one.
    behind: Notify,
}

impl Connection {
    fn write(&self, frame: &[u8]) {
        let mut backlog = self.backlog.borrow_mut();
        // A connection that is gone is noticed by its reader.
        let written =
            if backlog.is_empty() { self.stream.try_write(frame).unwrap_or(0) } else { 0 };
        if written < frame.len() {
            backlog.extend_from_slice(frame.get(written..).unwrap_or_default());
            self.behind.notify_one();
        }
    }

    fn write_backlog(&self) {
        let mut backlog = self.backlog.borrow_mut();
        let written = self.stream.try_write(&backlog).unwrap_or(0);
        backlog.drain(..written);
    }

    fn write_message(&self, link: &mut ServerLink, message: &ServerMessage) {
        link.send(Time::ZERO, message);
        while let Some(frame) = link.poll_frame() {
            let (opcode, payload) = match &frame {
                Frame::Text(payload) => (Opcode::Text, payload),
                Frame::Binary(payload) => (Opcode::Binary, payload),
            };
            let mut out = Vec::with_capacity(payload.len() + websocket::MAX_HEADER);
            websocket::encode(&mut out, opcode, payload, None);
            self.write(&out);
        }
    }

    /// Waits until there is something to read, and puts it into `scratch`; `None` when the
    /// connection is over.
    async fn read<'s>(&self, scratch: &'s mut [u8]) -> Option<&'s [u8]> {
        loop {
            let waiting = !self.backlog.borrow().is_empty();
            let interest =
                if waiting { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let ready = tokio::select! {
                ready = self.stream.ready(interest) => ready.ok()?,
                () = self.behind.notified() => continue,
            };
            if ready.is_writable() && waiting {
                self.write_backlog();
            }
            match self.stream.try_read(scratch) {
                Ok(0) => return None,
                Ok(len) => return scratch.get(..len),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

impl Floor {
    fn publish(&mut self, publish: Publish, position: Position) {
        self.offset = position.offset.0;
        let delivery = Delivery {
            event: Event {
                name: publish.name,
                payload: publish.payload,
                id: self.offset.to_string().into(),
                priority: publish.priority,
                time: 0,
                headers: publish.headers,
            },
            position: Some(position),
            replay_for: None,
        };
        let frame = encode_event(ENCODING, &delivery);
        self.matching.clear();
        self.index.match_into(&delivery.event.name, &mut self.matching);
        self.matching.sort_unstable();
        self.matching.dedup();
        for number in &self.matching {
            if let Some(connection) = self.connections.get(number) {
                connection.write(&frame);
            }
        }
    }

    /// Where every lane stands.
    fn cursor(&self) -> Cursor {
        let place = Place { epoch: Epoch(1), offset: Offset(self.offset) };
        Priority::URGENT_FIRST.map(|priority| (Lane::new(0, priority), place)).into_iter().collect()
    }
}

async fn connection(mut stream: TcpStream, floor: Rc<RefCell<Floor>>) {
    // What cannot be a client is let go.
    if !matches!(handshake(&mut stream).await, Ok(true)) {
        return;
    }
    let connection =
        Rc::new(Connection { stream, backlog: RefCell::default(), behind: Notify::new() });
    let number = {
        let mut floor = floor.borrow_mut();
        floor.next += 1;
        let number = floor.next;
        floor.connections.insert(number, connection.clone());
        number
    };
    let mut keys = HashMap::new();
    serve(&connection, number, &mut keys, &floor).await;
    let mut floor = floor.borrow_mut();
    floor.connections.remove(&number);
    for key in keys.values() {
        floor.index.remove(key);
    }
}

async fn serve(
    connection: &Connection,
    number: u64,
    keys: &mut HashMap<SubId, PatternKey>,
    floor: &RefCell<Floor>,
) {
    let config = ServerLinkConfig::default();
    let mut decoder = Decoder::new(Role::Server, config.max_frame);
    let mut link = ServerLink::new(config, ENCODING, Time::ZERO);
    let mut scratch = vec![0; SCRATCH];
    while let Some(mut bytes) = connection.read(&mut scratch).await {
        loop {
            match decoder.decode(&mut bytes) {
                Ok(Some(Incoming::Message(frame))) => {
                    if link.receive(Time::ZERO, frame).is_err() {
                        return;
                    }
                }
                Ok(Some(Incoming::Ping(_) | Incoming::Pong(_))) => {}
                Ok(Some(Incoming::Close(_))) | Err(_) => return,
                Ok(None) => break,
            }
        }
        while let Some(message) = link.poll_message() {
            answer(message, number, keys, &mut floor.borrow_mut(), connection, &mut link);
        }
    }
}

fn answer(
    message: ClientMessage,
    number: u64,
    keys: &mut HashMap<SubId, PatternKey>,
    floor: &mut Floor,
    connection: &Connection,
    link: &mut ServerLink,
) {
    let answer = match message {
        ClientMessage::Hello(_) => ServerMessage::Welcome(Welcome {
            session: number.to_string(),
            resumed: false,
            instance: "floor".to_owned(),
            ping_interval: ServerLinkConfig::default().ping_interval,
            ping_timeout: ServerLinkConfig::default().ping_timeout,
            max_payload: 1 << 20,
            max_in_flight: 1024,
            cursor: floor.cursor(),
            refused: Vec::new(),
            expires_in: None,
        }),
        ClientMessage::Subscribe(Subscribe { id, pattern, .. }) => match Pattern::new(pattern) {
            Ok(pattern) => {
                keys.insert(id, floor.index.insert(&pattern, number));
                ServerMessage::Subscribed { id, cursor: floor.cursor() }
            }
            Err(error) => {
                let refusal = Refusal::new(ErrorCode::BAD_NAME, error.to_string());
                ServerMessage::SubscribeRefused { id, refusal }
            }
        },
        ClientMessage::Publish(publish) => {
            let seq = publish.seq;
            let lane = Lane::new(0, publish.priority);
            let position = Position { lane, offset: Offset(floor.offset + 1) };
            connection.write_message(link, &ServerMessage::Published { seq, position });
            floor.publish(publish, position);
            return;
        }
        _ => return,
    };
    connection.write_message(link, &answer);
}

/// Reads the HTTP request; true when it was for a WebSocket and has been granted, false when it
/// asked for something else and was told that all is well.
async fn handshake(stream: &mut TcpStream) -> io::Result<bool> {
    let mut request = Vec::new();
    let mut portion = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let len = stream.read(&mut portion).await?;
        if len == 0 || request.len() > MAX_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        request.extend_from_slice(portion.get(..len).unwrap_or_default());
    }
    let request = String::from_utf8_lossy(&request);
    let key = request.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let Some(key) = key else {
        let well = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(well.as_bytes()).await?;
        return Ok(false);
    };
    let mut accept = Vec::new();
    base64::encode(&Sha1::digest(format!("{key}{KEY_SUFFIX}")), &mut accept);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {}\r\nsec-websocket-protocol: {}\r\n\r\n",
        String::from_utf8_lossy(&accept),
        ENCODING.subprotocol()
    );
    stream.write_all(answer.as_bytes()).await?;
    Ok(true)
}
