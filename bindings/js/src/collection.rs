//! Collections: what the page shows of one is told to it record by record.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_signals::signal::SignalExt;
use futures_util::StreamExt;
use tidings::Collection;
use tidings::collection::{
    Acknowledged, CollectionBuilder, Conflict, Document, Progress, Rejection, Write,
};
use tidings_core::json::{MAX_DEPTH, Value, Writer, parse};
use tidings_core::map::Map;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::edits;
use crate::failure::{self, Failure};
use crate::outbox::{tell, tell_only};
use crate::registry::{client, run};
use crate::storage::{PageStorage, Used};

/// A collection that is open.
#[derive(Clone)]
pub(crate) struct Open {
    collection: Collection<Document>,
    changes: Arc<Mutex<Changes>>,
}

/// Records that have changed since the page took the last ones.
#[derive(Default)]
struct Changes {
    /// `key,value,pending,key,value,pending` and so on.
    text: Vec<u8>,
    /// Whether the page knows that there is something to take.
    told: bool,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static COLLECTIONS: RefCell<Map<u32, Open>> = const { RefCell::new(Map::new()) };
}

fn add_collection(number: u32, collection: Open) {
    COLLECTIONS.with_borrow_mut(|collections| collections.insert(number, collection));
}

/// Does something with the collection with this number.
fn with_collection<R>(
    number: u32,
    with: impl FnOnce(&Open) -> Result<R, String>,
) -> Result<R, String> {
    let collection = COLLECTIONS.with_borrow(|collections| collections.get(&number).cloned());
    with(&collection.ok_or_else(|| failure::closed("the collection is closed"))?)
}

fn remove_collection(number: u32) {
    let collection = COLLECTIONS.with_borrow_mut(|collections| collections.remove(&number));
    drop(collection);
}

/// Opens a collection, until it is stopped. It tells `opened` or `failed`, then `changed` when there
/// is something for [`changes`], and each `conflict`. With `storage` it asks to keep things.
///
/// # Errors
/// If the client is closed.
#[wasm_bindgen]
pub fn open_collection(of: u32, number: u32, name: &str, settings: &str) -> Result<(), String> {
    let (builder, used) = settled(client(of)?.collection(name), number, settings);
    run(number, async move {
        // Whoever hears that the storage is released hears nothing after that.
        let _used = used;
        match builder.raw().await {
            Ok(collection) => serve(number, collection).await,
            Err(error) => tell(number, "failed", |w| Failure::from(error).write(w)),
        }
    });
    Ok(())
}

fn settled(
    mut builder: CollectionBuilder<Document>,
    number: u32,
    settings: &str,
) -> (CollectionBuilder<Document>, Option<Arc<Used>>) {
    type Size = fn(CollectionBuilder<Document>, usize) -> CollectionBuilder<Document>;
    let Ok(settings) = parse(settings.as_bytes(), MAX_DEPTH) else { return (builder, None) };
    for (name, set) in [
        ("maxPending", CollectionBuilder::max_pending as Size),
        ("maxPendingBytes", CollectionBuilder::max_pending_bytes),
        ("maxUndo", CollectionBuilder::max_undo),
        ("page", CollectionBuilder::page),
    ] {
        let size = settings.get(name).and_then(Value::as_u64);
        if let Some(size) = size.and_then(|size| usize::try_from(size).ok()) {
            builder = set(builder, size);
        }
    }
    let policy = settings.get("policy").and_then(Value::as_str);
    if let Some(policy) = policy.and_then(|policy| policy.parse().ok()) {
        builder = builder.policy(policy);
    }
    if settings.get("storage").and_then(Value::as_bool) == Some(true) {
        let storage = PageStorage::new(number);
        let used = storage.used();
        return (builder.storage(storage), Some(used));
    }
    (builder, None)
}

/// Tells what becomes of a collection, until it is closed.
async fn serve(number: u32, collection: Collection<Document>) {
    let open = Open { collection, changes: Arc::default() };
    let changes = open.changes.clone();
    open.collection.follow(move |key, entry| {
        let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        if !changes.text.is_empty() {
            changes.text.push(b',');
        }
        let mut w = Writer::new(&mut changes.text);
        w.str(key.as_str());
        match entry {
            Some(entry) => w.raw(entry.value.bytes()).bool(entry.pending),
            None => w.null().bool(false),
        };
        tell_changed(number, &mut changes);
    });
    let mut conflicts = open.collection.conflicts();
    let mut statuses = open.collection.status_signal().to_stream();
    let changes = open.changes.clone();
    add_collection(number, open);
    let _remove = Remove(number);
    tell_only(number, "opened");
    let told = async {
        while let Some(conflict) = conflicts.next().await {
            tell(number, "conflict", |w| write_conflict(&conflict, w));
        }
    };
    let followed = async {
        while statuses.next().await.is_some() {
            let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
            tell_changed(number, &mut changes);
        }
    };
    futures_util::future::join(told, followed).await;
}

