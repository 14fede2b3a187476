//! Requests, both ways.

use tidings::error::RequestError;
use tidings::{Advice, ErrorCode, Payload, Refusal};
use tidings_core::client;
use tidings_core::message::{RequestId, ServerMessage};

use super::*;

#[tokio::test]
async fn a_request_gets_its_reply() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let reply: Vec<u32> = within(client.request("echo", &[1, 2, 3])).await.unwrap();
        assert_eq!(reply, [1, 2, 3]);
        let error = within(client.request::<String>("echo", &17)).await.unwrap_err();
        assert!(matches!(error, RequestError::Reply(_)), "{error}");
        let error = within(client.request::<String>("nothing", &17)).await.unwrap_err();
        assert!(error.to_string().contains("nobody handles it"), "{error}");
    }
}

#[tokio::test]
async fn a_request_without_reply_ends_in_time_or_with_its_connection() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let short = Duration::from_millis(10);
    let error = within(client.request::<()>("silence", &()).timeout(short)).await.unwrap_err();
    assert_eq!(error, RequestError::Client(client::RequestError::TimedOut(short)));
    let request = client.request::<()>("silence", &());
    let request = tokio::spawn(async move { request.await });
    within(async { while client.stats().await.requests == 0 {} }).await;
    server.cut();
    let error = within(request).await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Client(client::RequestError::Disconnected(_))));
    assert_eq!(error.advice(), Advice::Retry);
}

#[tokio::test]
async fn a_request_that_is_dropped_is_withdrawn() {
    let server = Server::start().await;
    let client = connect(&server, Transport::Ws).await;
    let request = client.request::<()>("silence", &());
    let request = tokio::spawn(async move { request.await });
    within(async { while client.stats().await.requests == 0 {} }).await;
    request.abort();
    within(async { while client.stats().await.requests > 0 {} }).await;
}

#[tokio::test]
async fn the_server_may_ask_too() {
    let server = Server::start().await;
    for transport in BOTH {
        let client = connect(&server, transport).await;
        let before = server.replies().len();
        client.handle("double", |request| async move { Ok(request.value::<u32>()? * 2) }).unwrap();
        let ask = |name: &str, payload: &'static str| {
            let payload = Payload::Json(payload.into());
            server.say(&ServerMessage::Request { id: RequestId(1), name: name.into(), payload });
        };
        let server = &server;
        let answered = |n: usize| eventually(move || server.replies().len() == before + n);
        ask("double", "21");
        answered(1).await;
        ask("double", "\"x\"");
        answered(2).await;
        client.unhandle("double");
        ask("double", "21");
        answered(3).await;
        client
            .handle("panic", |_| async { if true { panic!("on purpose") } else { Ok(()) } })
            .unwrap();
        ask("panic", "0");
        answered(4).await;
        let replies = server.replies().split_off(before);
        assert_eq!(replies[0], Ok(Payload::Json("42".into())));
        let code =
            |reply: &Result<Payload, Refusal>| reply.as_ref().map_err(|r| r.code).unwrap_err();
        assert_eq!(code(&replies[1]), ErrorCode::BAD_REQUEST);
        assert_eq!(code(&replies[2]), ErrorCode::NO_HANDLER);
        assert_eq!(code(&replies[3]), ErrorCode::INTERNAL);
        within(client.close()).await;
        eventually(|| server.transports().is_empty()).await;
    }
}
