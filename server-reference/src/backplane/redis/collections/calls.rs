//! Steps of collections as calls of the scripts, and what they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisResult, Value};
use tidings_core::lane::{Offset, Place};
use tidings_core::log::Retention;
use tidings_core::log::shared::{Append, Note, Published, decode, encode};
use tidings_core::state::draft::{Commit, Part, Wanted, given, rank, untold};
use tidings_core::state::wire;
use tidings_core::state::{Change, Key, Limits, Load, MutationId, Page, Rules, Verdict, Version};
use tidings_core::{Event, Headers, Payload};

use super::PRIORITY;
use crate::backplane::collection_store::Hosting;
use crate::backplane::redis::calls::{append_head, not_understood, number, place, texts};
use crate::backplane::redis::keys::LaneKeys;
use crate::backplane::redis::script::{COMMIT, Call, LOAD, LOOK, NOTE, PRESENT, RESTORE};

/// What producers of changes are called before the collection's name; nobody else has such a name.
const PRODUCER: &str = "\u{1}state:";

/// What a script has answered.
pub(super) enum Answer<A> {
    Done(A),
    /// The lane is behind what is known here: nothing was done.
    Behind(Place),
}

/// Reads what a script tells after its status, unless it has found the lane behind.
fn answered<A>(
    value: Value,
    read: impl FnOnce(&[Vec<u8>]) -> RedisResult<A>,
) -> RedisResult<Answer<A>> {
    let texts = texts(value)?;
    match texts.as_slice() {
        [status, epoch, head] if status == b"behind" => Ok(Answer::Behind(place(epoch, head)?)),
        [_, told @ ..] => Ok(Answer::Done(read(told)?)),
        [] => Err(not_understood()),
    }
}

/// The event of a change, with this payload.
fn event(name: &str, key: &str, payload: Vec<u8>) -> Vec<u8> {
    encode(&Event {
        name: wire::change_name(name, key).into(),
        payload: Payload::Json(payload.into()),
        id: Arc::default(),
        priority: PRIORITY,
        time: 0,
        headers: Headers::NONE,
    })
}

/// Who publishes the changes that a committer makes.
fn producer(hosting: Hosting<'_>) -> String {
    format!("{PRODUCER}{}:{}", hosting.name, hosting.committer)
}

/// The collection whose changes a producer publishes.
fn collection_of(producer: &str) -> Option<&str> {
    Some(producer.strip_prefix(PRODUCER)?.rsplit_once(':')?.0)
}

fn reading(
    script: &'static super::super::script::Script,
    lane: &LaneKeys,
    keys: &[String; 6],
    known: Place,
) -> Call {
    let keys = std::iter::once(lane.meta.clone()).chain(keys.iter().cloned());
    Call::new(script, keys).arg(known.epoch.0).arg(known.offset.0)
}

/// The call that tells what has to be known.
pub(super) fn look(
    lane: &LaneKeys,
    keys: &[String; 6],
    known: Place,
    rules: &Rules,
    wanted: &Wanted,
) -> Call {
    let mut call = reading(&LOOK, lane, keys, known)
        .arg(rules.limits.max_verdicts.max(1))
        .arg(wanted.keys.len());
    for key in &wanted.keys {
        call.push(key.as_bytes());
    }
    for id in &wanted.ids {
        call.push(id.client.as_bytes());
        call.push(id.seq.to_string());
    }
    call
}

/// What [`look`] answers.
pub(super) fn looked(value: Value, wanted: &Wanted) -> RedisResult<Answer<Part>> {
    answered(value, |texts| {
        let mut rest = texts.iter();
        let mut next = || rest.next().ok_or_else(not_understood);
        let records = number(next()?)?;
        let mut part = Part { records: records as usize, ..Part::default() };
        for _ in &wanted.keys {
            let payload = next()?;
            if !payload.is_empty() {
                part.changes.push(change(payload)?);
            }
        }
        for id in &wanted.ids {
            part.judged.insert(Arc::clone(&id.client), number(next()?)?);
            let verdict = next()?;
            if !verdict.is_empty() {
                let verdict = wire::read_one_verdict(verdict).map_err(|_| not_understood())?;
                part.verdicts.insert(id.clone(), Arc::new(verdict));
            }
        }
        Ok(part)
    })
}

fn change(payload: &[u8]) -> RedisResult<Change> {
    wire::read_change(payload).map_err(|_| not_understood())
}

