//! A feed by itself.

use super::*;
use crate::event::{Event, Headers, Payload};
use crate::lane::Epoch;
use crate::log::{LaneLog, Read, Retention};
use crate::server::log_reader::LogReader;

#[test]
fn a_later_subscription_begins_at_the_present_of_its_lane() {
    let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
    let lane = Lane::new(0, Priority::Normal);
    let at = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
    assert_eq!(feed.watch(lane, at(10)), at(10));
    assert_eq!(feed.watch(lane, at(20)), at(20), "nothing of what lies between was asked for");
    assert_eq!(feed.watch(lane, at(15)), at(20));
    feed.fall_behind(lane, at(20));
    assert_eq!(feed.watch(lane, at(30)), at(20), "what is still to be read comes first");
}

/// A log whose offsets are 1, 2, 3 and so on.
struct Numbers(LaneLog);

impl LogReader for Numbers {
    fn read(&self, _: Lane, after: Place, limit: usize, out: &mut Vec<Arc<LoggedEvent>>) -> Read {
        self.0.read(after, limit, out)
    }
}

#[test]
fn a_replay_goes_as_far_as_the_connection_has_come_by_itself() {
    let lane = Lane::new(0, Priority::Normal);
    let at = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
    let mut log = Numbers(LaneLog::new(lane, Epoch(1), Retention::default(), 0));
    for _ in 0..5 {
        let (name, id, headers) = ("a".into(), Arc::default(), Headers::NONE);
        let (payload, priority) = (Payload::NULL, Priority::Normal);
        log.0.append(1, Event { name, payload, id, priority, time: 0, headers }, None);
    }
    let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
    let pattern = Pattern::new("a").unwrap();
    feed.subscribe(SubId(1), pattern.clone());
    feed.resume(lane, at(3));
    feed.catch_up(&log);
    assert_eq!(feed.stats().recovered, 2, "4 and 5");
    feed.subscribe(SubId(2), pattern.clone());
    assert_eq!(feed.watch(lane, at(2)), at(5), "the host has come to 2 only");
    feed.replay(SubId(2), pattern, lane, at(0), at(2));
    feed.catch_up(&log);
    assert_eq!(feed.stats().recovered, 2 + 5, "all five replayed, and nothing sent again");
    assert!(feed.is_live());
}

#[test]
fn a_subscription_that_comes_while_low_events_are_dropped_is_told_of_all_it_misses() {
    let lane = Lane::new(0, Priority::Low);
    let at = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
    let mut log = LaneLog::new(lane, Epoch(1), Retention::default(), 0);
    let config = FeedConfig { event_bytes: [1; Priority::COUNT], ..FeedConfig::default() };
    let mut feed = Feed::new(Wire::WsJson, Arc::new(config));
    feed.subscribe(SubId(1), Pattern::new("a").unwrap());
    feed.watch(lane, at(0));
    for _ in 0..2 {
        let (name, id, headers) = ("a".into(), Arc::default(), Headers::NONE);
        let (payload, priority) = (Payload::NULL, Priority::Low);
        let event = Event { name, payload, id, priority, time: 0, headers };
        let crate::log::Appended::Fresh(logged) = log.append(1, event, None) else { panic!() };
        feed.offer(&logged);
    }
    assert_eq!(feed.stats().dropped_low, 1, "the queue is full");
    // The lane has come to 5 without anything that concerned this connection.
    feed.subscribe(SubId(2), Pattern::new("b").unwrap());
    assert_eq!(feed.watch(lane, at(5)), at(1));
    while feed.outbox_mut().pop().is_some() {}
    feed.catch_up(&Numbers(log));
    let told = feed.outbox_mut().pop().expect("a gap");
    assert!(String::from_utf8_lossy(&told).contains("[\"gap\",0,1,5,1]"), "{told:?}");
}

#[test]
fn a_place_of_another_history_moves_no_lane() {
    let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
    let lane = Lane::new(0, Priority::Normal);
    let at = |epoch, offset| Place { epoch: Epoch(epoch), offset: Offset(offset) };
    feed.watch(lane, at(2, 10));
    assert_eq!(feed.watch(lane, at(1, 20)), at(2, 10));
}
