//! Collections as services in the server's own process have them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_core::state::{Edit, Key, Patch, Policy};
use tidings_server::collections::Declaration;
use tidings_server::config::Layers;
use tidings_server::{Builder, Config, Server, ServerError};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Todo {
    title: String,
    #[serde(default)]
    done: bool,
}

fn builder() -> Builder {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    Server::builder().config(Config::default().listen(anywhere))
}

async fn refused(builder: Builder) -> String {
    match builder.bind().await {
        Err(ServerError::Config(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn services_read_change_and_watch() {
    let server = builder().collection(Declaration::new("todos")).bind().await.unwrap();
    assert!(server.collection("others").is_none());
    let todos = server.collection("todos").unwrap();
    let (watched, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let watching = todos.watch(move |change| drop(watched.send(change.clone())));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(async { drop(stopped.await) }));

    let tea = Todo { title: "Make tea".into(), done: false };
    let first = todos.insert("tea", &tea).await.unwrap();
    assert_eq!(todos.get::<Todo>("tea").await.unwrap(), Some(tea));
    let second = todos.update("tea", &json!({"done": true})).await.unwrap();
    let done = Edit::Update(Patch::parse(br#"{"done": false}"#, 8).unwrap());
    let key = |text| Key::new(text).unwrap();
    let both = [(key("tea"), done.clone()), (key("milk"), done)];
    let error = todos.mutate(both).await.unwrap_err();
    assert_eq!(error.to_string(), "milk: there is no such record (any more): insert it first");
    assert!(todos.get::<Todo>("tea").await.unwrap().unwrap().done, "all or nothing");
    todos.replace("tea", &json!({"title": 7})).await.unwrap();
    let error = todos.get::<Todo>("tea").await.unwrap_err().to_string();
    assert!(error.contains("record Key(\"tea\"): invalid type: integer `7`"), "{error}");
    assert_eq!(todos.records().await.unwrap().len(), 1);
    let last = todos.delete("tea").await.unwrap();
    assert!(first < second && second < last);

    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(changes.recv().await.unwrap());
    }
    assert_eq!(seen[0].stamp.version, first);
    assert_eq!(seen[1].value.as_ref().unwrap().as_str(), r#"{"done":true,"title":"Make tea"}"#);
    assert_eq!((&seen[3].value, seen[3].stamp.version), (&None, last));
    drop(watching);
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn a_policy_of_the_applications_own() {
    let asked = Arc::new(Mutex::new(0));
    let count = asked.clone();
    let policy = Policy::Custom(Arc::new(move |_| {
        *count.lock().unwrap() += 1;
        tidings_core::state::Resolution::Theirs
    }));
    let declaration = Declaration::new("todos").policy(policy);
    let server = builder().collection(declaration).bind().await.unwrap();
    let todos = server.collection("todos").unwrap();
    todos.insert("tea", &json!({})).await.unwrap();
    todos.update("tea", &json!({"a": 1})).await.unwrap();
    assert_eq!(*asked.lock().unwrap(), 0, "a service changes records as they are");
}

#[tokio::test]
async fn declarations_that_cannot_be_are_refused() {
    let twice = builder().collection(Declaration::new("a")).collection(Declaration::new("a"));
    assert_eq!(refused(twice).await, "collections: \"a\" is declared twice");
    for name in ["", "a.b", "*", &"x".repeat(101)] {
        let error = refused(builder().collection(Declaration::new(name))).await;
        assert!(error.contains("one segment of an event's"), "{error}");
    }
    let text = "[collections.a]\npolicy = \"first-wins\"";
    let config = Layers::new().text(text, "a.toml").unwrap().finish().unwrap();
    assert_eq!(
        refused(Server::builder().config(config)).await,
        "collections: a.policy: unknown policy \"first-wins\": use merge, server-wins, \
         client-wins or last-write-wins"
    );
    let deep = Config::default().partition_depth("state", 3);
    let deep = Server::builder().config(deep).collection(Declaration::new("a"));
    assert!(refused(deep).await.contains("a collection has one order"));
}
