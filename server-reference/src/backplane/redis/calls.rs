//! Requests about lanes as calls of the scripts, and what they answer.

use redis::{ErrorKind, RedisError, RedisResult, Value};
use tidings_core::Priority;
use tidings_core::lane::{Epoch, Lane, Offset, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{
    Append, AppendAnswer, Chunk, Direction, Outcome, Standing, entry_of, parse_number,
};

use super::keys::LaneKeys;
use super::script::{Call, OPEN, PUBLISH, READ, Script};

/// The call that tells where the lanes of a partition stand.
pub(super) fn look(keys: &[LaneKeys; Priority::COUNT], new_epoch: Epoch) -> Call {
    let keys = keys.iter().flat_map(|keys| [keys.stream.clone(), keys.meta.clone()]);
    Call::new(&OPEN, keys).arg(new_epoch.0)
}

/// What [`look`] answers.
pub(super) fn standings(value: Value) -> RedisResult<[Standing; Priority::COUNT]> {
    let texts = texts(value)?;
    let mut standings = texts.chunks_exact(3).map(|parts| {
        Ok(Standing { head: place(&parts[0], &parts[1])?, floor: Offset(number(&parts[2])?) })
    });
    let mut next = || standings.next().unwrap_or_else(|| Err(not_understood()));
    Ok([next()?, next()?, next()?, next()?])
}

/// The call that appends events.
pub(super) fn append(
    keys: &LaneKeys,
    channel: &str,
    retention: &Retention,
    append: &Append,
) -> Call {
    let mut call = append_head(&PUBLISH, keys, [], channel, retention, append);
    for (published, place) in &append.events {
        call.push(published.producer.as_bytes());
        call.push(published.number.to_string());
        call.push(place.map(|place| place.0.to_string()).unwrap_or_default());
        call.push(&*published.event);
    }
    call
}

/// A call of a script that begins with `scripts/append.lua`, without what is the script's own;
/// `more` are keys of its own.
pub(super) fn append_head(
    script: &'static Script,
    keys: &LaneKeys,
    more: impl IntoIterator<Item = String>,
    channel: &str,
    retention: &Retention,
    append: &Append,
) -> Call {
    let [first, second] = keys.seen.clone();
    let keys = [keys.stream.clone(), keys.meta.clone(), first, second];
    Call::new(script, keys.into_iter().chain(more))
        .arg(channel)
        .arg(append.lane.priority() as u8)
        .arg(append.known.epoch.0)
        .arg(append.known.offset.0)
        .arg(retention.max_events)
        .arg(retention.max_bytes)
        .arg(retention.max_age.as_micros())
        .arg(retention.producer_ttl.as_micros())
        .arg(retention.max_producers)
        .arg(append.new_epoch.0)
        .arg(u8::from(append.putting_back))
        .arg(append.given.0)
}

/// What [`append`] answers.
pub(super) fn appended(value: Value) -> RedisResult<AppendAnswer> {
    let texts = texts(value)?;
    let [status, epoch, head, results @ ..] = texts.as_slice() else {
        return Err(not_understood());
    };
    let head = place(epoch, head)?;
    if status == b"behind" {
        return Ok(AppendAnswer::Behind(head));
    }
    let outcomes = results.iter().map(|result| match result.strip_prefix(b"=") {
        Some(known) => Ok(Outcome::Known(Offset(number(known)?))),
        None => Ok(Outcome::Fresh(Offset(number(result)?))),
    });
    Ok(AppendAnswer::Done { head, outcomes: outcomes.collect::<RedisResult<_>>()? })
}

/// The call that reads a lane.
pub(super) fn read(keys: &LaneKeys, direction: Direction, from: Offset, limit: usize) -> Call {
    let direction = match direction {
        Direction::After => "after",
        Direction::UpTo => "upto",
    };
    Call::new(&READ, [keys.stream.clone(), keys.meta.clone()]).arg(direction).arg(from.0).arg(limit)
}

/// What [`read`] answers.
pub(super) fn chunk(value: Value, lane: Lane, limit: usize) -> RedisResult<Chunk> {
    let texts = texts(value)?;
    let [epoch, head, floor, there, rest @ ..] = texts.as_slice() else {
        return Err(not_understood());
    };
    let mut entries = Vec::with_capacity(rest.len() / 5);
    for parts in rest.chunks_exact(5) {
        let [offset, producer, sequence, event, moved] = parts else { continue };
        let offset = number(offset)?;
        let moved = parse_number(moved);
        let entry = entry_of(lane, offset, producer, number(sequence)?, event, moved);
        entries.push((Offset(offset), entry));
    }
    Ok(Chunk {
        head: place(epoch, head)?,
        floor: Offset(number(floor)?),
        there: there == b"1",
        is_full: entries.len() >= limit,
        entries,
    })
}

pub(super) fn place(epoch: &[u8], offset: &[u8]) -> RedisResult<Place> {
    let epoch = u32::try_from(number(epoch)?).map_err(|_| not_understood())?;
    Ok(Place { epoch: Epoch(epoch), offset: Offset(number(offset)?) })
}

pub(super) fn number(text: &[u8]) -> RedisResult<u64> {
    parse_number(text).ok_or_else(not_understood)
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
