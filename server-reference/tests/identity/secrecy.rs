//! No token, and no secret, in logs or errors.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::raw::{Http, Polling, Ws};
use crate::tokens::{SECRET, at, signed, token};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_in_no_log_and_no_answer() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidings-server"))
        .args(["--listen", "127.0.0.1:0", "--log", "trace"])
        .env("TIDINGS_AUTH_SECRET", SECRET)
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut log = BufReader::new(child.stderr.take().expect("its log"));
    let mut text = String::new();
    let address = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("a line"), 0, "it has ended: {text}");
        text.push_str(&line);
        let word = line.split_whitespace().find_map(|word| word.strip_prefix("address="));
        if let Some(address) = word {
            break address.parse().expect("an address");
        }
    };
    let reading = std::thread::spawn(move || {
        let mut rest = String::new();
        log.read_to_string(&mut rest).expect("text");
        rest
    });
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
    Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    child.wait().expect("it ends");
    text += &reading.join().expect("read");
    assert!(text.contains("TRACE") || text.contains("DEBUG"), "the log says enough: {text}");
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
