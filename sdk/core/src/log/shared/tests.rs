//! A partition by itself, its store played by the test.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::event::{Event, Headers, Payload, Priority};
use crate::lane::{Epoch, Lane, Offset, Place};
use crate::log::{Entry, LoggedEvent, Read};
use crate::message::{Position, Refusal};

const START: u64 = 1_700_000_000_000_000;
const EPOCH: Epoch = Epoch(7);
const NORMAL: Priority = Priority::Normal;

fn place(offset: u64) -> Place {
    Place { epoch: EPOCH, offset: Offset(START + offset) }
}

fn event(n: u64) -> Event {
    Event {
        name: "a.b".into(),
        payload: Payload::Json(Bytes::from(n.to_string())),
        id: Arc::default(),
        priority: NORMAL,
        time: 0,
        headers: Headers::NONE,
    }
}

fn published(number: u64) -> Published {
    Published { producer: "p".into(), number, event: encode(&event(number)).into() }
}

fn entry(number: u64, offset: u64, moved_from: Option<u64>) -> Entry {
    let moved_from = moved_from.map(|from| START + from);
    let lane = Lane::new(0, NORMAL);
    entry_of(lane, START + offset, b"p", number, &encode(&event(number)), moved_from).unwrap()
}

/// A notice of events: number, place, the place before.
fn notice(events: &[(u64, u64, u64)]) -> Vec<u8> {
    let mut message = format!("E{}{}:", NORMAL as u8, EPOCH.0).into_bytes();
    for (number, offset, previous) in events {
        let event = encode(&event(*number));
        let (offset, previous) = (START + offset, START + previous);
        message.extend(format!("{offset}:{previous}::1:{number}:{}:p", event.len()).bytes());
        message.extend(event);
    }
    message
}

struct Played {
    partition: Partition<u64>,
    now: Now,
    asked: Vec<(RequestId, Request)>,
    new: usize,
    readable: bool,
    subscription: Option<u64>,
    results: Vec<(u64, Result<Position, Refusal>)>,
}

impl Played {
    fn new() -> Self {
        let mut played = Self {
            partition: Partition::new(0, Arc::default()),
            now: Now { time: Time::ZERO, unix_micros: START },
            asked: Vec::new(),
            new: 0,
            readable: false,
            subscription: None,
            results: Vec::new(),
        };
        played.pass(Duration::ZERO);
        played
    }

    /// One that is read, all its lanes at the same place.
    fn readable_at(head: u64) -> Self {
        let mut played = Self::new();
        let look = played.one();
        played.stands(look, head);
        played.act(Partition::want);
        let subscription = played.subscription.unwrap();
        played.act(|partition, now| partition.subscribed(now, subscription));
        let look = played.one();
        played.stands(look, head);
        while let Some((id, request)) = played.asked.pop() {
            assert!(matches!(request, Request::Read { direction: Direction::After, .. }));
            played.read(id, head, vec![]);
        }
        assert!(played.readable);
        played
    }

