//! Several servers on a real Redis.

mod breaking;
mod collections;
mod instances;
mod log;
#[path = "../../../server-reference/tests/raw/mod.rs"]
mod raw;
mod rest;
mod revoked;
mod secured;
mod sessions;
mod stored;
mod told;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use instances::{Gate, Instance, until};
use tidings::{Client, Delivery, Payload, Transport};
use tidings_harness::redis_cluster::RedisCluster;

const BOTH: [Transport; 2] = [Transport::Ws, Transport::SocketIo];

async fn connect(url: &str, transport: Transport) -> Client {
    let client = Client::builder(url)
        .transport(transport)
        .backoff(Duration::from_millis(5), Duration::from_millis(100))
        .build()
        .unwrap();
    within(client.connected()).await.unwrap();
    client
}

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A test that waits for what never comes fails here instead of hanging.
async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never came")
}

/// What a client got: the numbers under each name, in the order in which they came.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<BTreeMap<String, Vec<u32>>>>);

impl Received {
    fn note(&self) -> impl FnMut(&Delivery) + Send + use<> {
        let received = self.0.clone();
        move |delivery| {
            let text = std::str::from_utf8(delivery.event.payload.bytes()).unwrap();
            let mut received = received.lock().unwrap();
            let name = delivery.event.name.to_string();
            received.entry(name).or_default().push(text.parse().unwrap());
        }
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().values().map(Vec::len).sum()
    }

