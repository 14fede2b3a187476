//! Events by REST: at any instance what was published at another.

use serde_json::{Value, json};
use tidings::Transport;
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::config::{Collection, EventSchema};

use super::instances::Instance;
use super::raw::{Http, Sse};
use super::{connect, within};

/// What is answered, with its status.
async fn answer(instance: &Instance, method: &str, target: &str, body: &str) -> (u16, Value) {
    let mut http = Http::connect(instance.address).await;
    let answer = http.ask(method, target, "Content-Type: application/json\r\n", body).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

async fn ask(instance: &Instance, method: &str, target: &str, body: &str) -> Value {
    let (status, answer) = answer(instance, method, target, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
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

/// Publishes until the answer has this status.
async fn publish_until(instance: &Instance, name: &str, wanted: u16) -> Value {
    let event = json!({"name": name, "payload": {"no": "seven"}}).to_string();
    let asking = async {
        loop {
            let (status, answer) = answer(instance, "POST", "/api/events", &event).await;
            if status == wanted {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within(asking).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_registered_at_one_instance_is_in_force_at_all() {
    let redis = RedisCluster::single().await.unwrap();
    let start = async |name, declared: Option<&str>| {
        Instance::start_with(&redis, name, |config| {
            config.schemas.compare = std::time::Duration::from_millis(100);
            if let Some(pattern) = declared {
                let mut schema = EventSchema::default();
                schema.schema = "true".into();
                config.events.insert(pattern.into(), schema);
            }
        })
        .await
    };
    let (a, b) = (start("a", Some("files.*")).await, start("b", Some("files.*")).await);
    let schema = json!({"properties": {"no": {"type": "integer"}}}).to_string();
    let (status, told) = answer(&a, "PUT", "/api/schemas/orders.*", &schema).await;
    assert_eq!(
        (status, &told["lasts"]),
        (201, &json!("until_all_instances_have_stopped")),
        "{told}"
    );
    let (status, again) = answer(&b, "PUT", "/api/schemas/orders.*", &schema).await;
    assert!(matches!(status, 200 | 201), "{again}");
    assert_eq!(again["version"], told["version"]);

    let refused = publish_until(&b, "orders.eu", 422).await["detail"].clone();
    let expected =
        "orders.eu, /no: what is there is not of type \"integer\" (rule /properties/no/type)";
    assert!(refused.as_str().unwrap().ends_with(expected), "{refused}");
    // One that comes later learns of it, and one that declares something else is named.
    let late = start("late", Some("others.*")).await;
    publish_until(&late, "orders.eu", 422).await;
    let names = async |instance: &Instance| {
        let listed = ask(instance, "GET", "/api/schemas", "").await;
        let differ = listed["differ"].as_array().unwrap().clone();
        differ.iter().map(|one| one["instance"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let differing = async {
        while names(&a).await != ["late"] || names(&late).await != ["a", "b"] {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within(differing).await;
    let listed = ask(&late, "GET", "/api/schemas", "").await;
    let entry =
        listed["events"].as_array().unwrap().iter().find(|one| one["pattern"] == "orders.*");
    assert!(
        entry.is_some_and(|one| one["registered"] == true && one["violations"] == 1),
        "{listed}"
    );

    // What would refuse what was accepted has to be asked for; what is declared in files stays so.
    let narrow = json!({"properties": {"no": {"type": "integer"}}, "required": ["no"]}).to_string();
    let (status, why) = answer(&late, "PUT", "/api/schemas/orders.*", &narrow).await;
    let named = why["detail"].as_str().unwrap();
    assert!(
        status == 409 && named.contains("orders.*, the value itself: \"no\" is required"),
        "{why}"
    );
    let (status, _) = answer(&late, "PUT", "/api/schemas/orders.*?compatible=false", &narrow).await;
    assert_eq!(status, 200);
    for (target, schema, status) in [
        ("/api/schemas/files.*", "true", 409),
        ("/api/schemas/a", r#"{"items": {"x-tidings-sensitive": true}}"#, 422),
    ] {
        let (got, why) = answer(&a, "PUT", target, schema).await;
        assert!(
            got == status && why["detail"].as_str().unwrap().contains("configuration"),
            "{why}"
        );
    }
    let (status, _) = answer(&late, "DELETE", "/api/schemas/orders.*", "").await;
    assert_eq!(status, 204);
    for instance in [&a, &b, &late] {
        publish_until(instance, "orders.eu", 200).await;
    }
}
