//! The handle that applications hold.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_signals::signal::{Mutable, Signal, SignalExt};
use futures_util::StreamExt;
use futures_util::future::select;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidings_core::state::{Conflict, Edit, Key, KeyError, MutateError};
use tokio::sync::broadcast;

use super::batch::{Batch, document};
use super::error::ChangeError;
use super::shared::{CollectionStatus, Entry, Shared};
use super::view::ViewBuilder;
use super::write::Write;
use crate::runtime::unix_millis;
use crate::signal::{Watched, watch};

/// A collection that is open. Clones are handles to the same; it is closed, and what is pending
/// stored for the last time, when the last of them and the last [view](crate::collection::View) is
/// dropped. See the [module](crate::collection).
pub struct Collection<T> {
    handle: Arc<Handle<T>>,
}

/// Closes the collection when it is dropped.
pub(super) struct Handle<T> {
    pub(super) shared: Arc<Shared<T>>,
}

impl<T> Drop for Handle<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<T> fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl<T> Collection<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Self {
        Self { handle: Arc::new(Handle { shared }) }
    }

    fn shared(&self) -> &Shared<T> {
        &self.handle.shared
    }

    /// The record with this key, as it is shown.
    pub fn get(&self, key: &str) -> Option<Arc<T>> {
        self.shared().lock().entry(key).map(|entry| entry.value.clone())
    }

    /// All records as they are shown, by key.
    pub fn all(&self) -> Vec<Entry<T>> {
        self.shared().lock().entries().cloned().collect()
    }

    /// How many records are shown.
    pub fn len(&self) -> usize {
        self.shared().lock().len()
    }

    /// Whether none is shown.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Why some records are not shown: they are not values of this type.
    pub fn misfits(&self) -> Vec<(Key, String)> {
        let inner = self.shared().lock();
        inner.misfits().iter().map(|(key, problem)| (key.clone(), problem.clone())).collect()
    }

    /// The record with this key, now and whenever it changes.
    ///
    /// # Errors
    /// If no record can have this key.
    pub fn signal(
        &self,
        key: &str,
    ) -> Result<impl Signal<Item = Option<Entry<T>>> + use<T>, KeyError> {
        let watched = self.shared().lock().watch(Key::new(key)?);
        Ok(RecordSignal { signal: watch(&watched), _watched: watched })
    }

    /// Calls `follower` with each record that is shown, and from then on with each that has changed;
    /// `None` when it is not shown any more. It has to be quick, and must not use the collection.
    pub fn follow(&self, follower: impl FnMut(&Key, Option<&Entry<T>>) + Send + 'static) {
        self.shared().lock().add_follower(Box::new(follower));
    }

    /// How it is doing now.
    pub fn status(&self) -> CollectionStatus {
        self.shared().status.get_cloned()
    }

    /// How it is doing, now and whenever that changes.
    pub fn status_signal(&self) -> impl Signal<Item = CollectionStatus> + Send + Sync + use<T> {
        watch(&self.shared().status)
    }

    /// Waits until all records are there, or the client is closed.
    pub async fn loaded(&self) {
        self.until(|status| status.loaded).await;
    }

    /// Waits until nothing is pending any more: all that was written was taken by the server and
    /// came back, or was rejected. Or until the client is closed.
    pub async fn settled(&self) {
        self.until(|status| status.pending == 0).await;
    }

    async fn until(&self, is: impl Fn(&CollectionStatus) -> bool) {
        let mut statuses = watch(&self.shared().status).to_stream();
        let reached = async {
            while let Some(status) = statuses.next().await {
                if is(&status) {
                    return;
                }
            }
        };
        select(pin!(reached), pin!(self.shared().closed())).await;
    }

    /// Conflicts of this client's writes, as the server decides them from now on.
    pub fn conflicts(&self) -> Conflicts {
        Conflicts { conflicts: self.shared().conflicts.subscribe() }
    }

    /// Changes that happen together, or not at all.
    pub const fn batch(&self) -> Batch<'_, T> {
        Batch::new(self)
    }
}

impl<T: Send + Sync + 'static> Collection<T> {
    /// A live list of its records.
    pub fn view(&self) -> ViewBuilder<T> {
        ViewBuilder::new(self.handle.clone())
    }
}

