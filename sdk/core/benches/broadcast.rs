//! What a broadcast costs a server before the sockets: an event is appended, the connections that
//! want it are found, it is encoded once for each wire, and a reference goes into the outbox of each
//! connection. Beside it, the same hand-out with an encoding for each connection, as servers do
//! that have no finished frames to share.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidings_core::lane::{Epoch, Partitioning};
use tidings_core::link::{Redact, Wire, encode_event};
use tidings_core::log::{Appended, LaneLog, Retention};
use tidings_core::message::SubId;
use tidings_core::server::{Feed, FeedConfig, Hub};
use tidings_core::socketio::Namespace;
use tidings_core::{Event, Headers, Lane, Pattern, Payload, Priority};

const NAME: &str = "news.flash";
const START: u64 = 1_790_000_000_000_000;

/// Connections of one shard, all of which want the event, and the log it comes from.
struct Room {
    hub: Hub<usize>,
    feeds: Vec<RefCell<Feed>>,
    log: LaneLog,
    payload: Bytes,
    /// Bytes taken from all outboxes.
    written: usize,
}

/// What a schema says is sensitive.
#[derive(Debug)]
enum Sensitive {
    /// Something of other events.
    Elsewhere,
    /// All of these: half of the connections do not get it.
    Here,
}

impl Redact for Sensitive {
    fn redact(&self, _: &Event) -> Option<Payload> {
        matches!(self, Self::Here).then_some(Payload::NULL)
    }
}

impl Room {
    fn new(connections: usize, wires: &[Wire], payload: usize) -> Self {
        Self::with(connections, wires, payload, None)
    }

    fn with(
        connections: usize,
        wires: &[Wire],
        payload: usize,
        sensitive: Option<Sensitive>,
    ) -> Self {
        let partitioning = Partitioning::new(1);
        let lane = Lane::new(0, Priority::Normal);
        let retention = Retention { max_events: 64, ..Retention::default() };
        let log = LaneLog::new(lane, Epoch(1), retention, START);
        let pattern = Pattern::new("news.*").expect("a pattern");
        let redact = sensitive.map(|sensitive| Arc::new(sensitive) as Arc<dyn Redact>);
        let config = Arc::new(FeedConfig { redact, ..FeedConfig::default() });
        let mut hub = Hub::new(partitioning);
        let mut feeds = Vec::with_capacity(connections);
        for number in 0..connections {
            let key = hub.insert(number);
            hub.subscribe(key, SubId(1), &pattern);
            let wire = wires[number % wires.len()];
            let mut feed = Feed::new(wire, Arc::clone(&config));
            feed.subscribe(SubId(1), pattern.clone());
            feed.watch(lane, log.head());
            if number % 2 == 0 {
                feed.reveal(None);
            }
            feeds.push(RefCell::new(feed));
        }
        let payload = format!("{{\"text\":\"{}\"}}", "x".repeat(payload)).into();
        Self { hub, feeds, log, payload, written: 0 }
    }

    fn event(&self) -> Event {
        Event {
            name: NAME.into(),
            payload: Payload::Json(self.payload.clone()),
            id: Arc::default(),
            priority: Priority::Normal,
            time: 0,
            headers: Headers::NONE,
        }
    }

    /// One event to everybody; what waits is taken as a socket would take it.
    fn broadcast(&mut self) {
        let Appended::Fresh(logged) = self.log.append(START, self.event(), None) else {
            panic!("an event without a producer is new")
        };
        let (feeds, written) = (&self.feeds, &mut self.written);
        self.hub.forward(&logged, |number| {
            let mut feed = feeds[*number].borrow_mut();
            assert!(feed.offer(&logged), "there is room");
            *written += black_box(feed.outbox_mut().pop()).map_or(0, |frame| frame.len());
        });
    }

    /// The same with an encoding for each connection.
    fn broadcast_encoding_each(&mut self) {
        let Appended::Fresh(logged) = self.log.append(START, self.event(), None) else {
            panic!("an event without a producer is new")
        };
        let (feeds, written) = (&self.feeds, &mut self.written);
        self.hub.forward(&logged, |number| {
            let mut feed = feeds[*number].borrow_mut();
            let frame = encode_event(feed.wire(), &Namespace::MAIN, logged.framed().delivery());
            feed.outbox_mut().push_event(Priority::Normal, frame, None);
            *written += black_box(feed.outbox_mut().pop()).map_or(0, |frame| frame.len());
        });
    }
}

fn broadcast(c: &mut Criterion) {
    let mixed = [Wire::WsJson, Wire::SocketIoTidings, Wire::WsMsgpack, Wire::SocketIo];
    let wires: [(&str, &[Wire]); 3] =
        [("ws", &[Wire::WsJson]), ("socketio", &[Wire::SocketIo]), ("mixed", &mixed)];
    for (name, wires) in wires {
        let mut group = c.benchmark_group(format!("broadcast/{name}"));
        for connections in [10, 1000, 10_000] {
            group.throughput(Throughput::Elements(connections as u64));
            let mut room = Room::new(connections, wires, 185);
            group.bench_function(BenchmarkId::new("encoded once", connections), |b| {
                b.iter(|| room.broadcast());
            });
            group.bench_function(BenchmarkId::new("encoded for each", connections), |b| {
                b.iter(|| room.broadcast_encoding_each());
            });
        }
        group.finish();
    }
    let mut group = c.benchmark_group("broadcast/sensitive");
    group.throughput(Throughput::Elements(1000));
    for (name, sensitive) in [
        ("nothing", None),
        ("other events", Some(Sensitive::Elsewhere)),
        ("these", Some(Sensitive::Here)),
    ] {
        let mut room = Room::with(1000, &[Wire::WsJson], 185, sensitive);
        group.bench_function(name, |b| b.iter(|| room.broadcast()));
    }
    group.finish();
    let mut group = c.benchmark_group("broadcast/16 kB");
    group.throughput(Throughput::Elements(1000));
    let mut room = Room::new(1000, &mixed, 16_000);
    group.bench_function("encoded once", |b| b.iter(|| room.broadcast()));
    group.bench_function("encoded for each", |b| b.iter(|| room.broadcast_encoding_each()));
    group.finish();
}

criterion_group!(benches, broadcast);
criterion_main!(benches);
