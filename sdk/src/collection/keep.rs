//! The task that keeps the storage of what is pending up to date.

use std::sync::Arc;
use std::time::Duration;

use super::kept::{self, Saved};
use super::shared::Shared;
use super::storage::Storage;
use crate::runtime::sleep;

/// How long it waits after the storage failed.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// More than what is needed may be stored by this much, besides as much again.
pub(super) const SLACK: usize = 64 << 10;

/// What a storage has, as long as it does what it is told.
#[derive(Debug, Clone, Copy)]
struct Place {
    saved: Saved,
    /// How much was written when all was written.
    whole: usize,
    /// How much since.
    more: usize,
}

/// Stores what is pending whenever that changes, until the collection is closed and all of it is.
pub(super) async fn run<T>(shared: Arc<Shared<T>>, name: String, storage: Arc<dyn Storage>) {
    let mut place = None;
    loop {
        let Some((text, next, whole)) = unsaved(&shared, place) else {
            if shared.is_closed() {
                return;
            }
            shared.keep.notified().await;
            continue;
        };
        let stored = match (whole, text.is_empty()) {
            (true, _) => storage.write(&name, text).await,
            (false, true) => Ok(()),
            (false, false) => storage.append(&name, text).await,
        };
        match stored {
            Ok(()) => {
                place = Some(next);
                shared.tell_trouble(None);
                shared.stored(next.saved.last());
            }
            Err(error) => {
                // A part of it may be there.
                place = None;
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

/// What has to be stored, what the storage has then, and whether that is to take the place of what it
/// has.
fn unsaved<T>(shared: &Shared<T>, place: Option<Place>) -> Option<(Vec<u8>, Place, bool)> {
    let mut inner = shared.lock();
    if !std::mem::take(&mut inner.dirty) {
        return None;
    }
    let saved = Saved::all(&inner.store);
    if let Some(place) = place {
        let text = kept::write_more(&inner.store, place.saved);
        let more = place.more + text.len();
        if more <= place.whole + SLACK {
            return Some((text, Place { saved, more, ..place }, false));
        }
    }
    let text = kept::write(&inner.store);
    let place = Place { saved, whole: text.len(), more: 0 };
    Some((text, place, true))
}
