//! Socket.IO over HTTP polling, byte for byte.

mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_server::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::raw::{HANGS, Running, start};

impl Running {
    /// Opens a session.
    async fn open(&self) -> Session {
        let target = "/socket.io/?EIO=4&transport=polling";
        let (status, body) = http(self.address, "GET", target, "").await;
        assert_eq!(status, 200, "{body}");
        let open = body.strip_prefix('0').expect("an open packet");
        let handshake: Value = serde_json::from_str(open).expect("JSON");
        let sid = handshake["sid"].as_str().expect("a sid");
        let target = format!("{target}&sid={sid}");
        Session { address: self.address, target, handshake }
    }
}

/// One request on a connection of its own: the status and body of its answer.
async fn http(address: SocketAddr, method: &str, target: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let len = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
         Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(HANGS, read).await.expect("an answer in time").expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    (status, body.to_owned())
}

#[derive(Clone)]
struct Session {
    address: SocketAddr,
    target: String,
    handshake: Value,
}

impl Session {
    async fn poll(&self) -> (u16, String) {
        http(self.address, "GET", &self.target, "").await
    }

    async fn post(&self, body: &str) -> (u16, String) {
        http(self.address, "POST", &self.target, body).await
    }

    /// Joins the namespace.
    async fn connect(&self) {
        assert_eq!(self.post("40").await, (200, "ok".to_owned()));
        let (status, body) = self.poll().await;
        assert!(status == 200 && body.starts_with(r#"40{"sid":""#), "{body}");
    }
}

#[tokio::test]
async fn a_session_over_polling_subscribes_publishes_and_receives() {
    let server = start(Config::default()).await;
    let session = server.open().await;
    assert_eq!(session.handshake["upgrades"], json!(["websocket"]));
    assert_eq!(session.handshake["pingInterval"], 25_000);
    assert_eq!(session.handshake["maxPayload"], 3 << 19);
    session.connect().await;

    let packets = "420[\"subscribe\",\"a.*\"]\x1e421[\"publish\",\"a.b\",{\"n\":1}]";
    assert_eq!(session.post(packets).await.0, 200);
    let mut got = String::new();
    while !got.contains("42[\"a.b\"") || !got.contains("431") {
        got += &session.poll().await.1;
        got += "\x1e";
    }
    let mut packets: Vec<&str> = got.trim_end_matches('\x1e').split('\x1e').collect();
    packets.sort_unstable();
    assert_eq!(packets[0], r#"42["a.b",{"n":1}]"#);
    assert!(packets[1].starts_with(r#"430[{"ok":true"#), "{packets:?}");
    assert!(packets[2].starts_with(r#"431[{"ok":true"#), "{packets:?}");
    assert_eq!(packets.len(), 3, "{packets:?}");

    // Binary comes as base64, behind the packet it belongs to.
    let packets = "452-[\"publish\",\"a.c\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID";
    assert_eq!(session.post(&packets.replace("452", "451")).await.0, 200);
    let (_, body) = session.poll().await;
    assert_eq!(body, "451-[\"a.c\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID");
    server.stop().await;
}

#[tokio::test]
async fn the_heartbeat_keeps_a_session_and_ends_a_silent_one() {
    let server = start(Config::default().with(|c| {
        c.heartbeat.ping_interval = Duration::from_millis(50);
        c.heartbeat.ping_timeout = Duration::from_millis(500);
        c.timeouts.hello = Duration::from_secs(60);
    }))
    .await;
    let session = server.open().await;
    for _ in 0..3 {
        assert_eq!(session.poll().await, (200, "2".to_owned()));
        assert_eq!(session.post("3").await, (200, "ok".to_owned()));
    }
    assert_eq!(session.poll().await, (200, "2".to_owned()));
    assert_eq!(session.poll().await, (200, "1".to_owned()), "nothing answers the last ping");
    let (status, body) = session.poll().await;
    assert_eq!((status, body.as_str()), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    server.stop().await;
}

#[tokio::test]
async fn what_the_client_closes_is_gone() {
    let server = start(Config::default()).await;
    let session = server.open().await;
    let poll = tokio::spawn({
        let session = session.clone();
        async move { session.poll().await }
    });
    assert_eq!(session.post("1").await, (200, "ok".to_owned()));
    let answer = poll.await.expect("no panic");
    // Whichever of the two came first.
    assert_eq!(answer, (200, "6".to_owned()));
    assert_eq!(session.poll().await.0, 400);
    assert_eq!(session.post("3").await.0, 400);
    server.stop().await;
}

#[tokio::test]
async fn what_a_browser_asks_again_by_itself_is_answered_again() {
    let server = start(Config::default()).await;
    let session = server.open().await;
    let at = |stamp: &str| {
        let target = format!("{}&t={stamp}", session.target);
        Session { target, ..session.clone() }
    };
    let ok = (200, "ok".to_owned());
    assert_eq!(at("b1").post("40").await, ok);
    let joined = at("a1").poll().await;
    assert!(joined.1.starts_with(r#"40{"sid":""#), "{joined:?}");
    assert_eq!(at("a1").poll().await, joined);

    // What is sent again has happened once.
    let packets = "420[\"subscribe\",\"a.*\"]\x1e42[\"publish\",\"a.b\",1]";
    for _ in 0..3 {
        assert_eq!(at("b2").post(packets).await, ok);
    }
    assert_eq!(at("b3").post("42[\"publish\",\"a.c\",2]").await, ok);
    let mut events = Vec::new();
    for number in 0.. {
        let stamp = format!("c{number}");
        let first = at(&stamp).poll().await;
        assert_eq!(at(&stamp).poll().await, first);
        let (status, body) = first;
        assert_eq!(status, 200, "{body}");
        events.extend(body.split('\x1e').filter(|it| it.starts_with("42")).map(str::to_owned));
        if events.iter().any(|event| event.contains("a.c")) {
            break;
        }
    }
    assert_eq!(events, [r#"42["a.b",1]"#, r#"42["a.c",2]"#]);
    server.stop().await;
}

/// Some clients write the seconds of the clock, or always the same.
#[tokio::test]
async fn a_stamp_that_does_not_tell_requests_apart_is_none() {
    for stamp in ["", "&t=1764240000", "&t=same"] {
        let server = start(Config::default()).await;
        let mut session = server.open().await;
        session.target += stamp;
        session.connect().await;
        for number in 0..2 {
            let packets = format!("420[\"subscribe\",\"a.*\"]\x1e42[\"publish\",\"a.b\",{number}]");
            assert_eq!(session.post(&packets).await.0, 200);
            let event = format!(r#"42["a.b",{number}]"#);
            while !session.poll().await.1.split('\x1e').any(|packet| packet == event) {}
        }
        server.stop().await;
    }
}
