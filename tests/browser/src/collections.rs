//! Collections.

use futures_signals::signal::SignalExt;
use futures_util::StreamExt;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};
use tidings::Collection;

use crate::place::{Checked, Place, ensure};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Todo {
    title: String,
}

/// What one writes is shown at once, acknowledged, and comes to the others.
pub(crate) async fn shares_a_collection(place: &Place) -> Checked {
    let (ann, ben) = try_join(place.connected(), place.connected()).await?;
    let key = format!("tea-{}", place.transport);
    let todos = ann.collection::<Todo>("todos").await?;
    let others: Collection<Todo> = ben.collection::<Todo>("todos").await?;
    others.loaded().await;
    let write = todos.insert(&key, &Todo { title: "Make tea".into() })?;
    let shown = todos.all().into_iter().find(|entry| entry.value.title == "Make tea");
    ensure(shown.is_some_and(|entry| entry.pending), "it is not shown at once, as pending")?;
    let acknowledged = write.acknowledged().await?;
    ensure(acknowledged.version.is_some(), "it has no version")?;
    let mut shown = others.signal(&key)?.to_stream();
    loop {
        match shown.next().await.ok_or("the collection was closed")? {
            Some(entry) if entry.value.title == "Make tea" => break,
            _ => {}
        }
    }
    todos.delete(&key)?.acknowledged().await?;
    ann.close().await;
    ben.close().await;
    Ok(())
}