/// The beginning of a call that commits.
pub(super) fn commit_head(
    lane: &LaneKeys,
    keys: &[String; 6],
    channel: &str,
    retention: &Retention,
    append: &Append,
) -> Call {
    append_head(&COMMIT, lane, keys.iter().cloned(), channel, retention, append)
}

/// The call that commits.
pub(super) fn commit(head: Call, hosting: Hosting<'_>, before: Version, commit: &Commit) -> Call {
    let limits = &hosting.rules.limits;
    let mut call = head
        .arg(producer(hosting))
        .arg(before.0)
        .arg(commit.growth)
        .arg(limits.max_records)
        .arg(limits.max_deletions)
        .arg(limits.max_clients)
        .arg(limits.max_verdicts.max(1))
        .arg(limits.max_verdict_bytes)
        .arg(commit.unless_changed.len())
        .arg(commit.verdicts.len())
        .arg(commit.changes.len());
    for (key, version) in &commit.unless_changed {
        call.push(key.as_bytes());
        call.push(version.0.to_string());
    }
    for (id, verdict) in &commit.verdicts {
        call.push(id.client.as_bytes());
        call.push(id.seq.to_string());
        let ([before, after], rank) = match &**verdict {
            Verdict::Accepted { version, conflicts } => {
                (wire::accepted_parts(conflicts), rank(*version))
            }
            other => ([wire::write_one_verdict(other), Vec::new()], None),
        };
        call.push(before);
        call.push(after);
        call.push(rank.map(|rank| rank.to_string()).unwrap_or_default());
    }
    for change in &commit.changes {
        call.push(change.key.as_bytes());
        call.push(if change.value.is_none() { "1" } else { "" });
        call.push(event(hosting.name, &change.key, Vec::new()));
        for part in wire::change_parts(change) {
            call.push(part);
        }
        let since = change.stamp.alone_since;
        call.push(match rank(since) {
            Some(rank) => format!("+{rank}"),
            None => since.0.to_string(),
        });
    }
    call
}

/// Where the lane stands after a commit, and the version of the first change; nothing if what was
/// judged has changed.
type Committed = Option<(Place, Version)>;

/// What [`commit`] answers.
pub(super) fn committed(value: Value) -> RedisResult<Answer<Committed>> {
    answered(value, |texts| match texts {
        [] => Ok(None),
        [epoch, head, first] => Ok(Some((place(epoch, head)?, Version(number(first)?)))),
        _ => Err(not_understood()),
    })
}

/// The events that a commit has published, and where they are.
pub(super) fn published(
    hosting: Hosting<'_>,
    commit: &Commit,
    first: Version,
) -> Vec<(Offset, Published)> {
    let producer: Arc<str> = producer(hosting).into();
    let published = |change: &Change| {
        let mut change = change.clone();
        change.stamp.version = given(change.stamp.version, first);
        change.stamp.alone_since = given(change.stamp.alone_since, first);
        let number = change.stamp.version.0;
        let event = event(hosting.name, &change.key, wire::write_change(&change));
        let producer = Arc::clone(&producer);
        (Offset(number), Published { producer, number, event: event.into() })
    };
    commit.changes.iter().map(published).collect()
}

/// What is noted of verdicts that no change tells of.
pub(super) fn notes<'a>(
    hosting: Hosting<'a>,
    verdicts: impl IntoIterator<Item = (&'a MutationId, &'a Arc<Verdict>)>,
) -> impl Iterator<Item = Note> {
    untold(verdicts).map(move |(id, verdict)| Note {
        of: hosting.name.into(),
        about: Arc::clone(&id.client),
        number: id.seq,
        says: wire::write_one_verdict(verdict).into(),
    })
}

/// The call that puts back notes.
pub(super) fn put_back_notes(keys_of: impl Fn(&str) -> [String; 6], notes: &[Note]) -> Call {
    let names: BTreeSet<&str> = notes.iter().map(|note| &*note.of).collect();
    let mut call = Call::new(&NOTE, names.iter().flat_map(|name| keys_of(name)));
    for note in notes {
        let before = names.range(..&*note.of).count();
        call.push((1 + 6 * before).to_string());
        call.push(note.about.as_bytes());
        call.push(note.number.to_string());
        call.push(&*note.says);
    }
    call
}

