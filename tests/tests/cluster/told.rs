//! What instances tell each other for applications of Socket.IO, while Redis is in trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidings::socketio::Manager;
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::config::NodeAdapterKind;
use tidings_server::socketio::Namespace;

use super::instances::Instance;
use super::within;

/// A client in a namespace, and the number it was told last.
struct Told {
    _manager: Manager,
    last: Arc<AtomicU32>,
}

impl Told {
    async fn at(instance: &Instance) -> Self {
        let manager = Manager::builder(instance.url()).build().unwrap();
        let socket = manager.socket("/chat").unwrap();
        let last = Arc::<AtomicU32>::default();
        let told = last.clone();
        socket.on("news", move |event| {
            let (number,) = event.args.parse::<(u32,)>().unwrap();
            assert!(told.swap(number, Ordering::Relaxed) < number, "once, and in order");
        });
        within(socket.connected()).await.unwrap();
        Self { _manager: manager, last }
    }
}

/// Waits until what `chat` emits reaches the client elsewhere, and each instance counts as one.
async fn together(chat: &Namespace, client: &Told, number: &mut u32) {
    let reached = async {
        let before = *number;
        while client.last.load(Ordering::Relaxed) <= before {
            *number += 1;
            chat.emit("news", *number).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while !chat.sockets().fetch_sockets().await.is_ok_and(|found| found.len() == 1) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(reached).await;
}

/// Two instances on a cluster of Redis, each with the namespace.
async fn two(redis: &RedisCluster, kind: NodeAdapterKind) -> (Vec<Instance>, Vec<Namespace>) {
    let mut instances = Vec::new();
    for name in ["a", "b"] {
        let started = Instance::start_with(redis, name, |config| {
            config.node_adapter.kind = kind;
            config.node_adapter.request_timeout = Duration::from_millis(500);
        });
        instances.push(started.await);
    }
    let namespace = |instance: &Instance| instance.remote.namespace("/chat").unwrap();
    let chats = instances.iter().map(namespace).collect();
    (instances, chats)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_tell_each_other_again_after_a_slot_has_moved_and_its_master_has_died() {
    let mut redis = RedisCluster::start().await.unwrap();
    let (instances, chats) = two(&redis, NodeAdapterKind::Off).await;
    let client = Told::at(&instances[1]).await;
    let mut number = 0;
    together(&chats[0], &client, &mut number).await;

    let slot: u16 = redis.ask(0, &["CLUSTER", "KEYSLOT", "tidings:socketio#/chat#"]).await.unwrap();
    let next = (redis.owner(slot).await.unwrap() + 1) % 3;
    redis.move_slot(slot, next).await.unwrap();
    together(&chats[0], &client, &mut number).await;

    redis.kill(next);
    together(&chats[0], &client, &mut number).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_classic_adapter_the_death_of_the_node_that_is_subscribed_to_is_overcome() {
    let mut redis = RedisCluster::start().await.unwrap();
    let (instances, chats) = two(&redis, NodeAdapterKind::Classic).await;
    let client = Told::at(&instances[1]).await;
    let mut number = 0;
    together(&chats[0], &client, &mut number).await;
    for node in 0..3 {
        let question = ["PUBSUB", "NUMSUB", "socket.io-request#/chat#"];
        let (_, subscribed): (String, usize) = redis.ask(node, &question).await.unwrap();
        if subscribed > 0 {
            redis.kill(node);
            return together(&chats[0], &client, &mut number).await;
        }
    }
    panic!("nobody has subscribed anywhere");
}