impl<T> Collection<T> {
    /// Adds a record, which is shown at once.
    ///
    /// # Errors
    /// If there is one with this key, or too much is pending.
    pub fn insert(&self, key: &str, value: &T) -> Result<Write, ChangeError>
    where
        T: Serialize,
    {
        self.batch().insert(key, value).commit()
    }

    /// Changes fields of a record: `patch` is a JSON merge patch (RFC 7396).
    ///
    /// # Errors
    /// If there is no such record, or too much is pending.
    pub fn update(&self, key: &str, patch: &impl Serialize) -> Result<Write, ChangeError> {
        self.batch().update(key, patch).commit()
    }

    /// Has `change` change a record as it is shown; the fields that differ afterwards are updated.
    /// `None` if none does.
    ///
    /// # Errors
    /// If there is no such record, or too much is pending.
    pub fn change(
        &self,
        key: &str,
        change: impl FnOnce(&mut T),
    ) -> Result<Option<Write>, ChangeError>
    where
        T: Serialize + DeserializeOwned,
    {
        let key = Key::new(key)?;
        let shown = self.shared().lock().store.get(&key).cloned();
        let Some(before) = shown else {
            // Says that it is missing.
            return self.mutate([(key, Edit::Delete)]).map(Some);
        };
        let value = serde_json::from_slice(before.bytes());
        let mut value: T = value.map_err(|error| ChangeError::Misfit {
            key: key.clone(),
            problem: error.to_string(),
        })?;
        change(&mut value);
        let patch = before.patch_to(&document(&value)?);
        if patch.is_empty() {
            return Ok(None);
        }
        self.mutate([(key, Edit::Update(patch))]).map(Some)
    }

    /// Changes a record as a whole.
    ///
    /// # Errors
    /// If there is no such record, or too much is pending.
    pub fn replace(&self, key: &str, value: &T) -> Result<Write, ChangeError>
    where
        T: Serialize,
    {
        self.batch().replace(key, value).commit()
    }

    /// Removes a record.
    ///
    /// # Errors
    /// If there is no such record, or too much is pending.
    pub fn delete(&self, key: &str) -> Result<Write, ChangeError> {
        self.batch().delete(key).commit()
    }

    /// Adds to fields of a record, whatever they are by the time it is done: `amounts` has whole
    /// numbers under the names of the fields.
    ///
    /// # Errors
    /// If there is no such record, a field is no whole number, or too much is pending.
    pub fn increment(&self, key: &str, amounts: &impl Serialize) -> Result<Write, ChangeError> {
        self.batch().increment(key, amounts).commit()
    }

    /// Makes these edits, all or none.
    ///
    /// # Errors
    /// If one is not possible, or too much is pending.
    pub fn mutate(
        &self,
        edits: impl IntoIterator<Item = (Key, Edit)>,
    ) -> Result<Write, ChangeError> {
        let write = self.shared().write(|store| store.mutate(unix_millis(), edits).map(Some))?;
        // A mutation that was made has a write.
        Ok(write.unwrap_or_else(|| Write::new(0, Mutable::default())))
    }

    /// Takes back what was written last here and not undone: the fields that still are as it has
    /// left them. `None` if there is nothing to take back.
    ///
    /// # Errors
    /// If too much is pending.
    pub fn undo(&self) -> Result<Option<Write>, MutateError> {
        self.shared().write(|store| store.undo(unix_millis()))
    }

    /// Does again what was undone last. `None` if there is nothing, or something else was written
    /// since.
    ///
    /// # Errors
    /// If too much is pending.
    pub fn redo(&self) -> Result<Option<Write>, MutateError> {
        self.shared().write(|store| store.redo(unix_millis()))
    }
}

/// Conflicts of this client's writes; see [`Collection::conflicts`].
#[derive(Debug)]
pub struct Conflicts {
    conflicts: broadcast::Receiver<Conflict>,
}

impl Conflicts {
    /// The next one; `None` when the collection is closed. Whoever is very slow misses the oldest.
    pub async fn next(&mut self) -> Option<Conflict> {
        loop {
            match self.conflicts.recv().await {
                Ok(conflict) => return Some(conflict),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Keeps what it signals.
struct RecordSignal<T> {
    signal: Watched<Option<Entry<T>>>,
    _watched: Arc<Mutable<Option<Entry<T>>>>,
}

impl<T> Signal for RecordSignal<T> {
    type Item = Option<Entry<T>>;

    fn poll_change(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.signal).poll_change(cx)
    }
}
