//! Opening a collection.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tidings_core::state::{Document, Policy, Store, StoreConfig};

use super::error::OpenError;
use super::handle::Collection;
use super::kept::Kept;
use super::records::{self, Loaded};
use super::shared::{Read, Shared};
use super::storage::Storage;
use super::{keep, sync};
use crate::client::Client;
use crate::runtime::{BoxFuture, Runtime, off_thread, random};

/// How many characters the name of a client has: 132 bits.
const CLIENT_ID: usize = 22;

/// A collection to be opened; await it to open it. That waits for the storage, if there is one,
/// and for no connection.
#[must_use = "a collection is opened when this is awaited"]
pub struct CollectionBuilder<T> {
    client: Client,
    name: String,
    storage: Option<Arc<dyn Storage>>,
    policy: Option<Policy>,
    config: StoreConfig,
    page: usize,
    stores_records: bool,
    max_stored_bytes: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> CollectionBuilder<T> {
    pub(crate) fn new(client: Client, name: String) -> Self {
        let config = StoreConfig::new("");
        Self {
            client,
            name,
            storage: None,
            policy: None,
            config,
            page: 500,
            stores_records: true,
            max_stored_bytes: 64 << 20,
            value: PhantomData,
        }
    }

    /// Keeps what is pending there, so that it survives a restart of the program, and the records
    /// that were loaded, so that they are shown after it before there is a connection. A storage
    /// belongs to one server. Default: all is kept in memory.
    pub fn storage(mut self, storage: impl Storage) -> Self {
        self.storage = Some(Arc::new(storage));
        self
    }

    /// Shows conflicts decided by this policy, as is needed if the server has one of the
    /// application's own: it should be the same there. Default: as the server says.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// How many writes may be pending. Default 10,000.
    pub const fn max_pending(mut self, writes: usize) -> Self {
        self.config.max_pending = writes;
        self
    }

    /// How many bytes of writes may be pending. Default 8 MiB.
    pub const fn max_pending_bytes(mut self, bytes: usize) -> Self {
        self.config.max_pending_bytes = bytes;
        self
    }

    /// How many writes can be undone. Default 100.
    pub const fn max_undo(mut self, writes: usize) -> Self {
        self.config.max_undo = writes;
        self
    }

    /// Whether the storage has the loaded records, too. Default `true`.
    pub const fn store_records(mut self, whether: bool) -> Self {
        self.stores_records = whether;
        self
    }

    /// If loaded records have more bytes than this, what is stored of them is not brought up to date
    /// any more. Default 64 MiB.
    pub const fn max_stored_bytes(mut self, bytes: usize) -> Self {
        self.max_stored_bytes = bytes;
        self
    }

    /// How many records are loaded at once. Default 500.
    pub const fn page(mut self, records: usize) -> Self {
        self.page = records;
        self
    }
}

impl CollectionBuilder<Document> {
    /// Opens it with its records as they are: JSON objects that nobody has looked into.
    ///
    /// # Errors
    /// As awaiting it has.
    pub async fn raw(self) -> Result<Collection<Document>, OpenError> {
        self.open(|document| Ok(document.clone())).await
    }
}

impl<T: Send + Sync + 'static> CollectionBuilder<T> {
    async fn open(self, value: Read<T>) -> Result<Collection<T>, OpenError> {
        let runtime = Runtime::current().ok_or(OpenError::NoRuntime)?;
        let storage = self.storage.clone();
        let (mut kept, mut loaded, mut aside) = (None, None, Vec::new());
        if let Some(storage) = &storage {
            kept = read(&**storage, &self.name, "what was pending", Kept::read, &mut aside).await?;
        }
        let records = storage.clone().filter(|_| self.stores_records);
        if let Some(storage) = &records {
            let name = records::name(&self.name);
            loaded = read(&**storage, &name, "loaded records", Loaded::read, &mut aside).await?;
        }
        let mut store = self.store(kept)?;
        let mut bytes = None;
        if let Some(Loaded { version, records, bytes: restored }) = loaded {
            bytes = restored;
            store.restore_confirmed(version, records);
        }
        if records.is_some() {
            store.note_unsaved();
        }
        let aside = (!aside.is_empty()).then(|| aside.join("; "));
        let shared = Arc::new(Shared::new(store, value, storage.is_some(), aside));
        shared.change(|_| ());
        if let Some(storage) = storage {
            runtime.spawn(keep::run(shared.clone(), self.name.clone(), storage));
        }
        if let Some(storage) = records {
            let name = records::name(&self.name);
            let max_bytes = self.max_stored_bytes;
            runtime.spawn(records::run(shared.clone(), name, storage, max_bytes, bytes));
        }
        let sync = sync::Sync {
            shared: shared.clone(),
            client: self.client,
            name: self.name,
            page: self.page,
            follows_policy: self.policy.is_none(),
        };
        runtime.spawn(sync.run());
        Ok(Collection::new(shared))
    }

    /// A store with what was pending.
    fn store(&self, kept: Option<Kept>) -> Result<Store, OpenError> {
        let client = match &kept {
            Some(kept) => kept.client.clone(),
            None => {
                let random = random(CLIENT_ID);
                let (id, _) = random.map_err(|error| OpenError::NoRandom(error.to_string()))?;
                id.into()
            }
        };
        let policy = self.policy.clone().unwrap_or_default();
        let mut store = Store::new(StoreConfig { client, policy, ..self.config.clone() });
        if let Some(kept) = kept {
            store.restore(kept.mutations);
            store.skip_to(kept.next_seq);
        }
        Ok(store)
    }
}

/// What the storage has under `name`, by `reading` it. What cannot be read is set aside, and told in
/// `asides`.
async fn read<R: Send + 'static>(
    storage: &dyn Storage,
    name: &str,
    what: &str,
    reading: impl FnOnce(&[u8]) -> Result<R, String> + Send + 'static,
    asides: &mut Vec<String>,
) -> Result<Option<R>, OpenError> {
    let Some(text) = storage.read(name).await? else { return Ok(None) };
    match off_thread(move || reading(&text)).await {
        Ok(kept) => Ok(Some(kept)),
        Err(problem) => {
            let aside = storage.set_aside(name).await?;
            asides.push(format!("{what} could not be read ({problem}): it is in {aside}"));
            Ok(None)
        }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> IntoFuture for CollectionBuilder<T> {
    type Output = Result<Collection<T>, OpenError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open(|document| {
            serde_json::from_slice(document.bytes()).map_err(|error| error.to_string())
        }))
    }
}

impl<T> fmt::Debug for CollectionBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
