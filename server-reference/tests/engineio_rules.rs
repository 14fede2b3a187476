//! The rules of Engine.IO 4 (<https://socket.io/docs/v4/engine-io-protocol/>), one test each, by
//! clients that write and read bytes themselves.

mod raw;

use std::time::Duration;

use raw::{HANGS, Http, Message, Polling, Running, Ws, http, start, start_closing_within};
use serde_json::{Value, json};
use tidings_server::Config;
use tokio::io::AsyncWriteExt;

const PATH: &str = "/socket.io/";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

const UNKNOWN_TRANSPORT: (u16, &str) = (400, r#"{"code":0,"message":"Transport unknown"}"#);
const UNKNOWN_SID: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const BAD_METHOD: (u16, &str) = (400, r#"{"code":2,"message":"Bad handshake method"}"#);
const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);
const BAD_VERSION: (u16, &str) = (400, r#"{"code":5,"message":"Unsupported protocol version"}"#);

/// A server that pings often and waits long: nothing is given up while a test looks elsewhere.
fn patient() -> Config {
    Config::default().with(|c| {
        c.heartbeat.ping_interval = Duration::from_millis(50);
        c.heartbeat.ping_timeout = Duration::from_secs(60);
        c.timeouts.hello = Duration::from_secs(60);
    })
}

/// A server that gives a client up soon after a ping.
fn strict() -> Config {
    Config::default().with(|c| {
        c.heartbeat.ping_interval = Duration::from_millis(50);
        c.heartbeat.ping_timeout = Duration::from_millis(50);
        c.timeouts.hello = Duration::from_secs(60);
    })
}

async fn websocket(server: &Running) -> Ws {
    let mut ws = Ws::connect(server.address, WEBSOCKET).await.expect("a WebSocket");
    assert!(ws.next_text().await.starts_with('0'), "an open packet");
    ws
}

async fn upgrade(session: &Polling) -> Ws {
    let mut ws = session.websocket().await;
    ws.text("2probe").await;
    assert_eq!(ws.next_text().await, "3probe");
    ws.text("5").await;
    ws
}

/// Checks that the session on this WebSocket works: it joins the namespace.
async fn answers(ws: &mut Ws) {
    ws.text("40").await;
    let packet = ws.next_packet().await;
    assert!(packet.starts_with(r#"40{"sid":""#), "{packet}");
}

// The handshake

#[tokio::test]
async fn a_session_opens_by_polling() {
    let server = start(Config::default().with(|c| c.limits.max_frame = 2_000_000)).await;
    let answer = http(server.address, "GET", POLLING, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None, "there are no cookies unless asked for");
    let handshake: Value = serde_json::from_str(&answer.body[1..]).expect("JSON");
    let sid = handshake["sid"].as_str().expect("a sid").to_owned();
    assert!(answer.body.starts_with('0') && sid.len() >= 20, "{answer:?}");
    let rest = json!({
        "sid": sid, "upgrades": ["websocket"],
        "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 2_000_000,
    });
    assert_eq!(handshake, rest, "these members and no others");
    server.stop().await;
}

#[tokio::test]
async fn a_session_opens_by_websocket() {
    let server = start(Config::default()).await;
    let mut ws = Ws::connect(server.address, WEBSOCKET).await.expect("a WebSocket");
    let open = ws.next_text().await;
    let handshake: Value = serde_json::from_str(&open[1..]).expect("JSON");
    assert!(open.starts_with('0') && handshake["sid"].is_string(), "{open}");
    assert_eq!(handshake["upgrades"], json!([]), "there is nothing better");
    assert_eq!(handshake["maxPayload"], 3 << 19);
    answers(&mut ws).await;
    server.stop().await;
}

#[tokio::test]
async fn the_version_must_be_4() {
    let server = start(Config::default()).await;
    for eio in ["", "EIO=abc&", "EIO=3&", "EIO=&", "eio=4&"] {
        let target = format!("/socket.io/?{eio}transport=polling");
        assert_eq!(http(server.address, "GET", &target, "").await.is(), BAD_VERSION, "{target}");
        let target = format!("/socket.io/?{eio}transport=websocket");
        let refused = Ws::connect(server.address, &target).await.err().expect("a refusal");
        assert_eq!(refused.is(), (400, "Unsupported protocol version"), "{target}");
    }
    let session = Polling::open(server.address, PATH).await;
    let other = session.target.replace("EIO=4", "EIO=3");
    assert_eq!(http(server.address, "GET", &other, "").await.is(), BAD_REQUEST);
    server.stop().await;
}

#[tokio::test]
async fn the_transport_must_be_one_there_is() {
    let server = start(Config::default()).await;
    for query in ["EIO=4", "EIO=4&transport=abc", "EIO=4&transport=webtransport", ""] {
        let target = format!("/socket.io/?{query}");
        assert_eq!(http(server.address, "GET", &target, "").await.is(), UNKNOWN_TRANSPORT);
        let refused = Ws::connect(server.address, &target).await.err().expect("a refusal");
        assert_eq!(refused.is(), (400, "Transport unknown"));
        assert_eq!(refused.header("connection"), Some("close"));
    }
    let target = "/socket.io/?EIO=4&transport=websocket";
    assert_eq!(http(server.address, "GET", target, "").await.is(), BAD_REQUEST, "not a WebSocket");
    let refused = Ws::connect(server.address, POLLING).await.err().expect("a refusal");
    assert_eq!(refused.status, 400, "polling is not done by a WebSocket");
    server.stop().await;
}

#[tokio::test]
async fn sessions_open_by_get_alone() {
    let server = start(Config::default()).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let answer = http(server.address, method, POLLING, "").await;
        assert_eq!(answer.is(), BAD_METHOD, "{method}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    server.stop().await;
}

#[tokio::test]
async fn unknown_sessions_are_refused() {
    let server = start(Config::default()).await;
    for sid in ["abc", "AAAAAAAAAAAAAAAAAAAA", "%00", "__proto__", "\u{e9}"] {
        let target = format!("{POLLING}&sid={sid}");
        assert_eq!(http(server.address, "GET", &target, "").await.is(), UNKNOWN_SID);
        assert_eq!(http(server.address, "POST", &target, "4a").await.is(), UNKNOWN_SID);
        let target = format!("{WEBSOCKET}&sid={sid}");
        let refused = Ws::connect(server.address, &target).await.err().expect("a refusal");
        assert_eq!(refused.is(), (400, "Session ID unknown"));
    }
    server.stop().await;
}

#[tokio::test]
async fn another_method_on_a_session_is_an_error_and_costs_nothing_else() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    for method in ["PUT", "DELETE"] {
        let answer = http(server.address, method, &session.target, "4a").await;
        assert_eq!(answer.is(), (500, ""), "{method}");
    }
    assert_eq!(session.post("40").await.is(), (200, "ok"));
    server.stop().await;
}

// The heartbeat

#[tokio::test]
async fn pongs_keep_a_polling_session() {
    let server = start(patient()).await;
    let session = Polling::open(server.address, PATH).await;
    for _ in 0..5 {
        assert_eq!(session.poll().await.is(), (200, "2"));
        assert_eq!(session.post("3").await.is(), (200, "ok"));
    }
    server.stop().await;
}

#[tokio::test]
async fn pongs_keep_a_websocket() {
    let server = start(patient()).await;
    let mut ws = websocket(&server).await;
    for _ in 0..5 {
        assert_eq!(ws.next_text().await, "2");
        ws.text("3").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_polling_session_without_pong_ends_and_is_unknown() {
    let server = start(strict()).await;
    let session = Polling::open(server.address, PATH).await;
    session.becomes_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_without_pong_is_closed() {
    let server = start(strict()).await;
    let ws = websocket(&server).await;
    let said = ws.closed().await;
    assert_eq!(said.first(), Some(&Message::Text("2".into())), "a ping comes first");
    server.stop().await;
}

#[tokio::test]
async fn pings_of_the_client_close_the_session() {
    let server = start(Config::default()).await;
    let mut ws = websocket(&server).await;
    ws.text("2").await;
    ws.closed().await;
    let session = Polling::open(server.address, PATH).await;
    assert_eq!(session.post("2").await.status, 400);
    session.is_unknown().await;
    server.stop().await;
}

// Closing

#[tokio::test]
async fn a_close_packet_ends_a_polling_session_and_its_open_poll() {
    let server = start_closing_within(HANGS, Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut poll = Http::connect(server.address).await;
    poll.begin("GET", &session.target, "", "").await;
    // Answered once the poll is known to be open: another one in its place costs the session.
    assert_eq!(session.post("40").await.is(), (200, "ok"));
    assert!(poll.answer().await.expect("an answer").body.starts_with("40"));
    poll.begin("GET", &session.target, "", "").await;
    assert_eq!(session.post("1").await.is(), (200, "ok"));
    let answer = poll.answer().await.expect("an answer");
    // Whichever of the two connections is read first.
    assert_eq!(answer.is(), (200, "6"));
    session.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn a_close_packet_ends_a_websocket() {
    let server = start(Config::default()).await;
    let mut ws = websocket(&server).await;
    ws.text("1").await;
    ws.closed().await;
    server.stop().await;
}

// Packets

#[tokio::test]
async fn payloads_hold_several_packets_text_and_binary() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let answer = session.post("40\x1e420[\"subscribe\",\"a.*\"]").await;
    assert_eq!(answer.is(), (200, "ok"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    session.packets(2).await;
    let sent = [
        r#"42["publish","a.text","\u00e9 and \u001e"]"#,
        r#"451-["publish","a.binary",{"_placeholder":true,"num":0}]"#,
        "bAQIDBA==",
        r#"42["publish","a.last",1]"#,
    ];
    assert_eq!(session.post(&sent.join("\x1e")).await.is(), (200, "ok"));
    let expected = [
        r#"42["a.text","\u00e9 and \u001e"]"#,
        r#"451-["a.binary",{"_placeholder":true,"num":0}]"#,
        "bAQIDBA==",
        r#"42["a.last",1]"#,
    ];
    assert_eq!(session.packets(4).await, expected);
    server.stop().await;
}

#[tokio::test]
async fn websockets_carry_text_and_binary() {
    let server = start(Config::default()).await;
    let mut ws = websocket(&server).await;
    answers(&mut ws).await;
    ws.text(r#"420["subscribe","a.*"]"#).await;
    assert!(ws.next_text().await.starts_with("430["));
    ws.text(r#"451-["publish","a.b",{"_placeholder":true,"num":0}]"#).await;
    ws.binary(&[1, 2, 3, 4]).await;
    assert_eq!(ws.next_text().await, r#"451-["a.b",{"_placeholder":true,"num":0}]"#);
    assert_eq!(ws.next().await, Some(Message::Binary(vec![1, 2, 3, 4])));
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_packet_closes_a_polling_session() {
    let server = start(Config::default()).await;
    for body in ["abc", "", "7", "4", "b?", "bAQ=x", "40\x1e", "\x1e40", "40\x1eabc"] {
        let session = Polling::open(server.address, PATH).await;
        assert_eq!(session.post(body).await.is(), (400, ""), "{body:?}");
        session.becomes_unknown().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_packet_closes_a_websocket() {
    let server = start(Config::default()).await;
    for text in ["abc", "", "7", "4"] {
        let mut ws = websocket(&server).await;
        ws.text(text).await;
        ws.closed().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn packets_are_posted_as_text() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let headers = "Content-Type: application/octet-stream\r\n";
    let mut http = Http::connect(server.address).await;
    assert_eq!(http.ask("POST", &session.target, headers, "40").await.status, 400);
    session.becomes_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn max_payload_is_the_limit_for_bodies_and_frames() {
    let server = start(Config::default().with(|c| {
        c.limits.max_payload = 1000;
        c.limits.max_frame = 1000;
    }))
    .await;
    let session = Polling::open(server.address, PATH).await;
    assert_eq!(session.handshake["maxPayload"], 1000);
    let packet = |len: usize| format!("42[\"a\",\"{}\"]", "x".repeat(len - 10));
    assert_eq!(session.post("40").await.is(), (200, "ok"));
    assert_eq!(session.post(&packet(1000)).await.is(), (200, "ok"));
    assert_eq!(session.post(&packet(1001)).await.status, 413);
    let mut ws = websocket(&server).await;
    answers(&mut ws).await;
    ws.text(&packet(1001)).await;
    ws.closed().await;
    server.stop().await;
}

// One request of a kind at a time

#[tokio::test]
async fn overlapping_polls_close_the_session() {
    let server = start(Config::default()).await;
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
async fn overlapping_posts_close_the_session() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let begun =
        format!("POST {} HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\n4", session.target);
    let mut posts = [Http::connect(server.address).await, Http::connect(server.address).await];
    for post in &mut posts {
        post.0.write_all(begun.as_bytes()).await.expect("written");
    }
    for post in &mut posts {
        // One is refused because of the other, the other because the session ends.
        assert_eq!(post.answer().await.expect("an answer").status, 400);
    }
    session.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn a_poll_that_is_given_up_closes_the_session() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut poll = Http::connect(server.address).await;
    poll.begin("GET", &session.target, "", "").await;
    drop(poll);
    // Until the server notices, another poll overlaps with it, which closes the session as well.
    session.becomes_unknown().await;
    server.stop().await;
}

// Moving to a WebSocket

#[tokio::test]
async fn a_polling_session_moves_to_a_websocket() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut ws = upgrade(&session).await;
    answers(&mut ws).await;
    server.stop().await;
}

#[tokio::test]
async fn the_pending_poll_gets_a_noop_while_a_websocket_is_tried() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut poll = Http::connect(server.address).await;
    poll.begin("GET", &session.target, "", "").await;
    let mut ws = session.websocket().await;
    ws.text("2probe").await;
    assert_eq!(ws.next_text().await, "3probe");
    assert_eq!(poll.answer().await.expect("an answer").is(), (200, "6"));
    ws.text("5").await;
    answers(&mut ws).await;
    server.stop().await;
}

#[tokio::test]
async fn what_waits_when_a_session_moves_comes_over_the_websocket() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut ws = session.websocket().await;
    ws.text("2probe").await;
    assert_eq!(ws.next_text().await, "3probe");
    let packets = "40\x1e420[\"subscribe\",\"a.*\"]\x1e421[\"publish\",\"a.b\",1]";
    assert_eq!(session.post(packets).await.is(), (200, "ok"));
    ws.text("5").await;
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(ws.next_text().await);
    }
    got.sort();
    assert!(got[0].starts_with("40{") && got[1] == r#"42["a.b",1]"#, "{got:?}");
    assert!(got[2].starts_with("430[") && got[3].starts_with("431["), "{got:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_has_moved_takes_no_polls() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut ws = upgrade(&session).await;
    // Whether this or the packet that moves the session is read first must make no difference.
    assert_eq!(session.poll().await.is(), BAD_REQUEST);
    assert_eq!(session.poll().await.is(), BAD_REQUEST);
    assert_eq!(session.post("40").await.is(), BAD_REQUEST);
    answers(&mut ws).await;
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_has_moved_takes_no_other_websocket() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut ws = upgrade(&session).await;
    let mut other = session.websocket().await;
    other.text("2probe").await;
    assert_eq!(other.closed().await, []);
    answers(&mut ws).await;
    server.stop().await;
}

#[tokio::test]
async fn one_websocket_is_tried_at_a_time() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    let mut ws = session.websocket().await;
    ws.text("2probe").await;
    assert_eq!(ws.next_text().await, "3probe");
    assert_eq!(session.websocket().await.closed().await, []);
    ws.text("5").await;
    answers(&mut ws).await;
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_that_does_not_probe_is_closed_and_polling_goes_on() {
    let server = start(Config::default()).await;
    let session = Polling::open(server.address, PATH).await;
    for wrong in ["4hello", "2", "3probe", "abc", ""] {
        let mut ws = session.websocket().await;
        ws.text(wrong).await;
        assert_eq!(ws.closed().await, [], "{wrong:?}");
    }
    assert_eq!(session.post("40").await.is(), (200, "ok"));
    assert!(session.poll().await.body.starts_with("40"));
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_that_takes_too_long_is_closed_and_polling_goes_on() {
    let config = Config::default().with(|c| c.timeouts.upgrade = Duration::from_millis(50));
    let server = start(config).await;
    let session = Polling::open(server.address, PATH).await;
    assert_eq!(session.websocket().await.closed().await, []);
    assert_eq!(session.post("40").await.is(), (200, "ok"));
    server.stop().await;
}
