//! What the page has begun, by the number it has given it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;

use futures_util::future::{Either, select};
use tidings::Client;
use tokio::sync::oneshot;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::collection::Open;
use crate::failure;

thread_local! {
    static CLIENTS: RefCell<BTreeMap<u32, Client>> = const { RefCell::new(BTreeMap::new()) };
    static COLLECTIONS: RefCell<BTreeMap<u32, Open>> = const { RefCell::new(BTreeMap::new()) };
    static RUNNING: RefCell<BTreeMap<u32, oneshot::Sender<()>>> =
        const { RefCell::new(BTreeMap::new()) };
}

pub(crate) fn add_client(number: u32, client: Client) {
    CLIENTS.with_borrow_mut(|clients| clients.insert(number, client));
}

/// The client with this number.
pub(crate) fn client(number: u32) -> Result<Client, String> {
    let client = CLIENTS.with_borrow(|clients| clients.get(&number).cloned());
    client.ok_or_else(|| failure::closed("the client is closed"))
}

/// Drops the handle to a client; without another one it closes.
#[wasm_bindgen]
pub fn forget(client: u32) {
    let client = CLIENTS.with_borrow_mut(|clients| clients.remove(&client));
    drop(client);
}

pub(crate) fn add_collection(number: u32, collection: Open) {
    COLLECTIONS.with_borrow_mut(|collections| collections.insert(number, collection));
}

/// Does something with the collection with this number.
pub(crate) fn with_collection<R>(
    number: u32,
    with: impl FnOnce(&Open) -> Result<R, String>,
) -> Result<R, String> {
    let collection = COLLECTIONS.with_borrow(|collections| collections.get(&number).cloned());
    with(&collection.ok_or_else(|| failure::closed("the collection is closed"))?)
}

pub(crate) fn remove_collection(number: u32) {
    let collection = COLLECTIONS.with_borrow_mut(|collections| collections.remove(&number));
    drop(collection);
}

/// Runs `task` until it ends, or [`stop`] is called with this number.
pub(crate) fn run(number: u32, task: impl Future<Output = ()> + 'static) {
    let (end, ended) = oneshot::channel();
    RUNNING.with_borrow_mut(|running| running.insert(number, end));
    wasm_bindgen_futures::spawn_local(async move {
        let has_ended = matches!(select(pin!(task), ended).await, Either::Left(_));
        if has_ended {
            stop(number);
        }
    });
}

/// Ends what has this number and is not over: a subscription, a request, a pause.
#[wasm_bindgen]
pub fn stop(number: u32) {
    let end = RUNNING.with_borrow_mut(|running| running.remove(&number));
    drop(end);
}

/// How many things are there that have not ended: for tests that look for leaks.
#[wasm_bindgen]
pub fn count() -> usize {
    CLIENTS.with_borrow(BTreeMap::len)
        + COLLECTIONS.with_borrow(BTreeMap::len)
        + RUNNING.with_borrow(BTreeMap::len)
}
