//! TLS: the clients of the other tests, through a relay that encrypts what they say, and one that
//! is slow and encrypts by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use serde_json::{Value, json};
use tidings_server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::raw::{HANGS, Http, Message, Polling, Running, Sse, Ws, http, start};
use super::{closed, get};

const HEALTH: &str = "/api/websocket/health";

/// A certificate and its key, in files.
struct Files {
    directory: tempfile::TempDir,
    certificate: CertificateDer<'static>,
}

impl Files {
    fn make() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let certificate = renew(&directory);
        Self { directory, certificate }
    }

    /// Puts others in their place.
    fn renew(&mut self) {
        self.certificate = renew(&self.directory);
    }

    fn config(&self) -> Config {
        let path = |name| self.directory.path().join(name).display().to_string();
        Config::default().with(|c| {
            (c.tls.certificate, c.tls.key) = (path("chain.pem"), path("key.pem"));
            c.tls.reload = Duration::from_millis(5);
        })
    }

    /// Trusts this certificate alone.
    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config).into()
    }
}

fn renew(directory: &tempfile::TempDir) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    let write = |name, text| std::fs::write(directory.path().join(name), text).expect("written");
    write("chain.pem", made.cert.pem());
    write("key.pem", made.signing_key.serialize_pem());
    made.cert.der().clone()
}

async fn encrypt(
    stream: TcpStream,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    tokio::time::timeout(HANGS, connector.connect(name, stream)).await.expect("in time")
}

async fn connect(server: &Running, connector: &TlsConnector) -> Http<TlsStream<TcpStream>> {
    Http(encrypt(server.connect().await, connector).await.expect("a handshake"))
}

/// What is said there is said to the server by TLS.
async fn relay(server: &Running, connector: TlsConnector) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, server) = (listener.local_addr().expect("an address"), server.address);
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            let connector = connector.clone();
            tokio::spawn(async move {
                let stream = TcpStream::connect(server).await.expect("a connection");
                let mut secure = encrypt(stream, &connector).await.expect("a handshake");
                // Ends that say no goodbye are the clients'.
                let _ = tokio::io::copy_bidirectional(&mut plain, &mut secure).await;
            });
        }
    });
    address
}

