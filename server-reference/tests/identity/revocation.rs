//! Tokens, subjects and sessions that are ended before their time.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw::{self, Http, Sse, Ws};
use crate::tokens::{at, config, token};

async fn hello(address: SocketAddr, token: &str) -> (Ws, Value) {
    let mut ws = Ws::connect(address, "/ws").await.expect("a WebSocket");
    ws.text(&json!(["hello", {"v": 1, "producer": "p", "token": token}]).to_string()).await;
    let answer = serde_json::from_str(&ws.next_text().await).expect("JSON");
    (ws, answer)
}

async fn ask(address: SocketAddr, method: &str, target: &str, body: &Value) -> raw::Answer {
    let admin = token(json!({"sub": "operator", "admin": true}));
    let headers = format!("Authorization: Bearer {admin}\r\nContent-Type: application/json\r\n");
    Http::connect(address).await.ask(method, target, &headers, &body.to_string()).await
}

async fn closed_with(ws: &mut Ws) -> Value {
    let close: Value = serde_json::from_str(&ws.next_text().await).expect("JSON");
    assert_eq!(close[0], "close", "{close}");
    close[1].clone()
}

#[tokio::test]
async fn what_is_revoked_is_over_at_once_and_lets_nobody_in() {
    let server = raw::start(config()).await;
    let address = server.address;
    let [stolen, other] =
        ["stolen", "other"].map(|id| token(json!({"jti": id, "iat": at(-60), "subscribe": ["a"]})));
    let ben = token(json!({"sub": "ben", "admin": true}));
    let (mut thief, _) = hello(address, &stolen).await;
    let (mut ann, _) = hello(address, &other).await;
    let bearer = format!("Authorization: Bearer {stolen}\r\n");
    let (mut stream, _) =
        Sse::open(address, "/api/events/stream?pattern=a", &bearer).await.expect("a stream");
    let mut socket =
        Ws::connect(address, "/socket.io/?EIO=4&transport=websocket").await.expect("a WebSocket");
    socket.next_text().await;
    socket.text(&format!("40{}", json!({"token": stolen}))).await;
    assert!(socket.next_packet().await.starts_with("40"));

    let revoke = json!({"token_id": "stolen"});
    assert_eq!(ask(address, "POST", "/api/auth/revocations", &revoke).await.status, 204);
    assert_eq!(closed_with(&mut thief).await, 4301);
    assert_eq!(stream.next().await.expect("it is told").json()["code"], 4301);
    assert_eq!(stream.next().await, None);
    let told = socket.next_packet().await;
    assert!(told.contains("tidings:close") && told.contains("4301"), "{told}");
    assert_eq!(hello(address, &stolen).await.1[1], 4301);

    let revoke = json!({"subject": "ann"});
    assert_eq!(ask(address, "POST", "/api/auth/revocations", &revoke).await.status, 204);
    assert_eq!(closed_with(&mut ann).await, 4301);
    assert_eq!(hello(address, &other).await.1[1], 4301);
    assert_eq!(hello(address, &token(json!({}))).await.1[1], 4301, "issued nobody knows when");
    let later = token(json!({"iat": at(60)}));
    assert_eq!(hello(address, &later).await.1[0], "welcome", "she has signed in again");
    assert_eq!(hello(address, &ben).await.1[0], "welcome");

    let revoke = json!({"subject": "ben"});
    assert_eq!(ask(address, "POST", "/api/auth/revocations", &revoke).await.status, 204);
    let headers = format!("Authorization: Bearer {ben}\r\n");
    let mut http = Http::connect(address).await;
    assert_eq!(http.ask("GET", "/api/websocket/stats", &headers, "").await.status, 401);
    let wrong = ask(address, "POST", "/api/auth/revocations", &json!({"user": "ann"})).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("token_id"), "{wrong:?}");
    server.stop().await;
}

#[tokio::test]
async fn an_operator_ends_a_session_by_the_name_it_is_shown_by() {
    let server = raw::start(config()).await;
    let address = server.address;
    let (mut ws, _) = hello(address, &token(json!({}))).await;
    let listed = ask(address, "GET", "/api/websocket/sessions", &Value::Null).await;
    let listed: Value = serde_json::from_str(&listed.body).expect("JSON");
    let target =
        format!("/api/websocket/sessions/{}", listed["sessions"][0]["id"].as_str().expect("an id"));
    let nobody = Http::connect(address).await.ask("DELETE", &target, "", "").await;
    assert_eq!(nobody.status, 401);
    assert_eq!(ask(address, "DELETE", &target, &Value::Null).await.status, 204);
    assert_eq!(closed_with(&mut ws).await, 4504);
    ws.closed().await;
    // It is gone as soon as its connection's task has noticed.
    let gone = async { while ask(address, "DELETE", &target, &Value::Null).await.status != 404 {} };
    tokio::time::timeout(raw::HANGS, gone).await.expect("it is gone");
    server.stop().await;
}
