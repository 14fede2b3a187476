//! Steps about events and requests.

use std::collections::{BTreeMap, BTreeSet};
use std::future::IntoFuture;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::{BoxFuture, Shared, pending};
use futures_util::{FutureExt, StreamExt};
use serde_json::Value;
use tidings::error::{EventError, PublishError, RequestError, SubscribeError};
use tidings::{Client, Delivery, Payload, Position, Request};
use tidings_core::{Cursor, Place, client};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::step::{Expect, Missed, Numbers, Publish, Subscribe};
use super::{Outcome, World, failed, same, until};

/// An event that was published, and what the server said of it.
pub(super) type Published = Shared<BoxFuture<'static, Result<Position, PublishError>>>;

/// What was published, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Number {
    Json(u32),
    Bytes(u32),
}

/// What a subscription has got so far.
#[derive(Default)]
struct Got {
    events: BTreeMap<String, Vec<Number>>,
    gaps: u64,
    overflow: u64,
    error: Option<EventError>,
    expected: Option<(BTreeMap<String, Vec<Number>>, Missed)>,
}

impl Got {
    fn note(&mut self, item: Result<&Delivery, &EventError>) {
        match item {
            Ok(Delivery { event, .. }) => {
                let number = match &event.payload {
                    Payload::Json(json) => {
                        serde_json::from_slice(json).map_or(Number::Json(u32::MAX), Number::Json)
                    }
                    Payload::Binary(bytes) => Number::Bytes(
                        bytes.as_ref().try_into().map_or(u32::MAX, u32::from_be_bytes),
                    ),
                };
                self.events.entry(event.name.to_string()).or_default().push(number);
            }
            Err(EventError::Gap(_)) => self.gaps += 1,
            Err(EventError::Lagged { missed }) => self.overflow += missed,
            Err(EventError::Closed(_)) => {}
            Err(error) => self.error = Some(error.clone()),
        }
    }

    /// Whether so much has come, right or wrong.
    fn is_there(&self) -> bool {
        let Some((events, missed)) = &self.expected else { return true };
        let came = |name: &String| self.events.get(name).map_or(0, Vec::len);
        let missed = match missed {
            Missed::Nothing => true,
            Missed::Gap => self.gaps > 0,
            Missed::Overflow(count) => self.overflow >= *count,
        };
        self.error.is_some() || (missed && events.iter().all(|(name, all)| came(name) >= all.len()))
    }

    fn check(&self) -> Outcome {
        if let Some(error) = &self.error {
            return Err(error.clone().into());
        }
        let Some((events, missed)) = &self.expected else { return Ok(()) };
        same(&self.events, events, "what came")?;
        let is_missed = match missed {
            Missed::Nothing => (self.gaps, self.overflow) == (0, 0),
            Missed::Gap => self.gaps > 0 && self.overflow == 0,
            Missed::Overflow(count) => (self.gaps, self.overflow) == (0, *count),
        };
        if is_missed {
            Ok(())
        } else {
            Err(format!("missed: {}, not {missed:?}", self.tell()).into())
        }
    }

    fn tell(&self) -> String {
        let counts: BTreeMap<_, _> =
            self.events.iter().map(|(name, numbers)| (name, numbers.len())).collect();
        format!("{counts:?} came, {} gaps, {} dropped", self.gaps, self.overflow)
    }
}

/// A subscription, in a task of its own.
pub(super) struct Subscription {
    got: Arc<Mutex<Got>>,
    ready: Shared<BoxFuture<'static, Result<(), SubscribeError>>>,
    take: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Subscription {
    fn new(client: Client, pattern: String, since: Option<Cursor>, hold: bool) -> Self {
        let got = Arc::new(Mutex::new(Got::default()));
        let (is_ready, ready) = oneshot::channel();
        let (take, taken) = oneshot::channel();
        let noted = got.clone();
        let task = tokio::spawn(async move {
            if hold {
                let subscribed = client.subscribe_raw(pattern, since).await;
                let Some(mut events) = tell(subscribed, is_ready) else { return };
                // Whoever ends the scenario takes nothing.
                let _ = taken.await;
                while let Some(item) = events.next().await {
                    lock(&noted).note(item.as_ref());
                }
            } else {
                let note = move |item: Result<&_, &_>| lock(&noted).note(item);
                let subscribed = client.on_each(pattern, since, note).await;
                let Some(_subscribed) = tell(subscribed, is_ready) else { return };
                pending::<()>().await;
            }
        });
        let ready = async move { ready.await.unwrap_or(Ok(())) }.boxed().shared();
        Self { got, ready, take: Some(take), task: Some(task) }
    }

    pub(super) async fn ready(&self) -> Outcome {
        Ok(self.ready.clone().await?)
    }

    /// Begins to take what was held.
    pub(super) fn take(&mut self) {
        self.take = None;
    }

    pub(super) async fn unsubscribe(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It has ended when this is told, however.
            let _ = task.await;
        }
    }

    pub(super) fn check(&self) -> Outcome {
        lock(&self.got).check()
    }
}

fn lock(got: &Mutex<Got>) -> MutexGuard<'_, Got> {
    got.lock().unwrap()
}

