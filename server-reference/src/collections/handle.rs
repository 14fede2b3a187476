//! A collection for services in this process.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::EventBus;
use tidings_core::bus::ListenerHandle;
use tidings_core::json::MAX_DEPTH;
use tidings_core::message::Refusal;
use tidings_core::state::{
    Change, Document, DocumentError, Edit, Key, KeyError, Mutation, Op, Patch, Record, Rejection,
    Verdict, Version, wire,
};

use super::hosted::Hosted;

/// Something could not be done with a collection.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// A text is not a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A value has no JSON.
    #[error("the value cannot be written as JSON: {0}")]
    Write(serde_json::Error),
    /// A value is not one that a record can have.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A record is not a value of the type asked for.
    #[error("record {key:?}: {source}")]
    Read {
        /// Which record.
        key: Key,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// The mutation was rejected and has had no effect.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The collection is elsewhere and could not be reached in time. A mutation may have had its
    /// effect.
    #[error(transparent)]
    Unavailable(#[from] Refusal),
}

/// A collection as services see it, through which they read, change and watch it like clients do.
///
/// ```
/// # #[derive(serde::Serialize, serde::Deserialize)]
/// # struct Todo { title: String, done: bool }
/// # async fn example(server: &tidings_server::Server) -> Result<(), Box<dyn std::error::Error>> {
/// let todos = server.collection("todos").ok_or("not declared")?;
/// todos.insert("tea", &Todo { title: "Make tea".into(), done: false }).await?;
/// todos.update("tea", &serde_json::json!({"done": true})).await?;
/// let tea: Option<Todo> = todos.get("tea").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Collection {
    hosted: Arc<Hosted>,
    bus: EventBus,
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collection").field(&self.hosted.name()).finish()
    }
}

impl Collection {
    pub(crate) const fn new(hosted: Arc<Hosted>, bus: EventBus) -> Self {
        Self { hosted, bus }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.hosted.name()
    }

    /// The record with this key.
    ///
    /// # Errors
    /// If it is not a `T`, or cannot be reached.
    pub async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CollectionError> {
        let Some(record) = self.hosted.get(key).await? else { return Ok(None) };
        let value = serde_json::from_slice(record.value.bytes());
        let read = |source| Ok(CollectionError::Read { key: Key::new(key)?, source });
        value
            .map(Some)
            .map_err(|source| read(source).unwrap_or_else(|error: KeyError| error.into()))
    }

    /// All records, by key, as JSON and with what is known of their last change. Those of a
    /// collection that instances share come page by page: what changes meanwhile may be in there.
    ///
    /// # Errors
    /// If they cannot be reached.
    pub async fn records(&self) -> Result<Vec<(Key, Record)>, CollectionError> {
        Ok(self.hosted.all().await?)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// If there is one with this key, a limit would be exceeded, or it cannot be reached.
    pub async fn insert(
        &self,
        key: &str,
        value: &impl Serialize,
    ) -> Result<Version, CollectionError> {
        self.one(key, Edit::Insert(document(value)?)).await
    }

    /// Changes fields of a record: `patch` is a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// If there is no such record, a limit would be exceeded, or it cannot be reached.
    pub async fn update(
        &self,
        key: &str,
        patch: &impl Serialize,
    ) -> Result<Version, CollectionError> {
        let json = serde_json::to_vec(patch).map_err(CollectionError::Write)?;
        self.one(key, Edit::Update(Patch::parse(&json, MAX_DEPTH)?)).await
    }

    /// Changes a record as a whole.
    ///
    /// # Errors
    /// If there is no such record, a limit would be exceeded, or it cannot be reached.
    pub async fn replace(
        &self,
        key: &str,
        value: &impl Serialize,
    ) -> Result<Version, CollectionError> {
        self.one(key, Edit::Replace(document(value)?)).await
    }

    /// Removes a record.
    ///
    /// # Errors
    /// If there is no such record, or it cannot be reached.
    pub async fn delete(&self, key: &str) -> Result<Version, CollectionError> {
        self.one(key, Edit::Delete).await
    }

    async fn one(&self, key: &str, edit: Edit) -> Result<Version, CollectionError> {
        self.mutate([(Key::new(key)?, edit)]).await
    }

    /// Makes all of these edits, or none; gives back the version of the last change. They are made
    /// to the records as they are: there is no conflict.
    ///
    /// # Errors
    /// If one of them is not possible, a limit would be exceeded, or it cannot be reached.
    pub async fn mutate(
        &self,
        edits: impl IntoIterator<Item = (Key, Edit)>,
    ) -> Result<Version, CollectionError> {
        let op = |(key, edit)| Op { key, base: None, was: None, edit };
        let ops = edits.into_iter().map(op).collect();
        let verdicts = self.hosted.mutate(vec![Mutation { id: None, time: 0, ops }.into()]).await?;
        match verdicts.first().map(|verdict| &**verdict) {
            Some(Verdict::Accepted { version, .. }) => Ok(*version),
            Some(Verdict::Rejected(rejection)) => Err(rejection.clone().into()),
            // Nothing is remembered of a mutation without an id.
            Some(Verdict::Forgotten) | None => Ok(Version::default()),
        }
    }

    /// Calls `watcher` with every change from now on, whoever makes it, in order, until the
    /// handle is dropped. It must not block; changes come by way of the bus.
    pub fn watch(&self, watcher: impl Fn(&Change) + Send + Sync + 'static) -> ListenerHandle {
        let pattern = wire::changes_pattern(self.name());
        let listener =
            self.bus.on(pattern, move |event| match wire::read_change(event.payload.bytes()) {
                Ok(change) => watcher(&change),
                Err(error) => tracing::error!(name = %event.name, %error, "not a change"),
            });
        listener.unwrap_or_else(|error| unreachable!("a collection's name is checked: {error}"))
    }
}

fn document(value: &impl Serialize) -> Result<Document, CollectionError> {
    let json = serde_json::to_vec(value).map_err(CollectionError::Write)?;
    Ok(Document::parse(&json, MAX_DEPTH)?)
}
