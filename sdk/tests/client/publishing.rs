//! Events from the application to the server.

use tidings::error::PublishError;
use tidings::{Advice, ErrorCode, Payload, Priority, Refusal};
use tidings_core::client;

use super::*;

#[tokio::test]
async fn a_publish_resolves_with_its_position() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let first = within(client.publish("a", &1)).await.unwrap();
        let second = within(client.publish("a", &2)).await.unwrap();
        assert_eq!(first.lane, second.lane);
        assert!(first.offset < second.offset);
        let urgent = within(client.publish("a", &3).priority(Priority::Critical)).await.unwrap();
        assert_eq!(urgent.lane.priority(), Priority::Critical);
        let stats = client.stats().await;
        assert_eq!((stats.counters.published, stats.round_trips.count()), (3, 3));
        assert!(stats.round_trips.quantile(0.5).is_some());
    }
}

#[tokio::test]
async fn what_is_published_offline_goes_out_in_order() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let down = server.down().await;
    until(&client, State::Reconnecting).await;
    for n in 0..50 {
        client.publish("a", &n).send().unwrap();
    }
    let last = client.publish("a", &50);
    let last = tokio::spawn(async move { last.await });
    let server = down.up().await;
    within(last).await.unwrap().unwrap();
    let expected: Vec<_> =
        (0..=50).map(|n| ("a".to_owned(), Payload::Json(n.to_string().into()))).collect();
    assert_eq!(server.log(), expected);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_and_has_one_effect() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        server.mute(true);
        let publishes: Vec<_> = (0..20)
            .map(|n| {
                let publish = client.publish(format!("{transport}.x"), &n);
                tokio::spawn(async move { publish.await })
            })
            .collect();
        let arrived =
            || server.log().iter().filter(|(n, _)| n.starts_with(transport.as_str())).count();
        // The window is full: the others wait for acknowledgements that do not come.
        eventually(|| arrived() == 16).await;
        server.mute(false);
        server.cut();
        for publish in publishes {
            within(publish).await.unwrap().unwrap();
        }
        assert_eq!(arrived(), 20);
        assert_eq!(client.stats().await.counters.resent, 16);
    }
}

#[tokio::test]
async fn refusals_are_told_or_overcome_as_their_code_says() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        server.refuse_publish(Refusal::new(ErrorCode::FORBIDDEN, "not by you"));
        let error = within(client.publish("a", &1)).await.unwrap_err();
        assert_eq!(error.advice(), Advice::GiveUp);
        assert!(error.to_string().contains("not by you"), "{error}");
        server.refuse_publish(Refusal::new(ErrorCode::UNAVAILABLE, "the log is away"));
        within(client.publish("a", &1)).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_published_costs_nothing_else() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let error = within(client.publish("a.*", &1)).await.unwrap_err();
    assert!(error.to_string().contains("`*`"), "{error}");
    let keys_that_are_not_text = std::collections::HashMap::from([((1, 2), 3)]);
    let error = within(client.publish("a", &keys_that_are_not_text)).await.unwrap_err();
    assert!(matches!(error, PublishError::Payload(_)));
    let large = Payload::Binary(vec![0; (1 << 20) + 1].into());
    let error = within(client.publish_raw("a", large)).await.unwrap_err();
    let PublishError::Client(client::PublishError::Refused(refusal)) = error else { panic!() };
    assert_eq!(refusal.code, ErrorCode::TOO_LARGE);
    within(client.publish("a", &1)).await.unwrap();
    assert_eq!(client.stats().await.counters.reconnects, 0);
}

#[tokio::test]
async fn queues_are_bounded() {
    let server = Server::start().await;
    let url = server.url();
    drop(server.down().await);
    let client = Client::builder(url).queue_events(10).build().unwrap();
    until(&client, State::Reconnecting).await;
    let full = within(async {
        loop {
            if let Err(error) = client.publish("a", &1).send() {
                return error;
            }
            if client.stats().await.counters.publish_failures > 0 {
                return within(client.publish("a", &1)).await.unwrap_err();
            }
        }
    })
    .await;
    assert!(
        matches!(full, PublishError::Client(client::PublishError::QueueFull { count: 10, .. })),
        "{full}"
    );
    assert_eq!(full.advice(), Advice::Retry);
    assert_eq!(client.stats().await.queued[Priority::Normal as usize], 10);
}

#[tokio::test]
async fn a_publish_is_given_up_in_time() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    server.mute(true);
    let short = Duration::from_millis(10);
    let error = within(client.publish("a", &1).timeout(short)).await.unwrap_err();
    assert_eq!(error, PublishError::Client(client::PublishError::TimedOut(short)));
    drop(server.down().await);
    until(&client, State::Reconnecting).await;
    let error = within(client.publish("a", &1).timeout(short)).await.unwrap_err();
    assert_eq!(error, PublishError::Client(client::PublishError::Expired(short)));
}

#[tokio::test]
async fn volatile_events_go_at_once_or_not_at_all() {
    use futures_util::StreamExt;
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let mut cursors = within(client.subscribe::<u32>("cursors.*")).await.unwrap();
        within(client.publish("cursors.me", &7).volatile()).await.unwrap();
        let received = within(cursors.next()).await.unwrap().unwrap();
        assert_eq!((received.value, received.meta.position), (7, None));
        client.publish("cursors.me", &8).volatile().send().unwrap();
        assert_eq!(within(cursors.next()).await.unwrap().unwrap().value, 8);
    }
    let client = connect(&server, Transport::Ws).await;
    drop(server.down().await);
    until(&client, State::Reconnecting).await;
    let error = within(client.publish("cursors.me", &9).volatile()).await.unwrap_err();
    assert_eq!(error, PublishError::Client(client::PublishError::NotConnected));
}

#[tokio::test]
async fn closing_flushes() {
    let server = Server::start().await;
    for transport in BOTH {
        let before = server.log().len();
        let client = connect(&server, transport).await;
        for n in 0..100 {
            client.publish("a", &n).send().unwrap();
        }
        within(client.close()).await;
        assert_eq!(server.log().len(), before + 100);
        let error = within(client.publish("a", &1)).await.unwrap_err();
        assert_eq!(error.advice(), Advice::GiveUp);
    }
    eventually(|| server.goodbyes() == 2).await;
}

#[tokio::test]
async fn dropping_the_last_handle_flushes_too() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let publish = client.clone().publish("a", &1);
    drop(client);
    publish.send().unwrap();
    eventually(|| server.log().len() == 1 && server.goodbyes() == 1).await;
    eventually(|| server.transports().is_empty()).await;
}
