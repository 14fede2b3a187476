//! The crate `rust_socketio`, a client that was written from the protocol and shares no code with
//! Socket.IO's own, against the server.

use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Event, Payload, TransportType};
use serde_json::{Value, json};
use tidings_tests::server::Restartable;

/// How long anything may take before a test is given up as hanging.
const HANGS: Duration = Duration::from_secs(30);

/// A client that has connected, and the events that come for it.
fn connect(
    server: &Restartable,
    transport: TransportType,
) -> (Client, Receiver<(String, Payload)>) {
    let (events, received) = mpsc::channel();
    let (up, opened) = mpsc::channel();
    let client = ClientBuilder::new(server.url())
        .transport_type(transport)
        .reconnect(false)
        // Whoever has heard enough does not wait any more.
        .on(Event::Connect, move |_, _| up.send(()).unwrap_or_default())
        .on_any(move |event, payload, _| {
            events.send((event.to_string(), payload)).unwrap_or_default()
        })
        .connect()
        .expect("a connection");
    opened.recv_timeout(HANGS).expect("it connects");
    (client, received)
}

/// Emits, and waits for the acknowledgement.
fn ask(client: &Client, event: &str, arguments: impl Into<Payload>) -> Payload {
    let (answer, answered) = mpsc::channel();
    client
        .emit_with_ack(event, arguments, HANGS, move |payload, _| drop(answer.send(payload)))
        .expect("sent");
    answered.recv_timeout(HANGS).expect("an acknowledgement")
}

fn text(payload: Payload) -> Vec<Value> {
    match payload {
        Payload::Text(values) => values,
        other => panic!("a text was expected, not {other:?}"),
    }
}

fn events_come_and_go(transport: TransportType) {
    let server = Restartable::start();
    let (client, received) = connect(&server, transport);
    // An acknowledgement's arguments come as one list.
    let subscribed = text(ask(&client, "subscribe", json!("orders.*")));
    assert_eq!(subscribed[0][0]["ok"], true, "{subscribed:?}");
    for n in 0..50 {
        let order = Payload::Text(vec![json!("orders.new"), json!({ "n": n })]);
        let published = text(ask(&client, "publish", order));
        assert_eq!(published[0][0]["ok"], true, "{published:?}");
    }
    for n in 0..50 {
        let (event, payload) = received.recv_timeout(HANGS).expect("an event");
        assert_eq!(event, "orders.new");
        assert_eq!(text(payload), [json!({ "n": n })]);
    }
    assert_eq!(
        text(ask(&client, "echo", json!({ "a": [1, null] })))[0][0],
        json!({ "a": [1, null] })
    );
    client.disconnect().expect("closed");
}

#[test]
fn events_come_and_go_over_websocket() {
    events_come_and_go(TransportType::Websocket);
}

#[test]
fn events_come_and_go_over_polling() {
    events_come_and_go(TransportType::Polling);
}

#[test]
fn events_come_and_go_over_polling_that_moves_to_a_websocket() {
    events_come_and_go(TransportType::WebsocketUpgrade);
}
