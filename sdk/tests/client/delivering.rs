//! Events from the server to the application.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tidings::error::{EventError, SubscribeError};
use tidings::{Client, Encoding, Event, Overflow, Payload, Priority, State};
use tidings_core::message::ServerMessage;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "orders.{region}.created", priority = "high")]
struct OrderCreated {
    region: String,
    items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Item {
    price: u32,
}

#[tokio::test]
async fn typed_events_arrive_with_what_is_known_about_them() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let mut orders = within(client.subscribe_to::<OrderCreated>()).await.unwrap();
        let sent = OrderCreated { region: "eu".into(), items: vec![Item { price: 7 }] };
        let position = within(client.emit(&sent).headers([("trace", "1")])).await.unwrap();
        let received = within(orders.next()).await.unwrap().unwrap();
        assert_eq!(received.value, sent);
        assert_eq!(&*received.meta.name, "orders.eu.created");
        assert_eq!(received.meta.position, Some(position));
        assert_eq!(received.meta.priority, Priority::High);
        assert_eq!(received.meta.headers.get("trace"), Some("1"));
        assert!(!received.meta.replayed);
    }
}

#[tokio::test]
async fn a_payload_that_does_not_fit_is_told_with_its_place_and_the_stream_goes_on() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let mut orders = within(client.subscribe_to::<OrderCreated>()).await.unwrap();
    let bad = serde_json::json!({"region": "eu", "items": [{"price": 1}, {"price": "dear"}]});
    within(client.publish("orders.eu.created", &bad)).await.unwrap();
    let binary = Payload::Binary(Bytes::from_static(b"123"));
    within(client.publish_raw("orders.eu.created", binary)).await.unwrap();
    within(client.publish("orders.eu.created", &serde_json::json!({"region": "eu", "items": []})))
        .await
        .unwrap();
    let Some(Err(EventError::Payload(misfit))) = within(orders.next()).await else {
        panic!("it does not fit");
    };
    assert_eq!((&*misfit.name, misfit.path.as_str()), ("orders.eu.created", "items[1].price"));
    assert!(misfit.problem.contains("expected u32"), "{misfit}");
    let binary = within(orders.next()).await.unwrap().unwrap_err();
    assert!(binary.to_string().contains("3 bytes of binary"), "{binary}");
    assert!(within(orders.next()).await.unwrap().is_ok());
}

#[tokio::test]
async fn binary_payloads_arrive_as_they_were() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let mut files = within(client.subscribe_raw("files.*", None)).await.unwrap();
        let payload = Payload::Binary((0..=255).collect::<Vec<u8>>().into());
        within(client.publish_raw("files.new", payload.clone())).await.unwrap();
        assert_eq!(within(files.next()).await.unwrap().unwrap().event.payload, payload);
    }
}

#[tokio::test]
async fn either_encoding_carries_the_same() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = Client::builder(server.url())
            .transport(transport)
            .encoding(Encoding::Msgpack)
            .build()
            .unwrap();
        let mut all = within(client.subscribe_raw("mixed.*", None)).await.unwrap();
        let json = Payload::Json(r#"{"a":[1,2.5,"x",null]}"#.into());
        let binary = Payload::Binary(Bytes::from_static(b"\0\xff"));
        for payload in [json, binary] {
            within(client.publish_raw("mixed.x", payload.clone())).await.unwrap();
            assert_eq!(within(all.next()).await.unwrap().unwrap().event.payload, payload);
        }
    }
}

#[tokio::test]
async fn callbacks_get_each_event_once_until_they_are_dropped() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = |label: &'static str| {
        let seen = seen.clone();
        move |delivery: &tidings::Delivery| {
            seen.lock().unwrap().push((label, delivery.event.name.to_string()));
        }
    };
    let all = within(client.on("**", note("all"))).await.unwrap();
    let rooms = within(client.on("rooms.*", note("rooms"))).await.unwrap();
    within(client.on("rooms.1", |_| panic!("on purpose"))).await.unwrap().detach();
    within(client.publish("rooms.1", &1)).await.unwrap();
    eventually(|| seen.lock().unwrap().len() == 2).await;
    drop(rooms);
    eventually(|| server.subscriptions() == 2).await;
    within(client.publish("rooms.1", &2)).await.unwrap();
    eventually(|| seen.lock().unwrap().len() == 3).await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort_unstable();
    let rooms1 = || "rooms.1".to_owned();
    assert_eq!(seen, [("all", rooms1()), ("all", rooms1()), ("rooms", rooms1())]);
    drop(all);
    eventually(|| server.subscriptions() == 1).await;
}

