//! A client, what its application did, and what it saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidings_core::client::{
    ClientConfig, ClientMachine, Command, Notice, PublishError, QueueLimits, State, Ticket,
    Transport,
};
use tidings_core::engineio::Carrier;
use tidings_core::message::{Position, Publish, SubId, Subscribe};
use tidings_core::ws::Encoding;
use tidings_core::{Cursor, Event, Headers, Lane, Offset, Payload, Priority};

/// Events that may wait to be published, of each priority: never reached here.
const QUEUE: usize = 10_000;

/// One subscription and all that has come of it.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) pattern: String,
    /// From where on it wants what was there before it.
    pub(crate) wanted: Cursor,
    /// Where the log stood when it began.
    pub(crate) began: Option<Cursor>,
    /// The lanes in which that was said by a clock that is fast, while the Redis was away.
    pub(crate) early: BTreeSet<Lane>,
    pub(crate) events: BTreeMap<Lane, Vec<(Offset, Event)>>,
    pub(crate) volatile: BTreeSet<Arc<str>>,
    pub(crate) gaps: Vec<(Lane, Offset, Offset)>,
    pub(crate) ended: bool,
}

/// One publish.
pub(crate) struct Sent {
    pub(crate) name: &'static str,
    pub(crate) priority: Priority,
    pub(crate) payload: Payload,
    pub(crate) result: Option<Result<Option<Position>, PublishError>>,
}

pub(crate) struct Client {
    pub(crate) machine: ClientMachine,
    pub(crate) producer: String,
    pub(crate) subscriptions: BTreeMap<SubId, Seen>,
    pub(crate) sent: BTreeMap<Ticket, Sent>,
    next: u32,
    pub(crate) deliveries: u64,
}

impl Client {
    pub(crate) fn new(number: usize, transport: Transport, encoding: Encoding, seed: u64) -> Self {
        let producer = format!("producer {number}");
        let endpoint = "http://balancer".parse().expect("a URL");
        let config = ClientConfig {
            // The network of this simulation has nothing else.
            carriers: vec![Carrier::WebSocket],
            transport,
            encoding,
            seed,
            backoff_max: Duration::from_secs(5),
            queues: QueueLimits {
                count: QUEUE,
                age: Duration::from_secs(7200),
                ack_timeout: Duration::from_secs(7200),
                ..QueueLimits::default()
            },
            ..ClientConfig::new(endpoint, &*producer)
        };
        Self {
            machine: ClientMachine::new(config),
            producer,
            subscriptions: BTreeMap::new(),
            sent: BTreeMap::new(),
            next: 0,
            deliveries: 0,
        }
    }

    fn next(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    pub(crate) fn subscribe(&mut self, pattern: &str, since: Option<Cursor>) -> Command {
        let id = SubId(self.next());
        let pattern = pattern.to_owned();
        let wanted = since.clone().unwrap_or_default();
        self.subscriptions.insert(id, Seen { pattern: pattern.clone(), wanted, ..Seen::default() });
        Command::Subscribe(Subscribe { id, pattern, since })
    }

    pub(crate) fn unsubscribe(&mut self, which: u64) -> Option<Command> {
        let which = usize::try_from(which).ok()?;
        let (id, seen) =
            self.subscriptions.iter_mut().filter(|(_, seen)| !seen.ended).nth(which)?;
        seen.ended = true;
        Some(Command::Unsubscribe(*id))
    }

    pub(crate) fn publish(
        &mut self,
        name: &'static str,
        priority: Priority,
        size: usize,
        volatile: bool,
    ) -> Command {
        let number = self.next();
        let ticket = Ticket(u64::from(number));
        let padding = "x".repeat(size);
        let payload =
            Payload::Json(format!("[\"{}\",{number},\"{padding}\"]", self.producer).into());
        if !volatile {
            let sent = Sent { name, priority, payload: payload.clone(), result: None };
            self.sent.insert(ticket, sent);
        }
        let name = name.into();
        let publish = Publish {
            seq: 0,
            name,
            payload,
            priority,
            volatile,
            headers: Headers::NONE,
            identity: None,
        };
        Command::Publish { ticket, publish, timeout: None }
    }

    pub(crate) fn switch(&mut self, transport: Transport) -> Command {
        Command::Switch { ticket: Ticket(u64::from(self.next())), transport }
    }

    /// Takes a notice; no lane has come further than `latest` yet.
    pub(crate) fn notice(&mut self, notice: Notice, latest: Offset) {
        match notice {
            Notice::Event { delivery, to } => {
                for id in to.as_slice() {
                    self.deliveries += 1;
                    let seen = self.subscriptions.get_mut(id).expect("a subscription there is");
                    assert!(!seen.ended, "nothing comes after the end");
                    let event = delivery.event.clone();
                    let Some(Position { lane, offset }) = delivery.position else {
                        let payload = format!("{:?}", event.payload).into();
                        assert!(seen.volatile.insert(payload), "a volatile event twice");
                        continue;
                    };
                    let events = seen.events.entry(lane).or_default();
                    assert!(
                        events.last().is_none_or(|(last, _)| *last < offset),
                        "{} of {lane} comes twice or out of order",
                        offset.0
                    );
                    events.push((offset, event));
                }
            }
            Notice::Gap { gap, to } => {
                for id in to.as_slice() {
                    let seen = self.subscriptions.get_mut(id).expect("a subscription there is");
                    seen.gaps.push((gap.lane, gap.from, gap.to));
                }
            }
            Notice::Subscribed { id, cursor } => {
                let seen = self.subscriptions.get_mut(&id).expect("a subscription there is");
                let early = cursor.iter().filter(|(_, place)| place.offset > latest);
                seen.early = early.map(|(lane, _)| lane).collect();
                assert!(seen.began.replace(cursor).is_none(), "told once");
            }
            Notice::Published { ticket, result } => {
                if let Some(sent) = self.sent.get_mut(&ticket) {
                    assert!(sent.result.replace(result).is_none(), "one answer");
                }
            }
            Notice::SubscribeFailed { refusal, .. } => panic!("refused: {}", refusal.message),
            _ => {}
        }
    }

    /// Whether it is connected, and nothing is left to do.
    pub(crate) fn is_quiet(&self) -> bool {
        let stats = self.machine.stats();
        self.machine.status().state == State::Connected
            && stats.queued == [0; Priority::COUNT]
            && self.subscriptions.values().all(|seen| seen.ended || seen.began.is_some())
    }
}
