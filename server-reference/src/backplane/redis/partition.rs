//! A partition: the machine that decides, and the task that does what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{ErrorKind, RedisError, RedisResult, Value};
use tidings_core::lane::Lane;
use tidings_core::log::shared::{self, Answer, Now, Output, Request, RequestId, Settings};
use tidings_core::message::{Position, Refusal};
use tidings_core::{Priority, Time};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::cluster::Way;
use super::keys::{LaneKeys, channel, slot};
use super::node::Open;
use super::{Inner, calls};

/// A publish's answer, and what it holds of the room for those that wait.
pub(super) struct Token {
    pub(super) answer: oneshot::Sender<Result<Position, Refusal>>,
    pub(super) size: usize,
}

/// One partition.
pub(super) struct Partition {
    pub(super) number: u16,
    /// The hash slot its keys and its channel are in.
    pub(super) slot: u16,
    pub(super) channel: String,
    pub(super) keys: [LaneKeys; Priority::COUNT],
    /// What reading it, and publishing to it, are called in reports of health.
    titles: [String; 2],
    driven: Mutex<Driven>,
    /// What the task has to do.
    work: mpsc::UnboundedSender<Work>,
    /// The task has to look at the machine's deadline again.
    wake: Notify,
    /// Whether the lanes can be read here.
    pub(super) readable: watch::Sender<bool>,
    /// Whether it is known where the lanes stand.
    pub(super) known: watch::Sender<bool>,
    /// Redis has ended the subscription.
    unsubscribed: AtomicBool,
}

type Machine = shared::Partition<Token>;

struct Driven {
    machine: Machine,
    /// For when the task has set its alarm.
    alarm: Option<Time>,
}

/// What takes its time. The machine asks for few things at once: this bounds the queue.
pub(super) enum Work {
    Request(RequestId, Request),
    Subscribe(u64),
    Unsubscribe(u64),
}

/// What work has come to.
enum Done {
    Answered(RequestId, Request, RedisResult<(Answer, Option<Open>)>),
    Subscribed(u64, RedisResult<Subscription>),
    Unsubscribed,
}

/// A subscription that was there a moment ago.
struct Subscription {
    open: Open,
    /// The node, as HOST:PORT.
    at: String,
}

impl Partition {
    /// The partition, and what its [task](drive) is to be given.
    pub(super) fn new(
        prefix: &str,
        number: u16,
        settings: Arc<Settings>,
    ) -> (Self, mpsc::UnboundedReceiver<Work>) {
        let channel = channel(prefix, number);
        let lanes = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
        let (work, to_do) = mpsc::unbounded_channel();
        let partition = Self {
            number,
            slot: slot(&channel),
            keys: lanes.map(|priority| LaneKeys::new(prefix, Lane::new(number, priority))),
            titles: ["reading", "publishing to"].map(|what| format!("{what} partition {number}")),
            driven: Mutex::new(Driven { machine: Machine::new(number, settings), alarm: None }),
            work,
            wake: Notify::new(),
            readable: watch::Sender::new(false),
            known: watch::Sender::new(false),
            unsubscribed: AtomicBool::new(false),
            channel,
        };
        (partition, to_do)
    }

