//! A feed by itself.

use super::*;
use crate::event::{Event, Headers, Payload};
use crate::lane::Epoch;
use crate::log::{Entry, LaneLog, Read, Retention};
use crate::message::Delivery;
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

fn event(name: &str, priority: Priority) -> Event {
    let (payload, id, headers) = (Payload::NULL, Arc::default(), Headers::NONE);
    Event { name: name.into(), payload, id, priority, time: 0, headers }
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
        log.0.append(1, event("a", Priority::Normal), None);
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
fn nothing_waits_for_others_in_a_queue_that_has_no_room_for_them() {
    for (queue, volatile, waits) in
        [(10_000, 10_000, true), (10, 10_000, false), (10_000, 10, false)]
    {
        let event_bytes = [queue; Priority::COUNT];
        let config = FeedConfig { event_bytes, volatile_bytes: volatile, ..FeedConfig::default() };
        let mut feed = Feed::new(Wire::WsJson, Arc::new(config));
        feed.set_batch(1 << 14);
        let lane = Lane::new(0, Priority::Normal);
        let mut log = LaneLog::new(lane, Epoch(1), Retention::default(), 0);
        feed.subscribe(SubId(1), Pattern::new("a").unwrap());
        feed.watch(lane, log.head());
        let of_lane = event("a", Priority::Normal);
        let crate::log::Appended::Fresh(logged) = log.append(1, of_lane, None) else { panic!() };
        assert!(feed.offer(&logged));
        let delivery =
            Delivery { event: event("a", Priority::Normal), position: None, replay_for: None };
        assert!(feed.offer_volatile(&Framed::new(delivery)));
        assert_eq!(feed.may_wait(), waits, "{queue} {volatile}");
    }
}

/// A lane whose second `low` event was dropped, since the first has filled the queue.
fn dropping() -> (Lane, Feed, Numbers) {
    let lane = Lane::new(0, Priority::Low);
    let mut log = Numbers(LaneLog::new(lane, Epoch(1), Retention::default(), 0));
    let config = FeedConfig { event_bytes: [1; Priority::COUNT], ..FeedConfig::default() };
    let mut feed = Feed::new(Wire::WsJson, Arc::new(config));
    feed.subscribe(SubId(1), Pattern::new("a").unwrap());
    feed.watch(lane, log.0.head());
    for _ in 0..2 {
        let event = event("a", Priority::Low);
        let crate::log::Appended::Fresh(logged) = log.0.append(1, event, None) else { panic!() };
        feed.offer(&logged);
    }
    assert_eq!(feed.stats().dropped_low, 1, "the queue is full");
    (lane, feed, log)
}

#[test]
fn a_subscription_that_comes_while_low_events_are_dropped_is_told_of_all_it_misses() {
    let (lane, mut feed, log) = dropping();
    let at = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
    // The lane has come to 5 without anything that concerned this connection.
    feed.subscribe(SubId(2), Pattern::new("b").unwrap());
    assert_eq!(feed.watch(lane, at(5)), at(1));
    while feed.outbox_mut().pop().is_some() {}
    feed.catch_up(&log);
    let told = feed.outbox_mut().pop().expect("a gap");
    assert!(String::from_utf8_lossy(&told).contains("[\"gap\",0,1,5,1]"), "{told:?}");
}

#[test]
fn who_drops_low_events_reads_those_that_are_not_handed_out() {
    let (lane, mut feed, mut log) = dropping();
    log.0.append(1, event("a", Priority::Low), None);
    let reached = Place { epoch: Epoch(1), offset: Offset(2) };
    assert!(feed.fall_behind(lane, reached), "the third is not offered");
    let mut sent = Vec::new();
    while feed.wants_catch_up() || !feed.outbox().is_empty() {
        sent.extend(feed.outbox_mut().pop().into_iter().flatten());
        feed.catch_up(&log);
    }
    let sent = String::from_utf8_lossy(&sent);
    assert!(sent.contains("[\"gap\",0,1,2,1]") && sent.contains("[\"e\",0,3,"), "{sent}");
}

#[test]
fn a_place_of_another_history_moves_no_lane() {
    let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
    let lane = Lane::new(0, Priority::Normal);
    let at = |epoch, offset| Place { epoch: Epoch(epoch), offset: Offset(offset) };
    feed.watch(lane, at(2, 10));
    assert_eq!(feed.watch(lane, at(1, 20)), at(2, 10));
}

#[test]
fn a_replay_of_all_that_is_retained_is_told_of_no_gap_and_has_each_event_once() {
    let lane = Lane::new(0, Priority::Normal);
    let at = |offset| Place { epoch: Epoch(7), offset: Offset(offset) };
    let mut log = Numbers(LaneLog::new(lane, Epoch(7), Retention::default(), 0));
    for _ in 0..200 {
        log.0.append(1, event("a", Priority::Normal), None);
    }
    let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
    let pattern = Pattern::new("a").unwrap();
    feed.subscribe(SubId(1), pattern.clone());
    feed.replay(SubId(1), pattern, lane, Place::default(), at(200));
    feed.catch_up(&log);
    assert!(feed.is_live());
    assert_eq!((feed.stats().recovered, feed.stats().gaps), (200, 0));
}

#[test]
fn what_is_not_permitted_is_not_sent_live_nor_recovered_nor_replayed() {
    let lane = Lane::new(0, Priority::Normal);
    let at = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
    let mut log = Numbers(LaneLog::new(lane, Epoch(1), Retention::default(), 0));
    let append = |log: &mut Numbers, name: &str| {
        let event = event(name, Priority::Normal);
        let crate::log::Appended::Fresh(logged) = log.0.append(1, event, None) else { panic!() };
        logged
    };
    let set = |patterns: &[&str]| -> Option<PatternSet> {
        Some(patterns.iter().map(|pattern| Pattern::new(*pattern).unwrap()).collect())
    };
    let all = Pattern::new("**").unwrap();
    let names = |feed: &mut Feed| {
        let frames = std::iter::from_fn(|| feed.outbox_mut().pop()).collect::<Vec<_>>();
        let name =
            |frame: Bytes| String::from_utf8_lossy(&frame).split('"').nth(3).unwrap().to_owned();
        frames.into_iter().map(name).collect::<Vec<_>>()
    };
    for name in ["a.x", "b.x", "a.y"] {
        append(&mut log, name);
    }
    let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
    assert!(feed.permit(set(&["a.*"])).is_empty());
    feed.subscribe(SubId(1), all.clone());
    feed.resume(lane, at(0));
    feed.catch_up(&log);
    assert_eq!(names(&mut feed), ["a.x", "a.y"], "recovered");
    feed.replay(SubId(1), all.clone(), lane, at(0), at(3));
    feed.catch_up(&log);
    assert_eq!(names(&mut feed), ["a.x", "a.y"], "replayed");
    let (one, other) = (append(&mut log, "b.y"), append(&mut log, "a.z"));
    assert!(!feed.offer(&one) && feed.offer(&other));
    assert_eq!(names(&mut feed), ["a.z"], "live");
    assert!(feed.hides("b.volatile") && !feed.hides("a.volatile"));
    // Rights change while it is connected.
    feed.subscribe(SubId(2), Pattern::new("a.*").unwrap());
    let ended = feed.permit(set(&["b.*"]));
    assert_eq!(ended, [(SubId(2), Pattern::new("a.*").unwrap())], "nothing is left for that one");
    let (one, other) = (append(&mut log, "b.z"), append(&mut log, "a.w"));
    assert!(feed.offer(&one) && !feed.offer(&other));
    feed.permit(None);
    assert!(feed.offer(&append(&mut log, "c")));
    assert_eq!(names(&mut feed), ["b.z", "c"]);
    // Where no subscription is wider than what is permitted, nobody asks.
    feed.permit(set(&["a.*"]));
    feed.unsubscribe(SubId(1));
    assert!(!feed.hides("never subscribed to"));
}

/// Payloads of `a` are sensitive; counts how often it is asked.
#[derive(Debug, Default)]
struct Secret(std::sync::atomic::AtomicUsize);

impl Redact for Secret {
    fn redact(&self, event: &Event) -> Option<Payload> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (&*event.name == "a").then_some(Payload::NULL)
    }
}

