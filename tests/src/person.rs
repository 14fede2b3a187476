//! Somebody with a client and a collection of things to do.

use std::future::IntoFuture;
use std::time::Duration;

use futures_signals::signal::SignalExt;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tidings::Client;
use tidings::collection::Collection;

/// How long something that must come may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Todo {
    /// What.
    pub title: String,
    /// Whether it is done.
    #[serde(default)]
    pub done: bool,
    /// A number that many count up.
    #[serde(default)]
    pub cups: u32,
}

/// Something to do, not done yet.
pub fn todo(title: &str) -> Todo {
    Todo { title: title.into(), done: false, cups: 0 }
}

/// Somebody with a client and the collection `todos`.
#[derive(Debug)]
pub struct Person {
    /// The client.
    pub client: Client,
    /// The collection, loaded.
    pub todos: Collection<Todo>,
}

impl Person {
    /// Opens the collection.
    ///
    /// # Panics
    /// When it cannot be opened, or does not come.
    pub async fn with(client: Client) -> Self {
        let todos = within(client.collection::<Todo>("todos")).await.expect("it is declared");
        within(todos.loaded()).await;
        Self { client, todos }
    }

    /// Waits until the record is shown like this.
    ///
    /// # Panics
    /// When it never is.
    pub async fn sees(&self, key: &str, is: impl Fn(Option<&Todo>) -> bool) {
        let mut shown = self.todos.signal(key).expect("a key").to_stream();
        within(async {
            while let Some(entry) = shown.next().await {
                if is(entry.as_ref().map(|entry| &*entry.value)) {
                    return;
                }
            }
            panic!("the collection was closed");
        })
        .await;
    }

    /// What is shown, by key.
    pub fn shown(&self) -> Vec<(String, Todo)> {
        let all = self.todos.all();
        all.iter().map(|entry| (entry.key.to_string(), (*entry.value).clone())).collect()
    }
}

async fn within<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("it never came")
}