#[tokio::test]
async fn a_callback_may_publish() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let answering = client.clone();
    let answer = move |_: &tidings::Delivery| answering.publish("pong", &()).send().unwrap();
    within(client.on("ping", answer)).await.unwrap().detach();
    let mut pongs = within(client.subscribe::<()>("pong")).await.unwrap();
    within(client.publish("ping", &())).await.unwrap();
    within(pongs.next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_refused_subscription_says_why() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    for pattern in ["secret.**", "", "a\nb"] {
        let error = within(client.subscribe::<()>(pattern)).await.unwrap_err();
        assert!(matches!(error, SubscribeError::Refused(_)), "{pattern:?}: {error}");
        assert_eq!(error.advice(), tidings::Advice::GiveUp);
    }
}

#[tokio::test]
async fn a_slow_application_loses_the_oldest_and_is_told_how_many() {
    let server = Server::start().await;
    let client = connect_with_buffer(&server, 4, Overflow::DropOldest).await;
    let mut numbers = within(client.subscribe::<u32>("numbers")).await.unwrap();
    for n in 0..10 {
        within(client.publish("numbers", &n)).await.unwrap();
    }
    // The last acknowledgement may be ahead of the last event.
    eventually_counted(&client, 10).await;
    let Some(Err(EventError::Lagged { missed: 6 })) = within(numbers.next()).await else {
        panic!("six are missing");
    };
    for n in 6..10 {
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, n);
    }
}

#[tokio::test]
async fn a_slow_application_may_pause_the_connection_instead() {
    let server = Server::start().await;
    let client = connect_with_buffer(&server, 4, Overflow::Pause).await;
    let mut numbers = within(client.subscribe::<u32>("numbers")).await.unwrap();
    for n in 0..500 {
        server.publish("numbers", Payload::Json(n.to_string().into()));
    }
    for n in 0..500 {
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, n);
    }
    drop(numbers);
    // A stream that is gone does not keep the connection paused.
    let abandoned = within(client.subscribe::<u32>("numbers")).await.unwrap();
    for _ in 0..100 {
        server.publish("numbers", Payload::NULL);
    }
    drop(abandoned);
    within(client.publish("elsewhere", &())).await.unwrap();
}

async fn connect_with_buffer(server: &Server, events: usize, overflow: Overflow) -> Client {
    let client = Client::builder(server.url()).buffer(events, overflow).build().unwrap();
    within(client.connected()).await.unwrap();
    client
}

async fn eventually_counted(client: &Client, events: u64) {
    within(async { while client.stats().await.counters.events < events {} }).await;
}

#[tokio::test]
async fn what_was_missed_comes_after_a_cut() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let mut numbers = within(client.subscribe::<u32>("numbers.*")).await.unwrap();
        server.publish("numbers.a", Payload::Json("1".into()));
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, 1);
        server.cut();
        server.publish("numbers.a", Payload::Json("2".into()));
        server.publish("numbers.b", Payload::Json("3".into()));
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, 2);
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, 3);
        let counters = client.stats().await.counters;
        assert_eq!((counters.reconnects, counters.duplicates), (1, 0));
        client.close().await;
    }
}

#[tokio::test]
async fn the_past_can_be_asked_for() {
    let server = Server::start().await;
    for n in ["1", "2", "3"] {
        server.publish("numbers", Payload::Json(n.into()));
    }
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let mut all = within(client.subscribe_raw("numbers", None)).await.unwrap();
        server.publish("numbers", Payload::Json("4".into()));
        let position = within(all.next()).await.unwrap().unwrap().position.unwrap();
        let since = [(position.lane, tidings_core::Place::default())].into_iter().collect();
        let mut past = within(client.subscribe_since::<u32>("numbers", since)).await.unwrap();
        for n in 1..=3 {
            let received = within(past.next()).await.unwrap().unwrap();
            assert_eq!((received.value, received.meta.replayed), (n, true));
        }
    }
}

#[tokio::test]
async fn loss_is_told() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let mut numbers = within(client.subscribe_raw("numbers", None)).await.unwrap();
    server.publish("numbers", Payload::NULL);
    let lane = within(numbers.next()).await.unwrap().unwrap().position.unwrap().lane;
    let gap = tidings::Gap {
        lane,
        from: tidings::Offset(1),
        to: tidings::Offset(50),
        epoch: tidings_core::Epoch(1),
        replay_for: None,
    };
    server.say(&ServerMessage::Gap(gap));
    assert_eq!(within(numbers.next()).await, Some(Err(EventError::Gap(gap))));
    assert_eq!(client.stats().await.counters.gaps, 1);
}

#[tokio::test]
async fn streams_end_when_the_client_does() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let mut numbers = within(client.subscribe::<u32>("numbers")).await.unwrap();
    within(client.close()).await;
    assert!(matches!(within(numbers.next()).await, Some(Err(EventError::Closed(_)))));
    assert_eq!(within(numbers.next()).await, None);
    assert_eq!(client.status().state, State::Closed);
    let error = within(client.subscribe::<u32>("numbers")).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Closed(_)));
}
