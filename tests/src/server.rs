//! A server for foreign clients, which can have it restarted.

use std::net::SocketAddr;
use std::time::Duration;

use tidings_server::config::Collection;
use tidings_server::{Config, Server};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A server on a runtime of its own, for tests that wait for a script.
#[derive(Debug)]
pub struct Restartable {
    runtime: Runtime,
    setup: Setup,
    running: Option<Running>,
    address: SocketAddr,
}

/// How each server in turn is made.
#[derive(Debug, Clone, Copy)]
struct Setup {
    prepare: fn(&Server),
    recovery: Duration,
}

#[derive(Debug)]
struct Running {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Restartable {
    /// Starts it on a free port. It answers the requests `echo`, with their payload, and
    /// `ask me`, with what the client answers to the request `question`; it has the collections
    /// `todos`, `notices`, where the server wins and records have a title, and `people`, of who is
    /// there, with names.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start() -> Self {
        Self::set_up(Setup { prepare: answer_requests, recovery: Duration::ZERO })
    }

    /// Starts it on a free port, with what `prepare` adds to it. Sessions can be recovered.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn with(prepare: fn(&Server)) -> Self {
        Self::set_up(Setup { prepare, recovery: Duration::from_secs(60) })
    }

    fn set_up(setup: Setup) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (running, address) = runtime.block_on(serve(any, setup));
        Self { runtime, setup, running: Some(running), address }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it as a signal would, and starts another one in its place.
    ///
    /// # Panics
    /// When that fails.
    pub fn restart(&mut self) {
        self.stop();
        self.resume();
    }

    /// Starts another one where one was ended.
    ///
    /// # Panics
    /// When that fails.
    pub fn resume(&mut self) {
        let (running, _) = self.runtime.block_on(serve(self.address, self.setup));
        self.running = Some(running);
    }

    /// Ends it as a signal would.
    ///
    /// # Panics
    /// When it does not end well.
    pub fn stop(&mut self) {
        if let Some(Running { stop, serving }) = self.running.take() {
            let _ = stop.send(());
            self.runtime.block_on(serving).expect("it ends without panic");
        }
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

fn answer_requests(server: &Server) {
    server.handle("echo", |request| async move { Ok(request.payload) });
    let remote = server.remote();
    server.handle("ask me", move |request| {
        let remote = remote.clone();
        async move { remote.request(&request.session, "question", request.payload).await }
    });
}

fn notices() -> Collection {
    let mut notices = Collection::default();
    notices.policy = "server-wins".to_owned();
    notices.schema = r#"{"required": ["title"]}"#.to_owned();
    notices
}

fn people() -> Collection {
    let mut people = Collection::default();
    (people.presence, people.presence_timeout) = (true, Duration::from_millis(400));
    people.schema = r#"{"required": ["name"]}"#.to_owned();
    people
}

async fn serve(address: SocketAddr, setup: Setup) -> (Running, SocketAddr) {
    let config = Config::default().listen(address).with(|c| {
        c.timeouts.drain_spread = Duration::from_millis(10);
        c.timeouts.closing = Duration::from_millis(200);
        c.recovery.max_age = setup.recovery;
        c.cors.origins = vec!["*".to_owned()];
        c.collections.insert("todos".to_owned(), Collection::default());
        c.collections.insert("notices".to_owned(), notices());
        c.collections.insert("people".to_owned(), people());
    });
    let server = Server::builder().config(config).bind().await.expect("a server");
    (setup.prepare)(&server);
    let address = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(server.serve(async { drop(stopped.await) }));
    (Running { stop, serving }, address)
}
