//! A server on a network that breaks when it is told to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidings_server::collections::Declaration;
use tidings_server::config::Collection;
use tidings_server::{Builder, Config, Remote, Server};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// A server that ends when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) remote: Remote,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Running {
    /// A server with a collection `todos` and what `prepare` adds to it, listening at `address`.
    pub(crate) async fn start(address: SocketAddr, prepare: impl FnOnce(&Server)) -> Self {
        Self::declaring(address, |_| {}, Vec::new(), prepare).await
    }

    /// The same, with more collections: `change` configures some, others are declared.
    pub(crate) async fn declaring(
        address: SocketAddr,
        change: impl FnOnce(&mut Config),
        declared: Vec<Declaration>,
        prepare: impl FnOnce(&Server),
    ) -> Self {
        let mut config = Config::default();
        config.listen = address;
        config.timeouts.drain_spread = Duration::from_millis(10);
        config.collections.insert("todos".to_owned(), Collection::default());
        change(&mut config);
        let builder = Server::builder().config(config);
        let builder = declared.into_iter().fold(builder, Builder::collection);
        let server = builder.bind().await.unwrap();
        prepare(&server);
        let (address, remote) = (server.local_addr(), server.remote());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
        Self { address, remote, stop: Some(stop), serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it as a signal would, and waits until it has.
    pub(crate) async fn stop(mut self) -> SocketAddr {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        (&mut self.serving).await.unwrap();
        self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Passes on what comes, until it is cut.
pub(crate) struct Proxy {
    pub(crate) url: String,
    open: Arc<Mutex<Vec<AbortHandle>>>,
    blocked: Arc<AtomicBool>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let open: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
        let blocked = Arc::new(AtomicBool::new(false));
        let (opened, blocks) = (open.clone(), blocked.clone());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while let Ok((mut outside, _)) = listener.accept().await {
                if blocks.load(Ordering::Relaxed) {
                    continue;
                }
                outside.set_nodelay(true).unwrap();
                let pass = tokio::spawn(async move {
                    let Ok(mut inside) = TcpStream::connect(server).await else { return };
                    inside.set_nodelay(true).unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
                opened.lock().unwrap().push(pass.abort_handle());
            }
        });
        Self { url, open, blocked, _accepting: accepting }
    }

    /// Breaks all connections and lets no other through until it is told so.
    pub(crate) fn block(&self, blocked: bool) {
        self.refuse(blocked);
        self.cut();
    }

    /// Lets no other connection through until it is told so; those that are there go on.
    pub(crate) fn refuse(&self, refused: bool) {
        self.blocked.store(refused, Ordering::Relaxed);
    }

    /// Breaks all connections, with whatever is on its way.
    pub(crate) fn cut(&self) {
        for connection in self.open.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}
