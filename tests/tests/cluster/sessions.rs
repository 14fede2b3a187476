//! Who is connected, wherever it is asked.

use std::collections::BTreeSet;

use tidings_harness::redis_cluster::RedisCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::instances::{Gate, Instance, until};
use super::{BOTH, connect, listen};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_lists_the_sessions_of_all() {
    let redis = RedisCluster::single().await.unwrap();
    let mut instances = Vec::new();
    for name in ["a", "b", "c"] {
        instances.push(Instance::start(&redis, name).await);
    }
    let mut clients = Vec::new();
    for n in 0..12 {
        let client = connect(&instances[n % 3].url(), BOTH[n % 2]).await;
        if n == 11 {
            listen(&client, "news.*").await;
        }
        clients.push(client);
    }
    let complete = async |instance: &Instance| {
        let page = instance.remote.sessions(None, 100).await;
        (page.page.total, page.missing.len()) == (12, 0)
    };
    for instance in &instances {
        // Heartbeats tell of the others, and channels are subscribed to, a little later.
        until("the instances know each other", || instance.redis().instances.len() == 3).await;
        while !complete(instance).await {}
    }

    let all = instances[0].remote.sessions(None, 100).await.page;
    let of = |instance: &str| all.sessions.iter().filter(|s| s.instance == instance).count();
    assert_eq!([of("a"), of("b"), of("c")], [4, 4, 4]);
    let over = |transport| all.sessions.iter().filter(|s| s.transport == transport).count();
    assert_eq!([over("ws"), over("socketio")], [6, 6]);
    assert_eq!(all.sessions.iter().map(|s| s.subscriptions).sum::<u64>(), 1);
    assert!(all.sessions.iter().all(|s| s.address.starts_with("127.0.0.1:") && s.since_ms > 0));
    assert!(all.sessions.is_sorted_by_key(|s| s.since_ms));

    // Page by page, from another instance, each is listed once.
    let (mut after, mut listed) = (None, Vec::new());
    loop {
        let page = instances[1].remote.sessions(after, 5).await.page;
        assert!(page.sessions.len() <= 5);
        listed.extend(page.sessions.into_iter().map(|session| session.id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let ids: Vec<String> = all.sessions.iter().map(|session| session.id.clone()).collect();
    assert_eq!(listed, ids);

    // Statistics are of all, too, and a mark that is made at one is known to all.
    let rest = async |method: &str, at: usize, path: &str, body: &str| {
        let mut stream = tokio::net::TcpStream::connect(instances[at].address).await.unwrap();
        let head = format!(
            "{method} /api/websocket/{path} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        );
        let length = body.len();
        let request = format!("{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<serde_json::Value>(body).unwrap()
    };
    let marked = rest("POST", 0, "marks", r#"{"text": "deploy"}"#).await;
    assert_eq!(marked["missing"], serde_json::json!([]));
    let stats = loop {
        let stats = rest("GET", 2, "stats?scope=cluster&history=600", "").await;
        let all = stats["instances"].as_array().unwrap().clone();
        let told = |one: &serde_json::Value| {
            let echo = &one["history"]["backplane.echo"];
            let took = echo.as_array().and_then(|took| took.last()).unwrap_or(echo);
            one["sessions"] == 4 && took.as_u64() > Some(0)
        };
        if all.iter().all(told) {
            break all;
        }
    };
    let told: BTreeSet<&str> = stats.iter().map(|one| one["instance"].as_str().unwrap()).collect();
    assert_eq!(told, BTreeSet::from(["a", "b", "c"]));
    assert!(stats.iter().all(|one| one["marks"][0]["text"] == "deploy"));
    let detail = rest("GET", 1, &format!("sessions/{}", all.sessions[0].id), "").await;
    assert_eq!(detail["instance"], "a");

    // One that was killed is missing until its heartbeats are missed, and then gone.
    let c = instances.pop().unwrap();
    c.kill();
    let page = instances[0].remote.sessions(None, 100).await;
    assert!(page.page.total >= 8);
    assert!(page.missing.iter().all(|name| name == "c"), "{:?}", page.missing);
    until("it is gone", || instances[0].redis().instances.len() == 2).await;
    assert!(instances[0].remote.sessions(None, 100).await.missing.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_keeps_its_name_when_it_moves() {
    let redis = RedisCluster::single().await.unwrap();
    let (a, b) = (Instance::start(&redis, "a").await, Instance::start(&redis, "b").await);
    let gate = Gate::to(&a).await;
    let _client = connect(&gate.url, BOTH[0]).await;
    let named = async |instance: &Instance| {
        let page = instance.remote.sessions(None, 10).await.page;
        page.sessions.into_iter().map(|s| (s.id, s.instance)).collect::<BTreeSet<_>>()
    };
    let before = named(&a).await.pop_first().unwrap();
    assert_eq!(before.1, "a");
    gate.lead_to(Some(&b));
    let after = loop {
        let listed = named(&b).await;
        if let Some(moved) = listed.into_iter().find(|(_, instance)| instance == "b") {
            break moved;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(after.0, before.0);
}
