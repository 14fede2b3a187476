//! What can be chosen about Engine.IO: cross-origin requests, the cookie, paths, transports, and
//! how long bodies may take.

mod raw;

use std::time::Duration;

use raw::{Answer, Http, Polling, Running, Ws, http, start};
use serde_json::{Value, json};
use tidings_server::Config;
use tokio::io::AsyncWriteExt;

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const HERE: &str = "https://app.example.com";

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

async fn from(server: &Running, method: &str, target: &str, headers: &str) -> Answer {
    Http::connect(server.address).await.ask(method, target, headers, "").await
}

// Cross-origin requests

#[tokio::test]
async fn pages_of_other_origins_may_not_unless_they_are_let() {
    let server = start(Config::default()).await;
    let answer = from(&server, "GET", POLLING, &format!("Origin: {HERE}\r\n")).await;
    assert!(!answer.head.to_ascii_lowercase().contains("access-control"), "{answer:?}");
    let preflight = from(&server, "OPTIONS", POLLING, &format!("Origin: {HERE}\r\n")).await;
    assert_eq!(preflight.status, 400);
    server.stop().await;
}

#[tokio::test]
async fn all_origins_may() {
    let server = start(Config::default().with(|c| c.cors.origins = list(&["*"]))).await;
    for target in [POLLING, "/socket.io/?EIO=4", "/socket.io/?EIO=4&transport=polling&sid=x"] {
        let answer = from(&server, "GET", target, &format!("Origin: {HERE}\r\n")).await;
        assert_eq!(answer.headers("access-control-allow-origin"), ["*"], "{target}");
        assert_eq!(answer.header("vary"), None);
    }
    let asks = format!(
        "Origin: {HERE}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type,x-token\r\n"
    );
    let preflight = from(&server, "OPTIONS", POLLING, &asks).await;
    assert_eq!(preflight.is(), (204, ""));
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    let methods = preflight.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET,HEAD,PUT,PATCH,POST,DELETE"));
    let headers = preflight.header("access-control-allow-headers");
    assert_eq!(headers, Some("content-type,x-token"), "what it asks for");
    assert_eq!(preflight.header("vary"), Some("access-control-request-headers"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    server.stop().await;
}

#[tokio::test]
async fn listed_origins_may_and_with_credentials() {
    let server = start(Config::default().with(|c| {
        c.cors.origins = list(&[HERE, "http://localhost:3000"]);
        c.cors.credentials = true;
        c.cors.methods = list(&["GET", "POST"]);
        c.cors.allowed_headers = list(&["x-token"]);
        c.cors.exposed_headers = list(&["x-seen"]);
        c.cors.max_age = Duration::from_secs(600);
    }))
    .await;
    for origin in [HERE, "http://localhost:3000"] {
        let answer = from(&server, "GET", POLLING, &format!("Origin: {origin}\r\n")).await;
        assert_eq!(answer.headers("access-control-allow-origin"), [origin]);
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        assert_eq!(answer.header("access-control-expose-headers"), Some("x-seen"));
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    for other in ["https://example.com", "https://app.example.com.evil.org", "null"] {
        for method in ["GET", "OPTIONS"] {
            let answer = from(&server, method, POLLING, &format!("Origin: {other}\r\n")).await;
            assert_eq!(answer.header("access-control-allow-origin"), None, "{other}");
            assert_eq!(answer.headers("vary")[0], "origin", "caches must not mix them up");
        }
    }
    let preflight = from(&server, "OPTIONS", POLLING, &format!("Origin: {HERE}\r\n")).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some(HERE));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-token"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    server.stop().await;
}

// The cookie

#[tokio::test]
async fn the_cookie_is_set_once_by_the_first_answer() {
    let server = start(Config::default().with(|c| c.cookie.name = "io".into())).await;
    let answer = from(&server, "GET", POLLING, "").await;
    let open: Value = serde_json::from_str(&answer.body[1..]).expect("JSON");
    let sid = open["sid"].as_str().expect("a sid");
    let expected = format!("io={sid}; Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(answer.headers("set-cookie"), [expected.as_str()]);
    let post = from(&server, "POST", &format!("{POLLING}&sid={sid}"), "").await;
    assert_eq!(post.header("set-cookie"), None);
    server.stop().await;
}

#[tokio::test]
async fn the_cookie_has_the_attributes_that_are_asked_for() {
    let server = start(Config::default().with(|c| {
        c.cookie.name = "node".into();
        c.cookie.path = "/socket.io".into();
        c.cookie.domain = "example.com".into();
        c.cookie.http_only = false;
        c.cookie.secure = true;
        c.cookie.same_site = "none".into();
    }))
    .await;
    let answer = from(&server, "GET", POLLING, "").await;
    let (_, attributes) =
        answer.header("set-cookie").and_then(|c| c.split_once("; ")).expect("one");
    assert_eq!(attributes, "Domain=example.com; Path=/socket.io; Secure; SameSite=None");
    server.stop().await;
}

// Paths and connections

#[tokio::test]
async fn the_path_is_served_with_and_without_its_last_slash() {
    for configured in ["/chat/io/", "/chat/io"] {
        let config = Config::default().with(|c| c.paths.socketio = configured.into());
        let server = start(config).await;
        for path in ["/chat/io/", "/chat/io"] {
            let session = Polling::open(server.address, path).await;
            assert_eq!(session.post("40").await.is(), (200, "ok"));
            let target = format!("{path}?EIO=4&transport=websocket");
            assert!(Ws::connect(server.address, &target).await.is_ok());
        }
        for path in [POLLING, "/chat/?EIO=4&transport=polling"] {
            assert_eq!(http(server.address, "GET", path, "").await.status, 404);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = start(Config::default()).await;
    let mut http = Http::connect(server.address).await;
    let open = http.ask("GET", POLLING, "", "").await;
    let open: Value = serde_json::from_str(&open.body[1..]).expect("JSON");
    let target = format!("{POLLING}&sid={}", open["sid"].as_str().expect("a sid"));
    assert_eq!(http.ask("POST", &target, "", "40").await.is(), (200, "ok"));
    assert!(http.ask("GET", &target, "", "").await.body.starts_with("40"));
    for _ in 0..3 {
        assert_eq!(http.ask("POST", &target, "", "42[\"a\"]").await.is(), (200, "ok"));
    }
    // Two requests in one write: the second is read once the first is answered.
    let post = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n3");
    http.0.write_all(post.repeat(2).as_bytes()).await.expect("written");
    for _ in 0..2 {
        assert_eq!(http.answer().await.expect("an answer").is(), (200, "ok"));
    }
    assert_eq!(http.ask("GET", "/socket.io/", "Connection: close\r\n", "").await.status, 400);
    http.closed().await;
    server.stop().await;
}

// Transports

#[tokio::test]
async fn polling_can_be_switched_off() {
    let config = Config::default().with(|c| c.engineio.transports = list(&["websocket"]));
    let server = start(config).await;
    let answer = http(server.address, "GET", POLLING, "").await;
    assert_eq!(answer.is(), (400, r#"{"code":0,"message":"Transport unknown"}"#));
    assert!(Ws::connect(server.address, WEBSOCKET).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn websockets_can_be_switched_off() {
    let config = Config::default().with(|c| c.engineio.transports = list(&["polling"]));
    let server = start(config).await;
    let session = Polling::open(server.address, "/socket.io/").await;
    assert_eq!(session.handshake["upgrades"], json!([]));
    for target in [WEBSOCKET.to_owned(), format!("{WEBSOCKET}&sid={}", session.sid)] {
        let refused = Ws::connect(server.address, &target).await.err().expect("a refusal");
        assert_eq!(refused.is(), (400, "Transport unknown"));
    }
    server.stop().await;
}

#[tokio::test]
async fn moving_to_a_websocket_can_be_switched_off() {
    let server = start(Config::default().with(|c| c.engineio.allow_upgrades = false)).await;
    let session = Polling::open(server.address, "/socket.io/").await;
    assert_eq!(session.handshake["upgrades"], json!([]));
    let target = format!("{WEBSOCKET}&sid={}", session.sid);
    let refused = Ws::connect(server.address, &target).await.err().expect("a refusal");
    assert_eq!(refused.is(), (400, "Bad request"));
    assert!(
        Ws::connect(server.address, WEBSOCKET).await.is_ok(),
        "to begin with one is not moving"
    );
    server.stop().await;
}

// Bodies that do not come

#[tokio::test]
async fn a_body_that_takes_too_long_ends_request_and_session() {
    let config = Config::default().with(|c| c.timeouts.body_read = Duration::from_millis(50));
    let server = start(config).await;
    let session = Polling::open(server.address, "/socket.io/").await;
    let mut post = Http::connect(server.address).await;
    let head =
        format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n42", session.target);
    post.0.write_all(head.as_bytes()).await.expect("written");
    assert_eq!(post.answer().await.expect("an answer").status, 408);
    post.closed().await;
    session.becomes_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_ends_with_its_connection_ends_the_session() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, "/socket.io/").await;
    let mut post = Http::connect(server.address).await;
    let head =
        format!("POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n42", session.target);
    post.0.write_all(head.as_bytes()).await.expect("written");
    drop(post);
    session.becomes_unknown().await;
    server.stop().await;
}

/// What a client says it will send takes no memory before it has.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_body_that_does_not_come_pins_no_memory() {
    const CLIENTS: usize = 200;
    let server = start(Config::default()).await;
    let mut posts = Vec::new();
    let before = resident();
    for _ in 0..CLIENTS {
        let session = Polling::open(server.address, "/socket.io/").await;
        let mut post = Http::connect(server.address).await;
        let target = &session.target;
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 1500000\r\n\r\n42");
        post.0.write_all(head.as_bytes()).await.expect("written");
        // Refused as overlapping once the first one has begun.
        while session.post("3").await.status == 200 {}
        posts.push((post, session));
    }
    let grown = resident().saturating_sub(before);
    let claimed = CLIENTS * 1_500_000;
    assert!(grown < claimed / 8, "{grown} bytes for {claimed} that were only promised");
    drop(posts);
    server.stop().await;
}

#[cfg(target_os = "linux")]
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("resident memory");
    let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<usize>().ok());
    kib.expect("a number of KiB") * 1024
}
