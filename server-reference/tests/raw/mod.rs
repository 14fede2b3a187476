//! HTTP and WebSocket clients that write and read bytes themselves: two ends that share a codec
//! would not notice its mistakes.

// Each test file uses some of it.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tidings_server::{Config, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long anything may take before a test is given up as hanging.
pub(crate) const HANGS: Duration = Duration::from_secs(30);

/// A server in this process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

/// A server on a free port.
pub(crate) async fn start(config: Config) -> Running {
    // None of these clients agrees to being closed: stopping need not wait for it.
    start_closing_within(Duration::from_millis(50), config).await
}

pub(crate) async fn start_closing_within(limit: Duration, config: Config) -> Running {
    let config = config.listen(SocketAddr::from(([127, 0, 0, 1], 0))).instance("test");
    let config = config.with(|c| c.timeouts.closing = limit);
    let server = Server::builder().config(config).bind().await.expect("a server");
    run(server)
}

/// Serves until it is stopped.
pub(crate) fn run(server: Server) -> Running {
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(server.serve(async move { drop(stopped.await) }));
    Running { address, stop, served }
}

impl Running {
    /// Stops it, and waits for its end.
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        timeout(HANGS, self.served).await.expect("it ends").expect("without panic");
    }
}

/// The answer to an HTTP request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).into_iter().next()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let named = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.trim()).collect()
    }

    /// Status and body.
    pub(crate) fn is(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// Reads an answer; `None` if the connection ends before it.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Option<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(timeout(HANGS, stream.read_u8()).await.expect("an answer in time").ok()?);
    }
    let head = String::from_utf8(head).expect("text");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let mut answer = Answer { status, head, body: String::new() };
    let length = answer.header("content-length").map_or(0, |n| n.parse().expect("a length"));
    let mut body = vec![0; length];
    timeout(HANGS, stream.read_exact(&mut body)).await.expect("in time").ok()?;
    answer.body = String::from_utf8(body).expect("text");
    Some(answer)
}

/// A connection for HTTP requests, one after the other.
pub(crate) struct Http<S = TcpStream>(pub(crate) S);

impl Http {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("a connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http<S> {
    /// Writes a request without waiting for its answer.
    pub(crate) async fn begin(&mut self, method: &str, target: &str, headers: &str, body: &str) {
        let len = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {len}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.expect("written");
        self.0.flush().await.expect("sent");
    }

    /// Reads an answer; `None` if the connection ends before it.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        read_answer(&mut self.0).await
    }

    /// One request and its answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> Answer {
        self.begin(method, target, headers, body).await;
        self.answer().await.unwrap_or_else(|| panic!("no answer to {method} {target}"))
    }

    /// Waits for the other side to close the connection.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        // A reset is an end as good as any.
        let _ = timeout(HANGS, self.0.read_to_end(&mut rest)).await.expect("it closes");
    }
}

/// One request on a connection of its own.
pub(crate) async fn http(address: SocketAddr, method: &str, target: &str, body: &str) -> Answer {
    Http::connect(address).await.ask(method, target, "", body).await
}

/// Server-Sent Events.
pub(crate) struct Sse {
    http: Http,
    /// What has come of a block that is not over.
    text: String,
}

/// One block of Server-Sent Events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    /// Empty for an event of Tidings.
    pub(crate) event: String,
    /// Empty if there is none.
    pub(crate) data: String,
}

impl Block {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).expect("JSON")
    }
}

impl Sse {
    /// Opens a stream, which begins with `tidings.open`. An error is the answer of a server that
    /// refuses.
    pub(crate) async fn open(
        address: SocketAddr,
        target: &str,
        headers: &str,
    ) -> Result<(Self, Block), Answer> {
        Self::over(Http::connect(address).await, target, headers).await
    }

    pub(crate) async fn over(
        mut http: Http,
        target: &str,
        headers: &str,
    ) -> Result<(Self, Block), Answer> {
        http.begin("GET", target, headers, "").await;
        let answer = http.answer().await.expect("an answer");
        if answer.status != 200 {
            return Err(answer);
        }
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        let mut stream = Self { http, text: String::new() };
        let open = stream.next().await.expect("a block");
        assert_eq!(open.event, "tidings.open", "{open:?}");
        Ok((stream, open))
    }

    /// The next block that says something; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Block> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block_of(block);
                self.text = rest.to_owned();
                if block != Block::default() {
                    return Some(block);
                }
            }
            let chunk = timeout(HANGS, self.chunk()).await.expect("something in time")?;
            self.text.push_str(&chunk);
        }
    }

    /// The next event of Tidings.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        loop {
            let block = self.next().await.expect("it goes on");
            if !block.data.is_empty() {
                assert_eq!(block.event, "", "{block:?}");
                return (block.id.clone().unwrap_or_default(), block.json());
            }
        }
    }

    async fn chunk(&mut self) -> Option<String> {
        let mut size = Vec::new();
        while !size.ends_with(b"\r\n") {
            size.push(self.http.0.read_u8().await.ok()?);
        }
        let size = std::str::from_utf8(&size).expect("text").trim();
        let size = usize::from_str_radix(size, 16).expect("a length");
        let mut chunk = vec![0; size + 2];
        self.http.0.read_exact(&mut chunk).await.ok()?;
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).expect("UTF-8"))
    }
}

fn block_of(text: &str) -> Block {
    let mut block = Block::default();
    for (field, value) in text.lines().filter_map(|line| line.split_once(": ")) {
        match field {
            "id" => block.id = Some(value.to_owned()),
            "event" => block.event = value.to_owned(),
            "data" => block.data.push_str(value),
            "retry" | "" => {}
            other => panic!("no field {other}"),
        }
    }
    block
}

