//! Tokens that are revoked at one instance are good at none.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::{Config, auth};

use super::instances::Instance;
use super::raw::{Http, Message, Ws};
use super::within;

const SECRET: &str = "a secret that all instances know";

fn token(subject: &str, claims: Value) -> String {
    let claims = claims.as_object().cloned().unwrap_or_else(Map::new);
    auth::issue(SECRET, subject, Duration::from_secs(600), claims).unwrap()
}

fn knows(config: &mut Config) {
    config.auth.secret = SECRET.into();
    config.auth.revocation_check = Duration::from_millis(100);
    config.limits.wrong_tokens_burst = 1000;
}

/// What a connection with this token is told first.
async fn hello(instance: &Instance, token: &str) -> (Ws, String) {
    let mut ws = Ws::connect(instance.address, "/ws").await.unwrap();
    let hello = json!(["hello", {"v": 1, "producer": token.get(..20), "token": token}]);
    ws.text(&hello.to_string()).await;
    let said = ws.next_text().await;
    (ws, said)
}

async fn revoke(instance: &Instance, what: Value) {
    let operator = token("operator", json!({"admin": true}));
    let headers = format!("Content-Type: application/json\r\nAuthorization: Bearer {operator}\r\n");
    let mut http = Http::connect(instance.address).await;
    let answer = http.ask("POST", "/api/auth/revocations", &headers, &what.to_string()).await;
    assert_eq!(answer.status, 204, "{answer:?}");
}

/// Waits until the server ends the connection, and returns why.
async fn end(mut ws: Ws) -> String {
    loop {
        match ws.next().await.expect("a reason comes before the end") {
            Message::Text(text) if text.starts_with("[\"close\"") => return text,
            _ => {}
        }
    }
}

/// Waits until nobody gets in with this token.
async fn until_refused(instance: &Instance, token: &str) {
    loop {
        let (_ws, said) = hello(instance, token).await;
        if said.starts_with("[\"close\",4301,") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_at_one_instance_is_out_at_all_and_stays_out() {
    let redis = RedisCluster::start().await.unwrap();
    let one = Instance::start_with(&redis, "one", knows).await;
    let two = Instance::start_with(&redis, "two", knows).await;
    let (ann, bob) = (token("ann", json!({"jti": "a1"})), token("bob", json!({"jti": "b1"})));
    let mut open = Vec::new();
    for token in [&ann, &bob] {
        for instance in [&one, &two] {
            let (ws, said) = hello(instance, token).await;
            assert!(said.starts_with("[\"welcome\""), "{said}");
            open.push(ws);
        }
    }
    let of_bob = open.split_off(2);

    revoke(&one, json!({"subject": "ann"})).await;
    for ws in open {
        let said = within(end(ws)).await;
        assert!(said.starts_with("[\"close\",4301,"), "{said}");
    }
    for instance in [&one, &two] {
        within(until_refused(instance, &ann)).await;
        let (_ws, said) = hello(instance, &bob).await;
        assert!(said.starts_with("[\"welcome\""), "nobody has revoked it: {said}");
    }

    // One that comes later, and one that was away when it was told, learn of it.
    let three = Instance::start_with(&redis, "three", knows).await;
    within(until_refused(&three, &ann)).await;
    one.kill();
    revoke(&three, json!({"token_id": "b1"})).await;
    let mut of_bob = of_bob.into_iter();
    drop(of_bob.next());
    let said = within(end(of_bob.next().expect("at the second instance"))).await;
    assert!(said.starts_with("[\"close\",4301,"), "{said}");
    let one = Instance::start_with(&redis, "one", knows).await;
    within(until_refused(&one, &bob)).await;
    within(until_refused(&one, &ann)).await;
}