fn tell<T>(
    subscribed: Result<T, SubscribeError>,
    is_ready: oneshot::Sender<Result<(), SubscribeError>>,
) -> Option<T> {
    let (subscribed, result) = match subscribed {
        Ok(subscribed) => (Some(subscribed), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody may wait for it.
    let _ = is_ready.send(result);
    subscribed
}

fn publish_code(error: PublishError) -> (String, &'static str) {
    let code = match &error {
        PublishError::Client(client::PublishError::QueueFull { .. }) => "queue-full",
        PublishError::Client(client::PublishError::Expired(_)) => "expired",
        PublishError::Client(client::PublishError::TimedOut(_)) => "timeout",
        PublishError::Client(client::PublishError::NotConnected) => "not-connected",
        PublishError::Client(client::PublishError::Refused(_)) => "refused",
        PublishError::Client(client::PublishError::Closed(_)) => "closed",
        PublishError::Payload(_) | PublishError::Name(_) => "bad-argument",
    };
    (error.to_string(), code)
}

pub(super) fn request_code(error: RequestError) -> (String, &'static str) {
    let code = match &error {
        RequestError::Client(client::RequestError::TooMany(_)) => "queue-full",
        RequestError::Client(client::RequestError::TimedOut(_)) => "timeout",
        RequestError::Client(client::RequestError::Disconnected(_)) => "disconnected",
        RequestError::Client(client::RequestError::Refused(_)) => "refused",
        RequestError::Client(client::RequestError::Closed(_)) => "closed",
        RequestError::Payload(_) | RequestError::Reply(_) => "bad-argument",
    };
    (error.to_string(), code)
}

impl World<'_> {
    pub(super) fn subscription(&mut self, name: &str) -> Outcome<&mut Subscription> {
        let subscription = self.subscriptions.get_mut(name);
        subscription.ok_or_else(|| format!("there is no subscription {name}").into())
    }

    pub(super) async fn subscribe(&mut self, subscribe: Subscribe) -> Outcome {
        let Subscribe { client, called, pattern, since, wait, hold } = subscribe;
        let since = since.map(|_beginning| {
            self.lanes.iter().map(|lane| (*lane, Place::default())).collect::<Cursor>()
        });
        let subscription = Subscription::new(self.client(&client)?, pattern, since, hold);
        if wait {
            subscription.ready().await?;
        }
        self.subscriptions.insert(called, subscription);
        Ok(())
    }

    pub(super) async fn publish(&mut self, publish: Publish) -> Outcome {
        let client = self.client(&publish.client)?;
        let first = self.numbers.get(&publish.name).copied().unwrap_or_default();
        let mut published = Vec::new();
        for number in first..first + publish.count {
            let payload = if publish.bytes {
                Payload::Binary(number.to_be_bytes().to_vec().into())
            } else {
                Payload::Json(number.to_string().into())
            };
            let mut event = client.publish_raw(&*publish.name, payload).priority(publish.priority);
            if let Some(timeout) = publish.timeout {
                event = event.timeout(Duration::from_millis(timeout));
            }
            // It is queued now, in this order.
            match &publish.fails {
                Some(code) if publish.volatile => {
                    failed(event.volatile().await.map_err(publish_code), code)?;
                }
                Some(code) => failed(event.await.map_err(publish_code), code)?,
                None if publish.volatile => event.volatile().await?,
                None => published.push(event.into_future().boxed().shared()),
            }
        }
        if publish.fails.is_none() {
            self.numbers.insert(publish.name, first + publish.count);
        }
        if publish.wait {
            for published in published.clone() {
                let Position { lane, .. } = published.await?;
                self.lanes.insert(lane);
            }
        }
        self.person(&publish.client)?.published.extend(published);
        Ok(())
    }

    pub(super) async fn acknowledged(&mut self, name: &str, count: usize) -> Outcome {
        let published = self.person(name)?.published.clone();
        same(&published.len(), &count, "how many were to be acknowledged")?;
        let mut places = BTreeSet::new();
        for published in published {
            let Position { lane, offset } = published.await?;
            places.insert((lane, offset));
        }
        same(&places.len(), &count, "how many places the acknowledged have")
    }

    pub(super) async fn expect(&mut self, expect: Expect) -> Outcome {
        let number = |n| if expect.bytes { Number::Bytes(n) } else { Number::Json(n) };
        let numbers = |range| match range {
            Numbers::UpTo(end) => (0..end).map(number).collect(),
            Numbers::Between(from, end) => (from..end).map(number).collect(),
        };
        let events = expect.events.into_iter().map(|(name, range)| (name, numbers(range)));
        let got = self.subscription(&expect.subscription)?.got.clone();
        lock(&got).expected = Some((events.collect(), expect.missed));
        until(|| lock(&got).is_there(), || lock(&got).tell()).await?;
        lock(&got).check()
    }

    pub(super) async fn request(
        &mut self,
        client: &str,
        name: String,
        payload: &Value,
        reply: Option<Value>,
        fails: Option<String>,
    ) -> Outcome {
        let answer = self.client(client)?.request::<Value>(name, payload).await;
        if let Some(code) = fails {
            return failed(answer.map_err(request_code), &code);
        }
        same(&answer?, &reply.ok_or("which reply?")?, "the reply")
    }

    pub(super) fn answer(&mut self, client: &str, name: String, adding: i64) -> Outcome {
        let answer = move |request: Request| async move { Ok(request.value::<i64>()? + adding) };
        Ok(self.client(client)?.handle(name, answer)?)
    }
}
