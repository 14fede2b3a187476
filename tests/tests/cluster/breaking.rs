//! What holds while Redis breaks.

use std::future::IntoFuture;
use std::time::Duration;

use futures_util::StreamExt;
use tidings::{Client, Priority, Transport};
use tidings_core::{Lane, Partitioning};
use tidings_harness::redis_cluster::RedisCluster;
use tokio::task::JoinHandle;

use super::instances::{Instance, until};
use super::{BOTH, Received, connect, listen, within};

/// The hash slot in which all of a name is.
async fn slot_of(redis: &RedisCluster, name: &str) -> u16 {
    slot(redis, Partitioning::new(16).of_name(name)).await
}

/// The hash slot of a partition.
pub(super) async fn slot(redis: &RedisCluster, partition: u16) -> u16 {
    redis.ask(0, &["CLUSTER", "KEYSLOT", &format!("tidings:{{p{partition}}}")]).await.unwrap()
}

/// Publishes numbers until told how many are enough, some of them together.
fn publish(client: &Client, name: &str, priority: Priority, count: u32) -> JoinHandle<()> {
    let (client, name) = (client.clone(), name.to_owned());
    tokio::spawn(async move {
        for n in 0..count {
            let answer = client.publish(&*name, &n).priority(priority).into_future();
            if n % 4 == 3 {
                answer.await.unwrap();
                tokio::time::sleep(Duration::from_millis(4)).await;
            } else {
                drop(answer);
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_loses_nothing_and_doubles_nothing() {
    let mut redis = RedisCluster::start().await.unwrap();
    let instances = [Instance::start(&redis, "a").await, Instance::start(&redis, "b").await];
    let mut receivers = Vec::new();
    let mut clients = Vec::new();
    for (instance, transport) in instances.iter().zip(BOTH) {
        let client = connect(&instance.url(), transport).await;
        receivers.push(listen(&client, "orders.**").await);
        clients.push(client);
    }
    const COUNT: u32 = 2000;
    let mut names = Vec::new();
    let mut publishing = Vec::new();
    for (client, who) in clients.iter().zip(["a", "b"]) {
        for priority in [Priority::Critical, Priority::High, Priority::Normal] {
            let name = format!("orders.{who}.{priority}");
            publishing.push(publish(client, &name, priority, COUNT));
            names.push(name);
        }
    }
    until("half of it has come", || receivers[0].count() > COUNT as usize * 2).await;
    let slot = slot_of(&redis, "orders.x").await;
    let master = redis.owner(slot).await.unwrap();
    redis.kill(master);
    for publishing in publishing {
        within(publishing).await.unwrap();
    }
    assert_ne!(redis.owner(slot).await.unwrap(), master, "a replica has taken over");
    for received in &receivers {
        received.complete(&names, COUNT).await;
    }
    for client in &clients {
        assert_eq!(client.stats().await.counters.gaps, 0);
    }
    redis.restart(master).await.unwrap();
    redis.settled().await.unwrap();
    until("all is well again", || {
        instances.iter().all(|i| i.remote.websocket_stats().backplane.trouble.is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_lost_is_put_back_at_its_place() {
    let mut redis = RedisCluster::start().await.unwrap();
    let instances = [Instance::start(&redis, "a").await, Instance::start(&redis, "b").await];
    let publisher = connect(&instances[0].url(), Transport::Ws).await;
    let client = connect(&instances[1].url(), Transport::SocketIo).await;
    let received = listen(&client, "orders.*").await;
    let publish = async |numbers: std::ops::Range<u32>| {
        let mut positions = Vec::new();
        for n in numbers {
            positions.push(within(publisher.publish("orders.x", &n)).await.unwrap());
        }
        positions
    };
    let mut positions = publish(0..10).await;
    let master = redis.owner(slot_of(&redis, "orders.x").await).await.unwrap();
    redis.cut_replicas(master).await.unwrap();
    positions.extend(publish(10..60).await);
    until("all have come", || received.count() == 60).await;
    redis.kill(master);
    positions.extend(publish(60..100).await);
    received.complete(&["orders.x".to_owned()], 100).await;
    let put_back: u64 = instances.iter().map(|instance| instance.redis().put_back).sum();
    assert_eq!(put_back, 50, "what the replica did not have");
    // Who comes later reads what Redis has now: everything, where it was.
    let third = Instance::start(&redis, "c").await;
    let late = connect(&third.url(), Transport::Ws).await;
    let since = [(positions[0].lane, tidings_core::Place::default())].into_iter().collect();
    let mut all = within(late.subscribe_since::<u32>("orders.*", since)).await.unwrap();
    for (n, position) in positions.iter().enumerate() {
        let event = within(all.next()).await.unwrap().unwrap();
        assert_eq!((event.value as usize, event.meta.position), (n, Some(*position)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moving_a_slot_under_load_loses_nothing() {
    let mut redis = RedisCluster::start().await.unwrap();
    let instances = [Instance::start(&redis, "a").await, Instance::start(&redis, "b").await];
    let publisher = connect(&instances[0].url(), Transport::Ws).await;
    let client = connect(&instances[1].url(), Transport::Ws).await;
    let received = listen(&client, "orders.*").await;
    let name = "orders.x".to_owned();
    let slot = slot_of(&redis, &name).await;
    let publishing = publish(&publisher, &name, Priority::Normal, 2000);
    for round in 1..=3 {
        until("some have come", || received.count() > round * 300).await;
        let owner = redis.owner(slot).await.unwrap();
        let masters = redis.masters().await.unwrap();
        let other = masters.into_iter().find(|n| *n != owner).unwrap();
        redis.move_slot(slot, other).await.unwrap();
    }
    within(publishing).await.unwrap();
    received.complete(&[name], 2000).await;
    assert_eq!(client.stats().await.counters.gaps, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_waited_out_told_and_leaves_no_trace() {
    let redis = RedisCluster::single().await.unwrap();
    let instances = [Instance::start(&redis, "a").await, Instance::start(&redis, "b").await];
    let here = connect(&instances[0].url(), Transport::Ws).await;
    let there = connect(&instances[1].url(), Transport::SocketIo).await;
    let receivers = [listen(&here, "orders.*").await, listen(&there, "orders.*").await];
    let mut cursors = within(here.subscribe::<u32>("cursor")).await.unwrap();
    within(here.publish("orders.x", &0_u32)).await.unwrap();
    // The answer and the notice travel by two connections.
    until("the first has come", || receivers[0].count() == 1).await;
    redis.pause(0);
    let waiting: Vec<_> =
        (1..100_u32).map(|n| here.publish("orders.x", &n).into_future()).collect();
    until("health says so", || {
        let backplane = instances[0].remote.websocket_stats().backplane;
        backplane.ready && backplane.trouble.is_some_and(|t| t.since_ms > 0 && !t.reason.is_empty())
    })
    .await;
    here.publish("cursor", &7).volatile().send().unwrap();
    assert_eq!(within(cursors.next()).await.unwrap().unwrap().value, 7, "local, without Redis");
    assert_eq!(receivers[0].count(), 1);
    redis.resume(0);
    for answer in waiting {
        within(answer).await.unwrap();
    }
    for received in &receivers {
        received.complete(&["orders.x".to_owned()], 100).await;
    }
    until("health says so", || {
        instances.iter().all(|i| i.remote.websocket_stats().backplane.trouble.is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_publishes_again_leaves_no_trouble_behind() {
    let mut redis = RedisCluster::single().await.unwrap();
    let a = Instance::start_with(&redis, "a", |config| {
        config.redis.publish_timeout = Duration::from_millis(300);
    })
    .await;
    redis.kill(0);
    let event = a.bus.event("orders.x", tidings::Payload::Json("1".into())).unwrap();
    a.bus.emit(&event);
    until("it was refused", || a.redis().refused == 1).await;
    assert!(a.remote.websocket_stats().backplane.trouble.is_some());
    redis.restart(0).await.unwrap();
    until("all is well", || a.remote.websocket_stats().backplane.trouble.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_or_too_much_is_refused_and_may_try_again() {
    let mut redis = RedisCluster::single().await.unwrap();
    let a = Instance::start_with(&redis, "a", |config| {
        config.redis.publish_timeout = Duration::from_millis(300);
        config.redis.buffer = 20_000;
    })
    .await;
    let client = connect(&a.url(), Transport::Ws).await;
    let received: Received = listen(&client, "orders.*").await;
    within(client.publish("orders.x", &0_u32)).await.unwrap();
    redis.kill(0);
    let answers: Vec<_> =
        (1..1000_u32).map(|n| client.publish("orders.x", &n).into_future()).collect();
    until("both kinds were refused", || a.redis().refused > 500).await;
    until("nothing waits beyond its time", || a.redis().waiting < 600).await;
    assert!(a.redis().waiting_bytes <= 20_000);
    redis.restart(0).await.unwrap();
    for answer in answers {
        within(answer).await.unwrap();
    }
    until("all have come", || received.count() == 1000).await;
    let lane = Lane::new(Partitioning::new(16).of_name("orders.x"), Priority::Normal);
    let events: u64 = redis
        .ask(0, &["XLEN", &format!("tidings:{{p{}}}:normal", lane.partition())])
        .await
        .unwrap();
    assert_eq!(events, 1000, "each once");
}
