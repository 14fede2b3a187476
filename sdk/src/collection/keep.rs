//! The task that keeps the storage up to date.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::kept::Kept;
use super::shared::Shared;
use super::storage::Storage;
use crate::runtime::sleep;

/// How long it waits after the storage failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Stores what is pending whenever that changes, until the collection is closed and all of it is.
pub(super) async fn run<T: DeserializeOwned>(
    shared: Arc<Shared<T>>,
    name: String,
    storage: Arc<dyn Storage>,
) {
    loop {
        let Some((text, last)) = unsaved(&shared) else {
            if shared.is_closed() {
                return;
            }
            shared.keep.notified().await;
            continue;
        };
        match storage.write(&name, text).await {
            Ok(()) => {
                shared.tell_trouble(None);
                shared.stored(last);
            }
            Err(error) => {
                shared.lock().dirty = true;
                shared.tell_trouble(Some(error.to_string()));
                if shared.is_closed() {
                    return;
                }
                sleep(PAUSE).await;
            }
        }
    }
}

/// What has to be stored, and the last write in it.
fn unsaved<T>(shared: &Shared<T>) -> Option<(Vec<u8>, u64)> {
    let mut inner = shared.lock();
    std::mem::take(&mut inner.dirty)
        .then(|| (Kept::write(&inner.store), inner.store.next_seq() - 1))
}
