//! Events by REST: at any instance what was published at another.

use serde_json::{Value, json};
use tidings::Transport;
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::config::{Collection, EventSchema};

use super::instances::Instance;
use super::raw::{Http, Sse};
use super::{connect, within};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sensitive_is_so_at_an_instance_that_has_it_from_another() {
    let redis = RedisCluster::single().await.unwrap();
    let schema = r#"{"properties": {"card": {"x-tidings-sensitive": true}}}"#.to_owned();
    let start = async |name| {
        let declare = |config: &mut tidings_server::Config| {
            let (mut event, mut records) = (EventSchema::default(), Collection::default());
            (event.schema, records.schema) = (schema.clone(), schema.clone());
            config.events.insert("orders.*".into(), event);
            config.collections.insert("users".into(), records);
        };
        Instance::start_with(&redis, name, declare).await
    };
    let (a, b) = (start("a").await, start("b").await);
    let [here, there] = [&a, &b].map(|instance| instance.remote.websocket_stats().schemas);
    assert_eq!(here, there, "they know the same");

    let (mut stream, _) =
        Sse::open(b.address, "/api/events/stream?pattern=orders.*", "").await.expect("a stream");
    let event = json!({"name": "orders.eu", "payload": {"no": 7, "card": "4111"}});
    let receipt = ask(&a, "POST", "/api/events", &event.to_string()).await;
    assert_eq!(stream.event().await.1["payload"], json!({"no": 7}));
    let id = receipt["id"].as_str().unwrap();
    let read = ask(&b, "GET", &format!("/api/events/{id}"), "").await;
    assert_eq!(read["payload"], json!({"no": 7}));

    let service = a.remote.collection("users").unwrap();
    let ann = json!({"name": "Ann", "card": "4111"});
    within(service.insert("ann", &ann)).await.unwrap();
    let client = connect(&b.url(), Transport::Ws).await;
    let users = within(client.collection::<Value>("users")).await.unwrap();
    within(users.loaded()).await;
    assert_eq!(*users.get("ann").unwrap(), json!({"name": "Ann"}));
    for write in [
        users.update("ann", &json!({"name": "Ben"})).unwrap(),
        users.replace("ann", &json!({"name": "Cy"})).unwrap(),
    ] {
        within(write.observed()).await.unwrap();
    }
    assert_eq!(*users.get("ann").unwrap(), json!({"name": "Cy"}));
    let kept: Option<Value> = within(service.get("ann")).await.unwrap();
    assert_eq!(kept, Some(json!({"name": "Cy", "card": "4111"})));
}
