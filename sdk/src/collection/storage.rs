//! Where pending mutations wait for the server and loaded records for the next start, over restarts
//! of the program.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::runtime::BoxFuture;

/// Something could not be kept, or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// Reading or writing failed.
    #[error("{place}: {problem}")]
    Failed {
        /// What was to be read or written.
        place: String,
        /// Why it could not be.
        problem: String,
    },
    /// Another collection or process uses it: two would count their mutations alike.
    #[error("{place} is in use: give each process a storage of its own")]
    InUse {
        /// What is in use.
        place: String,
    },
}

/// Keeps a text by name. What it was last told to keep is there after a crash, whole. Of what it was
/// being told to [`write`](Self::write) when it crashed either all is there, or what was before; of what
/// it was being told to [`append`](Self::append), a beginning.
pub trait Storage: Send + Sync + 'static {
    /// What is kept under `name`.
    fn read(&self, name: &str) -> BoxFuture<Result<Option<Vec<u8>>, StorageError>>;

    /// Keeps `content` under `name` instead of what was there.
    fn write(&self, name: &str, content: Vec<u8>) -> BoxFuture<Result<(), StorageError>>;

    /// Keeps `content` under `name` behind what is there. If that fails, a beginning of it may be there.
    fn append(&self, name: &str, content: Vec<u8>) -> BoxFuture<Result<(), StorageError>>;

    /// Keeps what is under `name` elsewhere, for people to look at; tells where.
    fn set_aside(&self, name: &str) -> BoxFuture<Result<String, StorageError>>;
}

/// Keeps it in memory: it outlives the connection and the collection, but not the process.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    kept: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl MemoryStorage {
    /// One that has nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<R>(&self, with: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> R) -> R {
        with(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Storage for MemoryStorage {
    fn read(&self, name: &str) -> BoxFuture<Result<Option<Vec<u8>>, StorageError>> {
        let kept = self.with(|kept| kept.get(name).cloned());
        Box::pin(std::future::ready(Ok(kept)))
    }

    fn write(&self, name: &str, content: Vec<u8>) -> BoxFuture<Result<(), StorageError>> {
        self.with(|kept| kept.insert(name.to_owned(), content));
        Box::pin(std::future::ready(Ok(())))
    }

    fn append(&self, name: &str, content: Vec<u8>) -> BoxFuture<Result<(), StorageError>> {
        self.with(|kept| kept.entry(name.to_owned()).or_default().extend(content));
        Box::pin(std::future::ready(Ok(())))
    }

    fn set_aside(&self, name: &str) -> BoxFuture<Result<String, StorageError>> {
        let aside = self.with(|kept| {
            let content = kept.remove(name).unwrap_or_default();
            let free = (1..).map(|n| format!("{name}.aside-{n}")).find(|n| !kept.contains_key(n));
            let aside = free.unwrap_or_default();
            kept.insert(aside.clone(), content);
            aside
        });
        Box::pin(std::future::ready(Ok(aside)))
    }
}