    fn act(&mut self, act: impl FnOnce(&mut Partition<u64>, Now)) {
        act(&mut self.partition, self.now);
        while let Some(output) = self.partition.poll_output() {
            match output {
                Output::Request(id, request) => self.asked.push((id, request)),
                Output::Subscribe(subscription) => self.subscription = Some(subscription),
                Output::Unsubscribe(_) => self.subscription = None,
                Output::New(_) => self.new += 1,
                Output::Readable(readable) => self.readable = readable,
                Output::Published { token, result } => self.results.push((token, result)),
                _ => {}
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.time = self.now.time + time;
        self.now.unix_micros += time.as_micros() as u64;
        self.act(Partition::handle_timeout);
    }

    /// Lets time pass until the next deadline.
    fn wait(&mut self) {
        let next = self.partition.next_timeout().expect("a deadline");
        self.pass(next - self.now.time);
    }

    /// The only request.
    fn one(&mut self) -> (RequestId, Request) {
        assert_eq!(self.asked.len(), 1, "{:?}", self.asked);
        self.asked.remove(0)
    }

    fn one_append(&mut self) -> (RequestId, Append) {
        match self.one() {
            (id, Request::Append(append)) => (id, append),
            other => panic!("{other:?}"),
        }
    }

    fn stands(&mut self, (id, request): (RequestId, Request), head: u64) {
        assert!(matches!(request, Request::Look { .. }));
        let standing = Standing { head: place(head), floor: Offset(START) };
        self.act(|partition, now| {
            partition.answered(now, id, Ok(Answer::Standing([standing; Priority::COUNT])));
        });
    }

    fn read(&mut self, id: RequestId, head: u64, entries: Vec<Entry>) {
        let chunk = Chunk {
            head: place(head),
            floor: Offset(START),
            there: true,
            entries: entries.into_iter().map(|entry| (entry.offset, Some(entry))).collect(),
            is_full: false,
        };
        self.act(|partition, now| partition.answered(now, id, Ok(Answer::Chunk(chunk))));
    }

    fn done(&mut self, id: RequestId, head: u64, outcomes: &[Outcome]) {
        let answer = AppendAnswer::Done { head: place(head), outcomes: outcomes.to_vec() };
        self.act(|partition, now| partition.answered(now, id, Ok(Answer::Appended(answer))));
    }

    fn fail(&mut self, id: RequestId) {
        self.act(|partition, now| partition.answered(now, id, Err("no".to_owned())));
    }

    fn hear(&mut self, message: &[u8]) {
        let Some(Notice::Appended(notice)) = Notice::parse(message) else { panic!() };
        self.act(|partition, now| partition.appended(now, notice));
    }

    fn publish(&mut self, number: u64) {
        self.act(|partition, now| partition.publish(now, NORMAL, published(number), true, number));
    }

    /// What can be read after a place: the offsets.
    fn offsets(&mut self, after: u64) -> Vec<u64> {
        let mut out: Vec<Arc<LoggedEvent>> = Vec::new();
        let read = self.partition.read(self.now, NORMAL, place(after), 100, &mut out);
        assert_eq!(read, Read::Done(None));
        out.iter().map(|logged| logged.offset().0 - START).collect()
    }
}

fn fresh(offset: u64) -> Outcome {
    Outcome::Fresh(Offset(START + offset))
}

fn numbers(append: &Append) -> Vec<u64> {
    append.events.iter().map(|(published, _)| published.number).collect()
}

#[test]
fn what_waits_goes_out_together_and_one_request_at_a_time() {
    let mut played = Played::readable_at(10);
    for number in 1..=3 {
        played.publish(number);
    }
    let (id, first) = played.one_append();
    assert_eq!((numbers(&first), first.known), (vec![1], place(10)));
    played.done(id, 20, &[fresh(20)]);
    let (id, second) = played.one_append();
    assert_eq!((numbers(&second), second.given), (vec![2, 3], Offset(START + 20)));
    played.done(id, 22, &[fresh(21), Outcome::Known(Offset(START + 15))]);
    let offsets: Vec<_> = played
        .results
        .iter()
        .map(|(_, result)| result.as_ref().unwrap().offset.0 - START)
        .collect();
    assert_eq!(offsets, [20, 21, 15]);
    assert_eq!((played.partition.counts().appended, played.partition.counts().duplicates), (2, 1));
}

#[test]
fn what_failed_is_sent_again_as_it_was_until_its_time_is_over() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.publish(2);
    played.fail(id);
    assert!(played.asked.is_empty(), "after a pause");
    played.wait();
    let (id, again) = played.one_append();
    assert_eq!(numbers(&again), [1]);
    played.fail(id);
    played.pass(Duration::from_secs(15));
    let refused: Vec<_> = played.results.iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [1, 2]);
    assert!(played.results.iter().all(|(_, result)| result.is_err()));
}

#[test]
fn what_was_published_after_something_refused_is_refused_until_that_comes_again() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(10));
    played.publish(2);
    played.pass(Duration::from_secs(5));
    played.fail(id);
    let refused = |played: &Played| played.results.iter().map(|(n, _)| *n).collect::<Vec<_>>();
    assert_eq!(refused(&played), [1, 2], "2 has waited for 5 seconds only");
    played.publish(3);
    assert_eq!(refused(&played), [1, 2, 3], "it was sent before its client heard of that");
    let reads = std::mem::take(&mut played.asked);
    assert!(reads.iter().all(|(_, request)| matches!(request, Request::Look { .. })));
    for number in 1..=3 {
        played.publish(number);
    }
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [1, 2, 3]);
}

#[test]
fn a_producer_that_does_not_send_again_is_not_held_back() {
    let mut played = Played::readable_at(10);
    let publish = |played: &mut Played, producer: &str, number: u64, sends_again: bool| {
        let published = Published { producer: producer.into(), ..published(number) };
        played.act(|partition, now| {
            partition.publish(now, NORMAL, published, sends_again, number);
        });
    };
    publish(&mut played, "client", 1, true);
    publish(&mut played, "service", 2, false);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(10));
    publish(&mut played, "client", 3, true);
    publish(&mut played, "service", 4, false);
    played.pass(Duration::from_secs(5));
    played.fail(id);
    publish(&mut played, "client", 5, true);
    publish(&mut played, "service", 6, false);
    let refused: Vec<_> = played.results.iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [1, 2, 3, 5]);
    played.asked.clear();
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [4, 6]);
}