/// The call that puts back events with what they tell of collections; `None` if they tell nothing
/// of any.
pub(super) fn restore(
    lane: &LaneKeys,
    keys_of: impl Fn(&str) -> [String; 6],
    channel: &str,
    retention: &Retention,
    append: &Append,
) -> Option<Call> {
    let told: Vec<_> = append.events.iter().map(|(published, _)| told(published)).collect();
    let mut collections = BTreeMap::new();
    for (name, _, _) in told.iter().flatten() {
        // Counted from 1, and behind the four of the lane.
        let first = 5 + 6 * collections.len();
        collections.entry(name.clone()).or_insert(first);
    }
    if collections.is_empty() {
        return None;
    }
    let mut by_place: Vec<_> = collections.iter().collect();
    by_place.sort_by_key(|(_, first)| **first);
    let keys: Vec<String> = by_place.iter().flat_map(|(name, _)| keys_of(name)).collect();
    let mut call = append_head(&RESTORE, lane, keys, channel, retention, append);
    for ((published, place), told) in append.events.iter().zip(told) {
        call.push(published.producer.as_bytes());
        call.push(published.number.to_string());
        call.push(place.map(|place| place.0.to_string()).unwrap_or_default());
        call.push(&*published.event);
        let Some((name, change, payload)) = told else {
            for _ in 0..7 {
                call.push("");
            }
            continue;
        };
        call.push(collections.get(&name).map(usize::to_string).unwrap_or_default());
        call.push(change.key.as_bytes());
        call.push(change.stamp.version.0.to_string());
        call.push(if change.value.is_none() { "1" } else { "" });
        let by = change.stamp.by.as_ref();
        call.push(by.map(|by| by.client.as_bytes().to_vec()).unwrap_or_default());
        call.push(by.map_or(0, |by| by.seq).to_string());
        call.push(payload.to_string());
    }
    Some(call)
}

/// What an event tells of a collection: its name, the change, and how many bytes that has.
fn told(published: &Published) -> Option<(String, Change, usize)> {
    let name = collection_of(&published.producer)?;
    let event = decode(PRIORITY, &published.event)?;
    let payload = event.payload.bytes();
    Some((name.to_owned(), wire::read_change(payload).ok()?, payload.len()))
}

/// The call that reads a page for all of these clients.
pub(super) fn load(
    lane: &LaneKeys,
    keys: &[String; 6],
    known: Place,
    limits: &Limits,
    load: &Load,
    clients: &[Arc<str>],
) -> Call {
    let mut call = reading(&LOAD, lane, keys, known)
        .arg(load.after.0)
        .arg(load.began.0)
        .arg(load.limit.clamp(1, limits.max_page.max(1)))
        .arg(limits.max_page_bytes);
    for client in clients {
        call.push(client.as_bytes());
    }
    call
}

/// What [`load`] answers for so many clients: the page, and the last number of each.
pub(super) fn loaded(
    value: Value,
    load: &Load,
    clients: usize,
) -> RedisResult<Answer<(Page, Vec<u64>)>> {
    answered(value, |texts| {
        let [version, whole, reset, rest @ ..] = texts else {
            return Err(not_understood());
        };
        let (judged, rest) = rest.split_at_checked(clients).ok_or_else(not_understood)?;
        let judged = judged.iter().map(|text| number(text)).collect::<RedisResult<_>>()?;
        let (version, reset) = (Version(number(version)?), reset == b"1");
        let changes =
            rest.iter().map(|payload| change(payload)).collect::<RedisResult<Vec<_>>>()?;
        let last = changes.last().map_or(load.after, |change| change.stamp.version);
        let began = if load.after == Version(0) || reset { version } else { load.began };
        let whole = whole == b"1";
        let page = Page {
            reset,
            changes,
            version: if whole { version } else { last },
            next: (!whole).then_some((last, began)),
            judged: 0,
        };
        Ok((page, judged))
    })
}

/// The call that says which sessions are there.
pub(super) fn beat(
    lane: &LaneKeys,
    keys: &[String; 6],
    leases: &str,
    known: Place,
    present: &[Arc<str>],
    timeout: Duration,
) -> Call {
    let names = std::iter::once(lane.meta.clone()).chain(keys.iter().cloned());
    let mut call = Call::new(&PRESENT, names.chain([leases.to_owned()]))
        .arg(known.epoch.0)
        .arg(known.offset.0)
        .arg(timeout.as_micros());
    for session in present {
        call.push(session.as_bytes());
    }
    call
}

/// What [`beat`] answers.
pub(super) fn over(value: Value) -> RedisResult<Answer<Vec<(Key, Version)>>> {
    answered(value, |texts| {
        let over = texts.chunks_exact(2).map(|pair| {
            let key = std::str::from_utf8(&pair[0]).ok().and_then(|key| Key::new(key).ok());
            Ok((key.ok_or_else(not_understood)?, Version(number(&pair[1])?)))
        });
        over.collect()
    })
}
