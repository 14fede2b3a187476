//! Publishing: what waits for a lane goes out together, one call at a time, in order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{RedisError, RedisResult};
use tidings_core::lane::{Epoch, Offset, Place};
use tidings_core::message::{ErrorCode, Position, Refusal};
use tokio::sync::oneshot;

use super::cluster::{Answer, Way};
use super::partition::{LaneState, Partition};
use super::put_back::{Published, put_back};
use super::reader::{new_epoch, not_understood, texts};
use super::script::{Call, PUBLISH};
use super::{Inner, entry};
use tidings_core::Priority;

/// How many events one call appends at most, and how many bytes of them. Redis does nothing else
/// meanwhile.
const BATCH: usize = 128;
const BATCH_BYTES: usize = 1 << 20;

/// Pause after a failure, before the next attempt: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// How many of the events published here last are kept to be put back, and how many bytes of them.
const KEPT: usize = 4096;
const KEPT_BYTES: usize = 4 << 20;

/// What waits for a lane, and what was published here last.
#[derive(Default)]
pub(super) struct Writing {
    queue: VecDeque<Waiting>,
    running: bool,
    /// In order of their offsets, all of one epoch.
    published: VecDeque<(Offset, Published)>,
    published_bytes: usize,
    epoch: Epoch,
    /// The takeover of the slot that has been seen to.
    seen_takeover: Option<Instant>,
}

/// A publish that waits.
pub(super) struct Waiting {
    published: Published,
    until: Instant,
    answer: oneshot::Sender<Result<Position, Refusal>>,
}

impl Writing {
    /// What was published here since `since` in this epoch.
    pub(super) fn recent(&self, epoch: Epoch, since: Offset) -> BTreeMap<Offset, Published> {
        if epoch != self.epoch {
            return BTreeMap::new();
        }
        let newer = self.published.iter().rev().take_while(|(offset, _)| *offset >= since);
        newer.map(|(offset, published)| (*offset, published.clone())).collect()
    }

    fn keep(&mut self, place: Place, published: Published) {
        if self.epoch != place.epoch {
            self.published.clear();
            self.published_bytes = 0;
            self.epoch = place.epoch;
        }
        self.published_bytes += published.event.len();
        self.published.push_back((place.offset, published));
        while self.published.len() > KEPT || self.published_bytes > KEPT_BYTES {
            let Some((_, oldest)) = self.published.pop_front() else { break };
            self.published_bytes -= oldest.event.len();
        }
    }
}

/// Queues a publish. Its answer comes when Redis has it, or when it has waited too long.
pub(super) fn publish(
    inner: &Arc<Inner>,
    partition: &Arc<Partition>,
    priority: Priority,
    published: Published,
) -> oneshot::Receiver<Result<Position, Refusal>> {
    let (answer, answered) = oneshot::channel();
    let size = published.event.len();
    if inner.waiting_bytes.load(Ordering::Relaxed) + size > inner.options.buffer {
        inner.counts.refused.add(1);
        let _ = answer.send(Err(unavailable("too many publishes wait for Redis")));
        return answered;
    }
    inner.waiting_bytes.fetch_add(size, Ordering::Relaxed);
    inner.waiting.fetch_add(1, Ordering::Relaxed);
    let state = &partition.lanes[priority as usize];
    let mut writing = state.writing.lock();
    let until = Instant::now() + inner.options.publish_timeout;
    writing.queue.push_back(Waiting { published, until, answer });
    if !writing.running {
        writing.running = true;
        drop(writing);
        let (inner_, partition) = (Arc::clone(inner), Arc::clone(partition));
        inner.spawn(async move { drain(&inner_, &partition, priority).await });
    }
    answered
}

/// Sends what waits until nothing does.
async fn drain(inner: &Arc<Inner>, partition: &Partition, priority: Priority) {
    let state = &partition.lanes[priority as usize];
    while let Some(batch) = take(state) {
        send(inner, partition, state, batch).await;
    }
}