#[test]
fn what_is_refused_is_refused_by_every_connection_it_came_by() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.pass(Duration::from_secs(10));
    for number in 1..=2 {
        played.publish(number);
    }
    played.pass(Duration::from_secs(5));
    played.fail(id);
    let refused: Vec<_> = played.results.iter().map(|(number, _)| *number).collect();
    assert_eq!(refused, [1, 1, 2], "who waits for the second 1 sends it again before 2");
    played.asked.clear();
    for number in 1..=2 {
        played.publish(number);
    }
    played.wait();
    assert_eq!(numbers(&played.one_append().1), [1, 2]);
}

#[test]
fn a_critical_event_waits_for_a_replica() {
    let mut played = Played::readable_at(10);
    played.act(|partition, now| partition.publish(now, Priority::Critical, published(1), true, 1));
    let (append, _) = played.one_append();
    played.done(append, 20, &[fresh(20)]);
    let (id, request) = played.one();
    assert!(matches!(request, Request::Replicate { after } if after == append));
    assert!(played.results.is_empty());
    played.fail(id);
    played.wait();
    let (append, again) = played.one_append();
    assert_eq!(numbers(&again), [1], "no replica had it: once more");
    played.done(append, 20, &[Outcome::Known(Offset(START + 20))]);
    let (id, _) = played.one();
    played.act(|partition, now| partition.answered(now, id, Ok(Answer::Replicated)));
    assert!(played.results[0].1.is_ok());
}

#[test]
fn a_hole_between_notices_is_read() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    assert_eq!(played.offsets(10), [20]);
    played.hear(&notice(&[(3, 40, 30)]));
    assert_eq!(played.offsets(10), [20], "40 comes after what is missing");
    let (id, request) = played.one();
    let Request::Read { from, .. } = request else { panic!("{request:?}") };
    assert_eq!(from, Offset(START + 20));
    played.read(id, 40, vec![entry(2, 30, None), entry(3, 40, None)]);
    assert_eq!(played.offsets(10), [20, 30, 40]);
    assert_eq!(played.new, 2);
}

#[test]
fn what_a_client_has_seen_elsewhere_is_read_before_it_is_said_to_be_all() {
    let mut played = Played::readable_at(10);
    played.act(|partition, now| assert!(!partition.reaches(now, NORMAL, place(30))));
    let (id, _) = played.one();
    played.read(id, 20, vec![entry(1, 20, None)]);
    played.act(|partition, now| assert!(partition.reaches(now, NORMAL, place(30))));
    assert!(played.asked.is_empty(), "30 was a time, and nothing is there");
    assert_eq!(played.offsets(10), [20]);
}

#[test]
fn a_notice_that_was_lost_is_found_when_heads_are_compared() {
    let mut played = Played::readable_at(10);
    played.wait();
    let look = played.one();
    played.stands(look, 20);
    let reads = std::mem::take(&mut played.asked);
    assert_eq!(reads.len(), Priority::COUNT, "all lanes are behind");
    for (id, request) in reads {
        let Request::Read { lane, .. } = request else { panic!("{request:?}") };
        let entries = if lane.priority() == NORMAL { vec![entry(1, 20, None)] } else { vec![] };
        played.read(id, 20, entries);
    }
    assert_eq!(played.offsets(10), [20]);
}

#[test]
fn a_notice_that_comes_before_the_answer_is_no_loss() {
    let mut played = Played::readable_at(10);
    played.wait();
    let look = played.one();
    played.hear(&notice(&[(1, 20, 10)]));
    played.stands(look, 10);
    assert!(played.asked.is_empty(), "{:?}", played.asked);
}

#[test]
fn what_a_failover_lost_is_put_back_where_it_was() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.done(id, 20, &[fresh(20)]);
    played.hear(&notice(&[(1, 20, 10), (2, 30, 20)]));
    played.wait();
    let look = played.one();
    played.stands(look, 10);
    let (id, append) = played.one_append();
    assert!(append.putting_back);
    let places: Vec<_> = append.events.iter().map(|(_, place)| place.unwrap().0 - START).collect();
    assert_eq!((numbers(&append), places), (vec![1, 2], vec![20, 30]));
    played.publish(3);
    assert!(played.asked.is_empty(), "nothing new before that");
    played.done(id, 30, &[fresh(20), fresh(30)]);
    assert_eq!(played.partition.counts().put_back, 2);
    assert!(played.asked.iter().any(|(_, request)| matches!(request, Request::Append(_))));
}