    /// Redis has ended the subscription by itself.
    pub(super) fn subscription_ended(&self) {
        self.unsubscribed.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

impl Inner {
    /// Lets a partition's machine do something, and does at once what it says then; what takes
    /// its time is left to the partition's task.
    pub(super) fn with<R>(
        &self,
        partition: &Partition,
        act: impl FnOnce(&mut Machine, Now) -> R,
    ) -> R {
        let now = self.clock.now();
        let mut outputs = smallvec::SmallVec::<[_; 4]>::new();
        let mut driven = partition.driven.lock();
        let result = act(&mut driven.machine, now);
        while let Some(output) = driven.machine.poll_output() {
            outputs.push(output);
        }
        let next = driven.machine.next_timeout();
        let gave_up = outputs.iter().any(is_refusal) && !driven.machine.is_writing();
        let sooner = next.is_some_and(|next| driven.alarm.is_none_or(|alarm| next < alarm));
        if sooner {
            driven.alarm = next;
        }
        drop(driven);
        if sooner {
            partition.wake.notify_one();
        }
        if gave_up {
            // No attempt follows that could tell that Redis works again.
            self.health.well(&partition.titles[1]);
        }
        for output in outputs {
            self.carry_out(partition, output);
        }
        result
    }

    fn carry_out(&self, partition: &Partition, output: Output<Token>) {
        // The task is gone only when the backplane is.
        let work = |work| drop(partition.work.send(work));
        match output {
            Output::Request(id, request) => work(Work::Request(id, request)),
            Output::Subscribe(subscription) => work(Work::Subscribe(subscription)),
            Output::Unsubscribe(subscription) => work(Work::Unsubscribe(subscription)),
            Output::New(lane) => self.raise(lane),
            Output::Loaded(lane) => self.raise_loaded(lane),
            Output::Readable(readable) => drop(partition.readable.send_replace(readable)),
            Output::Known => drop(partition.known.send_replace(true)),
            Output::Published { token, result } => {
                self.waiting_bytes.fetch_sub(token.size, Ordering::Relaxed);
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                // Whoever does not wait for it any more has gone.
                let _ = token.answer.send(result);
            }
            Output::Unreadable(Position { lane, offset }) => {
                tracing::error!(%lane, offset = offset.0, "an event in Redis cannot be read");
            }
        }
    }
}

/// Does for a partition what takes its time, for as long as the backplane lives.
pub(super) async fn drive(
    inner: Arc<Inner>,
    partition: Arc<Partition>,
    mut to_do: mpsc::UnboundedReceiver<Work>,
) {
    let mut changes = inner.cluster.changes();
    let mut doing = FuturesUnordered::<BoxFuture<'_, Done>>::new();
    let mut subscription: Option<(u64, Subscription)> = None;
    // The connection of the last append that a replica has to have.
    let mut appended: Option<(RequestId, Open)> = None;
    let (inner, partition) = (&inner, &partition);
    inner.with(partition, |machine, now| machine.handle_timeout(now));
    loop {
        let alarm = partition.driven.lock().alarm;
        let alarm = alarm.map(|at| inner.clock.instant(at).into());
        tokio::select! {
            Some(work) = to_do.recv() => match work {
                Work::Request(id, request) => {
                    let on = match &request {
                        Request::Replicate { after } => {
                            appended.take().filter(|(id, _)| id == after).map(|(_, open)| open)
                        }
                        _ => None,
                    };
                    doing.push(Box::pin(async move {
                        let answer = perform(inner, partition, &request, on).await;
                        Done::Answered(id, request, answer)
                    }));
                }
                Work::Subscribe(number) => {
                    partition.unsubscribed.store(false, Ordering::Release);
                    doing.push(Box::pin(async move {
                        Done::Subscribed(number, subscribe(inner, partition).await)
                    }));
                }
                Work::Unsubscribe(number) => {
                    if let Some((_, subscription)) = subscription.take_if(|(n, _)| *n == number) {
                        doing.push(Box::pin(unsubscribe(partition, subscription)));
                    }
                }
            },
            Some(done) = doing.next(), if !doing.is_empty() => match done {
                Done::Answered(id, request, answer) => {
                    inner.note(partition, &request, &answer);
                    let answer = answer.map_err(|error| error.to_string());
                    let answer = answer.map(|(answer, open)| {
                        appended = open.map(|open| (id, open)).or(appended.take());
                        answer
                    });
                    inner.with(partition, |machine, now| machine.answered(now, id, answer));
                }
                Done::Subscribed(number, Ok(found)) => {
                    subscription = Some((number, found));
                    inner.with(partition, |machine, now| machine.subscribed(now, number));
                }
                Done::Subscribed(number, Err(error)) => {
                    inner.health.trouble(&partition.titles[0], &error);
                    inner.with(partition, |machine, now| machine.unsubscribed(now, number));
                }
                Done::Unsubscribed => {}
            },
            () = tokio::time::sleep_until(alarm.unwrap_or_else(far_away)), if alarm.is_some() => {
                partition.driven.lock().alarm = None;
                let wanted = inner.is_wanted(partition.number);
                inner.with(partition, |machine, now| {
                    if wanted {
                        machine.want(now);
                    }
                    machine.handle_timeout(now);
                });
            }
            () = partition.wake.notified() => {
                if partition.unsubscribed.swap(false, Ordering::AcqRel)
                    && let Some((number, _)) = subscription.take()
                {
                    doing.push(Box::pin(async {
                        inner.cluster.refresh().await;
                        Done::Unsubscribed
                    }));
                    inner.with(partition, |machine, now| machine.unsubscribed(now, number));
                }
            }
            _ = changes.changed() => {
                let topology = inner.cluster.topology();
                let owner = topology.owner(partition.slot);
                if subscription.as_ref().is_some_and(|(_, known)| {
                    owner.is_none_or(|owner| owner.address != known.at)
                }) && let Some((number, known)) = subscription.take()
                {
                    doing.push(Box::pin(unsubscribe(partition, known)));
                    inner.with(partition, |machine, now| machine.unsubscribed(now, number));
                }
                let since = owner.and_then(|owner| owner.since);
                inner.with(partition, |machine, now| {
                    if let Some(since) = since {
                        machine.taken_over(now, inner.clock.time(since));
                    }
                    machine.hurry(now);
                });
            }
            () = closed(&mut subscription) => {
                if let Some((number, _)) = subscription.take() {
                    inner.with(partition, |machine, now| machine.unsubscribed(now, number));
                }
            }
        }
    }
}

fn is_refusal<T>(output: &Output<T>) -> bool {
    matches!(output, Output::Published { result: Err(_), .. })
}

fn far_away() -> tokio::time::Instant {
    tokio::time::Instant::now() + std::time::Duration::from_secs(86_400)
}

/// Completes when the subscription's connection is closed.
async fn closed(subscription: &mut Option<(u64, Subscription)>) {
    match subscription {
        // An error: the connection is gone, and its sender with it.
        Some((_, subscription)) => drop(subscription.open.closed.changed().await),
        None => std::future::pending().await,
    }
}

async fn subscribe(inner: &Inner, partition: &Partition) -> RedisResult<Subscription> {
    let (owner, node) = inner.cluster.owner(partition.slot).await?;
    let open = inner.cluster.subscribe(&node, &partition.channel).await?;
    Ok(Subscription { open, at: owner.address })
}

async fn unsubscribe(partition: &Partition, mut subscription: Subscription) -> Done {
    let command = redis::cmd("SUNSUBSCRIBE").arg(&partition.channel).to_owned();
    // If it fails the connection is gone, and with it the subscription.
    let _ = subscription.open.connection.send_packed_command(&command).await;
    Done::Unsubscribed
}

/// Makes a request. Returns with the answer to an append the connection by which it came.
async fn perform(
    inner: &Inner,
    partition: &Partition,
    request: &Request,
    on: Option<Open>,
) -> RedisResult<(Answer, Option<Open>)> {
    let keys = |lane: Lane| &partition.keys[lane.priority() as usize];
    match request {
        Request::Look { new_epoch } => {
            let call = calls::look(&partition.keys, *new_epoch);
            let answer = inner.cluster.call(partition.slot, Way::Commands, &call).await?;
            Ok((Answer::Standing(calls::standings(answer.value)?), None))
        }
        Request::Read { lane, direction, from, limit } => {
            inner.counts.reads.add(1);
            let call = calls::read(keys(*lane), *direction, *from, *limit);
            let answer = inner.cluster.call(partition.slot, Way::Commands, &call).await?;
            Ok((Answer::Chunk(calls::chunk(answer.value, *lane, *limit)?), None))
        }
        Request::Append(append) => {
            let critical = append.lane.priority() == Priority::Critical && !append.putting_back;
            if !append.putting_back {
                let (owner, _) = inner.cluster.owner(partition.slot).await?;
                if owner.since.map(|since| inner.clock.time(since)) > append.takeover {
                    return Err(failed("another master has just taken over"));
                }
                inner.counts.append_calls.add(1);
            }
            let way = if critical { Way::Critical } else { Way::Commands };
            let keys = keys(append.lane);
            let retention = &inner.options.settings.retention;
            let call = match inner.restore(partition.number, keys, append) {
                Some(restore) => restore,
                None => calls::append(keys, &partition.channel, retention, append),
            };
            let answer = inner.cluster.call(partition.slot, way, &call).await?;
            let open = critical.then_some(answer.open);
            Ok((Answer::Appended(calls::appended(answer.value)?), open))
        }
        Request::PutBackNotes { notes, .. } => {
            let call = inner.put_back_notes(partition.number, notes);
            inner.cluster.call(partition.slot, Way::Commands, &call).await?;
            Ok((Answer::Noted, None))
        }
        Request::Replicate { .. } => {
            replicated(inner, partition, on).await?;
            Ok((Answer::Replicated, None))
        }
    }
}

/// Waits until a replica has what was written by this connection, if there is one.
async fn replicated(inner: &Inner, partition: &Partition, on: Option<Open>) -> RedisResult<()> {
    let topology = inner.cluster.topology();
    if topology.owner(partition.slot).is_none_or(|owner| owner.replicas.is_empty()) {
        return Ok(());
    }
    let mut on = on.ok_or_else(|| failed("the connection is gone"))?;
    let mut wait = redis::cmd("WAIT");
    wait.arg(1).arg(inner.options.replica_timeout.as_millis() as u64);
    let reached = on.connection.send_packed_command(&wait).await?;
    if matches!(reached, Value::Int(count) if count >= 1) {
        return Ok(());
    }
    // The replica may be gone for good: the topology then says so.
    inner.cluster.refresh().await;
    Err(failed("no replica has it in time"))
}

pub(super) fn failed(why: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Client, why))
}

impl Inner {
    /// Whether somebody here wants the events of a partition.
    fn is_wanted(&self, number: u16) -> bool {
        self.signals.read().iter().any(|signal| signal.is_interested(number))
    }

    /// What the answer to a request says of how Redis is.
    fn note<A>(&self, partition: &Partition, request: &Request, answer: &RedisResult<A>) {
        let [reading, publishing] = &partition.titles;
        let reads = matches!(request, Request::Look { .. } | Request::Read { .. });
        let title = if reads { reading } else { publishing };
        match answer {
            Ok(_) => self.health.well(title),
            Err(error) => self.health.trouble(title, error),
        }
    }
}
