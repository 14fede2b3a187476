//! Events that are not what their schemas say.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tidings::Client;
use tidings::error::PublishError;
use tidings_core::Payload;
use tidings_core::client;
use tidings_core::message::ErrorCode;
use tidings_server::schemas::Schema;
use tidings_server::{Config, Server};

use crate::{ANY, BOTH, connect, within};

/// What `orders.*` must carry.
fn order() -> Schema {
    Schema::new(&json!({"properties": {"total": {"type": "integer"}}, "required": ["total"]}))
        .unwrap()
}

async fn refused(client: &Client, payload: serde_json::Value) -> String {
    match within(client.publish("orders.eu", &payload)).await {
        Err(PublishError::Client(client::PublishError::Refused(refusal))) => {
            assert_eq!(refusal.code, ErrorCode::INVALID);
            refusal.message.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn they_are_refused_and_the_rest_goes_on() {
    let config = Config::default().listen(ANY.parse().unwrap());
    let builder = Server::builder().config(config).event_schema("orders.*", order());
    let server = builder.bind().await.unwrap();
    let (bus, url) = (server.bus().clone(), format!("http://{}", server.local_addr()));
    let remote = server.remote();
    let serving = tokio::spawn(server.serve(std::future::pending()));
    for transport in BOTH {
        let client = connect(&url, transport).await;
        let received: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = received.clone();
        let subscribed = client.on("orders.*", move |delivery| {
            let text = std::str::from_utf8(delivery.event.payload.bytes()).unwrap();
            note.lock().unwrap().push(text.to_owned());
        });
        within(subscribed).await.unwrap().detach();
        assert_eq!(
            refused(&client, json!({"total": "7"})).await,
            "orders.eu, /total: what is there is not of type \"integer\" \
             (rule /properties/total/type)",
        );
        assert_eq!(
            refused(&client, json!({})).await,
            "orders.eu: \"total\" is a required property (rule /required)",
        );
        let invalid = Payload::Json("{}".into());
        bus.emit(&bus.event("orders.eu", invalid).unwrap());
        let valid = Payload::Json(r#"{"total":8}"#.into());
        bus.emit(&bus.event("orders.eu", valid).unwrap());
        within(client.publish("orders.eu", &json!({"total": 9}))).await.unwrap();
        within(async {
            while received.lock().unwrap().len() < 2 {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
        assert_eq!(*received.lock().unwrap(), [r#"{"total":8}"#, r#"{"total":9}"#]);
    }
    let published = remote.events_stats().published;
    assert_eq!((published.invalid, published.refused), (6, 4));
    serving.abort();
}