#[test]
fn after_a_takeover_nothing_new_is_appended_before_it_has_settled() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.done(id, 20, &[fresh(20)]);
    let at = played.now.time;
    played.act(|partition, now| partition.taken_over(now, at));
    let (id, append) = played.one_append();
    assert!(append.putting_back, "what was published here");
    played.publish(2);
    played.done(id, 20, &[Outcome::Known(Offset(START + 20))]);
    let reads = std::mem::take(&mut played.asked);
    assert!(reads.iter().all(|(_, request)| matches!(request, Request::Read { .. })));
    played.pass(Duration::from_millis(249));
    assert!(played.asked.is_empty());
    played.pass(Duration::from_millis(1));
    let (_, append) = played.one_append();
    assert_eq!((numbers(&append), append.takeover), (vec![2], Some(at)));
}

#[test]
fn what_the_old_master_took_while_another_took_over_is_put_back() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    let at = played.now.time;
    played.act(|partition, now| partition.taken_over(now, at));
    assert!(played.asked.is_empty(), "nothing is known yet that could be lacking");
    played.done(id, 20, &[fresh(20)]);
    let (_, append) = played.one_append();
    assert_eq!((append.putting_back, numbers(&append)), (true, vec![1]));
}

#[test]
fn a_store_that_is_behind_gets_back_what_it_lacks_first() {
    let mut played = Played::readable_at(10);
    played.publish(1);
    let (id, _) = played.one_append();
    played.done(id, 20, &[fresh(20)]);
    played.publish(2);
    let (id, append) = played.one_append();
    assert_eq!(append.known, place(20));
    let behind = Answer::Appended(AppendAnswer::Behind(place(10)));
    played.act(|partition, now| partition.answered(now, id, Ok(behind)));
    let (id, append) = played.one_append();
    assert!(append.putting_back);
    played.done(id, 20, &[fresh(20)]);
    let again = played.asked.iter().find_map(|(_, request)| match request {
        Request::Append(append) => Some(append.clone()),
        _ => None,
    });
    assert_eq!(numbers(&again.unwrap()), [2]);
}

#[test]
fn what_came_back_elsewhere_is_not_handed_out_again() {
    let mut played = Played::readable_at(10);
    played.hear(&notice(&[(1, 20, 10)]));
    played.hear(&notice(&[(3, 40, 30)]));
    let (id, _) = played.one();
    played.read(id, 40, vec![entry(1, 30, Some(20)), entry(3, 40, None)]);
    assert_eq!(played.offsets(10), [20, 40]);
}

#[test]
fn another_history_begins_the_copy_again() {
    let mut played = Played::readable_at(10);
    played.wait();
    let (id, _) = played.one();
    let head = Place { epoch: Epoch(8), offset: Offset(START + 50) };
    let standing = Standing { head, floor: head.offset };
    played.act(|partition, now| {
        partition.answered(now, id, Ok(Answer::Standing([standing; Priority::COUNT])));
    });
    assert_eq!(played.new, Priority::COUNT);
    let mut out = Vec::new();
    let Read::Done(Some(gap)) = played.partition.read(played.now, NORMAL, place(10), 9, &mut out)
    else {
        panic!("a gap")
    };
    assert_eq!((gap.epoch, gap.to), (Epoch(8), Offset(START + 50)));
}

#[test]
fn older_events_are_read_once_for_all_who_wait() {
    let mut played = Played::readable_at(10);
    let mut out = Vec::new();
    for after in [5, 3, 4] {
        let read = played.partition.read(played.now, NORMAL, place(after), 9, &mut out);
        assert_eq!(read, Read::Later);
    }
    played.act(|_, _| {});
    let (id, request) = played.one();
    assert!(matches!(request, Request::Read { direction: Direction::UpTo, .. }));
    played.read(id, 10, vec![entry(2, 7, None), entry(1, 4, None)]);
    assert_eq!(played.offsets(3), [4, 7]);
    assert!(played.asked.is_empty());
}

#[test]
fn who_does_not_want_it_any_more_does_not_read_it() {
    let mut played = Played::readable_at(10);
    for _ in 0..100 {
        played.wait();
        if !played.readable {
            assert_eq!(played.subscription, None);
            return;
        }
        let look = played.one();
        played.stands(look, 10);
    }
    panic!("it is read for ever");
}

#[test]
fn a_subscription_that_ends_is_made_again_and_followed_by_a_read() {
    let mut played = Played::readable_at(10);
    let first = played.subscription.unwrap();
    played.act(|partition, now| partition.unsubscribed(now, first));
    played.wait();
    let second = played.subscription.unwrap();
    assert_ne!(first, second);
    played.act(|partition, now| partition.unsubscribed(now, first));
    played.act(|partition, now| partition.subscribed(now, second));
    let look = played.one();
    played.stands(look, 10);
    assert_eq!(played.asked.len(), Priority::COUNT);
}
