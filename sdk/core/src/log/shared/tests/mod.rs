//! A partition by itself, its store played by the test.

mod failover;
mod publishing;
mod reading;

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
        self.read_from(id, true, head, entries);
    }

    /// A read of which is told whether the event is there from which was read.
    fn read_from(&mut self, id: RequestId, there: bool, head: u64, entries: Vec<Entry>) {
        let chunk = Chunk {
            head: place(head),
            floor: Offset(START),
            there,
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
        let (offsets, gap) = self.offsets_and_gap(after);
        assert_eq!(gap, None);
        offsets
    }

    /// What comes to somebody who follows from after a place on, and the gap before it.
    fn offsets_and_gap(&mut self, after: u64) -> (Vec<u64>, Option<(u64, u64)>) {
        let mut out: Vec<Arc<LoggedEvent>> = Vec::new();
        let read = self.partition.read(self.now, NORMAL, place(after), 100, &mut out);
        let Read::Done(gap) = read else { panic!("{after} is not in memory") };
        out.retain(|logged| !logged.was_read_from(place(after).offset));
        let offsets = out.iter().map(|logged| logged.offset().0 - START).collect();
        (offsets, gap.map(|gap| (gap.from.0 - START, gap.to.0 - START)))
    }

    /// Answers all that is asked, by a store that stands at `head` and has these events.
    fn answer_all(&mut self, head: u64, events: &[u64]) -> usize {
        let asked = std::mem::take(&mut self.asked);
        let count = asked.len();
        for (id, request) in asked {
            match request {
                Request::Look { .. } => self.stands((id, request), head),
                Request::Read { from, direction: Direction::After, .. } => {
                    let from = from.0 - START;
                    let after = events.iter().filter(|at| **at > from);
                    let entries = after.map(|at| entry(*at, *at, None)).collect();
                    self.read_from(id, events.contains(&from), head, entries);
                }
                Request::Read { from, .. } => {
                    let from = from.0 - START;
                    let upto = events.iter().rev().filter(|at| **at <= from);
                    let entries = upto.map(|at| entry(*at, *at, None)).collect();
                    self.read_from(id, events.contains(&from), head, entries);
                }
                other => panic!("{other:?}"),
            }
        }
        count
    }
}

fn fresh(offset: u64) -> Outcome {
    Outcome::Fresh(Offset(START + offset))
}

fn numbers(append: &Append) -> Vec<u64> {
    append.events.iter().map(|(published, _)| published.number).collect()
}