#[test]
fn what_is_sensitive_is_only_for_those_to_whom_it_is_revealed() {
    let lane = Lane::new(0, Priority::Normal);
    let at = |offset| Place { epoch: Epoch(1), offset: Offset(offset) };
    let secret = Arc::new(Secret::default());
    let redact: Arc<dyn Redact> = Arc::clone(&secret) as _;
    let config = Arc::new(FeedConfig { redact: Some(redact), ..FeedConfig::default() });
    let mut log = Numbers(LaneLog::new(lane, Epoch(1), Retention::default(), 0));
    let event = |name| {
        let payload = Payload::Json("\"hush\"".into());
        Event { payload, ..event(name, Priority::Normal) }
    };
    let pattern = Pattern::new("*").unwrap();
    let names = |name: &str| [Pattern::new(name).unwrap()].into_iter().collect::<PatternSet>();
    let (nothing, others, some, all) =
        (Some(PatternSet::default()), Some(names("b")), Some(names("a")), None);
    // A session that nobody has spoken of is one to which nothing is revealed.
    let mut feeds: Vec<_> = [None, Some(nothing), Some(others), Some(some), Some(all)]
        .into_iter()
        .map(|revealed| {
            let mut feed = Feed::new(Wire::WsJson, Arc::clone(&config));
            revealed.into_iter().for_each(|revealed| feed.reveal(revealed));
            feed.subscribe(SubId(1), pattern.clone());
            feed.watch(lane, at(0));
            feed
        })
        .collect();
    let written = |feeds: &mut Vec<Feed>| {
        let hushed = |feed: &mut Feed| {
            let all = std::iter::from_fn(|| feed.outbox_mut().pop());
            let text: Vec<_> = all.flat_map(|frame| frame.to_vec()).collect();
            let text = String::from_utf8_lossy(&text).into_owned();
            (text.matches("\"hush\"").count(), text.matches("null").count())
        };
        feeds.iter_mut().map(hushed).collect::<Vec<_>>()
    };
    let expected = [(1, 1), (1, 1), (1, 1), (2, 0), (2, 0)];
    for name in ["a", "b"] {
        log.0.append(1, event(name), None);
    }
    let mut events = Vec::new();
    assert_eq!(log.0.read(at(0), 9, &mut events), Read::Done(None));
    for feed in &mut feeds {
        assert!(events.iter().all(|logged| feed.offer(logged)));
    }
    assert_eq!(written(&mut feeds), expected, "live");
    for feed in &mut feeds {
        assert!(feed.fall_behind(lane, at(2)));
        feed.replay(SubId(1), pattern.clone(), lane, at(0), at(2));
        feed.catch_up(&log);
    }
    assert_eq!(written(&mut feeds), expected, "replayed");
    let config = Arc::clone(&config);
    for (feed, expected) in feeds.iter().zip(expected) {
        let mut later = Feed::new(Wire::WsMsgpack, Arc::clone(&config));
        later.reveal(feed.revealed.clone());
        later.subscribe(SubId(1), pattern.clone());
        later.resume(lane, at(0));
        later.catch_up(&log);
        let frames = std::iter::from_fn(|| later.outbox_mut().pop());
        let hushed = frames.filter(|frame| frame.windows(4).any(|window| window == b"hush"));
        assert_eq!(hushed.count(), expected.0, "recovered");
    }
    assert_eq!(secret.0.load(std::sync::atomic::Ordering::Relaxed), 2, "once for each event");
    let volatile =
        |name| Framed::new(Delivery { event: event(name), position: None, replay_for: None });
    let (a, b) = (volatile("a"), volatile("b"));
    for feed in &mut feeds {
        assert!(feed.offer_volatile(&a) && feed.offer_volatile(&b));
    }
    assert_eq!(written(&mut feeds), expected, "volatile");
}

