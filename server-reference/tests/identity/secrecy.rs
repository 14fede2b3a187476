//! No token, and no secret, in logs or errors.

use serde_json::json;

use crate::program::Program;
use crate::raw::{Http, Polling, Ws};
use crate::tokens::{SECRET, at, signed, token};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_in_no_log_and_no_answer() {
    let program = Program::start(&[]);
    let address = program.address;
    let tokens = [
        token(json!({"subscribe": ["**"]})),
        token(json!({"exp": at(-60)})),
        token(json!({"subscribe": 7})),
        signed("guessed", r#"{"alg":"HS256"}"#, json!({})),
        "not.even.near-it".to_owned(),
    ];
    let mut told = String::new();
    for token in &tokens {
        let mut ws = Ws::connect(address, "/ws").await.expect("a WebSocket");
        ws.text(&json!(["hello", {"v": 1, "producer": "p", "token": token}]).to_string()).await;
        told += &ws.next_text().await;
        ws.text(&json!(["token", token]).to_string()).await;
        ws.text(&json!(["bye"]).to_string()).await;
        told += &format!("{:?}", ws.closed().await);
        let polling = Polling::open(address, "/socket.io/").await;
        polling.post(&format!("40{}", json!({"token": token}))).await;
        told += &polling.packets(1).await[0];
        let headers = format!("Authorization: Bearer {token}\r\n");
        let mut http = Http::connect(address).await;
        told += &format!("{:?}", http.ask("GET", "/api/websocket/stats", &headers, "").await);
    }
    let text = program.stop();
    assert!(!text.contains(SECRET) && !told.contains(SECRET));
    for token in &tokens {
        for part in token.split('.').filter(|part| part.len() > 8) {
            // Their headers are all alike, and no secret.
            if part.starts_with("eyJhbGciOi") {
                continue;
            }
            assert!(!text.contains(part), "{part} is in the log: {text}");
            assert!(!told.contains(part), "{part} is in an answer: {told}");
        }
    }
}
