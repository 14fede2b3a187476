//! The client and the server, end to end.

mod blocked;
mod collection_rules;
mod collections;
mod conformance;
mod handover;
mod network;
mod presence;
mod schemas;
mod tls;
mod tokens;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use network::{Proxy, Running};
use tidings::error::EventError;
use tidings::{Client, Delivery, Encoding, Payload, Position, Priority, State, Transport};
use tidings_server::{Request, reply};

const ANY: &str = "127.0.0.1:0";
const BOTH: [Transport; 2] = [Transport::Ws, Transport::SocketIo];

async fn server() -> Running {
    Running::start(ANY.parse().unwrap(), |_| {}).await
}

async fn connect(url: &str, transport: Transport) -> Client {
    let client = Client::builder(url)
        .transport(transport)
        .backoff(Duration::from_millis(5), Duration::from_millis(50))
        .build()
        .unwrap();
    within(client.connected()).await.unwrap();
    client
}

/// A test that waits for what never comes fails here instead of hanging.
async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it never came")
}

/// What a subscription got: the payloads of each publisher, in order.
type Received = Arc<Mutex<BTreeMap<String, Vec<u32>>>>;

/// Notes the numbers that come under each name.
fn note(received: &Received) -> impl FnMut(&Delivery) + Send + use<> {
    let received = received.clone();
    move |delivery| {
        let text = std::str::from_utf8(delivery.event.payload.bytes()).unwrap();
        let mut received = received.lock().unwrap();
        received.entry(delivery.event.name.to_string()).or_default().push(text.parse().unwrap());
    }
}

