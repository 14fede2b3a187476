//! Servers that share a Redis, and a way for clients to move between them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_core::EventBus;
use tidings_harness::redis_cluster::RedisCluster;
use tidings_server::{Config, Remote, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{AbortHandle, JoinSet};

/// A server with a runtime of its own: it ends as a process does that is killed.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    pub(crate) remote: Remote,
    pub(crate) bus: EventBus,
    runtime: Option<Runtime>,
}

impl Instance {
    pub(crate) async fn start(redis: &RedisCluster, name: &str) -> Self {
        Self::start_with(redis, name, |_| {}).await
    }

    pub(crate) async fn start_with(
        redis: &RedisCluster,
        name: &str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config(redis, name);
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let started = runtime.spawn(async move {
            let server = Server::builder().config(config).bind().await.unwrap();
            let told = (server.local_addr(), server.remote(), server.bus().clone());
            tokio::spawn(server.serve(std::future::pending()));
            told
        });
        let (address, remote, bus) = started.await.unwrap();
        let instance = Self { address, remote, bus, runtime: Some(runtime) };
        until("the instance has reached Redis", || {
            instance.remote.websocket_stats().backplane.ready
        })
        .await;
        instance
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn redis(&self) -> tidings_server::backplane::RedisStatus {
        self.remote.websocket_stats().backplane.redis.unwrap()
    }

    /// Ends it without a goodbye.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}

/// The configuration of an instance in tests: impatient.
pub(crate) fn config(redis: &RedisCluster, name: &str) -> Config {
    let mut config = Config::default().instance(name);
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.shards = 1;
    config.redis.urls = redis.urls().into();
    config.redis.heartbeat = Duration::from_millis(250);
    config.redis.check_interval = Duration::from_millis(250);
    config
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let holding = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), holding)
        .await
        .unwrap_or_else(|_| panic!("it never came that {what}"));
}

/// Where clients connect to, whichever instance is behind it.
pub(crate) struct Gate {
    pub(crate) url: String,
    target: Arc<Mutex<Option<SocketAddr>>>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
    _accepting: JoinSet<()>,
}

impl Gate {
    pub(crate) async fn to(instance: &Instance) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = Arc::new(Mutex::new(Some(instance.address)));
        let open: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn({
            let (target, open) = (target.clone(), open.clone());
            async move {
                while let Ok((mut outside, _)) = listener.accept().await {
                    let Some(target) = *target.lock().unwrap() else { continue };
                    let pass = tokio::spawn(async move {
                        let Ok(mut inside) = TcpStream::connect(target).await else { return };
                        inside.set_nodelay(true).unwrap();
                        outside.set_nodelay(true).unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                    });
                    open.lock().unwrap().push(pass.abort_handle());
                }
            }
        });
        Self { url, target, open, _accepting: accepting }
    }

    /// From now on it leads there, or nowhere; what is connected is cut.
    pub(crate) fn lead_to(&self, instance: Option<&Instance>) {
        *self.target.lock().unwrap() = instance.map(|instance| instance.address);
        for connection in self.open.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}
