//! What must hold once the world is quiet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidings_core::{Lane, Offset, Pattern, Priority};

use crate::client::{Client, Seen};
use crate::log::{Entry, Log};

/// Nothing is lost without being told, nothing is made up, and every publish has one effect.
pub(crate) fn judge(clients: &[Client], log: &Log, everything_retained: bool) {
    for client in clients {
        published(client, log);
        for seen in client.subscriptions.values() {
            authentic(seen, log);
            if !seen.ended {
                complete(seen, log, everything_retained);
            }
        }
    }
    let mut effects = BTreeSet::new();
    for (lane, entries) in &log.history {
        for entry in entries.iter().filter(|entry| !entry.lost) {
            let effect = (Arc::clone(&entry.producer), entry.seq, *lane);
            assert!(effects.insert(effect), "{entry:?} of {lane} is there twice");
        }
    }
    let publishes: usize = clients.iter().map(|client| client.sent.len()).sum();
    let gone = log.gone().count();
    assert_eq!(effects.len() + gone, publishes, "each publish has one effect");
    for (lane, entry) in log.gone() {
        // No one is left who knows of it, or the Redis has lost everything.
        if !was_forgotten(entry, lane, log) {
            assert!(!entry.publisher_lives, "{entry:?} of {lane} is lost");
            assert_ne!(lane.priority(), Priority::Critical, "{entry:?} is lost");
        }
    }
}

/// Every publish is where its acknowledgement says, and those of a lane are in order.
fn published(client: &Client, log: &Log) {
    let mut reached = BTreeMap::new();
    for (ticket, sent) in &client.sent {
        let Some(Ok(Some(position))) = &sent.result else {
            panic!("{ticket:?} of {}: {:?}", client.producer, sent.result);
        };
        // It was sent again after the log had let it go.
        if position.offset == Offset(0) {
            continue;
        }
        let entry = log.entry(position.lane, position.offset).expect("it was in the log");
        assert_eq!(&*entry.event.name, sent.name);
        assert_eq!(entry.event.priority, sent.priority);
        assert_eq!(entry.event.payload, sent.payload);
        assert_eq!(*entry.producer, *client.producer);
        if entry.lost || entry.moved_from.is_some() || was_forgotten(entry, position.lane, log) {
            continue;
        }
        let before = reached.insert(position.lane, position.offset);
        assert!(before < Some(position.offset), "{ticket:?} was overtaken: {entry:?}");
    }
}

/// Whether an event was there before, until the Redis lost everything: it was sent again then, and what
/// was published after it may have come before that.
fn was_forgotten(entry: &Entry, lane: Lane, log: &Log) -> bool {
    log.history[&lane].iter().any(|other| other.is_forgotten && other.is_same(entry))
}

/// What has come is what was published.
fn authentic(seen: &Seen, log: &Log) {
    let pattern = Pattern::new(&*seen.pattern).expect("a pattern");
    for (lane, events) in &seen.events {
        let mut once = BTreeSet::new();
        for (offset, event) in events {
            let entry = log.entry(*lane, *offset).expect("it was in the log");
            let is_new = once.insert((&entry.producer, entry.seq));
            assert!(
                is_new || may_come_again(entry, *lane, log),
                "{entry:?} of {lane} came twice; it was at {:#?}",
                log.places_of(*lane, entry)
            );
            assert_eq!(*event, entry.event);
            assert!(pattern.matches(&event.name));
        }
    }
}

/// Whether an event may come to a client that has had it: what came too late for its place may, at
/// another instance; and what was published again, because no one was left who knew that a failover
/// had lost it, or who did was cut off then, or because the Redis had lost everything.
fn may_come_again(entry: &Entry, lane: Lane, log: &Log) -> bool {
    let comes_again = |other: &Entry| {
        let cut_off = || {
            let again = entry.offset.max(other.offset);
            log.was_cut_off(other.server, lane, again)
        };
        let is_unknown = other.is_forgotten || !other.publisher_lives || cut_off();
        other.is_same(entry) && other.lost && is_unknown
    };
    entry.moved_from.is_some() || log.history[&lane].iter().any(comes_again)
}

/// Whether a gap tells of something that was dropped, or that a failover has lost, or that one master
/// took while another one did, or of a lane that has begun again.
fn is_founded(gap: &(Lane, Offset, Offset), log: &Log) -> bool {
    let (lane, from, to) = gap;
    let is_in = |entry: &&Entry| *from < entry.offset && entry.offset <= *to;
    let began_again = log.forgot.get(lane).into_iter().flatten().any(|at| at <= to);
    let mut told = log.history.get(lane).into_iter().flatten().filter(is_in);
    lane.priority() == Priority::Low
        || began_again
        || told.any(|entry| entry.was_lost || entry.beside)
}

/// Everything since the subscription began has come, or was told to be missing.
fn complete(seen: &Seen, log: &Log, everything_retained: bool) {
    let pattern = Pattern::new(&*seen.pattern).expect("a pattern");
    let began = seen.began.as_ref().expect("a beginning");
    if everything_retained {
        let unfounded = seen.gaps.iter().find(|gap| !is_founded(gap, log));
        assert_eq!(unfounded, None, "nothing has gone, and only low events may be dropped");
    }
    for (lane, entry) in log.matching(&pattern) {
        let place = began.get(lane).expect("a place in every lane of the pattern");
        let earliest = seen.wanted.get(lane).unwrap_or(place).offset.min(place.offset);
        let from = if seen.early.contains(&lane) { place.offset } else { earliest };
        let offset = entry.offset;
        let is_in = |place, (gap, after, to): &(Lane, Offset, Offset)| {
            *gap == lane && *after < place && place <= *to
        };
        let told = |place| seen.gaps.iter().any(|gap| is_in(place, gap));
        let events = seen.events.get(&lane).map(Vec::as_slice).unwrap_or_default();
        let has = |place| events.binary_search_by_key(&place, |(offset, _)| *offset).is_ok();
        let came = has(offset);
        // At the place it had before.
        let before =
            entry.moved_from.is_some_and(|place| has(place) || place <= from || told(place));
        let mut same = log.history[&lane].iter().filter(|other| other.is_same(entry));
        let elsewhere = same.any(|other| has(other.offset));
        // What a failover had lost when older events were replayed, and was put back after that.
        let after_replay = entry.was_lost && offset <= place.offset;
        assert!(
            came || told(offset) || before || elsewhere || after_replay || offset <= from,
            "{entry:?} of {lane} is missing for {}, which wanted what comes after {from:?}",
            seen.pattern
        );
        assert!(
            !came || offset > earliest || seen.early.contains(&lane),
            "{} of {lane} is from before {} began",
            offset.0,
            seen.pattern
        );
    }
}
