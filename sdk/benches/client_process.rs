//! What clients cost a process: memory when they are idle, processor time when events come in.
//!
//! `cargo bench -p tidings --bench client_process` starts a server in another process, which does
//! nothing but what is needed here, and prints a table. Linux only, for its accounting.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tidings::{Client, Delivery, Lane, Offset, Payload, Position, Priority, Transport};
use tidings_core::link::{ServerLink, ServerLinkConfig, encode_event};
use tidings_core::message::{ClientMessage, Frame, ServerMessage, Welcome};
use tidings_core::socketio::{self, Namespace, SocketIds};
use tidings_core::{Cursor, Epoch, Event, Headers, Place, Time, ws};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

const CLIENTS: usize = 2000;
const EVENTS: u64 = 1_000_000;
const EVENTS_PER_WRITE: u64 = 16;
/// Whoever subscribes to this gets events without end.
const FLOOD: &str = "flood.*";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    match arguments[..] {
        ["--serve"] => runtime.block_on(serve()),
        ["--idle", transport, url] => {
            println!("{:.1}", runtime.block_on(idle(url, transport_of(transport))));
        }
        ["--receive", transport, url] => {
            let (rate, cost) = runtime.block_on(receive(url, transport_of(transport)));
            println!("{rate:8.0}  {cost:19.2}");
        }
        // Cargo runs this for `cargo test --benches` too, where there is nothing to measure.
        [.., "--test"] => {}
        _ => measure(),
    }
}

fn measure() {
    let (mut server, url) = run(&["--serve"]);
    println!("transport  KiB per idle client  events/s  µs of CPU per event");
    for transport in [Transport::Ws, Transport::SocketIo] {
        // Each in a process of its own: memory that was used once stays with it.
        let [idle, received] = ["--idle", "--receive"].map(|what| {
            let (mut process, line) = run(&[what, transport.as_str(), &url]);
            process.wait().expect("it ends");
            line
        });
        println!("{transport:9}  {idle:>19}  {received}");
    }
    server.kill().expect("the server ends");
}

fn transport_of(word: &str) -> Transport {
    if word == Transport::Ws.as_str() { Transport::Ws } else { Transport::SocketIo }
}

/// Runs this program in another process, up to its first line of output.
fn run(arguments: &[&str]) -> (Child, String) {
    let mut process = Command::new(std::env::current_exe().expect("this program"))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    let mut line = String::new();
    let stdout = process.stdout.take().expect("its output");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    (process, line.trim_end().to_owned())
}

async fn connect(url: &str, transport: Transport) -> Client {
    let client = Client::builder(url).transport(transport).build().expect("a client");
    client.connected().await.expect("a connection");
    client
}

/// KiB of resident memory per client with one callback.
async fn idle(url: &str, transport: Transport) -> f64 {
    let mut clients = Vec::with_capacity(CLIENTS);
    let mut before = 0;
    for n in 0..CLIENTS + 100 {
        // The first ones pay for what all share.
        if n == 100 {
            before = resident_kib();
        }
        let client = connect(url, transport).await;
        client.on(format!("rooms.{n}.*"), |_| {}).await.expect("a subscription").detach();
        clients.push(client);
    }
    let after = resident_kib();
    for client in clients {
        client.close().await;
    }
    (after - before) as f64 / CLIENTS as f64
}

/// Events per second, and microseconds of processor time for each, from the socket to a callback.
async fn receive(url: &str, transport: Transport) -> (f64, f64) {
    let client = connect(url, transport).await;
    let received = Arc::new(AtomicU64::new(0));
    let counter = received.clone();
    let (cpu, start) = (cpu_time(), Instant::now());
    let count = move |_: &Delivery| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    client.on(FLOOD, count).await.expect("a subscription").detach();
    while received.load(Ordering::Relaxed) < EVENTS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (cpu, wall) = (cpu_time() - cpu, start.elapsed());
    client.close().await;
    (EVENTS as f64 / wall.as_secs_f64(), cpu.as_secs_f64() * 1e6 / EVENTS as f64)
}

fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|n| n.parse().ok()).expect("a number");
    pages * 4
}

fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[12..14].iter().filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("http://{}", listener.local_addr().expect("its address"));
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream));
    }
}

async fn converse(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut socketio = false;
    #[allow(clippy::result_large_err, reason = "the library's type")]
    let upgrade = |request: &Request, mut response: Response| {
        socketio = request.uri().path().starts_with("/socket.io");
        if !socketio {
            let value = HeaderValue::from_static(ws::Encoding::Json.subprotocol());
            response.headers_mut().insert("sec-websocket-protocol", value);
        }
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, upgrade).await.ok()?;
    let config = ServerLinkConfig::default();
    let mut link = if socketio {
        let [engine, socket, producer] = ["engine", "socket", "producer"].map(str::to_owned);
        let ids = SocketIds { engine, socket, producer };
        ServerLink::SocketIo(Box::new(socketio::ServerLink::new(config, ids, Time::ZERO)))
    } else {
        ServerLink::Ws(Box::new(ws::ServerLink::new(config, ws::Encoding::Json, Time::ZERO)))
    };
    let mut flood = false;
    loop {
        while let Some(frame) = link.poll_frame() {
            let message = match frame {
                Frame::Text(text) => Message::Text(text.try_into().ok()?),
                Frame::Binary(bytes) => Message::Binary(bytes),
            };
            socket.send(message).await.ok()?;
        }
        if std::mem::take(&mut flood) {
            let mut offset = 0;
            while offset < EVENTS {
                let mut batch = Vec::new();
                for _ in 0..EVENTS_PER_WRITE {
                    offset += 1;
                    batch.extend_from_slice(&encode_event(
                        link.wire(),
                        &Namespace::MAIN,
                        &event(offset),
                    ));
                }
                socket.get_mut().write_all(&batch).await.ok()?;
            }
        }
        let frame = match socket.next().await?.ok()? {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(bytes) => Frame::Binary(bytes),
            Message::Close(_) => return None,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
        };
        link.receive(Time::ZERO, frame).ok()?;
        while let Some(message) = link.poll_message() {
            match message {
                ClientMessage::Hello(_) => link.send(Time::ZERO, &welcome()),
                ClientMessage::Subscribe(subscribe) => {
                    flood = subscribe.pattern == FLOOD;
                    let place = Place { epoch: Epoch(1), offset: Offset(0) };
                    let cursor = [(lane(), place)].into_iter().collect();
                    link.send(Time::ZERO, &ServerMessage::Subscribed { id: subscribe.id, cursor });
                }
                _ => {}
            }
        }
    }
}

fn welcome() -> ServerMessage {
    ServerMessage::Welcome(Welcome {
        session: "session".into(),
        resumed: false,
        instance: "bench".into(),
        ping_interval: Duration::from_secs(3600),
        ping_timeout: Duration::from_secs(20),
        max_payload: 1 << 20,
        max_in_flight: 16,
        cursor: Cursor::new(),
        refused: Vec::new(),
        expires_in: None,
    })
}

fn lane() -> Lane {
    Lane::new(3, Priority::Normal)
}

/// 185 bytes of JSON, what a chat message takes.
fn event(offset: u64) -> Delivery {
    let text = "x".repeat(185 - r#"{"from":"ada","text":""}"#.len());
    Delivery {
        event: Event {
            name: "flood.17".into(),
            payload: Payload::Json(format!(r#"{{"from":"ada","text":"{text}"}}"#).into()),
            id: "aBcDeFgHiJkLmNoPqRsT-17".into(),
            priority: Priority::Normal,
            time: 1_700_000_000_000,
            headers: Headers::NONE,
        },
        position: Some(Position { lane: lane(), offset: Offset(offset) }),
        replay_for: None,
    }
}