#[test]
fn what_was_put_back_late_comes_to_who_came_after_its_first_place() {
    let lane = Lane::new(0, Priority::Normal);
    let place = |offset| Place { epoch: Epoch(3), offset: Offset(offset) };
    let mut log = Numbers(LaneLog::copy_of(lane, place(100), Retention::default()));
    let entry = |number: u64, offset, moved_from: Option<u64>| Entry {
        offset: Offset(offset),
        event: event("a", Priority::Normal),
        producer: Some(("p".into(), number)),
        moved_from: moved_from.map(Offset),
    };
    log.0.copy(0, entry(1, 110, None));
    log.0.copy(0, entry(2, 115, None));
    let follow = |after| {
        let mut feed = Feed::new(Wire::WsJson, Arc::new(FeedConfig::default()));
        feed.subscribe(SubId(1), Pattern::new("**").unwrap());
        feed.resume(lane, place(after));
        feed
    };
    // One that was here, one that has come from elsewhere, and one that comes later.
    let (mut early, mut late, mut later) = (follow(100), follow(115), follow(115));
    early.catch_up(&log);
    late.catch_up(&log);
    log.0.copy(0, entry(1, 120, Some(110)));
    let mut read = Vec::new();
    let _ = log.read(lane, place(115), 10, &mut read);
    for feed in [&mut early, &mut late] {
        for logged in &read {
            feed.offer(logged);
        }
    }
    later.catch_up(&log);
    let counts = [&early, &late, &later].map(|feed| feed.stats().events[Priority::Normal as usize]);
    assert_eq!(counts, [2, 1, 1]);
}