/// A session over HTTP polling, as its client has it.
#[derive(Debug, Clone)]
pub(crate) struct Polling {
    pub(crate) address: SocketAddr,
    /// Path and query of its requests.
    pub(crate) target: String,
    pub(crate) sid: String,
    pub(crate) handshake: Value,
}

impl Polling {
    /// Opens one; `path` is where Engine.IO is.
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let target = format!("{path}?EIO=4&transport=polling");
        let answer = http(address, "GET", &target, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let open = answer.body.strip_prefix('0').expect("an open packet");
        let handshake: Value = serde_json::from_str(open).expect("JSON");
        let sid = handshake["sid"].as_str().expect("a sid").to_owned();
        Self { address, target: format!("{target}&sid={sid}"), sid, handshake }
    }

    pub(crate) async fn poll(&self) -> Answer {
        http(self.address, "GET", &self.target, "").await
    }

    pub(crate) async fn post(&self, body: &str) -> Answer {
        http(self.address, "POST", &self.target, body).await
    }

    /// The packets of as many polls as it takes to have `count`.
    pub(crate) async fn packets(&self, count: usize) -> Vec<String> {
        let mut packets = Vec::new();
        while packets.len() < count {
            let answer = self.poll().await;
            assert_eq!(answer.status, 200, "{answer:?} after {packets:?}");
            packets.extend(answer.body.split('\x1e').map(str::to_owned));
        }
        packets
    }

    /// A WebSocket to which it may move.
    pub(crate) async fn websocket(&self) -> Ws {
        let target = self.target.replace("transport=polling", "transport=websocket");
        Ws::connect(self.address, &target).await.expect("a WebSocket")
    }

    /// Checks that nobody knows it any more.
    pub(crate) async fn is_unknown(&self) {
        let unknown = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
        assert_eq!(self.poll().await.is(), unknown);
        assert_eq!(self.post("3").await.is(), unknown);
    }

    /// Waits until nobody knows it any more; a poll may be answered by what was still to be said.
    pub(crate) async fn becomes_unknown(&self) {
        while self.poll().await.status != 400 {}
        self.is_unknown().await;
    }
}

/// What comes over a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
}

/// A WebSocket.
pub(crate) struct Ws<S = TcpStream>(S);

impl Ws {
    /// Opens one. An error is the answer to a handshake that is refused.
    pub(crate) async fn connect(address: SocketAddr, target: &str) -> Result<Self, Answer> {
        Self::connect_with(address, target, "").await
    }

    /// Opens one with further headers.
    pub(crate) async fn connect_with(
        address: SocketAddr,
        target: &str,
        headers: &str,
    ) -> Result<Self, Answer> {
        Self::over(Http::connect(address).await, target, headers).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ws<S> {
    /// Opens one on a connection.
    pub(crate) async fn over(
        mut http: Http<S>,
        target: &str,
        headers: &str,
    ) -> Result<Self, Answer> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        http.0.write_all(request.as_bytes()).await.expect("written");
        http.0.flush().await.expect("sent");
        let answer = http.answer().await.expect("an answer");
        if answer.status != 101 {
            return Err(answer);
        }
        // RFC 6455 gives this answer to this key.
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok(Self(http.0))
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            len @ 0..=125 => frame.push(0x80 | len as u8),
            len @ 126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        let mask = [0x11, 0x22, 0x33, 0x44];
        frame.extend_from_slice(&mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        // Whoever is closed at the same time reads so.
        let _ = self.0.write_all(&frame).await;
        let _ = self.0.flush().await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.send(1, text.as_bytes()).await;
    }

    pub(crate) async fn binary(&mut self, data: &[u8]) {
        self.send(2, data).await;
    }

    /// The next message; `None` once the other side has closed.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        timeout(HANGS, self.read()).await.expect("a message or the end in time")
    }

    async fn read(&mut self) -> Option<Message> {
        loop {
            let first = self.0.read_u8().await.ok()?;
            assert_eq!(first & 0xf0, 0x80, "whole messages, no extensions");
            let len = match self.0.read_u8().await.ok()? {
                126 => u64::from(self.0.read_u16().await.ok()?),
                127 => self.0.read_u64().await.ok()?,
                len => {
                    assert!(len < 126, "a server masks nothing");
                    u64::from(len)
                }
            };
            let mut payload = vec![0; usize::try_from(len).expect("a length")];
            self.0.read_exact(&mut payload).await.ok()?;
            match first & 0x0f {
                1 => return Some(Message::Text(String::from_utf8(payload).expect("UTF-8"))),
                2 => return Some(Message::Binary(payload)),
                8 => return None,
                9 => self.send(10, &payload).await,
                10 => {}
                opcode => panic!("opcode {opcode}"),
            }
        }
    }

    /// The next message, which must be a text.
    pub(crate) async fn next_text(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text,
            other => panic!("a text was expected, not {other:?}"),
        }
    }

    /// The next text that is no ping; pings are answered.
    pub(crate) async fn next_packet(&mut self) -> String {
        loop {
            match self.next_text().await.as_str() {
                "2" => self.text("3").await,
                text => return text.to_owned(),
            }
        }
    }

    /// Waits for the other side to close, whatever it says before.
    pub(crate) async fn closed(mut self) -> Vec<Message> {
        let mut last = Vec::new();
        while let Some(message) = self.next().await {
            last.push(message);
        }
        last
    }
}
