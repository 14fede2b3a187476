//! Who is there.

use std::time::Duration;

use serde_json::{Value, json};
use tidings::collection::{Collection, JoinError, Presence, Reason, WriteError};
use tidings::{Client, Transport};
use tidings_server::config::Collection as Declared;

use crate::network::{Proxy, Running};
use crate::{ANY, BOTH, connect, within};

async fn server() -> Running {
    let configure = |config: &mut tidings_server::Config| {
        let mut people = Declared::default();
        (people.presence, people.presence_timeout) = (true, Duration::from_secs(1));
        people.schema = r#"{"required": ["name"]}"#.to_owned();
        config.collections.insert("people".into(), people);
    };
    Running::declaring(ANY.parse().unwrap(), configure, Vec::new(), |_| {}).await
}

async fn open(client: &Client) -> Collection<Value> {
    let people = within(client.collection::<Value>("people")).await.unwrap();
    within(people.loaded()).await;
    people
}

async fn join(client: &Client, name: &str) -> Presence {
    within(client.join("people", &json!({"name": name}))).await.unwrap()
}

/// Waits until these are there, by name.
async fn sees(people: &Collection<Value>, names: &[&str]) {
    let there = || {
        let mut there: Vec<_> =
            people.all().iter().map(|e| e.value["name"].as_str().unwrap().to_owned()).collect();
        there.sort();
        there
    };
    within(async {
        while there() != names {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_change_and_go() {
    let running = server().await;
    let watching = connect(&running.url(), Transport::Ws).await;
    let people = open(&watching).await;
    for transport in BOTH {
        let (ann, ben) =
            (connect(&running.url(), transport).await, connect(&running.url(), transport).await);
        let there = join(&ann, "Ann").await;
        let key = there.key();
        let _ben = join(&ben, "Ben").await;
        sees(&people, &["Ann", "Ben"]).await;
        within(there.update(&json!({"name": "Anna"}))).await.unwrap();
        sees(&people, &["Anna", "Ben"]).await;
        match within(there.update(&json!({}))).await {
            Err(JoinError::Rejected(rejection)) => {
                assert!(rejection.to_string().contains("required property"), "{rejection}");
            }
            other => panic!("{other:?}"),
        }
        // Nobody else's record can be written, not even read and written back.
        let write = people.update(&key, &json!({"name": "Not Ann"})).unwrap();
        match within(write.acknowledged()).await {
            Err(WriteError::Rejected(rejection)) => match rejection.reason {
                Reason::Refused(why) => assert!(why.contains("only its own record"), "{why}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
        drop(there);
        sees(&people, &["Ben"]).await;
        ben.close().await;
        sees(&people, &[]).await;
    }
    let nobody = within(watching.join("todos", &json!({}))).await;
    assert!(matches!(nobody, Err(JoinError::Request(_))), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_away_for_too_long_is_gone_until_coming_back() {
    let running = server().await;
    let watching = connect(&running.url(), Transport::Ws).await;
    let people = open(&watching).await;
    for transport in BOTH {
        let proxy = Proxy::to(running.address).await;
        let client = connect(&proxy.url, transport).await;
        let there = join(&client, "Ann").await;
        let stayed = join(&watching, "Me").await;
        sees(&people, &["Ann", "Me"]).await;
        proxy.block(true);
        sees(&people, &["Me"]).await;
        proxy.block(false);
        sees(&people, &["Ann", "Me"]).await;
        drop((there, stayed));
        sees(&people, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_sees_who_is_there() {
    let running = server().await;
    let people = running.remote.collection("people").unwrap();
    let (watched, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let watching = people.watch(move |change| {
        let _ = watched.send(change.value.is_some());
    });
    let client = connect(&running.url(), Transport::SocketIo).await;
    let there = join(&client, "Ann").await;
    assert_eq!(within(changes.recv()).await, Some(true));
    assert_eq!(people.records().await.unwrap().len(), 1);
    drop(there);
    assert_eq!(within(changes.recv()).await, Some(false));
    drop(watching);
}
