//! Opening a collection.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tidings_core::state::{Policy, Store, StoreConfig};

use super::error::OpenError;
use super::handle::Collection;
use super::kept::Kept;
use super::shared::Shared;
use super::storage::Storage;
use super::{keep, sync};
use crate::client::Client;
use crate::request::BoxFuture;
use crate::runtime::{Runtime, random};

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
    value: PhantomData<fn() -> T>,
}

impl<T> CollectionBuilder<T> {
    pub(crate) fn new(client: Client, name: String) -> Self {
        let config = StoreConfig::new("");
        Self { client, name, storage: None, policy: None, config, page: 500, value: PhantomData }
    }

    /// Keeps what is pending there, so that it survives a restart of the program. Default: it is
    /// kept in memory.
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

    /// How many records are loaded at once. Default 500.
    pub const fn page(mut self, records: usize) -> Self {
        self.page = records;
        self
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> CollectionBuilder<T> {
    async fn open(self) -> Result<Collection<T>, OpenError> {
        let runtime = Runtime::current().ok_or(OpenError::NoRuntime)?;
        let (kept, set_aside) = match &self.storage {
            Some(storage) => read(&**storage, &self.name).await?,
            None => (None, None),
        };
        let store = self.store(kept)?;
        let shared = Arc::new(Shared::new(store, self.storage.is_some(), set_aside));
        shared.change(|_| ());
        if let Some(storage) = self.storage {
            runtime.spawn(keep::run(shared.clone(), self.name.clone(), storage));
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

/// What the storage has kept. What cannot be read is set aside, and told.
async fn read(
    storage: &dyn Storage,
    name: &str,
) -> Result<(Option<Kept>, Option<String>), OpenError> {
    let Some(text) = storage.read(name).await? else { return Ok((None, None)) };
    match Kept::read(&text) {
        Ok(kept) => Ok((Some(kept), None)),
        Err(problem) => {
            let aside = storage.set_aside(name).await?;
            Ok((
                None,
                Some(format!("what was pending could not be read ({problem}): it is in {aside}")),
            ))
        }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> IntoFuture for CollectionBuilder<T> {
    type Output = Result<Collection<T>, OpenError>;
    type IntoFuture = BoxFuture<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl<T> fmt::Debug for CollectionBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectionBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
