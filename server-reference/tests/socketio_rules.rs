//! The rules of Socket.IO 5 (<https://socket.io/docs/v4/socket-io-protocol/>), one test each,
//! against the server that the protocol's published test suite expects: `examples/conformance.rs`.

#[allow(dead_code)]
#[path = "../examples/conformance.rs"]
mod conformance;
mod raw;

use std::net::SocketAddr;
use std::time::Duration;

use raw::{Http, Message, Polling, Running, Ws, http, run};
use serde_json::Value;
use tidings_server::socketio::Socket;
use tidings_server::{Config, Server};

const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";

async fn server() -> Running {
    let config = conformance::config(SocketAddr::from(([127, 0, 0, 1], 0)));
    // None of these clients agrees to being closed: stopping need not wait for it.
    let config = config.with(|c| c.timeouts.closing = Duration::from_millis(50));
    run(conformance::socket_io(config).await.expect("a server"))
}

/// A WebSocket whose Engine.IO session is open.
async fn opened(server: &Running) -> Ws {
    let mut ws = Ws::connect(server.address, WEBSOCKET).await.expect("a WebSocket");
    let open = ws.next_text().await;
    assert!(open.starts_with('0'), "{open}");
    ws
}

/// A WebSocket that has joined the main namespace.
async fn joined(server: &Running) -> Ws {
    let mut ws = opened(server).await;
    ws.text("40").await;
    assert!(ws.next_packet().await.starts_with("40{"));
    assert_eq!(ws.next_packet().await, r#"42["auth",{}]"#);
    ws
}

/// Checks the answer to a CONNECT: a socket id and nothing else.
fn is_welcome(packet: &str, prefix: &str) -> String {
    let json = packet.strip_prefix(prefix).unwrap_or_else(|| panic!("{packet} after {prefix}"));
    let json: Value = serde_json::from_str(json).expect("JSON");
    let members = json.as_object().expect("an object");
    assert_eq!(members.keys().collect::<Vec<_>>(), ["sid"], "{json}");
    json["sid"].as_str().expect("a text").to_owned()
}

/// Checks that the connection works.
async fn works(ws: &mut Ws) {
    ws.text(r#"42["message","still there?"]"#).await;
    assert_eq!(ws.next_packet().await, r#"42["message-back","still there?"]"#);
}

// CONNECT

#[tokio::test]
async fn connects_to_the_main_namespace() {
    let server = server().await;
    for (packet, auth) in [
        ("40", "{}"),
        ("40{}", "{}"),
        ("40/,", "{}"),
        (r#"40{"token":"123"}"#, r#"{"token":"123"}"#),
        (r#"40/,{"a":[1,{"b":null}]}"#, r#"{"a":[1,{"b":null}]}"#),
    ] {
        let mut ws = opened(&server).await;
        ws.text(packet).await;
        is_welcome(&ws.next_packet().await, "40");
        assert_eq!(ws.next_packet().await, format!("42[\"auth\",{auth}]"), "{packet}");
    }
    server.stop().await;
}

#[tokio::test]
async fn connects_to_another_namespace() {
    let server = server().await;
    for (packet, auth) in [
        ("40/custom,", "{}"),
        ("40/custom", "{}"),
        (r#"40/custom,{"token":"abc"}"#, r#"{"token":"abc"}"#),
    ] {
        let mut ws = opened(&server).await;
        ws.text(packet).await;
        is_welcome(&ws.next_packet().await, "40/custom,");
        assert_eq!(ws.next_packet().await, format!("42/custom,[\"auth\",{auth}]"), "{packet}");
    }
    server.stop().await;
}

#[tokio::test]
async fn ids_differ_by_namespace_and_from_the_engine() {
    let server = server().await;
    let mut ws = Ws::connect(server.address, WEBSOCKET).await.expect("a WebSocket");
    let open: Value = serde_json::from_str(&ws.next_text().await[1..]).expect("JSON");
    ws.text("40").await;
    let main = is_welcome(&ws.next_packet().await, "40");
    ws.next_packet().await;
    ws.text("40/custom,").await;
    let custom = is_welcome(&ws.next_packet().await, "40/custom,");
    assert_ne!(main, custom);
    assert_ne!(open["sid"], *main);
    assert_ne!(open["sid"], *custom);
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_namespace_is_refused() {
    let server = server().await;
    for (packet, path) in [
        ("40/random", "/random"),
        ("40/random,", "/random"),
        (r#"40/random,{"token":"abc"}"#, "/random"),
        // A query was a part of it in Socket.IO 2 alone.
        ("40/custom?token=abc,", "/custom?token=abc"),
    ] {
        let mut ws = opened(&server).await;
        ws.text(packet).await;
        let refused = format!("44{path},{{\"message\":\"Invalid namespace\"}}");
        assert_eq!(ws.next_packet().await, refused);
        // The connection is there for other namespaces.
        ws.text("40").await;
        is_welcome(&ws.next_packet().await, "40");
    }
    server.stop().await;
}

#[tokio::test]
async fn who_does_not_connect_is_closed() {
    let server = server().await;
    let ws = opened(&server).await;
    ws.closed().await;
    let session = Polling::open(server.address, "/socket.io/").await;
    session.becomes_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_connect_closes_a_connection_without_namespaces() {
    let server = server().await;
    for packet in ["4abc", "4", "42[\"message\"]", "43[]", "40{", "40[", "45"] {
        let mut ws = opened(&server).await;
        ws.text(packet).await;
        assert_eq!(without_pings(ws.closed().await), [], "{packet}");
    }
    server.stop().await;
}

// DISCONNECT

#[tokio::test]
async fn who_leaves_the_main_namespace_stays_connected() {
    let server = server().await;
    let mut ws = joined(&server).await;
    ws.text("41").await;
    assert_eq!(ws.next_text().await, "2", "the next thing is a ping");
    ws.text("3").await;
    ws.text("40").await;
    is_welcome(&ws.next_packet().await, "40");
    server.stop().await;
}

#[tokio::test]
async fn who_leaves_another_namespace_keeps_the_main_one() {
    let server = server().await;
    let mut ws = joined(&server).await;
    ws.text("40/custom").await;
    is_welcome(&ws.next_packet().await, "40/custom,");
    assert_eq!(ws.next_packet().await, r#"42/custom,["auth",{}]"#);
    ws.text("41/custom").await;
    ws.text(r#"42["message","message to main namespace"]"#).await;
    assert_eq!(ws.next_packet().await, r#"42["message-back","message to main namespace"]"#);
    server.stop().await;
}

// EVENT and ACK

#[tokio::test]
async fn events_come_back() {
    let server = server().await;
    let mut ws = joined(&server).await;
    for arguments in [
        r#",1,"2",{"3":[true]}"#,
        "",
        ",null",
        ",[]",
        ",1.5e300,-0,\"\u{e9}\u{1f600}\\n\"",
        r#",{"a":{"b":{"c":[[[]]]}}}"#,
    ] {
        ws.text(&format!("42[\"message\"{arguments}]")).await;
        assert_eq!(ws.next_packet().await, format!("42[\"message-back\"{arguments}]"));
    }
    ws.text("40/custom,").await;
    is_welcome(&ws.next_packet().await, "40/custom,");
    ws.next_packet().await;
    ws.text(r#"42/custom,["message",1]"#).await;
    assert_eq!(ws.next_packet().await, r#"42/custom,["message-back",1]"#);
    server.stop().await;
}

#[tokio::test]
async fn binary_events_come_back() {
    let server = server().await;
    let mut ws = joined(&server).await;
    let places = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    ws.text(&format!("452-[\"message\",{places}]")).await;
    ws.binary(&[1, 2, 3]).await;
    ws.binary(&[4, 5, 6]).await;
    assert_eq!(ws.next_packet().await, format!("452-[\"message-back\",{places}]"));
    assert_eq!(ws.next().await, Some(Message::Binary(vec![1, 2, 3])));
    assert_eq!(ws.next().await, Some(Message::Binary(vec![4, 5, 6])));
    // Anywhere in the arguments, and empty.
    let deep = r#"{"a":[{"_placeholder":true,"num":0},"x"]},2"#;
    ws.text(&format!("451-[\"message\",{deep}]")).await;
    ws.binary(&[]).await;
    assert_eq!(ws.next_packet().await, format!("451-[\"message-back\",{deep}]"));
    assert_eq!(ws.next().await, Some(Message::Binary(vec![])));
    server.stop().await;
}

#[tokio::test]
async fn events_are_acknowledged() {
    let server = server().await;
    let mut ws = joined(&server).await;
    for id in ["456", "0", "7"] {
        ws.text(&format!("42{id}[\"message-with-ack\",1,\"2\",{{\"3\":[false]}}]")).await;
        assert_eq!(ws.next_packet().await, format!("43{id}[1,\"2\",{{\"3\":[false]}}]"));
    }
    ws.text(r#"421["message-with-ack"]"#).await;
    assert_eq!(ws.next_packet().await, "431[]");
    server.stop().await;
}

#[tokio::test]
async fn binary_events_are_acknowledged() {
    let server = server().await;
    let mut ws = joined(&server).await;
    let places = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    ws.text(&format!("452-789[\"message-with-ack\",{places}]")).await;
    ws.binary(&[1, 2, 3]).await;
    ws.binary(&[4, 5, 6]).await;
    assert_eq!(ws.next_packet().await, format!("462-789[{places}]"));
    assert_eq!(ws.next().await, Some(Message::Binary(vec![1, 2, 3])));
    assert_eq!(ws.next().await, Some(Message::Binary(vec![4, 5, 6])));
    server.stop().await;
}

// Mistakes

#[tokio::test]
async fn what_is_no_packet_closes_the_connection() {
    let server = server().await;
    for packet in [
        "4abc",                                             // no such type
        "47",                                               // no such type
        "42{}",                                             // no list
        "42",                                               // nothing
        "42[",                                              // no JSON
        "42[]",                                             // no name
        "42[{}]",                                           // a name that is none
        r#"42abc["message-with-ack",1,"2",{"3":[false]}]"#, // no number
        "43[]",                                             // nothing is acknowledged
        "43a[]",                                            // no number
        r#"45["message"]"#,                                 // how many attachments?
        r#"451["message"]"#,                                // how many attachments?
        "44{}",                                             // only servers refuse
    ] {
        let mut ws = joined(&server).await;
        ws.text(packet).await;
        let said = without_pings(ws.closed().await);
        // It is told why, and that it should not come back by itself.
        assert_eq!(said.last(), Some(&Message::Text("41".into())), "{packet}: {said:?}");
        assert!(said.len() <= 2, "{packet}: {said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn attachments_that_nobody_announced_close_the_connection() {
    let server = server().await;
    let mut ws = joined(&server).await;
    ws.binary(&[1, 2, 3]).await;
    ws.closed().await;
    // Nor may a text stand where one was announced.
    let mut ws = joined(&server).await;
    ws.text(r#"451-["message",{"_placeholder":true,"num":0}]"#).await;
    ws.text(r#"42["message"]"#).await;
    ws.closed().await;
    // Nor may a placeholder stand for what does not come.
    let mut ws = joined(&server).await;
    ws.text(r#"451-["message",{"_placeholder":true,"num":7}]"#).await;
    ws.binary(&[1]).await;
    ws.closed().await;
    server.stop().await;
}

#[tokio::test]
async fn namespaces_are_used_by_who_has_joined_them_once() {
    let server = server().await;
    for packet in ["42/custom,[\"message\"]", "41/custom,", "43/custom,1[]", "40", "40/,"] {
        let mut ws = joined(&server).await;
        ws.text(packet).await;
        let said = without_pings(ws.closed().await);
        assert_eq!(said.last(), Some(&Message::Text("41".into())), "{packet}: {said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn one_connection_costs_no_other() {
    let server = server().await;
    let mut other = joined(&server).await;
    let mut ws = joined(&server).await;
    ws.text("4abc").await;
    ws.closed().await;
    works(&mut other).await;
    server.stop().await;
}

// The same over polling

#[tokio::test]
async fn polling_carries_all_of_it() {
    let server = server().await;
    let session = Polling::open(server.address, "/socket.io/").await;
    assert_eq!(session.handshake["maxPayload"], 1_000_000);
    assert_eq!(session.handshake["pingInterval"], 300);
    assert_eq!(session.handshake["pingTimeout"], 200);
    let places = r#"{"_placeholder":true,"num":0}"#;
    let posted = [
        "40".to_owned(),
        r#"42["message",1]"#.to_owned(),
        format!("451-789[\"message-with-ack\",{places}]"),
        "bAQID".to_owned(),
        "40/random,".to_owned(),
    ];
    assert_eq!(session.post(&posted.join("\x1e")).await.is(), (200, "ok"));
    let mut got = Vec::new();
    while got.len() < 6 {
        for packet in session.packets(1).await {
            if packet == "2" {
                assert_eq!(session.post("3").await.is(), (200, "ok"));
            } else {
                got.push(packet);
            }
        }
    }
    is_welcome(&got[0], "40");
    // Answers that handlers give may overtake each other; what is of one packet stays together.
    let binary = got.iter().position(|packet| *packet == format!("461-789[{places}]"));
    assert_eq!(got[binary.expect("an acknowledgement") + 1], "bAQID");
    for packet in [r#"42["auth",{}]"#, r#"42["message-back",1]"#] {
        assert!(got.iter().any(|other| other == packet), "{got:?}");
    }
    assert!(got.contains(&r#"44/random,{"message":"Invalid namespace"}"#.to_owned()), "{got:?}");
    server.stop().await;
}

/// socket.io-client acts on a close packet before it acts on what stands in front of it in a body.
#[tokio::test]
async fn a_disconnect_is_polled_before_the_close() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config::default().listen(any);
    let server = Server::builder().config(config).bind().await.expect("a server");
    let namespace = server.namespace("/custom").expect("a path");
    namespace.on("quit", |socket: Socket| async move { socket.disconnect(true) });
    let server = run(server);
    let mut poll = Http::connect(server.address).await;
    // Whether a poll is open or not when it happens.
    for open in [true, false] {
        let session = Polling::open(server.address, "/socket.io/").await;
        assert_eq!(session.post("40/custom,").await.is(), (200, "ok"));
        assert!(session.poll().await.body.starts_with("40/custom,"));
        if open {
            poll.begin("GET", &session.target, "", "").await;
        }
        assert_eq!(session.post("42/custom,[\"quit\"]").await.is(), (200, "ok"));
        if !open {
            poll.begin("GET", &session.target, "", "").await;
        }
        assert_eq!(poll.answer().await.expect("an answer").is(), (200, "41/custom,"));
        assert_eq!(session.poll().await.is(), (200, "1"));
        session.becomes_unknown().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn browsers_of_any_origin_may_connect() {
    let server = server().await;
    let target = "/socket.io/?EIO=4&transport=polling";
    let answer = http(server.address, "GET", target, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let answer = http(server.address, "OPTIONS", target, "").await;
    assert_eq!(answer.status, 204);
    server.stop().await;
}

fn without_pings(said: Vec<Message>) -> Vec<Message> {
    said.into_iter().filter(|message| *message != Message::Text("2".into())).collect()
}