fn tell_changed(number: u32, changes: &mut Changes) {
    if !std::mem::replace(&mut changes.told, true) {
        tell_only(number, "changed");
    }
}

/// Closes the collection when it is stopped.
struct Remove(u32);

impl Drop for Remove {
    fn drop(&mut self) {
        remove_collection(self.0);
    }
}

/// How the collection is doing, and the records that have changed since this was called last.
///
/// # Errors
/// If it is closed.
#[wasm_bindgen]
pub fn changes(number: u32) -> Result<String, String> {
    with_collection(number, |open| {
        let text = {
            let mut changes = open.lock();
            changes.told = false;
            std::mem::take(&mut changes.text)
        };
        let status = open.collection.status();
        let mut out = Vec::with_capacity(text.len() + 128);
        let mut w = Writer::new(&mut out);
        w.begin_object().key("status").begin_object().key("loaded").bool(status.loaded);
        w.key("records").u64(status.records as u64).key("pending").u64(status.pending as u64);
        for (key, text) in [("trouble", &status.trouble), ("setAside", &status.set_aside)] {
            if let Some(text) = text {
                w.key(key).str(text);
            }
        }
        w.end_object().key("changes").begin_array();
        if !text.is_empty() {
            w.raw(&text);
        }
        w.end_array().end_object();
        Ok(String::from_utf8(out).unwrap_or_default())
    })
}

/// Makes these edits, all or none: what they are `edits` says. The write tells `stored`,
/// `acknowledged`, `seen`, and `failed`, which is the end. Whether there is a write: that nothing
/// would change is none.
///
/// # Errors
/// If one of them is not possible.
#[wasm_bindgen]
pub fn mutate(number: u32, write: u32, edits: &str) -> Result<bool, String> {
    with_collection(number, |open| {
        let edits = edits::read(&open.collection, edits).map_err(|failure| failure.text())?;
        if edits.is_empty() {
            return Ok(false);
        }
        follow_some(write, open.collection.mutate(edits).map(Some))
    })
}

/// Takes the last write back. Whether there was one; it is a write as that of [`mutate`] is.
///
/// # Errors
/// If it is not possible.
#[wasm_bindgen]
pub fn undo(number: u32, write: u32) -> Result<bool, String> {
    with_collection(number, |open| follow_some(write, open.collection.undo()))
}

/// Does the last undone write again.
///
/// # Errors
/// If it is not possible.
#[wasm_bindgen]
pub fn redo(number: u32, write: u32) -> Result<bool, String> {
    with_collection(number, |open| follow_some(write, open.collection.redo()))
}

fn follow_some(
    number: u32,
    write: Result<Option<Write>, impl Into<Failure>>,
) -> Result<bool, String> {
    let write = write.map_err(|error| error.into().text())?;
    Ok(write.map(|write| follow(number, write)).is_some())
}

/// Tells how far a write comes.
fn follow(number: u32, write: Write) {
    let mut steps = write.progress_signal().to_stream();
    run(number, async move {
        let mut told = Progress::default();
        while let Some(step) = steps.next().await {
            if step.stored && !told.stored {
                tell_only(number, "stored");
            }
            if let (Some(acknowledged), None) = (&step.acknowledged, &told.acknowledged) {
                tell(number, "acknowledged", |w| write_acknowledged(acknowledged, w));
            }
            if step.observed && !told.observed {
                tell_only(number, "seen");
            }
            if let Some(rejection) = &step.rejected {
                return tell_rejected(number, rejection.clone());
            }
            if step.observed && step.acknowledged.is_some() {
                return tell_only(number, "done");
            }
            if step.closed {
                let closed =
                    Failure::closed("the collection was closed before the write came so far");
                return tell(number, "failed", |w| closed.write(w));
            }
            told = step;
        }
    });
}

fn tell_rejected(number: u32, rejection: Rejection) {
    tell(number, "failed", |w| Failure::from(rejection).write(w));
}

fn write_acknowledged(acknowledged: &Acknowledged, w: &mut Writer<'_>) {
    w.begin_object();
    if let Some(version) = acknowledged.version {
        w.key("version").u64(version.0);
    }
    w.key("conflicts").begin_array();
    for conflict in &acknowledged.conflicts {
        write_conflict(conflict, w);
    }
    w.end_array().end_object();
}

fn write_conflict(conflict: &Conflict, w: &mut Writer<'_>) {
    w.begin_object().key("key").str(conflict.key.as_str());
    for (name, document) in [("base", &conflict.base), ("mine", &conflict.mine)] {
        if let Some(document) = document {
            w.key(name).raw(document.bytes());
        }
    }
    w.key("theirs").raw(conflict.theirs.bytes());
    w.key("outcome").str(conflict.outcome.as_str()).end_object();
}
