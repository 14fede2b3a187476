//! Connecting, coming back, switching, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use tidings::error::BuildError;
use tidings::{Advice, AuthError, Close, CloseCode, Payload};
use tidings_core::message::ServerMessage;

use super::*;

#[tokio::test]
async fn a_client_waits_for_a_server_that_is_not_there_yet() {
    let server = Server::start().await;
    let url = server.url();
    let down = server.down().await;
    let client = Client::builder(url)
        .transport(Transport::Ws)
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .build()
        .unwrap();
    let status = until(&client, State::Reconnecting).await;
    assert!(status.retryable && status.reason.contains("cannot connect"), "{status:?}");
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe::<u32>("a").await.map(|_| ()) }
    });
    let _server = down.up().await;
    within(client.connected()).await.unwrap();
    within(waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn auto_falls_back_where_websockets_of_one_path_are_refused() {
    let server = Server::start().await;
    server.refuse_open(Transport::Ws, 404);
    let client = Client::builder(server.url()).build().unwrap();
    within(client.connected()).await.unwrap();
    assert_eq!(client.status().transport, Some(Transport::SocketIo));
}

#[tokio::test]
async fn a_refusal_that_cannot_change_closes_the_client() {
    let server = Server::start().await;
    server.refuse_open(Transport::Ws, 401);
    let client = Client::builder(server.url()).transport(Transport::Ws).build().unwrap();
    let error = within(client.connected()).await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
}

#[tokio::test]
async fn every_connection_has_a_fresh_token() {
    let server = Server::start().await;
    for transport in BOTH {
        let before = server.tokens().len();
        let calls = Arc::new(AtomicUsize::new(0));
        let provider = calls.clone();
        let client = Client::builder(server.url())
            .transport(transport)
            .backoff(Duration::from_millis(1), Duration::from_millis(5))
            .auth(move || {
                let call = provider.fetch_add(1, Ordering::SeqCst);
                async move {
                    match call {
                        0 => Err(AuthError::retry("the identity provider is away")),
                        call => Ok(format!("token {call}")),
                    }
                }
            })
            .build()
            .unwrap();
        within(client.connected()).await.unwrap();
        server.cut();
        until(&client, State::Reconnecting).await;
        within(client.connected()).await.unwrap();
        within(client.refresh_token()).await.unwrap();
        assert_eq!(server.tokens().split_off(before), ["token 1", "token 2", "token 3"]);
    }
}

#[tokio::test]
async fn a_bad_token_ends_it() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = Client::builder(server.url())
            .transport(transport)
            .auth(|| async { Ok("bad".to_owned()) })
            .build()
            .unwrap();
        let error = within(client.connected()).await.unwrap_err();
        assert_eq!(error.0.code, CloseCode::UNAUTHORIZED);
        let client = Client::builder(server.url())
            .transport(transport)
            .auth(|| async { Err(AuthError::give_up("signed out")) })
            .build()
            .unwrap();
        let error = within(client.connected()).await.unwrap_err();
        assert!(error.to_string().contains("signed out"), "{error}");
    }
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let delay = Some(Duration::from_millis(20));
        let close = Close { delay, ..Close::new(CloseCode::GOING_AWAY, "restarting") };
        server.say(&ServerMessage::Close(close));
        let status = until(&client, State::Reconnecting).await;
        assert_eq!((status.code, &*status.reason), (CloseCode::GOING_AWAY, "restarting"));
        within(client.connected()).await.unwrap();
        within(client.close()).await;
        eventually(|| server.transports().is_empty()).await;
    }
}

#[tokio::test]
async fn a_switch_loses_nothing() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let mut numbers = within(client.subscribe::<u32>("numbers")).await.unwrap();
    let publisher = tokio::spawn({
        let client = client.clone();
        async move {
            for n in 0..300_u32 {
                client.publish("numbers", &n).await.unwrap();
            }
        }
    });
    let mut next = 0;
    for transport in [Transport::SocketIo, Transport::Ws, Transport::SocketIo, Transport::Ws] {
        for _ in 0..10 {
            assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, next);
            next += 1;
        }
        assert_eq!(within(client.switch_transport(transport)).await, Ok(transport));
        assert_eq!(client.status().transport, Some(transport));
    }
    while next < 300 {
        assert_eq!(within(numbers.next()).await.unwrap().unwrap().value, next);
        next += 1;
    }
    within(publisher).await.unwrap();
    assert_eq!(server.log().len(), 300, "and publishes nothing twice");
    eventually(|| server.transports() == [Transport::Ws]).await;
    let counters = client.stats().await.counters;
    assert_eq!((counters.switches, counters.reconnects), (4, 0));
}

