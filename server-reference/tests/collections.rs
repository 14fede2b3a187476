//! Collections as services in the server's own process have them.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_core::state::{Document, Edit, Key, Patch, Policy};
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

/// Collections as a file declares them.
fn declared(text: &str) -> Builder {
    let config = Layers::new().text(text, "a.toml").unwrap().finish().unwrap();
    Server::builder().config(config.listen(SocketAddr::from(([127, 0, 0, 1], 0))))
}

#[tokio::test]
async fn records_must_be_what_their_schema_says() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("todo.json");
    let schema = json!({"required": ["title"], "properties": {"due": {"format": "date"}}});
    std::fs::write(&file, schema.to_string()).unwrap();
    let inline = r#"{"properties": {"title": {"type": "string"}}, "maxProperties": 3}"#;
    let text = format!("[collections.todos]\nschema = '{inline}'\nschema_file = {file:?}");
    let server = declared(&text).bind().await.unwrap();
    let todos = server.collection("todos").unwrap();
    todos.insert("tea", &json!({"title": "Tea", "due": "2026-11-26"})).await.unwrap();
    for (patch, says) in [
        (
            json!({"title": 7}),
            "tea: todos, /title: what is there is not of type \"string\" \
             (rule /properties/title/type)",
        ),
        (json!({"title": null}), "tea: todos: \"title\" is a required property (rule /required)"),
        (
            json!({"due": "soon"}),
            "tea: todos, /due: what is there is not a \"date\" (rule /properties/due/format)",
        ),
        (
            json!({"a": 1, "b": 2}),
            "tea: todos: what is there has more than 3 properties (rule /maxProperties)",
        ),
    ] {
        assert_eq!(todos.update("tea", &patch).await.unwrap_err().to_string(), says);
    }
    // Only what is there after all changes of the mutation counts.
    let patch = |json: &str| Edit::Update(Patch::parse(json.as_bytes(), 8).unwrap());
    let key = Key::new("tea").unwrap();
    let edits = [(key.clone(), patch(r#"{"title": 7}"#)), (key, patch(r#"{"title": "Tea"}"#))];
    todos.mutate(edits).await.unwrap();
    todos.delete("tea").await.unwrap();

    for (field, value, says) in [
        ("schema", "'{'", "collections: todos.schema: the schema is no JSON: EOF"),
        ("schema", "'{\"type\": 7}'", "collections: todos.schema: no JSON Schema: /type: 7 is not"),
        ("schema", "'{\"$ref\": \"http://example.com/x\"}'", "todos.schema: no JSON Schema"),
        ("schema_file", "'/nowhere.json'", "todos.schema_file: cannot read /nowhere.json: "),
    ] {
        let error = refused(declared(&format!("[collections.todos]\n{field} = {value}"))).await;
        assert!(error.contains(says), "{error}");
    }
    let check = |_: &Key, record: &Document| match record.as_str().len() {
        0..20 => Ok(()),
        _ => Err("too much".to_owned()),
    };
    let server = builder().collection(Declaration::new("todos").check(check)).bind().await.unwrap();
    let todos = server.collection("todos").unwrap();
    let error = todos.insert("tea", &json!({"title": "x".repeat(20)})).await.unwrap_err();
    assert_eq!(error.to_string(), "tea: too much");
}

#[tokio::test]
async fn declarations_that_cannot_be_are_refused() {
    let twice = builder().collection(Declaration::new("a")).collection(Declaration::new("a"));
    assert_eq!(refused(twice).await, "collections: \"a\" is declared twice");
    for name in ["", "a.b", "*", &"x".repeat(101)] {
        let error = refused(builder().collection(Declaration::new(name))).await;
        assert!(error.contains("one segment of an event's"), "{error}");
    }
    let text = "[collections.a]\nschema = '{\"x-tidings-sensitive\": true}'";
    assert!(refused(declared(text)).await.contains("would hide whether it is there"));
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
