//! Node's Socket.IO servers and Tidings instances as one cluster, on a real Redis Cluster: with
//! `@socket.io/redis-adapter` and `@socket.io/redis-emitter` as they are published.

use std::process::Stdio;
use std::time::Duration;

use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::config::{EventSchema, NodeAdapterKind, NodeAdapterMode};
use tidings_server::{Config, Server};
use tidings_tests::example::Serving;
use tidings_tests::{member, node};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A member on Node.
fn on_node(redis: &RedisCluster, name: &str, adapter: &str, mode: &str) -> Serving {
    let mut script = node::script("cluster/member.js").unwrap_or_else(|error| panic!("{error}"));
    // It ends when this process does, however that ends.
    script.stdin(Stdio::piped());
    Serving::start(script.args([name, &redis.urls(), adapter, mode]))
}

/// A member on Tidings.
struct Tidings {
    url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Tidings {
    /// Ends it as a signal would; it is no member any more then.
    async fn stop(self) {
        self.stop.send(()).expect("it is served");
        self.serving.await.expect("no panic");
    }
}

async fn on_tidings(
    redis: &RedisCluster,
    name: &'static str,
    kind: NodeAdapterKind,
    mode: NodeAdapterMode,
) -> Tidings {
    let config = Config::default().instance(name).with(|c| {
        c.listen = "127.0.0.1:0".parse().expect("an address");
        c.shards = 1;
        c.redis.urls = redis.urls().into();
        c.timeouts.drain_spread = Duration::ZERO;
        c.node_adapter.kind = kind;
        c.node_adapter.mode = mode;
        c.node_adapter.prefix = "mixed".to_owned();
        c.node_adapter.specific_responses = name.ends_with('2');
        c.node_adapter.request_timeout = Duration::from_millis(500);
        let mut paid = EventSchema::default();
        paid.schema = r#"{"properties": {"card": {"x-tidings-sensitive": true}}}"#.to_owned();
        c.events.insert("orders.paid".to_owned(), paid);
        // What of it everybody may see, nobody being known.
        c.auth.sensitive = if name.ends_with('2') { vec!["**".to_owned()] } else { Vec::new() };
    });
    let server = Server::builder().config(config).bind().await.expect("a server");
    member::add(&server.namespace("/app").expect("a namespace"), name);
    let url = format!("http://{}", server.local_addr());
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
    Tidings { url, stop, serving }
}

/// Two members of each kind, and what tests/node/cluster/check.js finds.
async fn check(redis: &RedisCluster, kind: NodeAdapterKind, mode: NodeAdapterMode) {
    let adapter = if kind == NodeAdapterKind::Classic { "classic" } else { "sharded" };
    let mode_name = match mode {
        NodeAdapterMode::Dynamic => "dynamic",
        NodeAdapterMode::DynamicPrivate => "dynamic-private",
        NodeAdapterMode::Static => "static",
    };
    let nodes = std::thread::scope(|scope| {
        let start = |name| move || on_node(redis, name, adapter, mode_name);
        let starting = ["node1", "node2"].map(|name| scope.spawn(start(name)));
        starting.map(|node| node.join().expect("a member on Node"))
    });
    let one = on_tidings(redis, "tidings1", kind, mode).await;
    let two = on_tidings(redis, "tidings2", kind, mode).await;
    let urls = format!(
        "node1={},node2={},tidings1={},tidings2={}",
        nodes[0].url, nodes[1].url, one.url, two.url
    );
    let said = tokio::task::spawn_blocking(move || {
        let arguments = [&urls, "socket.io-client", "websocket", "default", adapter];
        node::converse("cluster/check.js", &arguments, |request| match request {
            "stop node2" => nodes[1].signal("STOP"),
            "kill node2" => nodes[1].signal("KILL"),
            other => panic!("nobody can {other:?}"),
        })
    });
    let said = said.await.expect("no panic").unwrap_or_else(|error| panic!("{error}"));
    println!("{adapter}, {mode_name}\n{said}");
    assert!(said.ends_with("done\n"), "{said}");
    tokio::join!(one.stop(), two.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_clusters_with_the_classic_adapter_are_equal() {
    let redis = RedisCluster::start().await.expect("a Redis Cluster");
    check(&redis, NodeAdapterKind::Classic, NodeAdapterMode::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_clusters_with_the_sharded_adapter_are_equal_in_all_modes() {
    use NodeAdapterMode::{Dynamic, DynamicPrivate, Static};
    let redis = RedisCluster::start().await.expect("a Redis Cluster");
    for mode in [Dynamic, DynamicPrivate, Static] {
        check(&redis, NodeAdapterKind::Sharded, mode).await;
    }
}
