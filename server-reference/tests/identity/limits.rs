//! What one address, one subject and one web page may take.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_server::{Config, Server, reply};

use crate::raw::{self, Answer, Http, Ws};
use crate::tokens::{config, signed, token};

/// A WebSocket that a proxy opens for this address.
async fn from(server: SocketAddr, client: &str) -> Result<Ws, Answer> {
    Ws::connect_with(server, "/ws", &format!("X-Forwarded-For: {client}\r\n")).await
}

async fn hello(ws: &mut Ws, token: &str) -> Value {
    ask(ws, json!(["hello", {"v": 1, "producer": "p", "token": token}])).await
}

async fn ask(ws: &mut Ws, message: Value) -> Value {
    ws.text(&message.to_string()).await;
    serde_json::from_str(&ws.next_text().await).expect("JSON")
}

/// Opens one as soon as there is room.
async fn open_at_last(server: SocketAddr, client: &str) -> Ws {
    loop {
        if let Ok(ws) = from(server, client).await {
            return ws;
        }
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections() {
    let open = Config::default().with(|c| {
        c.limits.connections_per_address = 3;
        c.proxies.trusted = Vec::new();
    });
    let server = raw::start(open).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        // What is said by somebody who is no proxy counts for nothing.
        held.push(from(server.address, "192.0.2.9").await.expect("room"));
    }
    let refused = from(server.address, "192.0.2.10").await.err().expect("too many");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")));
    assert!(refused.body.contains("limits.connections_per_address"), "{refused:?}");
    assert!(refused.body.contains("proxies.trusted"), "{refused:?}");
    held.pop();
    drop(open_at_last(server.address, "").await);
    drop(held);
    server.stop().await;
}

#[tokio::test]
async fn one_address_opens_so_many_connections_at_once_whatever_becomes_of_them() {
    let open = Config::default().with(|c| {
        (c.limits.connection_rate_per_address, c.limits.connection_burst_per_address) = (1, 3);
        c.proxies.trusted = Vec::new();
    });
    let server = raw::start(open).await;
    let mut seen = Vec::new();
    let refused = loop {
        match Http::connect(server.address).await.ask("GET", "/ws", "", "").await {
            answer if answer.status == 429 => break answer,
            answer => seen.push(answer.status),
        }
    };
    assert!(seen.len() >= 3 && seen.iter().all(|status| *status == 426), "{seen:?}");
    assert!(refused.body.contains("limits.connection_rate_per_address"), "{refused:?}");
    let connections = loop {
        let stats =
            Http::connect(server.address).await.ask("GET", "/api/websocket/stats", "", "").await;
        if stats.status == 200 {
            let stats: Value = serde_json::from_str(&stats.body).expect("JSON");
            break stats["connections"].clone();
        }
    };
    assert!(connections["refused_by_rate"].as_u64() >= Some(1), "{connections}");
    assert_eq!(connections["failed_handshakes"]["upgrade"], seen.len(), "{connections}");
    server.stop().await;
}

#[tokio::test]
async fn connections_of_a_proxy_count_for_whom_it_names() {
    let server = raw::start(config().with(|c| c.limits.connections_per_address = 2)).await;
    let address = server.address;
    let mut first = from(address, "192.0.2.1").await.expect("room");
    let polling = "GET /socket.io/?EIO=4&transport=polling";
    let (method, target) = polling.split_once(' ').expect("two words");
    let headers = "X-Forwarded-For: 198.51.100.7, 192.0.2.1\r\n";
    let session = Http::connect(address).await.ask(method, target, headers, "").await;
    assert_eq!(session.status, 200, "a session by polling is a connection, too");
    assert_eq!(from(address, "192.0.2.1").await.err().expect("too many").status, 429);
    let third = Http::connect(address).await.ask(method, target, headers, "").await;
    assert_eq!(third.status, 429, "{third:?}");
    let _other = from(address, "192.0.2.2").await.expect("room of its own");
    let mut nobodys: Vec<_> = Vec::new();
    for _ in 0..3 {
        nobodys.push(Ws::connect(address, "/ws").await.expect("the proxy's own do not count"));
    }

    assert_eq!(hello(&mut first, &token(json!({}))).await[0], "welcome");
    let admin = format!("Authorization: Bearer {}\r\n", token(json!({"admin": true})));
    let sessions =
        Http::connect(address).await.ask("GET", "/api/websocket/sessions", &admin, "").await;
    assert!(sessions.body.contains("\"192.0.2.1\""), "{sessions:?}");
    let stats = Http::connect(address).await.ask("GET", "/api/websocket/stats", &admin, "").await;
    let stats: Value = serde_json::from_str(&stats.body).expect("JSON");
    assert_eq!(stats["connections"]["refused_by_address"], 2, "{stats}");
    server.stop().await;
}

#[tokio::test]
async fn who_guesses_tokens_is_not_listened_to_and_nobody_else_suffers() {
    let server = raw::start(config().with(|c| c.limits.wrong_tokens_burst = 3)).await;
    let address = server.address;
    let guess = signed("another secret", r#"{"alg":"HS256","typ":"JWT"}"#, json!({}));
    for wrong in [&guess, "nonsense"] {
        let mut ws = from(address, "192.0.2.1").await.expect("room");
        assert_eq!(hello(&mut ws, wrong).await[1], 4502);
    }
    let bearer = |token: &str, client: &str| {
        format!("Authorization: Bearer {token}\r\nX-Forwarded-For: {client}\r\n")
    };
    let stats = async |token: &str, client: &str| {
        let headers = bearer(token, client);
        Http::connect(address).await.ask("GET", "/api/websocket/stats", &headers, "").await
    };
    assert_eq!(stats(&guess, "192.0.2.1").await.status, 401, "every entrance counts");

    let good = token(json!({"admin": true}));
    let refused = stats(&good, "192.0.2.1").await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("10")), "{refused:?}");
    let mut ws = from(address, "192.0.2.1").await.expect("room");
    let closed = hello(&mut ws, &good).await;
    assert_eq!((&closed[0], &closed[1]), (&json!("close"), &json!(4003)), "try again: {closed}");

    let mut other = from(address, "192.0.2.2").await.expect("room");
    assert_eq!(hello(&mut other, &good).await[0], "welcome");
    let answer = stats(&good, "192.0.2.2").await;
    let denied: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(denied["connections"]["denied"]["too_many_wrong"], 2, "{denied}");
    server.stop().await;
}

