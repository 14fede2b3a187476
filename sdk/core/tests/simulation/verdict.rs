//! What must hold once the world is quiet.

use std::collections::BTreeMap;

use tidings_core::{Offset, Pattern, Priority};

use crate::client::{Client, Seen};
use crate::log::Log;

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
    let effects: usize = log.history.values().map(Vec::len).sum();
    let publishes: usize = clients.iter().map(|client| client.sent.len()).sum();
    assert_eq!(effects, publishes, "each publish has one effect");
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
        let entry = log.entry(position.lane, position.offset).expect("it is in the log");
        assert_eq!(&*entry.event.name, sent.name);
        assert_eq!(entry.event.priority, sent.priority);
        assert_eq!(entry.event.payload, sent.payload);
        assert_eq!(*entry.producer, *client.producer);
        let before = reached.insert(position.lane, position.offset);
        assert!(before < Some(position.offset), "{ticket:?} was overtaken");
    }
}

/// What has come is what was published.
fn authentic(seen: &Seen, log: &Log) {
    let pattern = Pattern::new(&*seen.pattern).expect("a pattern");
    for (lane, events) in &seen.events {
        for (offset, event) in events {
            let entry = log.entry(*lane, *offset).expect("it is in the log");
            assert_eq!(*event, entry.event);
            assert!(pattern.matches(&event.name));
        }
    }
}

/// Everything since the subscription began has come, or was told to be missing.
fn complete(seen: &Seen, log: &Log, everything_retained: bool) {
    let pattern = Pattern::new(&*seen.pattern).expect("a pattern");
    let began = seen.began.as_ref().expect("a beginning");
    if everything_retained {
        let unfounded = seen.gaps.iter().find(|(lane, ..)| lane.priority() != Priority::Low);
        assert_eq!(unfounded, None, "nothing has gone, and only low events may be dropped");
    }
    for (lane, entry) in log.matching(&pattern) {
        let place = began.get(lane).expect("a place in every lane of the pattern");
        let from = seen.wanted.get(lane).unwrap_or(place).offset.min(place.offset);
        let offset = entry.offset;
        let told =
            seen.gaps.iter().any(|(gap, from, to)| *gap == lane && *from < offset && offset <= *to);
        let events = seen.events.get(&lane).map(Vec::as_slice).unwrap_or_default();
        let came = events.binary_search_by_key(&offset, |(offset, _)| *offset).is_ok();
        assert!(
            came || told || offset <= from,
            "{} of {lane} is missing for {}",
            offset.0,
            seen.pattern
        );
        assert!(
            !came || offset > from,
            "{} of {lane} is from before {} began",
            offset.0,
            seen.pattern
        );
    }
}