#[tokio::test]
async fn a_switch_that_fails_changes_nothing() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    server.refuse_open(Transport::SocketIo, 403);
    let error = within(client.switch_transport(Transport::SocketIo)).await.unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
    assert_eq!(client.status().transport, Some(Transport::Ws));
    within(client.publish("a", &1)).await.unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_for_the_client_ends_it() {
    let server = Server::start().await;
    let client =
        Client::builder(server.url()).transport(Transport::Ws).max_message(10_000).build().unwrap();
    let mut large = within(client.subscribe_raw("large", None)).await.unwrap();
    server.publish("large", Payload::Binary(vec![0; 20_000].into()));
    let status = until(&client, State::Closed).await;
    assert_eq!(status.code, CloseCode(1009), "coming back would bring the same message");
    assert!(within(large.next()).await.unwrap().is_err());
}

#[tokio::test]
async fn closing_twice_and_from_a_clone_is_fine() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let clone = client.clone();
    within(client.close()).await;
    within(clone.close()).await;
    assert!(within(clone.connected()).await.is_err());
    assert!(clone.handle("a", |_| async { Ok(()) }).is_err());
    assert!(within(clone.switch_transport(Transport::Ws)).await.is_err());
    assert!(within(clone.refresh_token()).await.is_err());
    assert_eq!(clone.stats().await.counters.connects, 1, "the counts stay");
}

#[tokio::test]
async fn the_handles_can_go_anywhere() {
    fn anywhere<T: Send + Sync + 'static>() {}
    anywhere::<Client>();
    anywhere::<tidings::Subscription<std::rc::Rc<()>>>();
    anywhere::<tidings::Subscribed>();
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_at_once() {
    let error = Client::builder("localhost").build().unwrap_err();
    assert!(matches!(error, BuildError::Url(_)), "{error}");
    let error = Client::builder("http://localhost").build().unwrap_err();
    assert_eq!(error, BuildError::NoRuntime);
    let builder = Client::builder("http://localhost").namespace("chat");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { builder.build().unwrap_err() });
    assert!(error.to_string().contains("/chat"), "{error}");
    assert_eq!(error.advice(), Advice::GiveUp);
    let builder = format!("{:?}", Client::builder("http://h").auth(|| async { Ok("x".into()) }));
    assert!(builder.contains("authenticated: true"), "{builder}");
}

#[tokio::test]
async fn a_namespace_that_the_server_does_not_have_ends_it() {
    let server = Server::start().await;
    let client = Client::builder(server.url())
        .transport(Transport::SocketIo)
        .namespace("/elsewhere")
        .build()
        .unwrap();
    let error = within(client.connected()).await.unwrap_err();
    assert!(error.to_string().contains("namespace"), "{error}");
}

#[tokio::test]
async fn a_provider_that_panics_is_asked_again() {
    let server = Server::start().await;
    let calls = AtomicUsize::new(0);
    let client = Client::builder(server.url())
        .backoff(Duration::from_millis(1), Duration::from_millis(5))
        .auth(move || {
            assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "on purpose");
            async { Ok("token".to_owned()) }
        })
        .build()
        .unwrap();
    within(client.connected()).await.unwrap();
    assert_eq!(server.tokens(), ["token"]);
}

#[tokio::test]
async fn a_client_ends_with_its_runtime() {
    let server = Server::start().await;
    let url = server.url();
    let (client, publish) = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = Client::builder(url).build().unwrap();
            client.connected().await.unwrap();
            let publish = std::future::IntoFuture::into_future(client.publish("a", &1));
            (client, publish)
        })
    })
    .await
    .unwrap();
    within(client.close()).await;
    assert_eq!(client.status().state, State::Closed);
    assert!(within(publish).await.is_err());
    assert!(within(client.subscribe::<()>("a")).await.is_err());
}
