//! The HTTP side of the server, byte for byte.

mod events;
#[path = "../raw/mod.rs"]
mod raw;
mod tls;

use std::time::Duration;

use serde_json::Value;
use tidings_server::{Config, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::raw::{Answer, HANGS, Running, read_answer, start};

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    async fn ask(&self, request: &str) -> Answer {
        ask(&mut self.connect().await, request).await
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// Checks that this is a problem with a status, and returns what it says.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let json = self.json();
        assert_eq!(json["status"], status);
        assert_eq!(json["type"], "about:blank");
        assert!(json["title"].is_string());
        json["detail"].as_str().expect("a detail").to_owned()
    }
}

/// Sends a request and reads one answer.
async fn ask(stream: &mut TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).await.expect("written");
    read_answer(stream).await.unwrap_or_else(|| panic!("no answer to {request:?}"))
}

/// Waits until the server closes the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as good as any.
    let _ = tokio::time::timeout(HANGS, stream.read_to_end(&mut rest)).await.expect("it closes");
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// The handshake of RFC 6455's example, with some of its lines replaced or left out and others
/// added: `("Upgrade", "")` leaves that header out.
fn handshake(target: &str, changes: &[(&str, &str)]) -> String {
    let mut request = format!("GET {target} HTTP/1.1\r\n");
    let standard = [
        ("Host", "test"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let kept =
        standard.iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    for (name, value) in kept.chain(changes).filter(|(_, value)| !value.is_empty()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request + "\r\n"
}

#[tokio::test]
async fn health_tells_who_is_there() {
    let server = start(Config::default()).await;
    for target in ["", "?probe=live", "?probe=ready"] {
        let answer = server.ask(&get(&format!("/api/websocket/health{target}"))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let health = answer.json();
        assert_eq!(health["status"], "ok");
        assert_eq!(health["instance"], "test");
        assert_eq!((&health["live"], &health["ready"]), (&Value::Bool(true), &Value::Bool(true)));
    }
    let says = server.ask(&get("/api/websocket/health?probe=dead")).await.problem(400);
    assert!(says.contains("live or ready"), "{says}");
    server.stop().await;
}

#[tokio::test]
async fn sessions_are_listed_in_pages_and_wrong_questions_refused() {
    let server = start(Config::default()).await;
    for query in ["", "?scope=cluster", "?scope=instance", "?limit=1000&after=17.ab"] {
        let page = server.ask(&get(&format!("/api/websocket/sessions{query}"))).await.json();
        assert_eq!(page["total"], 0, "{query}");
        assert_eq!(page["sessions"].as_array().map(Vec::len), Some(0));
        assert_eq!(page["next"], Value::Null);
        assert_eq!(page["missing"].is_array(), query != "?scope=instance");
    }
    for (query, names) in [
        ("limit=0", "1 to 1000"),
        ("limit=1001", "1 to 1000"),
        ("limit=many", "1 to 1000"),
        ("after=yesterday", "next"),
        ("scope=world", "cluster or instance"),
        (&format!("search={}", "x".repeat(256)), "255 bytes"),
    ] {
        let target = format!("/api/websocket/sessions?{query}");
        let says = server.ask(&get(&target)).await.problem(400);
        assert!(says.contains(names), "{query}: {says}");
    }
    server.stop().await;
}

#[tokio::test]
async fn stats_have_the_documented_shape() {
    let server = start(Config::default().with(|c| c.shards = 3)).await;
    let websocket = server.ask(&get("/api/websocket/stats")).await.json();
    assert_eq!(websocket["instance"], "test");
    assert_eq!(websocket["shards"].as_array().map(Vec::len), Some(3));
    assert_eq!(websocket["connections"]["http"], 1);
    for pointer in [
        "/uptime_s",
        "/connections/open",
        "/connections/ws",
        "/connections/socketio",
        "/connections/refused",
        "/sessions",
        "/rates/delivered_per_s",
        "/delivered/total",
        "/delivered/critical",
        "/dropped/low",
        "/dropped/volatile",
        "/queued_bytes/normal",
        "/queued_bytes/control",
        "/recovery/resumed",
        "/recovery/begun",
        "/recovery/gaps",
        "/latency_us/p99",
        "/shards/2/latency_us/p50",
    ] {
        assert!(websocket.pointer(pointer).is_some_and(Value::is_number), "{pointer}");
    }
    let events = server.ask(&get("/api/events/stats")).await.json();
    for pointer in [
        "/published/total",
        "/published/refused",
        "/delivered/high",
        "/rates/published_per_s",
        "/bus/emitted",
        "/bus/listeners",
    ] {
        assert!(events.pointer(pointer).is_some_and(Value::is_number), "{pointer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_found_and_told_of() {
    let server = start(Config::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(handshake("/ws", &[]).as_bytes()).await.expect("written");
    assert_eq!(read_answer(&mut stream).await.expect("an answer").status, 101);
    let hello = br#"["hello",{"v":1,"producer":"p","subs":[[1,"orders.**"]],"cursor":[]}]"#;
    let mut frame = vec![0x81, 0x80 | hello.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(hello);
    stream.write_all(&frame).await.expect("written");
    stream.read_u8().await.expect("a welcome");

    let found = async |search: &str| {
        let target = format!("/api/websocket/sessions?search={search}");
        server.ask(&get(&target)).await.json()
    };
    let page = found("WS").await;
    assert_eq!(page["total"], 1, "{page}");
    for search in ["json", "tes%74", "127.0.0.1%3A"] {
        assert_eq!(found(search).await["total"], 1, "{search}");
    }
    assert_eq!(found("polling").await["total"], 0);
    let id = page["sessions"][0]["id"].as_str().expect("an id");
    let detail = server.ask(&get(&format!("/api/websocket/sessions/{id}"))).await.json();
    assert_eq!(detail["patterns"], serde_json::json!(["orders.**"]));
    assert_eq!(detail["id"], id);
    assert_eq!(detail["subject"], Value::Null);
    assert!(detail["written_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{detail}");
    let says = server.ask(&get("/api/websocket/sessions/nobody")).await.problem(404);
    assert!(says.contains("lists them"), "{says}");
    server.stop().await;
}

#[tokio::test]
async fn the_last_seconds_are_told_and_marked() {
    let server = start(Config::default()).await;
    let marked = async |text: &str| {
        let body = serde_json::json!({ "text": text }).to_string();
        let head = "POST /api/websocket/marks HTTP/1.1\r\nHost: test\r\n\
                    Content-Type: application/json\r\nContent-Length:";
        server.ask(&format!("{head} {}\r\n\r\n{body}", body.len())).await
    };
    let mark = marked("v1.4.0").await;
    assert_eq!((mark.status, &mark.json()["text"]), (201, &Value::from("v1.4.0")));
    assert!(marked("").await.problem(400).contains("1 to 80 characters"));

    let target = "/api/websocket/stats?scope=cluster&history=600";
    let instance = loop {
        let answer = server.ask(&get(target)).await.json();
        assert_eq!(answer["missing"], serde_json::json!([]));
        assert_eq!(answer["instances"].as_array().map(Vec::len), Some(1));
        if answer["instances"][0]["history"]["at"].as_array().is_some_and(|at| at.len() > 1) {
            break answer["instances"][0].clone();
        }
    };
    assert_eq!(
        (&instance["instance"], &instance["marks"][0]["text"]),
        (&"test".into(), &"v1.4.0".into())
    );
    assert!(instance["names"].is_array() && instance["now_ms"].is_u64());
    let history = instance["history"].as_object().expect("a history");
    let seconds = history["at"].as_array().expect("a list");
    assert!(seconds.windows(2).all(|two| two[0].as_u64() < two[1].as_u64()), "{seconds:?}");
    for column in
        ["published.low", "delivered.volatile", "queued.control", "sessions", "latency.p99"]
    {
        let values = &history[column];
        let is_list = values.as_array().is_some_and(|values| values.len() == seconds.len());
        assert!(values.is_u64() || is_list, "{column}: {values}");
    }
    let own = server.ask(&get("/api/websocket/stats?history=1")).await.json();
    assert_eq!(own["history"]["at"].as_array().map(Vec::len), Some(1));
    for (query, says) in [("history=601", "0 to 600"), ("scope=all", "cluster or instance")] {
        let told = server.ask(&get(&format!("/api/websocket/stats?{query}"))).await.problem(400);
        assert!(told.contains(says), "{told}");
    }
    server.stop().await;
}

#[tokio::test]
async fn errors_are_problem_details() {
    let server = start(Config::default()).await;
    assert!(server.ask(&get("/nothing")).await.problem(404).contains("/nothing"));
    let post = "POST /api/events/stats HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    let answer = server.ask(post).await;
    assert!(answer.problem(405).contains("POST"));
    assert_eq!(answer.header("allow"), Some("GET,HEAD"));
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_in_order_switches_protocols() {
    let server = start(Config::default()).await;
    for (changes, subprotocol) in [
        (&[][..], None),
        (&[("Connection", "keep-alive, upgrade"), ("Upgrade", "WebSocket")], None),
        (&[("Sec-WebSocket-Protocol", "tidings.v1.msgpack")], Some("tidings.v1.msgpack")),
        (
            &[("Sec-WebSocket-Protocol", "other.v2, tidings.v1.json,tidings.v1.msgpack")],
            Some("tidings.v1.json"),
        ),
        (
            &[
                ("Sec-WebSocket-Protocol", "other.v2"),
                ("Sec-WebSocket-Protocol", "tidings.v1.msgpack"),
            ],
            Some("tidings.v1.msgpack"),
        ),
        (&[("Content-Length", "0")], None),
    ] {
        let answer = server.ask(&handshake("/ws", changes)).await;
        assert_eq!(answer.status, 101, "{changes:?}: {answer:?}");
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header("sec-websocket-protocol"), subprotocol, "{changes:?}");
        assert!(answer.header("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")));
        assert!(answer.header("connection").is_some_and(|v| v.eq_ignore_ascii_case("upgrade")));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_out_of_order_is_refused_with_a_reason() {
    let server = start(Config::default()).await;
    let key = "Sec-WebSocket-Key";
    for (changes, status, says) in [
        (&[("Upgrade", "")][..], 426, "Upgrade: websocket"),
        (&[("Upgrade", "h2c")], 426, "Upgrade: websocket"),
        (&[("Connection", "")], 426, "Connection: Upgrade"),
        (&[("Connection", "close")], 426, "Connection: Upgrade"),
        (&[("Sec-WebSocket-Version", "")], 426, "13"),
        (&[("Sec-WebSocket-Version", "8")], 426, "13"),
        (&[("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Version", "8")], 426, "13"),
        (&[(key, "")], 400, "16 bytes in base64"),
        (&[(key, "dGhlIHNhbXBsZSBub25j")], 400, "16 bytes in base64"),
        (&[(key, "not base64, at all!!!!!!")], 400, "16 bytes in base64"),
        (
            &[(key, "dGhlIHNhbXBsZSBub25jZQ=="), (key, "dGhlIHNhbXBsZSBub25jZQ==")],
            400,
            "16 bytes in base64",
        ),
        (&[("Sec-WebSocket-Protocol", "tidings.v9.json")], 400, "tidings.v1.json"),
        (&[("Sec-WebSocket-Protocol", "a b")], 400, "commas"),
        (&[("Content-Length", "3")], 400, "no body"),
        (&[("Transfer-Encoding", "chunked")], 400, "no body"),
    ] {
        let answer = server.ask(&handshake("/ws", changes)).await;
        let detail = answer.problem(status);
        assert!(detail.contains(says), "{changes:?}: {detail}");
        if status == 426 {
            assert_eq!(answer.header("upgrade"), Some("websocket"));
        }
        if changes.iter().any(|(name, _)| *name == "Sec-WebSocket-Version") {
            assert_eq!(answer.header("sec-websocket-version"), Some("13"));
        }
    }
    let post = handshake("/ws", &[]).replace("GET", "POST");
    let answer = server.ask(&post).await;
    assert!(answer.problem(405).contains("GET"));
    assert_eq!(answer.header("allow"), Some("GET"));
    let old = handshake("/ws", &[]).replace("HTTP/1.1", "HTTP/1.0");
    assert!(server.ask(&old).await.problem(400).contains("HTTP/1.1"));
    server.stop().await;
}

#[tokio::test]
async fn engineio_handshakes_are_answered_in_its_own_words() {
    let server = start(Config::default()).await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let answer = server.ask(&handshake(target, &[])).await;
    assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, None));
    let answer = server.ask(&handshake(target, &[("Sec-WebSocket-Protocol", "app.v1, b")])).await;
    assert_eq!(answer.header("sec-websocket-protocol"), Some("app.v1"));

    let post = handshake(target, &[]).replace("GET", "POST");
    for (request, code, message) in [
        (get("/socket.io/?EIO=4"), 0, "Transport unknown"),
        (get("/socket.io/?EIO=4&transport=abc"), 0, "Transport unknown"),
        (get("/socket.io/?EIO=4&transport=polling&sid=abc"), 1, "Session ID unknown"),
        (post, 2, "Bad handshake method"),
        (get("/socket.io/?EIO=4&transport=websocket"), 3, "Bad request"),
        (handshake("/socket.io/?transport=websocket", &[]), 5, "Unsupported protocol version"),
        (
            handshake("/socket.io/?EIO=3&transport=websocket", &[]),
            5,
            "Unsupported protocol version",
        ),
    ] {
        let answer = server.ask(&request).await;
        assert_eq!(answer.status, 400, "{request}");
        if request.contains("Upgrade") {
            assert_eq!(
                (answer.body.as_str(), answer.header("connection")),
                (message, Some("close"))
            );
        } else {
            assert_eq!(answer.json(), serde_json::json!({ "code": code, "message": message }));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn paths_are_configurable() {
    let config = Config::default().with(|c| {
        c.paths.websocket = "/live".into();
        c.paths.socketio = "/chat/io/".into();
    });
    let server = start(config).await;
    assert_eq!(server.ask(&handshake("/live", &[])).await.status, 101);
    assert_eq!(server.ask(&handshake("/ws", &[])).await.status, 404);
    let target = "/chat/io/?EIO=4&transport=websocket";
    assert_eq!(server.ask(&handshake(target, &[])).await.status, 101);
    server.stop().await;
}

#[tokio::test]
async fn whoever_does_not_finish_a_header_is_cut_off() {
    let config = Config::default().with(|c| c.timeouts.header_read = Duration::from_millis(50));
    let server = start(config).await;
    for begun in ["", "GET /ws HT", "GET /ws HTTP/1.1\r\nHost: test\r\nX-Slow: "] {
        let mut stream = server.connect().await;
        stream.write_all(begun.as_bytes()).await.expect("written");
        closed(&mut stream).await;
    }
    let mut kept_alive = server.connect().await;
    assert_eq!(ask(&mut kept_alive, &get("/api/websocket/health")).await.status, 200);
    closed(&mut kept_alive).await;
    server.stop().await;
}

#[tokio::test]
async fn a_header_without_end_is_refused() {
    let server = start(Config::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: test\r\nX-Long: ").await.expect("written");
    let chunk = [b'x'; 4096];
    // The server stops reading at some point, which ends the writing in one way or another.
    let mut sent = 0;
    while sent < 1 << 20 && stream.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    if let Some(answer) = read_answer(&mut stream).await {
        assert_eq!(answer.status, 431);
    }
    server.stop().await;
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_and_others_are_not_affected() {
    let server = start(Config::default().with(|c| c.limits.max_connections = 2)).await;
    let health = get("/api/websocket/health");
    let mut first = server.connect().await;
    assert_eq!(ask(&mut first, &health).await.status, 200);
    let mut second = server.connect().await;
    assert_eq!(ask(&mut second, &health).await.status, 200);

    let mut third = server.connect().await;
    let answer = ask(&mut third, &handshake("/ws", &[])).await;
    assert!(answer.problem(503).contains("all 2 connections"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    closed(&mut third).await;

    assert_eq!(ask(&mut first, &health).await.status, 200);
    drop(first);
    while server.ask(&health).await.status != 200 {
        tokio::task::yield_now().await;
    }
    let connections = ask(&mut second, &get("/api/websocket/stats")).await.json();
    assert!(connections["connections"]["refused"].as_u64() >= Some(1));
    server.stop().await;
}

#[tokio::test]
async fn stopping_closes_what_is_idle_and_cuts_what_stays() {
    let config = Config::default().with(|c| c.timeouts.drain = Duration::from_millis(100));
    let server = start(config).await;
    let mut idle = server.connect().await;
    assert_eq!(ask(&mut idle, &get("/api/websocket/health")).await.status, 200);
    let mut unfinished = server.connect().await;
    unfinished.write_all(b"GET /api/websocket/health HTTP/1.1\r\n").await.expect("written");
    let address = server.address;
    server.stop().await;
    closed(&mut idle).await;
    closed(&mut unfinished).await;
    TcpStream::connect(address).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start(Config::default()).await;
    let config = Config::default().listen(server.address);
    let error = Server::builder().config(config).bind().await.expect_err("in use");
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
    server.stop().await;
}
