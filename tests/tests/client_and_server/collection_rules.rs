//! What clients may not do with collections: what a schema, a limit or a permission forbids.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidings::collection::{Collection, Reason, WriteError};
use tidings::error::RequestError;
use tidings::{Client, Payload, Transport};
use tidings_core::client;
use tidings_core::message::ErrorCode;
use tidings_server::collections::{Access, Declaration};
use tidings_server::config::Collection as Declared;
use tidings_server::schemas::Schema;

use crate::network::{Proxy, Running};
use crate::{ANY, BOTH, connect, within};

async fn open(client: &Client, name: &str) -> Collection<Value> {
    within(client.collection::<Value>(name)).await.unwrap()
}

/// Why a write was rejected.
async fn refused(write: tidings::collection::Write) -> String {
    match within(write.acknowledged()).await {
        Err(WriteError::Rejected(rejection)) => match rejection.reason {
            Reason::Refused(message) => message,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn with(declared: Vec<Declaration>) -> Running {
    Running::declaring(ANY.parse().unwrap(), |_| {}, declared, |_| {}).await
}

/// Clients can ask what their session is.
fn tell_sessions(server: &tidings_server::Server) {
    server.handle("session", |request| async move {
        tidings_server::reply(&request.session.to_string())
    });
}

/// A name whose events are in one lane with those of `name`.
fn mark_behind(name: &str) -> String {
    let partitioning = tidings_server::Config::default().partitioning();
    let alike = |mark: &String| partitioning.of_name(mark) == partitioning.of_name(name);
    (0..).map(|n| format!("mark{n}")).find(alike).unwrap()
}

#[tokio::test]
async fn what_breaks_the_schema_is_taken_back_and_the_rest_stays() {
    let schema = json!({"properties": {"cups": {"type": "integer", "maximum": 9}}});
    let declaration = Declaration::new("teas").schema(Schema::new(&schema).unwrap());
    let running = with(vec![declaration]).await;
    for transport in BOTH {
        let client = connect(&running.url(), transport).await;
        let teas = open(&client, "teas").await;
        within(teas.loaded()).await;
        let key = format!("{transport}");
        let good = teas.insert(&key, &json!({"cups": 1})).unwrap();
        let bad = teas.update(&key, &json!({"cups": 10})).unwrap();
        let later = teas.update(&key, &json!({"name": "Assam"})).unwrap();
        assert_eq!(*teas.get(&key).unwrap(), json!({"cups": 10, "name": "Assam"}), "at once");
        assert_eq!(
            refused(bad).await,
            "teas, /cups: what is there is greater than the maximum of 9 \
             (rule /properties/cups/maximum)"
        );
        within(good.acknowledged()).await.unwrap();
        within(later.observed()).await.unwrap();
        within(teas.settled()).await;
        assert_eq!(*teas.get(&key).unwrap(), json!({"cups": 1, "name": "Assam"}));
    }
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct User {
    name: String,
    card: Option<String>,
}

#[tokio::test]
async fn what_a_client_does_not_see_of_a_record_survives_what_it_does() {
    let schema = json!({"properties": {"card": {"x-tidings-sensitive": true}}});
    let declaration = Declaration::new("users").schema(Schema::new(&schema).unwrap());
    let running = with(vec![declaration]).await;
    let service = running.remote.collection("users").unwrap();
    for transport in BOTH {
        let key = format!("{transport}");
        let user = |name: &str, card: Option<&str>| User {
            name: name.into(),
            card: card.map(str::to_owned),
        };
        within(service.insert(&key, &user("Ann", Some("4111")))).await.unwrap();
        let client = connect(&running.url(), transport).await;
        let users = within(client.collection::<User>("users")).await.unwrap();
        within(users.loaded()).await;
        assert_eq!(*users.get(&key).unwrap(), user("Ann", None));
        let kept = async |name: &str| {
            let stored: User = within(service.get(&key)).await.unwrap().unwrap();
            assert_eq!(stored, user(name, Some("4111")));
            assert_eq!(*users.get(&key).unwrap(), user(name, None));
        };
        let changed = users.change(&key, |user| user.name = "Ben".into()).unwrap().unwrap();
        within(changed.observed()).await.unwrap();
        kept("Ben").await;
        within(users.undo().unwrap().unwrap().observed()).await.unwrap();
        kept("Ann").await;
        let replaced = users.replace(&key, &user("Cy", None)).unwrap();
        within(replaced.observed()).await.unwrap();
        kept("Cy").await;
    }
}

#[tokio::test]
async fn limits_are_named_in_what_they_refuse() {
    let running = Running::declaring(
        ANY.parse().unwrap(),
        |config| {
            let mut small = Declared::default();
            (small.max_records, small.max_record_bytes) = (2, 50);
            (small.max_ops, small.max_mutations) = (2, 2);
            config.collections.insert("small".into(), small);
        },
        Vec::new(),
        |_| {},
    )
    .await;
    let client = connect(&running.url(), Transport::Ws).await;
    let small = open(&client, "small").await;
    within(small.insert("a", &json!({})).unwrap().acknowledged()).await.unwrap();
    let long = small.update("a", &json!({"text": "x".repeat(60)})).unwrap();
    assert!(refused(long).await.contains("50 are allowed (max_record_bytes)"));
    let many = small.batch().insert("b", &json!({})).insert("c", &json!({})).commit().unwrap();
    assert!(refused(many).await.contains("the collection has 2 records (max_records)"));
    let ops = small.batch().insert("b", &json!({})).delete("b").delete("a").commit().unwrap();
    assert!(refused(ops).await.contains("at most 2 ops (max_ops)"));
    let mutation = json!({"ops": [{"op": "delete", "key": "a"}]});
    let asked = client.request::<Value>(
        "state.small.mutate",
        &json!({"mutations": [mutation, mutation, mutation]}),
    );
    match within(asked).await {
        Err(RequestError::Client(client::RequestError::Refused(refusal))) => {
            assert_eq!(refusal.code, ErrorCode::BAD_REQUEST);
            assert!(
                refusal.message.contains("at most 2 mutations fit one request (max_mutations)")
            );
        }
        other => panic!("{other:?}"),
    }
    let unheard_of = json!({"ops": [{"op": "upsert", "key": "b"}]});
    let update = json!({"ops": [{"op": "update", "key": "a", "patch": {"n": 7}}]});
    let asked =
        client.request::<Value>("state.small.mutate", &json!({"mutations": [unheard_of, update]}));
    let results = within(asked).await.unwrap()["results"].take();
    let says = r#"ops[0].op: "upsert" is none: write insert, update, replace, delete or increment"#;
    let rejected = json!({"key": "b", "reason": "refused", "message": says});
    assert_eq!(results[0]["rejected"], rejected);
    assert!(results[1]["version"].is_u64(), "{results}");
    // What goes beyond it is sent piece by piece.
    let writes = (0..5).map(|n| small.update("a", &json!({"n": n})).unwrap());
    for write in writes.collect::<Vec<_>>() {
        within(write.acknowledged()).await.unwrap();
    }
}

#[tokio::test]
async fn who_may_not_read_gets_nothing_and_who_may_not_mutate_changes_nothing() {
    let allowed = Arc::new(Mutex::new(String::new()));
    let editors = Arc::clone(&allowed);
    let guarded = Declaration::new("guarded").guard(move |asker, access| match access {
        Access::Mutate(mutation) if mutation.ops.iter().any(|op| &*op.key == "fixed") => {
            Err("it is fixed".to_owned())
        }
        Access::Mutate(_) if *asker.session != **editors.lock().unwrap() => {
            Err("you are no editor".to_owned())
        }
        _ => Ok(()),
    });
    let configure = |config: &mut tidings_server::Config| {
        for (name, clients) in [("notes", "read"), ("secrets", "nothing")] {
            let mut declared = Declared::default();
            declared.clients = clients.into();
            config.collections.insert(name.into(), declared);
        }
    };
    let mut bus = None;
    let prepare = |server: &tidings_server::Server| {
        tell_sessions(server);
        bus = Some(server.bus().clone());
    };
    let running = Running::declaring(ANY.parse().unwrap(), configure, vec![guarded], prepare).await;
    let bus = bus.unwrap();
    let services = ["notes", "secrets", "guarded"].map(|n| running.remote.collection(n).unwrap());
    for transport in BOTH {
        let proxy = Proxy::to(running.address).await;
        let client = connect(&proxy.url, transport).await;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let names = Arc::clone(&heard);
        let note = move |delivery: &tidings::Delivery| {
            names.lock().unwrap().push(delivery.event.name.to_string());
        };
        within(client.on("**", note)).await.unwrap().detach();
        let [notes, guarded] = [open(&client, "notes").await, open(&client, "guarded").await];
        within(notes.loaded()).await;
        within(guarded.loaded()).await;
        for service in &services {
            within(service.insert(&format!("{transport}"), &json!({}))).await.unwrap();
        }
        let asked = client.request::<Value>("state.secrets.load", &json!({}));
        match within(asked).await {
            Err(RequestError::Client(client::RequestError::Refused(refusal))) => {
                assert_eq!(refusal.code, ErrorCode::FORBIDDEN);
                assert!(refusal.message.contains("may not be read: it is for services only"));
            }
            other => panic!("{other:?}"),
        }
        let secrets = open(&client, "secrets").await;
        let why = refused(secrets.insert("x", &json!({})).unwrap()).await;
        assert_eq!(why, "forbidden: it is for services only (clients)");
        let why = refused(notes.insert("x", &json!({})).unwrap()).await;
        assert_eq!(why, "forbidden: clients may only read it (clients)");
        let why = refused(guarded.insert("x", &json!({})).unwrap()).await;
        assert_eq!(why, "forbidden: you are no editor");
        let session = within(client.request::<String>("session", &())).await.unwrap();
        *allowed.lock().unwrap() = session;
        let own = guarded.insert(&format!("by.{transport}"), &json!({})).unwrap();
        let fixed = guarded.insert("fixed", &json!({})).unwrap();
        let later = guarded.update(&format!("by.{transport}"), &json!({"n": 1})).unwrap();
        assert_eq!(refused(fixed).await, "forbidden: it is fixed");
        within(own.acknowledged()).await.unwrap();
        within(later.observed()).await.unwrap();
        // What is behind a secret in the log comes after it: as it happens, and when it is read
        // later.
        let mark = mark_behind("state.secrets.x");
        for (n, blocked) in [false, true].into_iter().enumerate() {
            proxy.block(blocked);
            within(services[1].insert(&format!("{n}.{transport}"), &json!({}))).await.unwrap();
            let marks = || heard.lock().unwrap().iter().filter(|name| **name == mark).count();
            let bus = &bus;
            bus.emit(&bus.event(&*mark, Payload::Json("1".into())).unwrap());
            proxy.block(false);
            within(async {
                while marks() <= n {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
        }
        let heard = heard.lock().unwrap().clone();
        assert!(heard.contains(&format!("state.notes.{transport}")), "{heard:?}");
        assert!(!heard.iter().any(|name| name.starts_with("state.secrets.")), "{heard:?}");
        assert!(services[1].records().await.unwrap().iter().all(|(key, _)| &**key != "x"));
    }
}