async fn publish(address: SocketAddr, body: &Value) {
    let mut http = Http::connect(address).await;
    let headers = "Content-Type: application/json\r\n";
    let answer = http.ask("POST", "/api/events", headers, &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The next event of the protocol `ws`: its payload.
async fn event(ws: &mut Ws<TlsStream<TcpStream>>) -> Value {
    loop {
        let text = ws.next_text().await;
        let message: Value = serde_json::from_str(&text).expect("JSON");
        match message[0].as_str() {
            Some("e") => return message[4].clone(),
            Some("ping") => ws.text(r#"["pong"]"#).await,
            _ => {}
        }
    }
}

fn hello(pattern: &str) -> String {
    json!(["hello", {"v": 1, "producer": "p", "subs": [[1, pattern]], "cursor": []}]).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_spoken_over_tls() {
    let files = Files::make();
    let server = start(files.config()).await;
    let address = relay(&server, files.connector()).await;

    assert_eq!(http(address, "GET", HEALTH, "").await.header("strict-transport-security"), None);
    let page = http(address, "GET", "/admin/events", "").await;
    let strict = page.header("strict-transport-security").map(str::to_owned);
    assert_eq!((page.status, strict.as_deref()), (200, Some("max-age=15552000")));

    let (mut stream, _) =
        Sse::open(address, "/api/events/stream?pattern=a.*", "").await.expect("a stream");
    let mut ws =
        Ws::over(connect(&server, &files.connector()).await, "/ws", "").await.expect("one");
    ws.text(&hello("a.*")).await;
    let polling = Polling::open(address, "/socket.io/").await;
    assert_eq!(polling.post("40").await.is(), (200, "ok"));
    assert!(polling.packets(1).await[0].starts_with("40"));
    let mut moved = polling.websocket().await;
    moved.text("2probe").await;
    assert_eq!(moved.next_text().await, "3probe");
    moved.text("5").await;
    moved.text(r#"420["subscribe","a.*"]"#).await;
    let answer = moved.next_packet().await;
    assert!(answer.starts_with("430[{\"ok\":true"), "{answer}");

    // Many records of TLS, both ways.
    let payload = "x".repeat(200 << 10);
    publish(address, &json!({"name": "a.b", "payload": payload})).await;
    assert_eq!(stream.event().await.1["payload"], payload);
    assert_eq!(event(&mut ws).await, payload);
    let packet = moved.next_packet().await;
    assert!(packet.starts_with(r#"42["a.b","xx"#) && packet.contains(&payload));

    ws.text(r#"["bye"]"#).await;
    while ws.next().await.is_some() {}
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_everything_in_order() {
    const COUNT: usize = 1000;
    let files = Files::make();
    let config = files.config().with(|c| c.retention.max_bytes = 64 << 20);
    let server = start(config).await;
    let address = relay(&server, files.connector()).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let slow = socket.connect(server.address).await.expect("a connection");
    let slow = Http(encrypt(slow, &files.connector()).await.expect("a handshake"));
    let mut slow = Ws::over(slow, "/ws", "").await.expect("a WebSocket");
    slow.text(&hello("a.*")).await;
    assert!(slow.next_text().await.starts_with(r#"["welcome""#));

    let filling = "x".repeat(2 << 10);
    for first in (0..COUNT).step_by(100) {
        let event = |number| json!({"name": "a.b", "payload": [number, filling]});
        publish(address, &(first..first + 100).map(event).collect()).await;
    }
    let sessions = http(address, "GET", "/api/websocket/sessions", "").await;
    let sessions: Value = serde_json::from_str(&sessions.body).expect("JSON");
    let target =
        format!("/api/websocket/sessions/{}", sessions["sessions"][0]["id"].as_str().expect("it"));
    let detail = http(address, "GET", &target, "").await;
    let detail: Value = serde_json::from_str(&detail.body).expect("JSON");
    let written = detail["written_bytes"].as_u64().expect("a number");
    assert!(written < (COUNT * filling.len()) as u64, "it is read too early: {written}");
    for number in 0..COUNT {
        assert_eq!(event(&mut slow).await, json!([number, filling]));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_get_a_certificate_that_was_replaced() {
    let mut files = Files::make();
    let server = start(files.config()).await;
    let old = files.connector();
    let mut before = connect(&server, &old).await;
    assert_eq!(before.ask("GET", HEALTH, "", "").await.status, 200);
    let again = connect(&server, &old).await;
    assert_eq!(again.0.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    files.renew();
    let new = files.connector();
    // Until the files have been looked at, the new one is not shown.
    let mut after = loop {
        match encrypt(server.connect().await, &new).await {
            Ok(stream) => break Http(stream),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    assert_eq!(after.ask("GET", HEALTH, "", "").await.status, 200);
    assert_eq!(before.ask("GET", HEALTH, "", "").await.status, 200, "it goes on");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_get_through_the_handshake_costs_nothing_else() {
    let files = Files::make();
    let config = files.config().with(|c| {
        c.tls.handshake = Duration::from_millis(100);
        c.limits.max_connections = 5;
    });
    let server = start(config).await;
    let mut other = connect(&server, &files.connector()).await;
    let mut works = async || assert_eq!(other.ask("GET", HEALTH, "", "").await.status, 200);
    // The beginning of a record of a handshake, of which the rest does not come; nothing at all; and
    // what is none, of TLS or of a handshake.
    let mut pending = Vec::new();
    for begun in [&b"\x16\x03\x01\x02\x00\x01\x00\x01"[..], b"", b"\x16\x03\x01\x00\x02hi", b"\0\0"]
    {
        let mut stream = server.connect().await;
        stream.write_all(begun).await.expect("written");
        pending.push(stream);
        works().await;
    }
    for mut stream in pending {
        closed(&mut stream).await;
    }
    works().await;

    let mut plain = Http::connect(server.address).await;
    let answer = plain.ask("GET", HEALTH, "", "").await;
    assert!(answer.problem(400).contains("https://"), "{answer:?}");
    plain.closed().await;
    works().await;

    let mut operator = connect(&server, &files.connector()).await;
    let metrics = operator.ask("GET", "/metrics", "", "").await.body;
    for sample in [
        "tidings_handshakes_failed_total{reason=\"tls\"} 1\n",
        "tidings_handshakes_failed_total{reason=\"tls_timeout\"} 3\n",
        "tidings_handshakes_failed_total{reason=\"plaintext\"} 1\n",
        // What rcgen makes is good to the year 4096.
        "tidings_tls_certificate_not_after_seconds 67090118400\n",
    ] {
        assert!(metrics.contains(sample), "{sample}\n{metrics}");
    }
    drop(operator);

    // One too many is closed without a word that it could not read.
    let mut taken = Vec::new();
    let refused = loop {
        match encrypt(server.connect().await, &files.connector()).await {
            Ok(mut stream) => {
                stream.write_all(get(HEALTH).as_bytes()).await.expect("written");
                taken.push(stream);
            }
            Err(error) => break error,
        }
    };
    assert!(!refused.to_string().contains("corrupt"), "{refused}");
    assert!(taken.len() <= 4, "{}", taken.len());
    works().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_and_those_that_are_not_are_ends() {
    let files = Files::make();
    let server = start(files.config()).await;
    // Told by the server: behind an answer that was to be the last, and behind a WebSocket.
    let mut last = connect(&server, &files.connector()).await;
    let answer = last.ask("GET", HEALTH, "Connection: close\r\n", "").await;
    assert_eq!(answer.status, 200);
    let end = tokio::time::timeout(HANGS, last.0.read(&mut [0])).await.expect("in time");
    assert_eq!(end.expect("an end that was told"), 0);
    let mut ws =
        Ws::over(connect(&server, &files.connector()).await, "/ws", "").await.expect("one");
    ws.text(&hello("a.*")).await;
    assert!(matches!(ws.next().await, Some(Message::Text(_))));
    // Not told by the client: it is gone all the same.
    drop(ws);
    let mut http = connect(&server, &files.connector()).await;
    let wait = async {
        loop {
            let page = http.ask("GET", "/api/websocket/sessions", "", "").await;
            let page: Value = serde_json::from_str(&page.body).expect("JSON");
            if page["total"] == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(HANGS, wait).await.expect("the session ends");
    server.stop().await;
}