    /// Waits until each of `names` brought the numbers up to `count`: once each, and in order.
    async fn complete(&self, names: &[String], count: u32) {
        let expected: BTreeMap<_, Vec<u32>> =
            names.iter().map(|name| (name.clone(), (0..count).collect())).collect();
        let all = names.len() * count as usize;
        let arriving = tokio::time::timeout(PATIENCE, async {
            while self.count() < all {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let complete = arriving.await;
        let got = self.0.lock().unwrap().clone();
        for (name, numbers) in &expected {
            let came = got.get(name).cloned().unwrap_or_default();
            let missing: Vec<_> = numbers.iter().filter(|n| !came.contains(n)).collect();
            assert!(missing.is_empty(), "{name} lacks {missing:?} ({complete:?})");
            assert_eq!(&came, numbers, "{name}: once each, and in order");
        }
        assert_eq!(got.len(), expected.len());
    }
}

async fn listen(client: &Client, pattern: &str) -> Received {
    let received = Received::default();
    within(client.on(pattern, received.note())).await.unwrap().detach();
    received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_on_one_instance_arrives_on_all_once_and_in_order() {
    let redis = RedisCluster::start().await.unwrap();
    let mut instances = Vec::new();
    for name in ["a", "b", "c"] {
        instances.push(Instance::start(&redis, name).await);
    }
    let mut receivers = Vec::new();
    let mut clients = Vec::new();
    for instance in &instances {
        for transport in BOTH {
            let client = connect(&instance.url(), transport).await;
            receivers.push(listen(&client, "**").await);
            clients.push(client);
        }
    }
    let names: Vec<String> = (0..clients.len()).map(|n| format!("root{n}.number")).collect();
    let publishing = clients.iter().zip(&names).map(|(client, name)| {
        let (client, name) = (client.clone(), name.clone());
        tokio::spawn(async move {
            for n in 0..200_u32 {
                client.publish(&*name, &n).await.unwrap();
            }
        })
    });
    for publishing in publishing.collect::<Vec<_>>() {
        within(publishing).await.unwrap();
    }
    for received in &receivers {
        received.complete(&names, 200).await;
    }
    for client in &clients {
        assert_eq!(client.stats().await.counters.gaps, 0);
    }
    until("every instance knows the others", || {
        instances.iter().all(|instance| instance.redis().instances.len() == 3)
    })
    .await;
    let last = instances.pop().unwrap();
    last.kill();
    until("a dead instance is not listed any more", || {
        let left = instances[0].redis().instances;
        left.iter().map(|info| &*info.instance).collect::<Vec<_>>() == ["a", "b"]
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_and_volatile_events_reach_the_other_instances() {
    let redis = RedisCluster::single().await.unwrap();
    let (a, b) = (Instance::start(&redis, "a").await, Instance::start(&redis, "b").await);
    let client = connect(&b.url(), Transport::Ws).await;
    let received = listen(&client, "from.*").await;
    for n in 0..50_u32 {
        let payload = Payload::Json(n.to_string().into());
        a.bus.emit(&a.bus.event("from.service", payload).unwrap());
    }
    received.complete(&["from.service".to_owned()], 50).await;

    // The service on B hears what a client of A publishes, once its partition is read there.
    let heard = Arc::new(Mutex::new(Vec::new()));
    let _listening = b.bus.on("to.service", {
        let heard = heard.clone();
        move |event| heard.lock().unwrap().push(event.payload.clone())
    });
    let other = connect(&a.url(), Transport::Ws).await;
    let mut volatile = within(client.subscribe::<u32>("cursor")).await.unwrap();
    within(async {
        loop {
            other.publish("to.service", &1).await.unwrap();
            other.publish("cursor", &7).volatile().send().unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            if !heard.lock().unwrap().is_empty() {
                return;
            }
        }
    })
    .await;
    assert_eq!(within(volatile.next()).await.unwrap().unwrap().value, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_at_another_instance_where_it_was() {
    let redis = RedisCluster::start().await.unwrap();
    let (a, b) = (Instance::start(&redis, "a").await, Instance::start(&redis, "b").await);
    let gate = Gate::to(&a).await;
    for transport in BOTH {
        let publisher = connect(&a.url(), transport).await;
        let client = connect(&gate.url, transport).await;
        let name = format!("{transport}.number");
        let received = listen(&client, &name).await;
        for n in 0..20_u32 {
            within(publisher.publish(&*name, &n)).await.unwrap();
        }
        until("the first have come", || received.count() == 20).await;
        gate.lead_to(None);
        // More than one read of Redis gets.
        for n in 20..1300_u32 {
            drop(publisher.publish(&*name, &n).into_future());
        }
        within(publisher.publish(&*name, &1300_u32)).await.unwrap();
        assert!(b.redis().reads == 0 || transport != BOTH[0], "B has not read anything yet");
        gate.lead_to(Some(&b));
        received.complete(&[name], 1301).await;
        let counters = client.stats().await.counters;
        assert_eq!(counters.gaps, 0, "{counters:?}");
        gate.lead_to(Some(&a));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_come_back_cost_redis_no_more_reads_than_one() {
    const CLIENTS: usize = 1000;
    const EVENTS: u32 = 1200;
    let redis = RedisCluster::start().await.unwrap();
    let (a, b) = (Instance::start(&redis, "a").await, Instance::start(&redis, "b").await);
    let gate = Gate::to(&a).await;
    let publisher = connect(&a.url(), Transport::Ws).await;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let client = connect(&gate.url, BOTH[n % 2]).await;
        let received = listen(&client, "news.first").await;
        clients.push((client, received));
    }
    // Each has another place: the reads cannot be shared by accident.
    for n in 0..EVENTS {
        within(publisher.publish("news.other", &n)).await.unwrap();
    }
    gate.lead_to(None);
    within(publisher.publish("news.first", &0_u32)).await.unwrap();
    for n in 0..EVENTS {
        within(publisher.publish("news.other", &n)).await.unwrap();
    }
    let before = (redis.calls("xrange").await.unwrap(), redis.calls("xrevrange").await.unwrap());
    let reads_before = b.redis().reads;
    gate.lead_to(Some(&b));
    for (_, received) in &clients {
        received.complete(&["news.first".to_owned()], 1).await;
    }
    let after = (redis.calls("xrange").await.unwrap(), redis.calls("xrevrange").await.unwrap());
    let reads = b.redis().reads - reads_before;
    let scans = after.1 - before.1;
    println!(
        "{CLIENTS} clients: {reads} reads, of which {scans} scan; xrange {before:?} -> {after:?}"
    );
    // One partition: four lanes are read once for what comes after, and one of them backwards in
    // chunks of 500.
    assert!(scans <= 3 + 2 * u64::from(EVENTS) / 500 + 4, "{scans} scans");
    assert!(reads <= 30, "{reads} reads for {CLIENTS} clients");
    for (client, _) in &clients {
        assert_eq!(client.stats().await.counters.gaps, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_of_socket_io_spans_the_instances() {
    let redis = RedisCluster::single().await.unwrap();
    let (a, b) = (Instance::start(&redis, "a").await, Instance::start(&redis, "b").await);
    let chats = [&a, &b].map(|instance| instance.remote.namespace("/chat").unwrap());
    for chat in &chats {
        chat.on("join", |socket: tidings_server::socketio::Socket| async move {
            socket.join("room");
            tidings_server::socketio::Reply(())
        });
    }
    let heard = Arc::new(Mutex::new(0_u32));
    chats[1].on_server_side("count", {
        let heard = heard.clone();
        move |n: u32| *heard.lock().unwrap() = n
    });
    let mut clients = Vec::new();
    for instance in [&a, &b] {
        let manager = tidings::socketio::Manager::builder(instance.url()).build().unwrap();
        let socket = manager.socket("/chat").unwrap();
        let received = Arc::new(Mutex::new(Vec::<u32>::new()));
        socket.on("news", {
            let received = received.clone();
            move |event| received.lock().unwrap().push(event.args.parse::<(u32,)>().unwrap().0)
        });
        within(socket.emit_with_ack("join", ())).await.unwrap();
        clients.push((manager, received));
    }
    // At most once: what is told before the other instance listens is lost.
    let mut sent = 0;
    within(async {
        while clients[1].1.lock().unwrap().is_empty() || *heard.lock().unwrap() == 0 {
            sent += 1;
            chats[0].to("room").emit("news", sent).unwrap();
            chats[0].server_side_emit("count", sent).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    for n in sent + 1..=sent + 20 {
        chats[0].to("room").emit("news", n).unwrap();
    }
    let last = sent + 20;
    for (index, (_, received)) in clients.iter().enumerate() {
        until("all has come", || received.lock().unwrap().last() == Some(&last)).await;
        let received = received.lock().unwrap().clone();
        let mut once = received.clone();
        once.dedup();
        assert_eq!(received, once, "once each");
        assert!(received.is_sorted(), "in order");
        assert!(index == 1 || received.len() == last as usize, "its own instance loses nothing");
    }
}