/// The next batch; `None` if nothing waits.
fn take(state: &LaneState) -> Option<VecDeque<Waiting>> {
    let mut writing = state.writing.lock();
    let mut bytes = 0;
    let fits = |waiting: &&Waiting| {
        bytes += waiting.published.event.len();
        bytes <= BATCH_BYTES
    };
    let count = writing.queue.iter().take(BATCH).take_while(fits).count().max(1);
    let count = count.min(writing.queue.len());
    if count == 0 {
        writing.running = false;
        return None;
    }
    Some(writing.queue.drain(..count).collect())
}

/// Sends a batch until Redis has it or everybody has waited too long for that.
async fn send(
    inner: &Arc<Inner>,
    partition: &Partition,
    state: &LaneState,
    mut batch: VecDeque<Waiting>,
) {
    let mut changes = inner.cluster.changes();
    let mut pause = PAUSES.0;
    let mut why = String::from("no answer in time");
    loop {
        expire(inner, state, &mut batch, &why);
        if batch.is_empty() {
            return;
        }
        match attempt(inner, partition, state, &batch).await {
            Ok(results) => {
                inner.health.well(&partition.titles[1]);
                return answer(inner, state, batch, results);
            }
            Err(error) => {
                why = error.to_string();
                inner.health.trouble(&partition.titles[1], &error);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            _ = changes.changed() => {}
        }
    }
}

/// Refuses those that have waited too long, in the batch and behind it.
fn expire(inner: &Inner, state: &LaneState, batch: &mut VecDeque<Waiting>, why: &str) {
    let now = Instant::now();
    let mut late = Vec::new();
    while batch.front().is_some_and(|waiting| waiting.until <= now) {
        late.extend(batch.pop_front());
    }
    if batch.is_empty() {
        let mut writing = state.writing.lock();
        while writing.queue.front().is_some_and(|waiting| waiting.until <= now) {
            late.extend(writing.queue.pop_front());
        }
    }
    for waiting in late {
        inner.counts.refused.add(1);
        let refusal = unavailable(&format!("Redis is away: {why}"));
        done(inner, waiting, Err(refusal));
    }
}

fn done(inner: &Inner, waiting: Waiting, result: Result<Position, Refusal>) {
    inner.waiting_bytes.fetch_sub(waiting.published.event.len(), Ordering::Relaxed);
    inner.waiting.fetch_sub(1, Ordering::Relaxed);
    // Whoever does not wait for it any more has gone.
    let _ = waiting.answer.send(result);
}

fn unavailable(message: &str) -> Refusal {
    Refusal::new(ErrorCode::UNAVAILABLE, message)
}

/// One attempt. What it appended is recognised by the next one.
async fn attempt(
    inner: &Arc<Inner>,
    partition: &Partition,
    state: &LaneState,
    batch: &VecDeque<Waiting>,
) -> RedisResult<Vec<Vec<u8>>> {
    settle(inner, partition, state).await?;
    let critical = state.lane.priority() == Priority::Critical;
    let way = if critical { Way::Critical } else { Way::Commands };
    let mut call = append_call(inner, partition, state, false);
    for waiting in batch {
        let Published { producer, number, event } = &waiting.published;
        call.push(producer.as_bytes());
        call.push(number.to_string());
        call.push("");
        call.push(&**event);
    }
    inner.counts.append_calls.add(1);
    let mut answer = inner.cluster.call(partition.slot, way, &call).await?;
    let mut results = texts(std::mem::take(&mut answer.value))?;
    let place = place(&results)?;
    if results.first().is_some_and(|status| status == b"behind") {
        put_back(inner, partition, state).await?;
        // Where nothing is known of what is lacking, the log goes on without it.
        state.unlearn(place);
        return Err(RedisError::from((
            redis::ErrorKind::Client,
            "a failover has lost events, they are being put back",
        )));
    }
    if results.len() != batch.len() + 3 {
        return Err(not_understood());
    }
    state.learn(place);
    {
        // Kept before replicas have it: that is when it can be lost.
        let mut writing = state.writing.lock();
        for (result, waiting) in results.iter().skip(3).zip(batch) {
            if is_fresh(result)
                && let Some(offset) = entry::parse(result)
            {
                let place = Place { epoch: place.epoch, offset: Offset(offset) };
                writing.keep(place, waiting.published.clone());
            }
        }
    }
    if critical {
        replicated(inner, partition, answer).await?;
    }
    Ok(results.split_off(3))
}

/// After another master has taken the slot over, what it lacks is put back before anything new is
/// appended: then it gets the places it had. Others do the same; they are given time for it.
async fn settle(inner: &Arc<Inner>, partition: &Partition, state: &LaneState) -> RedisResult<()> {
    let (owner, _) = inner.cluster.owner(partition.slot).await?;
    let Some(since) = owner.since else { return Ok(()) };
    if state.writing.lock().seen_takeover == Some(since) {
        return Ok(());
    }
    put_back(inner, partition, state).await?;
    tokio::time::sleep_until((since + inner.options.settle).into()).await;
    state.writing.lock().seen_takeover = Some(since);
    Ok(())
}

/// Waits until a replica has what was written by this connection, if there is one.
async fn replicated(inner: &Inner, partition: &Partition, mut answer: Answer) -> RedisResult<()> {
    let has_replica = |owner: &super::topology::Owner| !owner.replicas.is_empty();
    if !inner.cluster.topology().owner(partition.slot).is_some_and(has_replica) {
        return Ok(());
    }
    let mut wait = redis::cmd("WAIT");
    wait.arg(1).arg(inner.options.replica_timeout.as_millis() as u64);
    let reached = answer.open.connection.send_packed_command(&wait).await?;
    if matches!(reached, redis::Value::Int(count) if count >= 1) {
        return Ok(());
    }
    // The replica may be gone for good: the topology then says so.
    inner.cluster.refresh().await;
    Err(RedisError::from((redis::ErrorKind::Client, "no replica has it in time")))
}

fn answer(inner: &Inner, state: &LaneState, batch: VecDeque<Waiting>, results: Vec<Vec<u8>>) {
    for (waiting, result) in batch.into_iter().zip(results) {
        let fresh = is_fresh(&result);
        let digits = if fresh { &result[..] } else { &result[1..] };
        let counter = if fresh { &inner.counts.appended } else { &inner.counts.duplicates };
        counter.add(1);
        let offset = Offset(entry::parse(digits).unwrap_or(0));
        done(inner, waiting, Ok(Position { lane: state.lane, offset }));
    }
}

/// Whether a result of the publish script is the place of an event that was not there before.
pub(super) fn is_fresh(result: &[u8]) -> bool {
    result.first().is_some_and(u8::is_ascii_digit)
}

fn place(results: &[Vec<u8>]) -> RedisResult<Place> {
    let number = |n: usize| results.get(n).and_then(|text| entry::parse(text));
    match (number(1).and_then(|epoch| u32::try_from(epoch).ok()), number(2)) {
        (Some(epoch), Some(offset)) => Ok(Place { epoch: Epoch(epoch), offset: Offset(offset) }),
        _ => Err(not_understood()),
    }
}

/// A call of the publish script, its events left out.
pub(super) fn append_call(
    inner: &Inner,
    partition: &Partition,
    state: &LaneState,
    putting_back: bool,
) -> Call {
    let keys = &state.keys;
    let [first, second] = keys.seen.clone();
    let retention = &inner.options.retention;
    let known = state.known();
    Call::new(&PUBLISH, [keys.stream.clone(), keys.meta.clone(), first, second])
        .arg(&partition.channel)
        .arg(state.lane.priority() as u8)
        .arg(known.epoch.0)
        .arg(known.offset.0)
        .arg(retention.max_events)
        .arg(retention.max_bytes)
        .arg(retention.max_age.as_micros())
        .arg(retention.producer_ttl.as_micros())
        .arg(retention.max_producers)
        .arg(new_epoch(known.epoch.0))
        .arg(u8::from(putting_back))
        .arg(state.given())
}
