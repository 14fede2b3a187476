//! The task that loads, follows and sends.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select;
use tidings_core::message::{Advice, Delivery, ErrorCode};
use tidings_core::state::{Load, Mutation, Policy, Reason, Rejection, Verdict, wire};
use tidings_core::{Payload, client};

use super::shared::Shared;
use crate::client::Client;
use crate::error::{EventError, RequestError, SubscribeError};
use crate::runtime::sleep;
use crate::subscription::Subscribed;

/// How long it waits after a failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Keeps the collection in step with the server's.
pub(super) struct Sync<T> {
    pub(super) shared: Arc<Shared<T>>,
    pub(super) client: Client,
    pub(super) name: String,
    /// How many records are asked for at once.
    pub(super) page: usize,
    /// Whether the server is believed when it says how it decides conflicts.
    pub(super) follows_policy: bool,
}

/// Something did not work. It is tried again, unless the client is closed.
enum Failure {
    Trouble(String),
    Closed,
}

impl<T: Send + std::marker::Sync + 'static> Sync<T> {
    /// Runs until the collection or the client is closed.
    pub(super) async fn run(self) {
        let closed = self.shared.clone();
        select(pin!(self.work()), pin!(closed.closed())).await;
        closed.close();
    }

    async fn work(self) {
        let mut pause = FIRST_PAUSE;
        let mut subscribed: Option<Subscribed> = None;
        loop {
            let step = match subscribed {
                // First the changes to come, then what is there: nothing falls between.
                None => self.subscribe().await.map(|new| subscribed = Some(new)),
                Some(_) => self.step().await,
            };
            match step {
                Ok(()) => pause = FIRST_PAUSE,
                Err(Failure::Closed) => return,
                Err(Failure::Trouble(trouble)) => {
                    self.shared.tell_trouble(Some(trouble));
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<Subscribed, Failure> {
        let shared = self.shared.clone();
        let followed =
            self.client.on_each(wire::changes_pattern(&self.name), None, move |item| match item {
                Ok(delivery) => received(&shared, delivery),
                Err(EventError::Closed(_)) => shared.close(),
                Err(_) => missed(&shared),
            });
        followed.await.map_err(|error| match error {
            SubscribeError::Closed(_) => Failure::Closed,
            SubscribeError::Refused(_) => Failure::Trouble(error.to_string()),
        })
    }

    async fn step(&self) -> Result<(), Failure> {
        let must_load = self.shared.lock().must_load;
        // What is pending is sent even if nothing can be loaded: it has to get its answer.
        let loaded = if must_load { self.load().await } else { Ok(()) };
        let batch = self.shared.lock().store.next_batch();
        match batch {
            Some(batch) => self.mutate(&batch).await?,
            None if !must_load => self.shared.sync.notified().await,
            None => {}
        }
        loaded
    }

    /// Loads all that is not here yet, page by page.
    async fn load(&self) -> Result<(), Failure> {
        let mut next = Some(self.begin_load());
        while let Some(load) = next {
            let asked = self.ask(wire::load_name(&self.name), wire::write_load(&load)).await;
            let loaded = asked.map_err(trouble).and_then(|json| {
                wire::read_loaded(&json).map_err(|error| Failure::Trouble(error.to_string()))
            });
            let loaded = loaded.inspect_err(|_| self.shared.lock().must_load = true)?;
            self.shared.tell_trouble(None);
            let policy = self.follows_policy.then(|| loaded.policy.parse());
            next = self.shared.change(|inner| {
                if let Some(policy) = policy {
                    // One of the server's own is not known here.
                    inner.store.set_policy(policy.unwrap_or(Policy::ClientWins));
                }
                inner.store.loaded(&load, loaded.page)
            });
            self.shared.records.notify_one();
        }
        Ok(())
    }

    fn begin_load(&self) -> Load {
        let mut inner = self.shared.lock();
        inner.must_load = false;
        inner.store.begin_load(self.page)
    }

    /// Sends mutations, and takes in what becomes of them.
    async fn mutate(&self, batch: &[Arc<Mutation>]) -> Result<(), Failure> {
        let client = self.shared.lock().store.client().clone();
        let mut asked = self.send(&client, batch).await;
        if batch.len() > 1 && asked.as_ref().is_err_and(is_final) {
            // One of them is the reason. The first goes alone, and the others after it.
            asked = self.send(&client, &batch[..1]).await;
        }
        let verdicts = match asked {
            Ok(json) => wire::read_verdicts(&json).map_err(|error| error.to_string()),
            Err(error) if is_final(&error) => Ok(rejected(batch, &error).into_iter().collect()),
            Err(error) => {
                self.shared.lock().store.unanswered();
                return Err(trouble(error));
            }
        };
        match verdicts {
            Ok(verdicts) => {
                self.shared.tell_trouble(None);
                self.shared.change(|inner| inner.store.answer(verdicts));
                self.shared.keep.notify_one();
                Ok(())
            }
            Err(problem) => {
                self.shared.lock().store.unanswered();
                Err(Failure::Trouble(problem))
            }
        }
    }

    async fn send(&self, client: &str, batch: &[Arc<Mutation>]) -> Result<Bytes, RequestError> {
        let json = wire::write_mutate(client, batch.iter().map(|mutation| &**mutation));
        self.ask(wire::mutate_name(&self.name), json).await
    }

    async fn ask(&self, name: String, json: Vec<u8>) -> Result<Bytes, RequestError> {
        let reply = self.client.request_raw(name, Payload::Json(json.into())).raw().await?;
        Ok(reply.bytes().clone())
    }
}

/// A change has come.
fn received<T>(shared: &Shared<T>, delivery: &Delivery) {
    match wire::read_change(delivery.event.payload.bytes()) {
        Ok(change) => {
            shared.change(|inner| inner.store.confirm(change));
            shared.records.notify_one();
        }
        Err(error) => shared.tell_trouble(Some(format!("{}: {error}", delivery.event.name))),
    }
}

/// Changes may have been missed.
fn missed<T>(shared: &Shared<T>) {
    shared.change(|inner| {
        inner.store.missed();
        inner.must_load = true;
    });
    shared.sync.notify_one();
}

/// Whether asking again would be answered in the same way. That a server has no such collection is
/// said by one of another version or with another configuration, too: that is no reason to
/// drop what somebody has written.
fn is_final(error: &RequestError) -> bool {
    match error {
        RequestError::Client(client::RequestError::Refused(refusal)) => {
            refusal.code.advice() == Advice::GiveUp
                && !matches!(refusal.code, ErrorCode::NO_HANDLER | ErrorCode::CANCELLED)
        }
        RequestError::Client(_) => false,
        RequestError::Payload(_) | RequestError::Reply(_) => true,
    }
}

/// What becomes of the first of `batch` when it is not even judged.
fn rejected(batch: &[Arc<Mutation>], error: &RequestError) -> Option<(u64, Verdict)> {
    let mutation = batch.first()?;
    let key = mutation.ops.first()?.key.clone();
    let rejection = Rejection { key, reason: Reason::Refused(error.to_string()) };
    Some((mutation.id.as_ref()?.seq, Verdict::Rejected(rejection)))
}

fn trouble(error: RequestError) -> Failure {
    match error {
        RequestError::Client(client::RequestError::Closed(_)) => Failure::Closed,
        error => Failure::Trouble(error.to_string()),
    }
}
