//! Collections: two clients, a server, and what comes between them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures_signals::signal::SignalExt;
use futures_util::StreamExt;
use serde_json::json;
use tidings::collection::{
    Collection, FileStorage, MemoryStorage, OpenError, Outcome, Reason, Storage, View, WriteError,
};
use tidings::{Client, Transport};
use tidings_tests::person::{Person, Todo, todo};

use crate::network::{Proxy, Running};
use crate::{BOTH, connect, server, within};

/// The collection with a storage that another one has had: it is free once the tasks of that one
/// have ended.
async fn reopened(client: &Client, directory: &Path) -> Collection<Todo> {
    within(async {
        loop {
            let storage = FileStorage::new(directory);
            match client.collection::<Todo>("todos").storage(storage).await {
                Ok(todos) => return todos,
                Err(OpenError::Storage(_)) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}

fn titles(view: &View<Todo>) -> Vec<String> {
    view.entries().iter().map(|entry| entry.value.title.clone()).collect()
}

#[tokio::test]
async fn what_one_writes_is_shown_at_once_and_then_to_all() {
    let running = server().await;
    let [ann, ben] = [
        Person::with(connect(&running.url(), BOTH[0]).await).await,
        Person::with(connect(&running.url(), BOTH[1]).await).await,
    ];
    let open = ben.todos.view().filter(|todo| !todo.done).sort_by_key(|t| t.title.clone()).open();

    let write = ann.todos.insert("tea", &todo("Make tea")).unwrap();
    assert_eq!(*ann.todos.get("tea").unwrap(), todo("Make tea"));
    assert!(ann.todos.all()[0].pending);
    within(write.stored()).await.unwrap();
    let acknowledged = within(write.acknowledged()).await.unwrap();
    assert!(acknowledged.version.is_some() && acknowledged.conflicts.is_empty());
    within(write.observed()).await.unwrap();
    assert!(!ann.todos.all()[0].pending);

    ann.todos.insert("milk", &todo("Buy milk")).unwrap();
    let last = ann.todos.insert("sun", &todo("Enjoy the sun")).unwrap();
    within(last.observed()).await.unwrap();
    ben.sees("sun", |sun| sun.is_some()).await;
    assert_eq!(titles(&open), ["Buy milk", "Enjoy the sun", "Make tea"]);
    let renamed = ben.todos.change("milk", |todo| todo.title = "No milk".into()).unwrap();
    assert_eq!(titles(&open), ["Enjoy the sun", "Make tea", "No milk"], "at once");
    let both = ben.todos.batch().update("tea", &json!({"done": true})).delete("sun");
    both.commit().unwrap();
    assert_eq!(titles(&open), ["No milk"]);
    assert!(ben.todos.change("milk", |_| ()).unwrap().is_none(), "nothing has changed");

    within(renamed.unwrap().observed()).await.unwrap();
    ann.sees("sun", |sun| sun.is_none()).await;
    assert!(ann.todos.get("tea").unwrap().done && ann.todos.len() == 2);
    ben.todos.undo().unwrap().unwrap();
    ann.sees("sun", |sun| sun.is_some()).await;
    assert!(!ann.todos.get("tea").unwrap().done);
    assert_eq!(open.len(), 3);
    // A client that comes later has everything, page by page.
    let late = connect(&running.url(), BOTH[0]).await;
    let late = within(late.collection::<Todo>("todos").page(1)).await.unwrap();
    within(late.loaded()).await;
    assert_eq!(late.all().len(), 3);
}

#[tokio::test]
async fn a_conflict_is_merged_and_told() {
    let running = server().await;
    let proxy = Proxy::to(running.address).await;
    let ann = Person::with(connect(&running.url(), Transport::Ws).await).await;
    let ben = Person::with(connect(&proxy.url, Transport::SocketIo).await).await;
    within(ann.todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    ben.sees("tea", |tea| tea.is_some()).await;

    let mut conflicts = ben.todos.conflicts();
    proxy.block(true);
    let write = ben.todos.update("tea", &json!({"title": "Green tea", "done": true})).unwrap();
    within(ann.todos.update("tea", &json!({"title": "Black tea", "cups": 2})).unwrap().observed())
        .await
        .unwrap();
    proxy.block(false);
    let acknowledged = within(write.acknowledged()).await.unwrap();
    let conflict = within(conflicts.next()).await.unwrap();
    assert_eq!(acknowledged.conflicts.first(), Some(&conflict));
    assert_eq!(conflict.outcome, Outcome::Merged);
    assert_eq!(conflict.theirs.as_str(), r#"{"title":"Black tea"}"#);
    assert_eq!(conflict.mine.unwrap().as_str(), r#"{"title":"Green tea"}"#);
    let merged = Todo { title: "Green tea".into(), done: true, cups: 2 };
    for person in [&ann, &ben] {
        person.sees("tea", |tea| tea == Some(&merged)).await;
    }

    // What is gone cannot be changed: that is taken back, what was written after it is not.
    proxy.block(true);
    let late = ben.todos.update("tea", &json!({"cups": 9})).unwrap();
    let other = ben.todos.insert("milk", &todo("Milk")).unwrap();
    within(ann.todos.delete("tea").unwrap().observed()).await.unwrap();
    proxy.block(false);
    match within(late.acknowledged()).await {
        Err(WriteError::Rejected(rejection)) => assert_eq!(rejection.reason, Reason::Missing),
        other => panic!("{other:?}"),
    }
    within(other.observed()).await.unwrap();
    ben.sees("tea", |tea| tea.is_none()).await;
    within(ben.todos.settled()).await;

    // Nobody waits for what cannot come any more.
    ann.client.close().await;
    let never = ann.todos.insert("sun", &todo("Sun")).unwrap();
    assert_eq!(within(never.observed()).await, Err(WriteError::Closed));
    within(ann.todos.settled()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_cut_every_write_has_one_effect() {
    let running = server().await;
    let proxy = Proxy::to(running.address).await;
    let people = [
        Person::with(connect(&proxy.url, BOTH[0]).await).await,
        Person::with(connect(&proxy.url, BOTH[1]).await).await,
    ];
    within(people[0].todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    people[1].sees("tea", |tea| tea.is_some()).await;
    for round in 0..8 {
        for (who, person) in people.iter().enumerate() {
            for n in 0..10 {
                person.todos.increment("tea", &json!({"cups": 1})).unwrap();
                person.todos.insert(&format!("{round}.{n}.{who}"), &todo("x")).unwrap();
            }
        }
        proxy.cut();
        people[round % 2].sees("tea", |tea| tea.is_some_and(|tea| tea.cups >= 10)).await;
    }
    for person in &people {
        within(person.todos.settled()).await;
    }
    for person in &people {
        person.sees("tea", |tea| tea.is_some_and(|tea| tea.cups == 160)).await;
        let mut statuses = person.todos.status_signal().to_stream();
        within(async { while statuses.next().await.is_some_and(|status| status.records < 161) {} })
            .await;
        assert_eq!(person.todos.len(), 161);
        let counters = person.client.stats().await.counters;
        assert!(counters.reconnects > 0, "it was cut: {counters:?}");
    }
}

#[tokio::test]
async fn what_was_written_offline_goes_out_once_after_a_restart_of_the_program() {
    let running = server().await;
    let directory = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let nobody = Client::builder("http://127.0.0.1:9").build().unwrap();
    let storage = || FileStorage::new(directory.path());
    let todos = within(nobody.collection::<Todo>("todos").storage(storage())).await.unwrap();
    todos.insert("tea", &todo("Tea")).unwrap();
    todos.increment("tea", &json!({"cups": 2})).unwrap();
    let last = todos.increment("tea", &json!({"cups": 1})).unwrap();
    within(last.stored()).await.unwrap();
    let second = within(nobody.collection::<Todo>("todos").storage(storage())).await;
    assert!(
        matches!(second, Err(OpenError::Storage(error)) if error.to_string().ends_with("of its own"))
    );
    drop(todos);

    for _ in 0..2 {
        let client = connect(&running.url(), Transport::Ws).await;
        let todos = reopened(&client, directory.path()).await;
        within(todos.loaded()).await;
        within(todos.settled()).await;
        assert_eq!(todos.get("tea").unwrap().cups, 3);
        within(todos.increment("tea", &json!({"cups": 0})).unwrap().observed()).await.unwrap();
    }
}

#[tokio::test]
async fn what_was_loaded_is_shown_at_the_next_start_without_a_server() {
    let running = server().await;
    let directory = tempfile::tempdir().unwrap();
    let other = Person::with(connect(&running.url(), Transport::Ws).await).await;
    for n in 0..600 {
        other.todos.insert(&format!("todo {n}"), &todo("Tea")).unwrap();
    }
    within(other.todos.settled()).await;
    let client = connect(&running.url(), Transport::Ws).await;
    let todos = reopened(&client, directory.path()).await;
    within(todos.loaded()).await;
    other.todos.delete("todo 7").unwrap();
    other.todos.increment("todo 8", &json!({"cups": 5})).unwrap();
    within(other.todos.settled()).await;
    within(todos.increment("todo 9", &json!({"cups": 1})).unwrap().observed()).await.unwrap();
    drop(todos);

    // Nobody listens there.
    let nobody = Client::builder("http://127.0.0.1:9").build().unwrap();
    let todos = reopened(&nobody, directory.path()).await;
    assert_eq!((todos.len(), todos.status().loaded), (599, false));
    let cups = |todos: &Collection<Todo>| {
        ["todo 7", "todo 8", "todo 9"].map(|key| Some(todos.get(key)?.cups))
    };
    assert_eq!(cups(&todos), [None, Some(5), Some(1)]);
    let view = todos.view().filter(|todo| todo.cups > 0).open();
    assert_eq!(view.len(), 2);
    let write = todos.increment("todo 9", &json!({"cups": 1})).unwrap();
    within(write.stored()).await.unwrap();
    drop((view, todos));

    other.todos.delete("todo 8").unwrap();
    within(other.todos.settled()).await;
    let todos = reopened(&client, directory.path()).await;
    within(todos.loaded()).await;
    within(todos.settled()).await;
    assert_eq!((todos.len(), cups(&todos)), (598, [None, None, Some(2)]));
    drop(todos);

    // Once nobody has it open any more it is as it will be.
    within(async {
        while FileStorage::new(directory.path()).read("todos").await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let file = directory.path().join("todos%2erecords.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let damaged = text.replacen("Tea", "\u{0}", 1);
    std::fs::write(&file, &damaged).unwrap();
    let todos = reopened(&client, directory.path()).await;
    let told = todos.status().set_aside.expect("it is told");
    assert!(
        told.contains("loaded records could not be read") && told.contains("aside-1"),
        "{told}"
    );
    let aside = directory.path().join("todos%2erecords.aside-1");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), damaged);
    within(todos.loaded()).await;
    assert_eq!(todos.len(), 598);
}

#[tokio::test]
async fn a_server_without_the_collection_costs_no_write() {
    let running = server().await;
    let client = connect(&running.url(), Transport::Ws).await;
    let later = within(client.collection::<Todo>("later")).await.unwrap();
    let write = later.insert("tea", &todo("Tea")).unwrap();
    let mut statuses = later.status_signal().to_stream();
    within(async {
        while let Some(status) = statuses.next().await {
            if status.trouble.is_some_and(|trouble| trouble.contains("state.later.mutate")) {
                break;
            }
        }
    })
    .await;
    assert_eq!(write.progress().rejected, None, "another version of the server may have it");
    assert_eq!((later.len(), later.status().pending), (1, 1));
}

#[tokio::test]
async fn a_storage_that_cannot_be_read_is_set_aside() {
    let running = server().await;
    let directory = tempfile::tempdir().unwrap();
    let client = connect(&running.url(), Transport::Ws).await;
    for (n, text) in ["{\"tidings\":", r#"{"tidings":"pending","version":2}"#].iter().enumerate() {
        std::fs::write(directory.path().join("todos.json"), text).unwrap();
        let todos = reopened(&client, directory.path()).await;
        let aside = directory.path().join(format!("todos.aside-{}", n + 1));
        assert_eq!(std::fs::read_to_string(aside).unwrap(), *text);
        within(todos.loaded()).await;
        let told = todos.status().set_aside.expect("it is told");
        assert!(told.contains("todos.aside-"), "{told}");
    }
    let memory = MemoryStorage::new();
    memory.write("a", b"x".to_vec()).await.unwrap();
    assert_eq!(memory.set_aside("a").await.unwrap(), "a.aside-1");
    assert_eq!(memory.read("a").await, Ok(None));
}

#[tokio::test]
async fn a_server_that_forgets_is_followed_and_services_take_part() {
    let running = server().await;
    let ann = Person::with(connect(&running.url(), Transport::Ws).await).await;
    within(ann.todos.insert("tea", &todo("Tea")).unwrap().observed()).await.unwrap();
    let address: SocketAddr = running.stop().await;
    ann.todos.insert("milk", &todo("Milk")).unwrap();
    let running = Running::start(address, |_| {}).await;
    ann.sees("tea", |tea| tea.is_none()).await;
    within(ann.todos.settled()).await;
    let todos = running.remote.collection("todos").unwrap();
    assert_eq!(todos.get::<Todo>("milk").await.unwrap(), Some(todo("Milk")));
    todos.insert("sun", &todo("Sun")).await.unwrap();
    ann.sees("sun", |sun| sun.is_some()).await;
    // A record that is not what was expected is not shown, and told.
    todos.insert("odd", &json!({"title": 7})).await.unwrap();
    todos.update("sun", &json!({"cups": 1})).await.unwrap();
    ann.sees("sun", |sun| sun.is_some_and(|sun| sun.cups == 1)).await;
    assert_eq!(ann.todos.status().misfits, 1);
    assert_eq!(&*ann.todos.misfits()[0].0, "odd");
}
