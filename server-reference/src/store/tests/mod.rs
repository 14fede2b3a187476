//! The store with real databases: SQLite in a file, and PostgreSQL.

mod databases;
mod keeping;
mod postgres;
mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidings_core::lane::{Lane, Partitioning, Place};
use tidings_core::log::{LoggedEvent, Read, Retention};
use tidings_core::message::Position;
use tidings_core::server::LogReader;
use tidings_core::{Event, Headers, Pattern, Payload, Priority};

use self::postgres::Postgres;
use super::{EventPage, EventQuery, Store};
use crate::backplane::{
    Backplane, BackplaneStatus, LaneStatus, MemoryBackplane, Producer, Published, Signal,
};
use crate::config::Config;

/// How long anything may take before a test is given up as hanging.
const HANGS: Duration = Duration::from_secs(60);

/// Where a test keeps things; gone when it is dropped.
enum Somewhere {
    File(TempDir),
    /// The server, for as long as it is used, and the URL of a database of its own.
    Server {
        _postgres: Arc<Postgres>,
        url: String,
    },
}

impl Somewhere {
    /// One of each kind, empty.
    fn all() -> [Self; 2] {
        [Self::file(), Self::server()]
    }

    fn file() -> Self {
        Self::File(tempfile::tempdir().expect("a directory"))
    }

    fn server() -> Self {
        let postgres = Postgres::shared();
        let url = postgres.database();
        Self::Server { _postgres: postgres, url }
    }

    fn url(&self) -> String {
        match self {
            Self::File(directory) => in_file(directory.path()),
            Self::Server { url, .. } => url.clone(),
        }
    }

    /// Keeps everything, and looks often.
    fn config(&self) -> Config {
        config(&self.url())
    }
}

fn in_file(directory: &Path) -> String {
    format!("sqlite:{}", directory.join("tidings.db").display())
}

fn config(url: &str) -> Config {
    let config = Config::default().instance("test").with(|c| {
        c.store.database = url.into();
        c.store.events = true;
        c.store.interval = Duration::from_millis(10);
        c.store.heartbeat = Duration::from_millis(100);
        c.store.retry = Duration::from_millis(20);
    });
    config.validate().expect("a valid configuration");
    config
}

/// A log in memory that several stores may read, as if they were on instances of their own.
struct Log {
    memory: MemoryBackplane,
    is_shared: bool,
}

fn log(is_shared: bool) -> Arc<dyn Backplane> {
    let retention = Retention::default();
    Arc::new(Log { memory: MemoryBackplane::new(Partitioning::new(16), &retention), is_shared })
}

impl LogReader for Log {
    fn read(
        &self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        self.memory.read(lane, after, limit, out)
    }
}

impl Backplane for Log {
    fn publish(&self, event: Event, producer: Option<Producer>) -> Published {
        self.memory.publish(event, producer)
    }

    fn publish_volatile(&self, event: Event) {
        self.memory.publish_volatile(event);
    }

    fn partitioning(&self) -> &Partitioning {
        self.memory.partitioning()
    }

    fn is_shared(&self) -> bool {
        self.is_shared
    }

    fn head(&self, lane: Lane) -> Place {
        self.memory.head(lane)
    }

    fn attach(&self, signal: Arc<Signal>) {
        self.memory.attach(signal);
    }

    fn status(&self) -> BackplaneStatus {
        self.memory.status()
    }

    fn lanes(&self) -> Vec<LaneStatus> {
        self.memory.lanes()
    }
}

/// A store that has begun.
async fn open(config: &Config, log: &Arc<dyn Backplane>) -> Arc<Store> {
    let store = Store::open(config, log).await.expect("a database").expect("a store");
    store.begin_in_tests();
    store
}

async fn close(store: &Store) {
    store.finish(tokio::time::Instant::now() + HANGS).await;
}

fn publish(log: &Arc<dyn Backplane>, name: &str, priority: Priority, payload: Payload) -> Position {
    let event = Event {
        name: name.into(),
        payload,
        id: Arc::default(),
        priority,
        time: 0,
        headers: Headers::NONE,
    };
    match log.publish(event, None) {
        Published::Now(position) => position.expect("it is in the log"),
        Published::Later(_) => panic!("the log is in memory"),
    }
}

/// Publishes events called `test.N`, N from `numbers`.
fn publish_numbers(log: &Arc<dyn Backplane>, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let payload = Payload::Json(number.to_string().into());
        publish(log, &format!("test.{number}"), Priority::Normal, payload);
    }
}

fn query(pattern: &str) -> EventQuery {
    EventQuery {
        patterns: vec![Pattern::new(pattern).expect("a pattern")],
        priorities: Priority::URGENT_FIRST.to_vec(),
        since: 0,
        until: u64::MAX,
        after: None,
        oldest_first: true,
        limit: 100,
    }
}

async fn ask(store: &Store, query: &EventQuery) -> EventPage {
    store.events(query, |_| true).await.expect("the database answers")
}

/// All that a query finds, page by page.
async fn ask_all(store: &Store, mut query: EventQuery) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        let page = ask(store, &query).await;
        assert!(page.events.len() <= query.limit);
        found.extend(page.events.iter().map(|kept| {
            let payload = kept.event.payload.bytes();
            (kept.event.name.to_string(), String::from_utf8_lossy(payload).into_owned())
        }));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

/// The numbers of the events that [`publish_numbers`] has published and the store has, in order.
async fn kept_numbers(store: &Store) -> Vec<u32> {
    let found = ask_all(store, query("test.*")).await;
    let mut numbers: Vec<u32> =
        found.iter().map(|(_, payload)| payload.parse().expect("a number")).collect();
    numbers.sort_unstable();
    numbers
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < HANGS, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
