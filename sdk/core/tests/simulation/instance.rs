//! What a server knows of a Redis: a machine for each partition, and where its master is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidings_core::lane::{Lane, Partitioning, Place};
use tidings_core::log::shared::{
    Notice, Now, Output, Partition, Published, Request, RequestId, Settings, encode,
};
use tidings_core::log::{LoggedEvent, Read};
use tidings_core::message::{Position, Refusal};
use tidings_core::{Event, Time};

use crate::log::BEGINNING;
use crate::network::Line;

/// Whose publish it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) line: Line,
    pub(crate) seq: u64,
}

/// Where an instance believes a partition to be.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct View {
    pub(crate) node: usize,
    /// How many takeovers there were before.
    pub(crate) takeovers: u64,
    /// When it heard of the last.
    pub(crate) since: Option<Time>,
    pub(crate) has_replica: bool,
}

/// What takes its time, for the network.
#[derive(Debug)]
pub(crate) enum Work {
    Request(RequestId, Request),
    Subscribe(u64),
    Unsubscribe,
}

/// What came of the machines' work, for the server.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) news: bool,
    pub(crate) readable: bool,
    pub(crate) loaded: BTreeSet<Lane>,
    pub(crate) published: Vec<(Token, Result<Position, Refusal>)>,
}

pub(crate) struct Instance {
    pub(crate) machines: Vec<Partition<Token>>,
    pub(crate) views: Vec<View>,
    /// The subscription that is there, and the node.
    pub(crate) subscriptions: Vec<Option<(u64, usize)>>,
    partitioning: Partitioning,
    pub(crate) now: Time,
    /// How many microseconds its clock is fast, or slow.
    fast: i64,
    known: usize,
    pub(crate) work: Vec<(usize, Work)>,
    pub(crate) outcome: Outcome,
}

impl Instance {
    pub(crate) fn new(
        partitioning: &Partitioning,
        settings: &Arc<Settings>,
        views: Vec<View>,
        fast: i64,
    ) -> Self {
        let numbers = 0..partitioning.count();
        Self {
            machines: numbers.map(|number| Partition::new(number, Arc::clone(settings))).collect(),
            subscriptions: vec![None; views.len()],
            views,
            partitioning: partitioning.clone(),
            now: Time::ZERO,
            fast,
            known: 0,
            work: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    fn both_clocks(&self) -> Now {
        let micros = BEGINNING + self.now.since_start().as_micros() as u64;
        Now { time: self.now, unix_micros: micros.saturating_add_signed(self.fast) }
    }

    /// Lets a partition's machine do something, and notes what it wants.
    pub(crate) fn with<R>(
        &mut self,
        partition: usize,
        act: impl FnOnce(&mut Partition<Token>, Now) -> R,
    ) -> R {
        let now = self.both_clocks();
        let result = act(&mut self.machines[partition], now);
        while let Some(output) = self.machines[partition].poll_output() {
            match output {
                Output::Request(id, request) => {
                    self.work.push((partition, Work::Request(id, request)));
                }
                Output::Subscribe(number) => self.work.push((partition, Work::Subscribe(number))),
                Output::Unsubscribe(_) => self.work.push((partition, Work::Unsubscribe)),
                Output::New(_) => self.outcome.news = true,
                Output::Loaded(lane) => drop(self.outcome.loaded.insert(lane)),
                Output::Readable(_) => self.outcome.readable = true,
                Output::Known => {
                    self.known += 1;
                    self.outcome.readable = true;
                }
                Output::Published { token, result } => self.outcome.published.push((token, result)),
                Output::Unreadable(position) => panic!("{position:?} cannot be read"),
            }
        }
        result
    }

    pub(crate) fn publish(&mut self, now: Time, event: &Event, producer: Arc<str>, token: Token) {
        self.now = now;
        let partition = usize::from(self.partitioning.of_name(&event.name));
        let published = Published { producer, number: token.seq, event: encode(event).into() };
        let priority = event.priority;
        self.with(partition, |machine, now| machine.publish(now, priority, published, true, token));
    }

    pub(crate) fn head(&self, lane: Lane) -> Place {
        let now = self.both_clocks();
        self.machines[usize::from(lane.partition())].head(now, lane.priority())
    }

    pub(crate) fn prepare(&mut self, now: Time, partitions: impl Iterator<Item = u16>) -> bool {
        self.now = now;
        let mut all = true;
        for partition in partitions.map(usize::from) {
            self.with(partition, Partition::want);
            all &= self.machines[partition].is_readable();
        }
        all
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.known == self.machines.len()
    }

    pub(crate) fn read(
        &mut self,
        lane: Lane,
        after: Place,
        limit: usize,
        out: &mut Vec<Arc<LoggedEvent>>,
    ) -> Read {
        self.with(usize::from(lane.partition()), |machine, now| {
            machine.read(now, lane.priority(), after, limit, out)
        })
    }

    pub(crate) fn reaches(&mut self, lane: Lane, place: Place) -> bool {
        self.with(usize::from(lane.partition()), |machine, now| {
            machine.reaches(now, lane.priority(), place)
        })
    }

    pub(crate) fn hear(&mut self, partition: usize, message: &[u8]) {
        let Some(Notice::Appended(notice)) = Notice::parse(message) else {
            panic!("a notice that cannot be read")
        };
        self.with(partition, |machine, now| machine.appended(now, notice));
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.machines.iter().filter_map(Partition::next_timeout).min()
    }

    /// Calls the machines whose time has come; `wanted` tells for a partition whether somebody here
    /// wants it.
    pub(crate) fn handle_timeout(&mut self, now: Time, wanted: impl Fn(u16) -> bool) {
        self.now = now;
        for partition in 0..self.machines.len() {
            if self.machines[partition].next_timeout().is_some_and(|at| at <= now) {
                if wanted(partition as u16) {
                    self.with(partition, Partition::want);
                }
                self.with(partition, Partition::handle_timeout);
            }
        }
    }
}

/// How the instances of a world work: as configured by default, but for what they keep.
pub(crate) fn settings(retention: tidings_core::log::Retention) -> Arc<Settings> {
    Arc::new(Settings { retention, linger: Duration::from_secs(10), ..Settings::default() })
}
