//! Engine.IO alone, against the server that the protocol's published test suite expects:
//! `examples/conformance.rs --engine`. What depends on no application is in engineio_rules.rs.

#[allow(dead_code)]
#[path = "../examples/conformance.rs"]
mod conformance;
mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use raw::{HANGS, Http, Message, Polling, Running, Ws, http, run};
use serde_json::{Value, json};

const PATH: &str = "/engine.io/";
const WEBSOCKET: &str = "/engine.io/?EIO=4&transport=websocket";

async fn server() -> Running {
    // None of these clients agrees to being closed: stopping need not wait for it.
    server_closing_within(Duration::from_millis(50)).await
}

async fn server_closing_within(limit: Duration) -> Running {
    let config = conformance::config(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = config.with(|c| c.timeouts.closing = limit);
    run(conformance::engine_io(config).await.expect("a server"))
}

async fn websocket(server: &Running) -> Ws {
    let mut ws = Ws::connect(server.address, WEBSOCKET).await.expect("a WebSocket");
    assert!(ws.next_text().await.starts_with('0'));
    ws
}

async fn echoes(ws: &mut Ws) {
    ws.text("4hello").await;
    assert_eq!(ws.next_packet().await, "4hello");
}

#[tokio::test]
async fn the_handshake_tells_the_settings() {
    let server = server().await;
    let session = Polling::open(server.address, PATH).await;
    let expected = |sid: &Value, upgrades: Value| {
        json!({
            "sid": sid, "upgrades": upgrades,
            "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000,
        })
    };
    let sid = &session.handshake["sid"];
    assert_eq!(session.handshake, expected(sid, json!(["websocket"])));
    let mut ws = Ws::connect(server.address, WEBSOCKET).await.expect("a WebSocket");
    let open: Value = serde_json::from_str(&ws.next_text().await[1..]).expect("JSON");
    assert_eq!(open, expected(&open["sid"], json!([])));
    server.stop().await;
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let server = server().await;
    for (method, query) in [
        ("GET", "transport=polling"),
        ("GET", "EIO=abc&transport=polling"),
        ("GET", "EIO=4"),
        ("GET", "EIO=4&transport=abc"),
        ("POST", "EIO=4&transport=polling"),
        ("PUT", "EIO=4&transport=polling"),
        ("GET", "EIO=4&transport=polling&sid=unknown"),
    ] {
        let answer = http(server.address, method, &format!("{PATH}?{query}"), "").await;
        assert_eq!(answer.status, 400, "{method} {query}");
    }
    for query in
        ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"]
    {
        let refused = Ws::connect(server.address, &format!("{PATH}?{query}")).await.err();
        assert_eq!(refused.expect("a refusal").status, 400, "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn polling_brings_every_packet_back() {
    let server = server().await;
    for body in [
        "4hello",
        "4test1\x1e4test2\x1e4test3",
        "4hello\x1ebAQIDBA==",
        "4\u{e9}\u{1f600}",
        "b\x1e4",
        "4",
    ] {
        let session = Polling::open(server.address, PATH).await;
        assert_eq!(session.post(body).await.is(), (200, "ok"), "{body}");
        let answer = session.poll().await;
        assert_eq!(answer.is(), (200, body));
    }
    server.stop().await;
}

#[tokio::test]
async fn websockets_bring_every_message_back() {
    let server = server().await;
    let mut ws = websocket(&server).await;
    echoes(&mut ws).await;
    ws.binary(&[1, 2, 3, 4]).await;
    assert_eq!(ws.next().await, Some(Message::Binary(vec![1, 2, 3, 4])));
    ws.binary(&[]).await;
    assert_eq!(ws.next().await, Some(Message::Binary(vec![])));
    ws.text("4").await;
    assert_eq!(ws.next_packet().await, "4");
    let long = format!("4{}", "x".repeat(999_999));
    ws.text(&long).await;
    assert_eq!(ws.next_packet().await, long);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_packet_closes_the_session() {
    let server = server().await;
    for body in ["abc", "", "7", "4a\x1e", "b?"] {
        let session = Polling::open(server.address, PATH).await;
        assert_eq!(session.post(body).await.status, 400, "{body:?}");
        session.becomes_unknown().await;
    }
    for text in ["abc", "", "7"] {
        let mut ws = websocket(&server).await;
        ws.text(text).await;
        ws.closed().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn overlapping_polls_close_the_session() {
    let server = server().await;
    let session = Polling::open(server.address, PATH).await;
    let mut polls = [Http::connect(server.address).await, Http::connect(server.address).await];
    for poll in &mut polls {
        poll.begin("GET", &session.target, "", "").await;
    }
    let mut answers = Vec::new();
    for poll in &mut polls {
        let answer = poll.answer().await.expect("an answer");
        answers.push((answer.status, answer.body));
    }
    answers.sort();
    assert_eq!(answers, [(200, "1".to_owned()), (400, String::new())]);
    session.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn the_heartbeat_keeps_who_answers_and_ends_who_does_not() {
    let server = server().await;
    let session = Polling::open(server.address, PATH).await;
    for _ in 0..3 {
        assert_eq!(session.poll().await.is(), (200, "2"));
        assert_eq!(session.post("3").await.is(), (200, "ok"));
    }
    session.becomes_unknown().await;
    let mut ws = websocket(&server).await;
    for _ in 0..3 {
        assert_eq!(ws.next_text().await, "2");
        ws.text("3").await;
    }
    ws.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn close_packets_end_the_session() {
    let server = server_closing_within(HANGS).await;
    let session = Polling::open(server.address, PATH).await;
    assert_eq!(session.post("1").await.is(), (200, "ok"));
    assert_eq!(session.post("40").await.status, 400);
    // A poll may have been overtaken; no other is answered.
    assert_eq!(session.poll().await.is(), (200, "6"));
    session.is_unknown().await;
    let mut ws = websocket(&server).await;
    ws.text("1").await;
    ws.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn a_session_moves_and_what_is_sent_meanwhile_comes_back_in_order() {
    let server = server().await;
    let session = Polling::open(server.address, PATH).await;
    let mut ws = session.websocket().await;
    ws.text("2probe").await;
    assert_eq!(ws.next_text().await, "3probe");
    assert_eq!(session.post("4one\x1e4two").await.is(), (200, "ok"));
    ws.text("5").await;
    ws.text("4three").await;
    for expected in ["4one", "4two", "4three"] {
        assert_eq!(ws.next_packet().await, expected);
    }
    assert_eq!(session.poll().await.status, 400, "it has moved");
    let mut other = session.websocket().await;
    other.text("2probe").await;
    other.closed().await;
    echoes(&mut ws).await;
    server.stop().await;
}
