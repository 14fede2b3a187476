//! What the page has begun, by the number it has given it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;

use futures_util::future::{Either, select};
use tidings::Client;
use tidings_core::map::Map;
use tokio::sync::oneshot;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure;

thread_local! {
    static CLIENTS: RefCell<Map<u32, Client>> = const { RefCell::new(Map::new()) };
    static RUNNING: RefCell<Map<u32, oneshot::Sender<()>>> = const { RefCell::new(Map::new()) };
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

/// Runs `task` until it ends, or [`stop`] is called with this number.
pub(crate) fn run(number: u32, task: impl Future<Output = ()> + 'static) {
    run_task(number, Box::pin(task));
}

/// Runs `task` until it ends.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    spawn_task(Box::pin(task));
}

/// What is done with tasks is in the module once, not once for each task that there is.
type Task = Pin<Box<dyn Future<Output = ()>>>;

fn spawn_task(task: Task) {
    wasm_bindgen_futures::spawn_local(task);
}

fn run_task(number: u32, task: Task) {
    let (end, ended) = oneshot::channel();
    RUNNING.with_borrow_mut(|running| running.insert(number, end));
    spawn(async move {
        let has_ended = matches!(select(task, ended).await, Either::Left(_));
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
    CLIENTS.with_borrow(Map::len) + RUNNING.with_borrow(Map::len)
}