/// Waits until each of `names` brought all numbers up to `count`, and nothing else has come.
async fn complete(received: &Received, names: &[String], count: u32) {
    let expected: BTreeMap<_, Vec<u32>> =
        names.iter().map(|name| (name.clone(), (0..count).collect())).collect();
    within(async {
        loop {
            let got = received.lock().unwrap().clone();
            let arrived: usize = got.values().map(Vec::len).sum();
            if arrived >= names.len() * count as usize {
                assert_eq!(got, expected);
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_clients_and_services_publish_reaches_clients_of_both_transports() {
    let (bus, running) = {
        let mut bus = None;
        let running = Running::start(ANY.parse().unwrap(), |server| {
            bus = Some(server.bus().clone());
        })
        .await;
        (bus.unwrap(), running)
    };
    let receivers: Vec<Received> =
        vec![Received::default(); 3].into_iter().map(|_| Received::default()).collect();
    let mut clients = Vec::new();
    for (receiver, (transport, encoding)) in receivers.iter().zip([
        (Transport::Ws, Encoding::Json),
        (Transport::Ws, Encoding::Msgpack),
        (Transport::SocketIo, Encoding::Json),
    ]) {
        let client =
            Client::builder(running.url()).transport(transport).encoding(encoding).build().unwrap();
        within(client.on("rooms.**", note(receiver))).await.unwrap().detach();
        clients.push(client);
    }
    let names = ["rooms.client".to_owned(), "rooms.service".to_owned()];
    for n in 0..100_u32 {
        within(clients[n as usize % 3].publish(&*names[0], &n)).await.unwrap();
        bus.emit(&bus.event(&*names[1], Payload::Json(n.to_string().into())).unwrap());
    }
    for receiver in &receivers {
        complete(receiver, &names, 100).await;
    }
}

#[tokio::test]
async fn events_that_may_wait_come_together() {
    let running = server().await;
    let builder = Client::builder(running.url()).transport(Transport::Ws);
    let client = builder.batch_delay(Duration::from_millis(500)).build().unwrap();
    let received = Received::default();
    within(client.on("rooms.*", note(&received))).await.unwrap().detach();
    let publisher = connect(&running.url(), Transport::Ws).await;
    let before = within(client.stats()).await.counters.frames_in;
    for n in 0..50_u32 {
        within(publisher.publish("rooms.one", &n)).await.unwrap();
    }
    complete(&received, &["rooms.one".to_owned()], 50).await;
    let messages = within(client.stats()).await.counters.frames_in - before;
    assert!(messages < 25, "50 events came as {messages} messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_lose_nothing_and_bring_nothing_twice() {
    let running = server().await;
    let proxy = Proxy::to(running.address).await;
    let receivers = [Received::default(), Received::default()];
    let mut clients = Vec::new();
    for (transport, receiver) in BOTH.into_iter().zip(&receivers) {
        let client = connect(&proxy.url, transport).await;
        within(client.on("rooms.*", note(receiver))).await.unwrap().detach();
        clients.push(client);
    }
    let names: Vec<_> = BOTH.iter().map(|transport| format!("rooms.{transport}")).collect();
    let publishing: Vec<_> = clients
        .iter()
        .zip(&names)
        .map(|(client, name)| {
            let (client, name) = (client.clone(), name.clone());
            tokio::spawn(async move {
                let mut last = None;
                for n in 0..2000_u32 {
                    last = Some(client.publish(&*name, &n).into_future());
                    if n % 50 == 49 {
                        last.take().unwrap().await.unwrap();
                    }
                }
                drop(last);
            })
        })
        .collect();
    let progress = || receivers[0].lock().unwrap().values().map(Vec::len).sum::<usize>();
    for cut in 1..=8 {
        within(async {
            while progress() < cut * 400 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        proxy.cut();
    }
    for publishing in publishing {
        within(publishing).await.unwrap();
    }
    for receiver in &receivers {
        complete(receiver, &names, 2000).await;
    }
    for client in clients {
        let counters = client.stats().await.counters;
        assert_eq!(counters.gaps, 0);
        assert!(counters.reconnects >= 1, "{counters:?}");
        assert!(counters.recovered > 0, "{counters:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switching_the_transport_under_load_loses_nothing() {
    let running = server().await;
    let client = connect(&running.url(), Transport::Ws).await;
    let received = Received::default();
    within(client.on("rooms.*", note(&received))).await.unwrap().detach();
    let publishing = tokio::spawn({
        let client = client.clone();
        async move {
            for n in 0..3000_u32 {
                client.publish("rooms.1", &n).await.unwrap();
            }
        }
    });
    let mut switches = 0;
    while !publishing.is_finished() {
        switches += 1;
        let transport = BOTH[switches % 2];
        assert_eq!(within(client.switch_transport(transport)).await, Ok(transport));
    }
    within(publishing).await.unwrap();
    complete(&received, &["rooms.1".to_owned()], 3000).await;
    let counters = client.stats().await.counters;
    assert_eq!((counters.reconnects, counters.gaps), (0, 0), "{counters:?}");
    assert!(counters.switches >= 2, "{counters:?}");
}

#[tokio::test]
async fn priorities_have_lanes_of_their_own() {
    let running = server().await;
    let client = connect(&running.url(), Transport::Ws).await;
    let mut all = within(client.subscribe_raw("a", None)).await.unwrap();
    for priority in Priority::URGENT_FIRST {
        let Position { lane, .. } =
            within(client.publish("a", &1).priority(priority)).await.unwrap();
        assert_eq!(lane.priority(), priority);
        let delivery = within(all.next()).await.unwrap().unwrap();
        assert_eq!((delivery.event.priority, delivery.position.unwrap().lane), (priority, lane));
        assert!(delivery.event.time > 0 && !delivery.event.id.is_empty());
    }
}

#[tokio::test]
async fn the_past_of_a_subscription_ends_where_its_present_begins() {
    let running = server().await;
    for transport in BOTH {
        let name = format!("numbers.{transport}");
        let client = connect(&running.url(), transport).await;
        let first = within(client.publish(&*name, &0)).await.unwrap();
        let mut early = within(client.subscribe_raw(&*name, None)).await.unwrap();
        for n in 1..=50 {
            within(client.publish(&*name, &n)).await.unwrap();
        }
        within(early.next()).await.unwrap().unwrap();
        let since = [(first.lane, tidings_core::Place::default())].into_iter().collect();
        let mut late = within(client.subscribe_since::<u32>(&*name, since)).await.unwrap();
        for n in 51..=60 {
            within(client.publish(&*name, &n)).await.unwrap();
        }
        for n in 0..=60 {
            let received = within(late.next()).await.unwrap().unwrap();
            assert_eq!((received.value, received.meta.replayed), (n, n <= 50));
        }
    }
}

#[tokio::test]
async fn each_side_may_ask_the_other() {
    let running = Running::start(ANY.parse().unwrap(), |server| {
        server.handle("who am I", |request: Request| async move { reply(&&*request.session) });
    })
    .await;
    for transport in BOTH {
        let client = connect(&running.url(), transport).await;
        client.handle("double", |request| async move { Ok(request.value::<u32>()? * 2) }).unwrap();
        let session: String = within(client.request("who am I", &())).await.unwrap();
        let payload = Payload::Json("21".into());
        let answer = within(running.remote.request(&session, "double", payload)).await;
        assert_eq!(answer, Ok(Payload::Json("42".into())));
        let error = within(client.request::<()>("unheard of", &())).await.unwrap_err();
        assert_eq!(error.advice(), tidings::Advice::GiveUp, "{error}");
    }
}

#[tokio::test]
async fn a_restart_that_loses_the_log_is_told_as_a_gap_and_survived() {
    let running = server().await;
    let mut subscriptions = Vec::new();
    for transport in BOTH {
        let client = connect(&running.url(), transport).await;
        let mut numbers = within(client.subscribe::<u32>("numbers")).await.unwrap();
        within(client.publish("numbers", &1)).await.unwrap();
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, 1);
        subscriptions.push((client, numbers));
    }
    let address: SocketAddr = within(running.stop()).await;
    let _again = Running::start(address, |_| {}).await;
    for (client, numbers) in &mut subscriptions {
        within(async {
            loop {
                match numbers.next().await.unwrap() {
                    Err(EventError::Gap(_)) => return,
                    // The other client's first event.
                    Ok(_) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await;
        within(client.connected()).await.unwrap();
    }
    let (publisher, _) = &subscriptions[0];
    within(publisher.publish("numbers", &7)).await.unwrap();
    for (_, numbers) in &mut subscriptions {
        within(async {
            while numbers.next().await.unwrap().ok().map(|received| received.value) != Some(7) {}
        })
        .await;
    }
}

#[tokio::test]
async fn closing_leaves_nothing_behind() {
    let running = server().await;
    for transport in BOTH {
        let client = connect(&running.url(), transport).await;
        within(client.on("**", |_| {})).await.unwrap().detach();
        within(client.close()).await;
        assert_eq!(client.status().state, State::Closed);
    }
    // It says that all connections are gone.
    within(running.stop()).await;
}