#[tokio::test]
async fn connections_of_a_subject_share_what_it_may_have() {
    let config = config().listen(([127, 0, 0, 1], 0).into()).with(|c| {
        c.limits.connections_per_subject = 2;
        c.limits.subscriptions_per_subject = 3;
        c.limits.requests_per_subject = 1;
        c.limits.publish_rate_per_subject = 1;
        c.limits.publish_burst_per_subject = 2;
    });
    let server = Server::builder().config(config).bind().await.expect("a server");
    let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
    server.handle("wait", move |_| {
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        asked.send(answer).expect("the test waits");
        async move {
            answered.await.expect("an answer");
            reply(&"done")
        }
    });
    let server = raw::run(server);
    let address = server.address;
    let anns = token(json!({"subscribe": ["**"], "publish": ["**"]}));
    let bens = token(json!({"sub": "ben", "subscribe": ["**"], "publish": ["**"]}));
    let connect = async |token: &str| {
        let mut ws = Ws::connect(address, "/ws").await.expect("a WebSocket");
        let answer = hello(&mut ws, token).await;
        (ws, answer)
    };
    let (mut first, _) = connect(&anns).await;
    let (mut second, welcome) = connect(&anns).await;
    assert_eq!(welcome[0], "welcome");
    assert_eq!(connect(&anns).await.1[1], 4003);
    let (mut ben, welcome) = connect(&bens).await;
    assert_eq!(welcome[0], "welcome", "room of his own");

    for id in [1, 2] {
        assert_eq!(ask(&mut first, json!(["sub", id, "a.*"])).await[0], "subbed");
    }
    assert_eq!(ask(&mut second, json!(["sub", 1, "b.*"])).await[0], "subbed");
    let refused = ask(&mut second, json!(["sub", 2, "c.*"])).await;
    assert_eq!((&refused[0], &refused[2]), (&json!("suberr"), &json!(304)), "{refused}");
    assert_eq!(ask(&mut ben, json!(["sub", 1, "b.*"])).await[0], "subbed");
    assert_eq!(ask(&mut first, json!(["unsub", 1])).await[0], "unsubbed");
    assert_eq!(ask(&mut second, json!(["sub", 2, "c.*"])).await[0], "subbed");

    first.text(&json!(["req", 1, "wait", null]).to_string()).await;
    let answer = asks.recv().await.expect("asked");
    let refused = ask(&mut second, json!(["req", 1, "wait", null])).await;
    assert_eq!((&refused[0], &refused[2]), (&json!("rerr"), &json!(102)), "{refused}");
    answer.send(()).expect("waited for");
    assert_eq!(serde_json::from_str::<Value>(&first.next_text().await).expect("JSON")[0], "res");
    second.text(&json!(["req", 2, "wait", null]).to_string()).await;
    drop(asks.recv().await.expect("room again"));

    let mut third = ben;
    for (seq, publisher) in [(1, &mut first), (2, &mut third)] {
        assert_eq!(ask(publisher, json!(["pub", seq, "x.y", null])).await[0], "ack");
    }
    let spent = ask(&mut first, json!(["pub", 2, "x.y", null])).await;
    assert_eq!(spent[0], "ack");
    let refused = ask(&mut first, json!(["pub", 3, "x.y", null])).await;
    assert_eq!((&refused[0], &refused[2]), (&json!("nack"), &json!(102)), "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn pages_of_other_origins_stay_outside() {
    let connects = async |server: SocketAddr, origin: &str| {
        let headers = format!("Origin: {origin}\r\n");
        let mut answers = Vec::new();
        for target in ["/ws", "/socket.io/?EIO=4&transport=websocket"] {
            answers.push(Ws::connect_with(server, target, &headers).await.err());
        }
        let target = "/socket.io/?EIO=4&transport=polling";
        let polled = Http::connect(server).await.ask("GET", target, &headers, "").await;
        answers.push((polled.status != 200).then_some(polled));
        let refused: Vec<_> = answers.into_iter().flatten().collect();
        assert!(refused.iter().all(|answer| answer.status == 403), "{refused:?}");
        assert!(refused.iter().all(|answer| answer.body.contains("pages.origins")));
        assert!([0, 3].contains(&refused.len()), "all entrances are alike: {refused:?}");
        refused.is_empty()
    };
    let server = raw::start(Config::default()).await;
    assert!(connects(server.address, "http://localhost:4200").await);
    assert!(!connects(server.address, "https://example.com").await);
    assert!(!connects(server.address, "null").await, "a file, or a page in a sandbox");
    server.stop().await;

    let server = raw::start(config()).await;
    assert!(connects(server.address, "https://example.com").await, "its token decides");
    server.stop().await;

    let allowed = vec!["https://example.com".to_owned()];
    let server = raw::start(config().with(|c| c.pages.origins = allowed)).await;
    assert!(connects(server.address, "https://example.com").await);
    assert!(!connects(server.address, "http://localhost:4200").await);
    server.stop().await;
}
