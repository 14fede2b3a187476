//! What instances tell each other for applications of Socket.IO, while Redis is in trouble.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tidings::socketio::Manager;
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::config::NodeAdapterKind;
use tidings_server::socketio::Namespace;

use super::instances::Instance;
use super::{PATIENCE, within};

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
    let before = *number;
    let reached = async {
        while client.last.load(Ordering::Relaxed) <= before {
            *number += 1;
            chat.emit("news", *number).unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let reached = tokio::time::timeout(PATIENCE, reached).await;
    assert!(reached.is_ok(), "after {before}, {number} was told, and nothing came");
    counted(chat).await;
}

/// Waits until the one client is found from here, wherever it is.
async fn counted(chat: &Namespace) {
    let mut last = None;
    let counted = async {
        loop {
            match chat.sockets().fetch_sockets().await {
                Ok(found) if found.len() == 1 => break,
                other => last = Some(other.map(|found| found.len())),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    assert!(counted.is_ok(), "the one client was not found at last, but {last:?}");
}

/// An instance with the namespace.
async fn instance(
    redis: &RedisCluster,
    kind: NodeAdapterKind,
    name: &str,
) -> (Instance, Namespace) {
    let started = Instance::start_with(redis, name, |config| {
        config.node_adapter.kind = kind;
        config.node_adapter.request_timeout = Duration::from_millis(500);
    });
    let instance = started.await;
    let chat = instance.remote.namespace("/chat").unwrap();
    (instance, chat)
}

/// Two instances on a cluster of Redis, each with the namespace.
async fn two(redis: &RedisCluster, kind: NodeAdapterKind) -> (Vec<Instance>, Vec<Namespace>) {
    let (a, b) = tokio::join!(instance(redis, kind, "a"), instance(redis, kind, "b"));
    [a, b].into_iter().unzip()
}

/// How many instances have subscribed on a node.
async fn subscribed(redis: &RedisCluster, node: usize) -> usize {
    let question = ["PUBSUB", "NUMSUB", "socket.io-request#/chat#"];
    let (_, subscribed): (String, usize) = redis.ask(node, &question).await.unwrap();
    subscribed
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
        if subscribed(&redis, node).await > 0 {
            redis.kill(node);
            return together(&chats[0], &client, &mut number).await;
        }
    }
    panic!("nobody has subscribed anywhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_find_out_where_others_have_gone_when_their_node_has_died() {
    let mut redis = RedisCluster::start().await.unwrap();
    // Nobody hears of the replicas.
    (3..6).for_each(|node| redis.kill(node));
    for node in 0..3 {
        while names_replicas(&redis.ask(node, &["CLUSTER", "SLOTS"]).await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let mut instances = Vec::new();
    let mut first = None;
    // Each takes one node or another by chance, until there are two.
    let node = within(async {
        loop {
            let name = format!("instance-{}", instances.len());
            instances.push(instance(&redis, NodeAdapterKind::Classic, &name).await);
            let mut by_node = [0; 3];
            while by_node.iter().sum::<usize>() < instances.len() {
                for (node, here) in by_node.iter_mut().enumerate() {
                    *here = subscribed(&redis, node).await;
                }
            }
            let first = *first.get_or_insert(by_node.iter().position(|here| *here > 0).unwrap());
            if by_node[first] < instances.len() {
                break first;
            }
        }
    })
    .await;
    let _client = Told::at(&instances[0].0).await;
    for (_, chat) in &instances {
        counted(chat).await;
    }
    for replica in 3..6 {
        redis.restart(replica).await.unwrap();
    }
    redis.settled().await.unwrap();
    redis.kill(node);
    for (_, chat) in &instances {
        counted(chat).await;
    }
}

/// Whether the answer to CLUSTER SLOTS has more nodes than masters.
fn names_replicas(slots: &redis::Value) -> bool {
    let redis::Value::Array(ranges) = slots else { panic!("{slots:?}") };
    ranges.iter().any(|range| matches!(range, redis::Value::Array(parts) if parts.len() > 3))
}
