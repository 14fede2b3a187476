//! Reading a partition: a subscription for what comes, and reads of the log for what did not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{ErrorKind, RedisError, RedisResult, Value};
use tidings_core::lane::{Epoch, Offset};
use tidings_core::log::Entry;

use super::Inner;
use super::cluster::Way;
use super::entry;
use super::partition::{LaneState, Partition};
use super::put_back::put_back;
use super::script::{Call, OPEN, READ};
use crate::backplane::memory::unix_micros;

/// How many events one read of the log gets at most.
pub(super) const CHUNK: usize = 500;

/// Pause after a failure, before the next attempt: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Why reading ended.
enum End {
    NotWanted,
    /// The subscription is over: subscribe again.
    Again,
}

/// Somebody wants the partition: it is read from now on.
pub(super) fn want(inner: &Arc<Inner>, partition: &Arc<Partition>) {
    let mut reading = partition.reading.lock();
    reading.wanted = Instant::now();
    if !reading.running {
        reading.running = true;
        let (inner_, partition) = (Arc::clone(inner), Arc::clone(partition));
        inner.spawn(async move { read(inner_, partition).await });
    }
}

/// Reads the partition for as long as it is wanted.
async fn read(inner: Arc<Inner>, partition: Arc<Partition>) {
    let mut changes = inner.cluster.changes();
    let mut pause = PAUSES.0;
    loop {
        let began = Instant::now();
        match subscribed(&inner, &partition).await {
            Ok(End::NotWanted) => return,
            Ok(End::Again) => {}
            Err(error) => inner.health.trouble(&partition.titles[0], &error),
        }
        if still_unwanted(&inner, &partition) {
            return;
        }
        if began.elapsed() > PAUSES.1 {
            pause = PAUSES.0;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSES.1),
            _ = changes.changed() => {}
        }
    }
}

/// One subscription, from its beginning to its end.
async fn subscribed(inner: &Arc<Inner>, partition: &Arc<Partition>) -> RedisResult<End> {
    let mut changes = inner.cluster.changes();
    changes.mark_unchanged();
    let (owner, node) = inner.cluster.owner(partition.slot).await?;
    partition.unsubscribed.store(false, Ordering::Release);
    let mut open = inner.cluster.subscribe(&node, &partition.channel).await?;
    look(inner, partition).await?;
    for state in &partition.lanes {
        state.hole.store(true, Ordering::Release);
    }
    mend(inner, partition).await?;
    inner.health.well(&partition.titles[0]);
    partition.warm.send_replace(true);
    for state in &partition.lanes {
        inner.raise_loaded(state.lane);
    }
    let mut checks = tokio::time::interval(inner.options.check_interval);
    checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    checks.reset();
    loop {
        tokio::select! {
            () = partition.wake.notified() => {}
            _ = open.closed.changed() => return Ok(End::Again),
            _ = changes.changed() => {
                let now = inner.cluster.topology();
                if now.owner(partition.slot).is_none_or(|now| now.address != owner.address) {
                    let _ = unsubscribe(&mut open, partition).await;
                    return Ok(End::Again);
                }
            }
            _ = checks.tick() => {
                if still_unwanted(inner, partition) {
                    let _ = unsubscribe(&mut open, partition).await;
                    return Ok(End::NotWanted);
                }
                look(inner, partition).await?;
                inner.health.well(&partition.titles[0]);
            }
        }
        if partition.unsubscribed.swap(false, Ordering::AcqRel) {
            inner.cluster.refresh().await;
            return Ok(End::Again);
        }
        mend(inner, partition).await?;
    }
}

async fn unsubscribe(open: &mut super::node::Open, partition: &Partition) -> RedisResult<Value> {
    let command = redis::cmd("SUNSUBSCRIBE").arg(&partition.channel).to_owned();
    open.connection.send_packed_command(&command).await
}

/// Whether nobody has wanted the partition for a while; if so it is not read any more.
fn still_unwanted(inner: &Inner, partition: &Partition) -> bool {
    let number = partition.lanes[0].lane.partition();
    let mut reading = partition.reading.lock();
    if inner.signals.read().iter().any(|signal| signal.is_interested(number)) {
        reading.wanted = Instant::now();
    }
    if reading.wanted.elapsed() < inner.options.linger {
        return false;
    }
    reading.running = false;
    partition.warm.send_replace(false);
    for state in &partition.lanes {
        *state.log.lock() = None;
    }
    true
}

/// Finds out where the lanes stand, and whether that fits what is here.
pub(super) async fn look(inner: &Arc<Inner>, partition: &Partition) -> RedisResult<()> {
    let keys = partition.lanes.iter().flat_map(|s| [s.keys.stream.clone(), s.keys.meta.clone()]);
    let before = partition.lanes.iter().map(|state| state.known().epoch.0).max();
    let call = Call::new(&OPEN, keys).arg(new_epoch(before.unwrap_or(0)));
    let answer = inner.cluster.call(partition.slot, Way::Commands, &call).await?;
    let mut numbers = texts(answer.value)?.into_iter().map(|text| entry::parse(&text));
    for state in &partition.lanes {
        let (Some(Some(epoch)), Some(Some(head)), Some(Some(floor))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(not_understood());
        };
        let epoch = Epoch(u32::try_from(epoch).map_err(|_| not_understood())?);
        stands(inner, state, epoch, Offset(head), Offset(floor));
    }
    Ok(())
}

