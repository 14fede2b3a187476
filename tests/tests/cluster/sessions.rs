//! Who is connected, wherever it is asked.

use std::collections::BTreeSet;

use tidings_harness::redis_cluster::RedisCluster;

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
    let ids: Vec<String> = all.sessions.into_iter().map(|session| session.id).collect();
    assert_eq!(listed, ids);

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
