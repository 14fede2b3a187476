//! Events by REST: at any instance what was published at another.

use serde_json::{Value, json};
use tidings_harness::redis_cluster::RedisCluster;

use super::instances::Instance;
use super::raw::{Http, Sse};

async fn ask(instance: &Instance, method: &str, target: &str, body: &str) -> Value {
    let mut http = Http::connect(instance.address).await;
    let answer = http.ask(method, target, "Content-Type: application/json\r\n", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_and_streams_go_on_at_another_instance() {
    let redis = RedisCluster::single().await.unwrap();
    let (a, b) = (Instance::start(&redis, "a").await, Instance::start(&redis, "b").await);
    let target = "/api/events/stream?pattern=orders.*&pattern=users.*";
    let (mut stream, _) = Sse::open(a.address, target, "").await.expect("a stream");
    let events: Vec<_> = (0..20)
        .map(|n| json!({"name": if n % 2 == 0 { "orders.eu" } else { "users.ann" }, "payload": n}))
        .collect();
    let receipts = ask(&a, "POST", "/api/events", &json!(events).to_string()).await;

    // Nobody has asked there for any of these before.
    let page = ask(&b, "GET", "/api/events?pattern=*.*&order=oldest", "").await;
    let mut read: Vec<_> = page["events"].as_array().unwrap().iter().map(|e| &e["id"]).collect();
    let mut published: Vec<_> = receipts.as_array().unwrap().iter().map(|r| &r["id"]).collect();
    read.sort_by_key(|id| id.to_string());
    published.sort_by_key(|id| id.to_string());
    assert_eq!(read, published);
    let one = ask(&b, "GET", &format!("/api/events/{}", published[0].as_str().unwrap()), "").await;
    assert_eq!(&one["id"], published[0]);

    let (mut got, mut last) = (Vec::new(), String::new());
    while got.len() < 7 {
        let (id, event) = stream.event().await;
        (last, got) = (id, [got, vec![event["payload"].as_u64().unwrap()]].concat());
    }
    drop(stream);
    let headers = format!("Last-Event-ID: {last}\r\n");
    let (mut stream, _) = Sse::open(b.address, target, &headers).await.expect("a stream");
    while got.len() < 20 {
        got.push(stream.event().await.1["payload"].as_u64().unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, (0..20).collect::<Vec<_>>(), "each once");
}
