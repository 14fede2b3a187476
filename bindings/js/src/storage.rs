//! A storage that the page has.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tidings::Payload;
use tidings::collection::{Storage, StorageError};

use crate::asking::{ask, text};
use crate::outbox::tell;

/// Asks the page to keep things: questions `storage`, to the collection's number, of what to do, with
/// which name, and the place of the bytes.
pub(crate) struct PageStorage {
    collection: u32,
    used: Arc<Used>,
}

/// Tells `released` when the storage is not used any more, and nobody else has this.
pub(crate) struct Used {
    collection: u32,
}

type Kept<T> = Pin<Box<dyn Future<Output = Result<T, StorageError>>>>;

impl PageStorage {
    pub(crate) fn new(collection: u32) -> Self {
        Self { collection, used: Arc::new(Used { collection }) }
    }

    /// Has the storage in use until it is dropped.
    pub(crate) fn used(&self) -> Arc<Used> {
        Arc::clone(&self.used)
    }

    fn ask(
        &self,
        what: &'static str,
        name: &str,
        content: Option<Vec<u8>>,
    ) -> Kept<Option<Payload>> {
        let (collection, name) = (self.collection, name.to_owned());
        Box::pin(async move {
            let asked = ask(collection, "storage", |w, binaries| {
                w.str(what).str(&name);
                if let Some(content) = content {
                    w.u64(binaries.len() as u64);
                    binaries.push(Bytes::from(content));
                }
            });
            asked.await.map_err(|failed| StorageError::Failed {
                place: name.clone(),
                problem: failed.message,
            })
        })
    }
}

impl Drop for Used {
    /// The collection is closed, and has kept what was to be kept.
    fn drop(&mut self) {
        tell(self.collection, "released", |w| _ = w.null());
    }
}

impl Storage for PageStorage {
    fn read(&self, name: &str) -> Kept<Option<Vec<u8>>> {
        let asked = self.ask("read", name, None);
        Box::pin(async move { Ok(asked.await?.map(|kept| kept.bytes().to_vec())) })
    }

    fn write(&self, name: &str, content: Vec<u8>) -> Kept<()> {
        let asked = self.ask("write", name, Some(content));
        Box::pin(async move { asked.await.map(drop) })
    }

    fn append(&self, name: &str, content: Vec<u8>) -> Kept<()> {
        let asked = self.ask("append", name, Some(content));
        Box::pin(async move { asked.await.map(drop) })
    }

    fn set_aside(&self, name: &str) -> Kept<String> {
        let asked = self.ask("setAside", name, None);
        Box::pin(async move { Ok(asked.await?.as_ref().map(text).unwrap_or_default()) })
    }
}
