//! Events by REST: publishing, Server-Sent Events, history.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_server::schemas::Schema;
use tidings_server::{Config, Server};
use tokio::net::TcpSocket;

use crate::raw::{self, Answer, Http, Sse};

const JSON: &str = "Content-Type: application/json\r\n";

async fn post(address: SocketAddr, body: &Value) -> Answer {
    Http::connect(address).await.ask("POST", "/api/events", JSON, &body.to_string()).await
}

async fn publish(address: SocketAddr, body: Value) -> Value {
    let answer = post(address, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

async fn get(address: SocketAddr, target: &str) -> Value {
    let answer = raw::http(address, "GET", target, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).expect("JSON")
}

fn names(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().expect("events");
    events.iter().map(|event| event["name"].as_str().expect("a name")).collect()
}

/// Waits until it is so.
async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let wait = async { while !so().await {} };
    tokio::time::timeout(raw::HANGS, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_is_streamed_once_and_goes_on_where_it_ended() {
    let server = raw::start(Config::default()).await;
    let address = server.address;
    let target = "/api/events/stream?pattern=orders.*&pattern=%2A%2A";
    let (mut all, open) = Sse::open(address, target, "").await.expect("a stream");
    assert_eq!(open.json()["instance"], "test");
    let begin = open.id.expect("a place to begin at");

    let first = publish(address, json!({"name": "orders.eu", "payload": {"no": 1}})).await;
    let list = json!([
        {"name": "orders.us", "payload": 2, "priority": "high", "headers": {"k": "v"}},
        {"name": "invoices.us", "payload": {"$bin": "aGk="}},
        {"name": "typing", "payload": null, "volatile": true},
    ]);
    let receipts = publish(address, list).await;
    assert_eq!(receipts[2], json!({"volatile": true}));
    let keyed = json!({"name": "orders.last", "payload": 3, "idempotency_key": "order 3"});
    let once = publish(address, keyed.clone()).await;
    assert_eq!(publish(address, keyed).await, once, "one effect");
    publish(address, json!({"name": "end", "payload": null})).await;

    let mut seen = Vec::new();
    while seen.last().is_none_or(|(_, event): &(String, Value)| event["name"] != "end") {
        seen.push(all.event().await);
    }
    let mut got: Vec<_> =
        seen.iter().map(|(_, event)| event["name"].as_str().expect("a name")).collect();
    got.sort_unstable();
    let expected = ["end", "invoices.us", "orders.eu", "orders.last", "orders.us", "typing"];
    assert_eq!(got, expected, "each once, although two patterns match some");
    let find = |name: &str| seen.iter().find(|(_, event)| event["name"] == name).expect("it");
    let (_, eu) = find("orders.eu");
    let event = json!({
        "id": first["id"], "name": "orders.eu", "payload": {"no": 1}, "priority": "normal",
        "time": eu["time"], "lane": first["lane"], "offset": first["offset"],
    });
    assert_eq!(*eu, event);
    assert_eq!(find("invoices.us").1["payload"], json!({"$bin": "aGk="}));
    let us = &find("orders.us").1;
    assert_eq!((&us["priority"], &us["headers"]), (&json!("high"), &json!({"k": "v"})));
    let read = get(address, &format!("/api/events/{}", us["id"].as_str().expect("an id"))).await;
    assert_eq!(read, *us);

    // From any id on, all that is left comes, and nothing else.
    let places = std::iter::once(&begin).chain(seen.iter().map(|(id, _)| id));
    let kept: Vec<_> = seen.iter().filter(|(id, _)| !id.is_empty()).collect();
    for (had, place) in places.filter(|id| !id.is_empty()).enumerate() {
        let headers = format!("Last-Event-ID: {place}\r\n");
        let (mut again, _) = Sse::open(address, target, &headers).await.expect("a stream");
        let mut left = Vec::new();
        while left.len() + had < kept.len() {
            left.push(again.event().await.1);
        }
        let mut left: Vec<_> = left.iter().map(|event| &event["name"]).collect();
        let mut expected: Vec<_> = kept[had..].iter().map(|(_, event)| &event["name"]).collect();
        left.sort_by_key(|name| name.as_str());
        expected.sort_by_key(|name| name.as_str());
        assert_eq!(left, expected, "after {had}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_read_page_by_page() {
    let server = raw::start(Config::default()).await;
    let address = server.address;
    let mut events: Vec<Value> = Vec::new();
    for number in 0..7 {
        let priority = if number == 3 { "critical" } else { "low" };
        let event = json!({"name": format!("a.{number}"), "payload": number, "priority": priority});
        events.push(publish(address, event).await);
    }
    publish(address, json!({"name": "b", "payload": null})).await;
    let newest = get(address, "/api/events?pattern=a.*&limit=3").await;
    assert_eq!(names(&newest), ["a.6", "a.5", "a.4"]);
    let next = newest["next"].as_str().expect("another page");
    let rest = get(address, &format!("/api/events?pattern=a.*&after={next}")).await;
    assert_eq!(names(&rest), ["a.3", "a.2", "a.1", "a.0"]);
    assert_eq!(rest.get("next"), None);
    let oldest = get(address, "/api/events?pattern=a.*&pattern=b&order=oldest&limit=5").await;
    assert_eq!(names(&oldest), ["a.0", "a.1", "a.2", "a.3", "a.4"]);
    let next = oldest["next"].as_str().expect("another page");
    let rest = format!("/api/events?pattern=a.*&pattern=b&order=oldest&after={next}");
    assert_eq!(names(&get(address, &rest).await), ["a.5", "a.6", "b"]);
    let critical = get(address, "/api/events?pattern=**&priority=critical").await;
    assert_eq!(names(&critical), ["a.3"]);
    assert_eq!(critical["complete"], false, "there may have been others before the server");
    let since = get(address, "/api/events?pattern=**&since=9000000000000").await;
    assert_eq!(names(&since), [""; 0]);
    assert_eq!(since["complete"], true);
    let before = get(address, "/api/events?pattern=**&until=1").await;
    assert_eq!(names(&before), [""; 0]);
    let subscribed = get(address, "/api/events/subscriptions").await;
    assert_eq!(subscribed["total"], 0);
    let (stream, _) =
        Sse::open(address, "/api/events/stream?pattern=a.*", "").await.expect("a stream");
    let subscribed = get(address, "/api/events/subscriptions").await;
    assert_eq!(subscribed["patterns"], json!([{"pattern": "a.*", "subscriptions": 1}]));
    let listed = get(address, "/api/websocket/sessions").await;
    let session = &listed["sessions"][0];
    assert_eq!((&session["transport"], &session["carrier"]), (&json!("sse"), &json!("http")));
    assert_eq!(get(address, "/api/websocket/stats").await["connections"]["sse"], 1);
    drop(stream);
    until("a client that has gone is noticed", async || {
        get(address, "/api/websocket/stats").await["connections"]["sse"] == 0
    })
    .await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_looks_at_so_much_at_once_and_says_where_to_go_on() {
    let config = Config::default().with(|c| {
        (c.limits.max_looked_at, c.limits.history_rate, c.limits.history_burst) = (20, 1, 60);
        c.proxies.trusted = Vec::new();
    });
    let server = raw::start(config).await;
    let address = server.address;
    let wanted = |number: u32| if number % 50 == 7 { "a" } else { "b" };
    let all: Vec<_> =
        (0..200).map(|n| json!({"name": wanted(n), "payload": n, "priority": "high"})).collect();
    publish(address, json!(all)).await;
    for (order, expected) in [("oldest", [7, 57, 107, 157]), ("newest", [157, 107, 57, 7])] {
        let (mut got, mut pages, mut after) = (Vec::new(), 0, String::new());
        loop {
            let target =
                format!("/api/events?pattern=a&pattern=b.c&pattern=*.*&order={order}{after}");
            let page = get(address, &target).await;
            let events = page["events"].as_array().expect("a list");
            got.extend(events.iter().map(|event| event["payload"].as_u64().expect("a number")));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={next}");
        }
        assert_eq!(got, expected, "{order}");
        assert!(pages > 2, "in one page");
    }
    // What is not there costs no more, and who asks too often is told to wait.
    let refused = loop {
        match raw::http(address, "GET", "/api/events/nothing", "").await {
            answer if answer.status == 404 => {
                assert!(answer.body.contains("max_looked_at"), "{answer:?}");
            }
            answer => break answer,
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert!(refused.body.contains("history_rate"), "{refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_published() {
    let config = Config::default().with(|c| {
        c.limits.max_batch = 2;
        c.limits.max_payload = 100;
        c.limits.max_frame = 1000;
    });
    let config = config.listen(SocketAddr::from(([127, 0, 0, 1], 0)));
    let schema = Schema::new(&json!({"type": "object", "required": ["total"]})).expect("a schema");
    let server = Server::builder().config(config).event_schema("orders.*", schema);
    let server = raw::run(server.bind().await.expect("a server"));
    let address = server.address;
    let event = |name: &str, payload: Value| json!({"name": name, "payload": payload});
    for (body, status, word) in [
        (json!(1), 400, "object"),
        (event("a.*", json!(1)), 400, "pattern"),
        (json!({"name": "a"}), 400, "payload"),
        (json!({"name": "a", "payload": 1, "to": "b"}), 400, "\"to\""),
        (event("a", json!("x".repeat(200))), 413, "100"),
        (event("a", json!("x".repeat(2000))), 413, "max_frame"),
        (json!([event("a", json!(1)), event("orders.x", json!({}))]), 422, "[1]: orders.x"),
        (json!(vec![event("a", json!(1)); 3]), 413, "max_batch"),
    ] {
        let answer = post(address, &body).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(answer.body.contains(&word.replace('"', "\\\"")), "{body}: {answer:?}");
    }
    let schemas = get(address, "/api/schemas").await;
    let orders = &schemas["events"][0];
    assert_eq!((&orders["pattern"], &orders["violations"]), (&json!("orders.*"), &json!(1)));
    let last = orders["last_violation"]["what"].as_str().expect("what it was");
    assert!(last.starts_with("orders.x: \"total\" is a required"), "{last}");
    assert_eq!(
        (&orders["sensitive"], &orders["schema"]["type"]),
        (&json!(false), &json!("object"))
    );
    assert_eq!(get(address, "/api/websocket/stats").await["schemas"], schemas["version"]);
    let text = raw::http(address, "POST", "/api/events", "{}").await;
    assert_eq!(text.status, 415, "{text:?}");
    let broken = Http::connect(address).await.ask("POST", "/api/events", JSON, "{").await;
    assert_eq!(broken.status, 400, "{broken:?}");
    for (target, word) in [
        ("/api/events", "pattern"),
        ("/api/events/stream", "pattern"),
        ("/api/events/stream?pattern=", "character"),
        ("/api/events?pattern=a&limit=0", "1 to 1000"),
        ("/api/events?pattern=a&limit=1&limit=2", "once"),
        ("/api/events?pattern=a&since=yesterday", "milliseconds"),
        ("/api/events?pattern=a&after=x", "next"),
        ("/api/events?pattern=a&order=random", "oldest"),
        ("/api/events?pattern=a&priority=most", "critical"),
        ("/api/events?pattern=a&name=b", "name"),
    ] {
        let answer = raw::http(address, "GET", target, "").await;
        assert_eq!(answer.status, 400, "{target}: {answer:?}");
        assert!(answer.body.contains(word), "{target}: {answer:?}");
    }
    let place = Sse::open(address, "/api/events/stream?pattern=a", "Last-Event-ID: 7\r\n").await;
    assert_eq!(place.err().expect("no stream").status, 400);
    assert_eq!(raw::http(address, "GET", "/api/events/1-2", "").await.status, 404);
    assert_eq!(names(&get(address, "/api/events?pattern=**").await), [""; 0]);
    server.stop().await;
}

/// A client that is slow to take what it is sent: little fits into its socket.
async fn slow(address: SocketAddr, target: &str) -> Sse {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    let http = Http(socket.connect(address).await.expect("a connection"));
    Sse::over(http, target, "").await.expect("a stream").0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_the_rest_from_the_log_and_is_told_what_it_cannot_get() {
    let config = Config::default().with(|c| {
        (c.queues.low, c.queues.normal) = (64 << 10, 64 << 10);
        c.retention.max_bytes = 256 << 20;
    });
    let server = raw::start(config).await;
    let address = server.address;
    let mut stream = slow(address, "/api/events/stream?pattern=a.**").await;
    let filling = "x".repeat(64 << 10);
    for number in 0..160 {
        let event = |name| json!({"name": name, "payload": [number, filling]});
        let mut low = event("a.low");
        low["priority"] = "low".into();
        publish(address, json!([event("a.normal"), low])).await;
    }
    publish(address, json!({"name": "a.normal", "payload": "end"})).await;
    let (mut normal, mut low, mut gaps) = (0, 0, 0);
    loop {
        let block = stream.next().await.expect("it goes on");
        let event = block.json();
        match event["name"].as_str() {
            Some("a.normal") if event["payload"] == "end" => break,
            Some("a.normal") => {
                assert_eq!(event["payload"][0], normal, "each once, in order");
                normal += 1;
            }
            Some(_) => low += 1,
            None if block.event == "tidings.gap" => {
                assert_eq!(event["priority"], "low", "{event}");
                gaps += 1;
            }
            None => panic!("{block:?}"),
        }
    }
    assert_eq!(normal, 160);
    // The gap may come behind the last event of normal priority.
    while gaps == 0 {
        let block = stream.next().await.expect("it goes on");
        low += usize::from(block.event.is_empty());
        gaps += usize::from(block.event == "tidings.gap");
    }
    assert!(low < 160, "{low}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_is_given_up() {
    let config = Config::default().with(|c| {
        c.heartbeat.ping_interval = Duration::from_millis(100);
        c.heartbeat.ping_timeout = Duration::from_millis(50);
    });
    let server = raw::start(config).await;
    let address = server.address;
    let stuck = slow(address, "/api/events/stream?pattern=a").await;
    let filling = "x".repeat(512 << 10);
    let connections = async || get(address, "/api/websocket/stats").await["connections"].clone();
    until("it is given up", async || {
        publish(address, json!({"name": "a", "payload": filling})).await;
        connections().await["closed"]["4006"] == 1
    })
    .await;
    // Its connection is closed, too: this is the only one that is left.
    until("its connection is closed", async || connections().await["open"] == 1).await;
    drop(stuck);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_reaches_beyond_the_log_with_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("sqlite:{}", directory.path().join("tidings.db").display());
    let config = Config::default().with(|c| {
        c.store.database = url.as_str().into();
        c.store.events = true;
        c.store.interval = Duration::from_millis(10);
        // The log has the last three of a lane.
        c.retention.max_events = 3;
    });
    let server = raw::start(config.clone()).await;
    let mut expected = Vec::new();
    for number in 0..20_u64 {
        let name = format!("orders.{number}");
        let receipt = publish(server.address, json!({"name": name, "payload": number})).await;
        expected.push((receipt["id"].clone(), json!(number)));
        // What the log lets go before the store has read it would be in neither.
        until("it is kept", async || {
            let stats = get(server.address, "/api/events/stats").await;
            stats["store"]["events"].as_u64().is_some_and(|kept| kept > number)
        })
        .await;
    }
    let all = async |address, order: &str| {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let target = format!("/api/events?pattern=orders.*&limit=7&order={order}{after}");
            let page = get(address, &target).await;
            for event in page["events"].as_array().expect("events") {
                found.push((event["id"].clone(), event["payload"].clone()));
            }
            match page["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return found,
            }
        }
    };
    assert_eq!(all(server.address, "oldest").await, expected);
    expected.reverse();
    assert_eq!(all(server.address, "newest").await, expected);
    server.stop().await;

    let server = raw::start(config).await;
    let first = expected[19].0.as_str().expect("an id");
    let event = get(server.address, &format!("/api/events/{first}")).await;
    assert_eq!(event["payload"], 0, "also after a restart");
    server.stop().await;
}
