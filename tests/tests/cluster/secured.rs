//! A Redis that is reached by TLS and lets a user do no more than needed.

use std::net::TcpListener;
use std::path::PathBuf;

use tempfile::TempDir;
use tidings::{Priority, Transport};
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::backplane::{Backplane, RedisBackplane};
use tidings_server::config::Collection as Declared;

use super::instances::{Instance, config};
use super::{connect, listen, until, within};

/// What docs/redis.md names as the rights that are needed.
const RIGHTS: &str = "resetchannels &tidings:* ~tidings:* -@all +hello +ping +asking \
    +cluster|slots +cluster|info +eval +evalsha +wait +ssubscribe +sunsubscribe +spublish +exists \
    +hget +hgetall +hlen +hmget +hset +hdel +pexpire +unlink +time +xadd +xlen +xrange +xrevrange \
    +xtrim +zadd +zcard +zpopmin +zrange +zrem +zscore +pubsub|shardnumsub";

/// Certificate and password, as files.
struct Secrets {
    directory: TempDir,
}

impl Secrets {
    fn make() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(directory.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        std::fs::write(directory.path().join("password"), "the word\n").unwrap();
        Self { directory }
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.directory.path().join(name);
        path.to_str().unwrap().to_owned()
    }
}

/// Opens a port for TLS and makes a user. Returns the URL.
async fn secure(redis: &RedisCluster, secrets: &Secrets) -> String {
    let (cert, key) = (secrets.file("cert.pem"), secrets.file("key.pem"));
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port().to_string();
    drop(held);
    let settings = [
        ["tls-cert-file", &cert],
        ["tls-key-file", &key],
        ["tls-ca-cert-file", &cert],
        ["tls-auth-clients", "no"],
        ["tls-port", &port],
    ];
    let mut set = vec!["CONFIG", "SET"];
    set.extend(settings.iter().flatten());
    let _: () = redis.ask(0, &set).await.unwrap();
    let mut user = vec!["ACL", "SETUSER", "tidings", "on", ">the word"];
    user.extend(RIGHTS.split_whitespace());
    let _: () = redis.ask(0, &user).await.unwrap();
    format!("rediss://localhost:{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_share_a_redis_that_asks_for_tls_and_a_password() {
    let redis = RedisCluster::single().await.unwrap();
    let secrets = Secrets::make();
    let url = secure(&redis, &secrets).await;
    let mut instances = Vec::new();
    for name in ["a", "b"] {
        let started = Instance::start_with(&redis, name, |config| {
            config.redis.urls = url.as_str().into();
            config.redis.username = "tidings".to_owned();
            config.redis.password_file = secrets.file("password");
            config.redis.ca_file = secrets.file("cert.pem");
            // Deletions are forgotten at once, and clients but one: all that scripts do is done.
            let mut limits = Declared::default();
            (limits.max_deletions, limits.max_clients) = (0, 1);
            config.collections.insert("todos".into(), limits);
        });
        instances.push(started.await);
    }
    let publisher = connect(&instances[0].url(), Transport::Ws).await;
    let subscriber = connect(&instances[1].url(), Transport::SocketIo).await;
    let names: Vec<String> = (0..20).map(|n| format!("root{n}.number")).collect();
    let received = listen(&subscriber, "**").await;
    for n in 0..10_u32 {
        for name in &names {
            within(publisher.publish(&**name, &n).priority(Priority::Critical)).await.unwrap();
        }
    }
    received.complete(&names, 10).await;
    for client in [&publisher, &subscriber] {
        let todos = within(client.collection::<serde_json::Value>("todos")).await.unwrap();
        within(todos.loaded()).await;
        let made = todos.insert("tea", &serde_json::json!({"title": "Tea"})).unwrap();
        within(made.observed()).await.unwrap();
        within(todos.delete("tea").unwrap().observed()).await.unwrap();
    }
    until("the instances know each other", || {
        instances.iter().all(|instance| instance.redis().instances.len() == 2)
    })
    .await;
    let chats = instances.iter().map(|instance| instance.remote.namespace("/chat").unwrap());
    for chat in chats.collect::<Vec<_>>() {
        let fetched = within(chat.sockets().fetch_sockets()).await.map(|sockets| sockets.len());
        assert_eq!(fetched.unwrap(), 0, "both have answered");
    }
    let refused: Vec<Vec<redis::Value>> = redis.ask(0, &["ACL", "LOG"]).await.unwrap();
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_or_certificate_is_told_as_what_it_is() {
    let redis = RedisCluster::single().await.unwrap();
    let (secrets, others) = (Secrets::make(), Secrets::make());
    let url = secure(&redis, &secrets).await;
    std::fs::write(others.file("password"), "another word").unwrap();
    for (password, authority, expected) in
        [(&others, &secrets, "WRONGPASS"), (&secrets, &others, "certificate")]
    {
        let mut config = config(&redis, "a");
        config.redis.urls = url.as_str().into();
        config.redis.username = "tidings".to_owned();
        config.redis.password_file = password.file("password");
        config.redis.ca_file = authority.file("cert.pem");
        let backplane = RedisBackplane::new(&config).unwrap();
        until(expected, || {
            let trouble = backplane.status().trouble;
            trouble.is_some_and(|trouble| trouble.reason.contains(expected))
        })
        .await;
        assert!(!backplane.status().ready);
    }
}