/// A lane stands there: notes what that means for the copy.
fn stands(inner: &Inner, state: &LaneState, epoch: Epoch, head: Offset, floor: Offset) {
    let warm = state.log.lock().as_ref().map(tidings_core::log::LaneLog::head);
    if let Some(here) = warm.filter(|here| here.epoch == epoch) {
        if here.offset > head {
            state.lost.store(true, Ordering::Release);
            return;
        }
        if here.offset < head {
            state.hole.store(true, Ordering::Release);
        }
    }
    let reads = inner.partitions[usize::from(state.lane.partition())].reading.lock().running;
    if !reads {
        state.learn(tidings_core::Place { epoch, offset: head });
    } else if state.begin(epoch, head, floor, &inner.options.retention) {
        tracing::warn!(lane = %state.lane, "events are gone that were not read here in time");
        inner.raise(state.lane);
    }
}

/// Reads what is missing in the lanes, and puts back what Redis lacks.
async fn mend(inner: &Arc<Inner>, partition: &Partition) -> RedisResult<()> {
    for state in partition.lanes.iter().rev() {
        if state.lost.swap(false, Ordering::AcqRel) {
            let done = put_back(inner, partition, state).await;
            if done.is_err() {
                state.lost.store(true, Ordering::Release);
            }
            done?;
            state.hole.store(true, Ordering::Release);
        }
        while state.hole.swap(false, Ordering::AcqRel) {
            if let Err(error) = fill(inner, partition, state).await {
                state.hole.store(true, Ordering::Release);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Reads what comes after the copy's head.
async fn fill(inner: &Arc<Inner>, partition: &Partition, state: &LaneState) -> RedisResult<()> {
    loop {
        let Some(after) = state.log.lock().as_ref().map(|log| log.head()) else { return Ok(()) };
        let chunk = chunk(inner, partition, state, "after", after.offset).await?;
        if chunk.epoch != after.epoch {
            stands(inner, state, chunk.epoch, chunk.head, chunk.floor);
            continue;
        }
        if !chunk.there && after.offset > chunk.floor {
            state.lost.store(true, Ordering::Release);
            partition.wake.notify_one();
        }
        if after.offset < chunk.floor {
            stands(inner, state, chunk.epoch, chunk.head, chunk.floor);
            continue;
        }
        let now_ms = unix_micros() / 1000;
        let mut news = 0;
        {
            let mut log = state.log.lock();
            let Some(log) = log.as_mut() else { return Ok(()) };
            for (offset, entry) in chunk.entries {
                news += u64::from(state.copy(log, now_ms, offset, entry));
            }
        }
        if news > 0 {
            inner.raise(state.lane);
        }
        if !chunk.is_full {
            return Ok(());
        }
    }
}

/// Events of a lane as they were read.
pub(super) struct Chunk {
    pub(super) epoch: Epoch,
    head: Offset,
    /// All events after it are in the log.
    pub(super) floor: Offset,
    /// Whether the event from which was read is there.
    there: bool,
    /// In the order read; those that cannot be decoded have no entry.
    pub(super) entries: Vec<(u64, Option<Entry>)>,
    /// Whether there may be more.
    pub(super) is_full: bool,
}

/// Reads one chunk of the log, `after` or `upto` an offset.
pub(super) async fn chunk(
    inner: &Inner,
    partition: &Partition,
    state: &LaneState,
    direction: &str,
    from: Offset,
) -> RedisResult<Chunk> {
    let keys = [state.keys.stream.clone(), state.keys.meta.clone()];
    let call = Call::new(&READ, keys).arg(direction).arg(from.0).arg(CHUNK);
    inner.counts.reads.add(1);
    let answer = inner.cluster.call(partition.slot, Way::Commands, &call).await?;
    let texts = texts(answer.value)?;
    let [epoch, head, floor, there, rest @ ..] = texts.as_slice() else {
        return Err(not_understood());
    };
    let number = |text: &[u8]| entry::parse(text).ok_or_else(not_understood);
    let mut entries = Vec::with_capacity(rest.len() / 5);
    for parts in rest.chunks_exact(5) {
        let [offset, producer, sequence, event, moved] = parts else { continue };
        let offset = number(offset)?;
        let sequence = number(sequence)?;
        let moved = entry::parse(moved);
        let entry = entry::entry(state.lane, offset, producer, sequence, event, moved);
        entries.push((offset, entry));
    }
    Ok(Chunk {
        epoch: Epoch(u32::try_from(number(epoch)?).map_err(|_| not_understood())?),
        head: Offset(number(head)?),
        floor: Offset(number(floor)?),
        there: there == b"1",
        is_full: entries.len() == CHUNK,
        entries,
    })
}

/// The epoch for a history that begins now, after one with epoch `before`.
pub(super) fn new_epoch(before: u32) -> u32 {
    let seconds = u32::try_from(unix_micros() / 1_000_000).unwrap_or(u32::MAX);
    seconds.max(before.saturating_add(1))
}

/// An array of texts.
pub(super) fn texts(value: Value) -> RedisResult<Vec<Vec<u8>>> {
    let Value::Array(values) = value else { return Err(not_understood()) };
    values
        .into_iter()
        .map(|value| match value {
            Value::BulkString(bytes) => Ok(bytes),
            Value::SimpleString(text) => Ok(text.into_bytes()),
            _ => Err(not_understood()),
        })
        .collect()
}

pub(super) fn not_understood() -> RedisError {
    RedisError::from((ErrorKind::Parse, "Redis answered something that is not understood"))
}
