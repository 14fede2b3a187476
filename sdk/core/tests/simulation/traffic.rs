//! What travels between the servers and the Redis, and what goes wrong there.

use std::time::Duration;

use tidings_core::Time;
use tidings_core::log::shared::{Answer, AppendAnswer, Request, RequestId};

use crate::instance::{View, Work};
use crate::log::CutOff;
use crate::network::{Pipe, delay};
use crate::redis::{Life, Redis, Reply};
use crate::sabotage::Sabotage;
use crate::world::{Happening, World};

/// How long an instance waits for an answer, and for a replica.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
const REPLICA_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an instance asks which node is master although nothing failed.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often a request follows a redirection.
const REDIRECTIONS: u8 = 3;

/// A request on its way.
#[derive(Clone)]
pub(crate) struct Asked {
    life: Life,
    partition: usize,
    id: RequestId,
    request: Request,
    node: usize,
    redirected: u8,
}

impl Asked {
    /// What is printed of it.
    fn told(&self) -> String {
        let Self { life, partition, node, request, .. } = self;
        let what = match request {
            Request::Append(append) => {
                let events = append.events.iter().map(|(published, place)| {
                    (&published.producer, published.number, place.map(|place| place.0))
                });
                let events: Vec<_> = events.collect();
                let (lane, back) = (append.lane, append.putting_back);
                format!("append to {lane} (back {back}, known {:?}) {events:?}", append.known)
            }
            other => format!("{other:?}"),
        };
        format!("instance {life:?} asks node {node} of p{partition}: {what}")
    }
}

pub(crate) enum Traffic {
    Ask(Asked),
    /// It looks whether the replica has it.
    Replicating {
        asked: Asked,
        number: u64,
        until: Time,
    },
    /// The node was not the master: the instance has asked who is.
    Redirected(Asked),
    Answer {
        asked: Asked,
        answer: Result<Answer, String>,
    },
    Subscribe {
        life: Life,
        partition: usize,
        number: u64,
        node: usize,
    },
    Subscribed {
        life: Life,
        partition: usize,
        number: u64,
        node: Option<usize>,
    },
    Notice {
        life: Life,
        partition: usize,
        number: u64,
        message: Vec<u8>,
    },
    Unsubscribed {
        life: Life,
        partition: usize,
        number: u64,
    },
    /// An instance hears who is master.
    Refreshed(Life),
    Heartbeat(Life),
    TakeOver(usize),
    Demoted(usize, usize),
    Back(usize, usize),
    Reached(usize, usize),
    CaughtUp(usize),
    KeysMoved(usize),
    /// They were at this node.
    SlotMoved(usize, usize),
}

/// A subscription as the node has it.
pub(crate) struct Subscription {
    pub(crate) life: Life,
    pub(crate) partition: usize,
    number: u64,
    pub(crate) node: usize,
    pipe: Pipe,
}

/// The Redis of a world, and the ways to it.
pub(crate) struct Ways {
    pub(crate) redis: Redis,
    subscriptions: Vec<Subscription>,
    /// Which servers do not reach which partitions.
    pub(crate) blocked: std::collections::BTreeSet<(usize, usize)>,
    /// All times when that was so.
    pub(crate) cut_offs: Vec<CutOff>,
    /// In which partitions something is wrong that excludes more of it.
    pub(crate) busy: std::collections::BTreeSet<usize>,
    pub(crate) failovers: u64,
    pub(crate) moves: u64,
    /// How often everything was lost.
    pub(crate) forgot: u64,
}

impl Ways {
    pub(crate) fn new(redis: Redis) -> Self {
        Self {
            redis,
            subscriptions: Vec::new(),
            blocked: Default::default(),
            cut_offs: Vec::new(),
            busy: Default::default(),
            failovers: 0,
            moves: 0,
            forgot: 0,
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_whole(&self) -> bool {
        let cut = self.redis.shards.iter().any(|shard| shard.cut || shard.lags);
        self.busy.is_empty() && self.blocked.is_empty() && !cut
    }

    /// Where a new instance finds the masters.
    pub(crate) fn views(&self) -> Vec<View> {
        let view = |(partition, shard): (usize, &crate::redis::Shard)| View {
            node: shard.owner,
            takeovers: shard.takeovers,
            since: None,
            has_replica: self.redis.up(partition).1,
        };
        self.redis.shards.iter().enumerate().map(view).collect()
    }
}

impl World {
    fn is_alive(&self, life: Life) -> bool {
        self.servers[life.0].up && self.lives[life.0] == life.1
    }

    fn ways(&mut self) -> &mut Ways {
        self.ways.as_mut().expect("a Redis")
    }

    fn is_blocked(&self, life: Life, partition: usize) -> bool {
        self.ways.as_ref().is_some_and(|ways| ways.blocked.contains(&(life.0, partition)))
    }

    fn travels(&mut self, traffic: Traffic) {
        let at = self.soon();
        self.schedule(at, Happening::Redis(traffic));
    }

    /// Whether something is lost on its way.
    fn is_lost(&mut self, life: Life, partition: usize) -> bool {
        self.is_blocked(life, partition) || self.troubled && self.rng.chance(15)
    }

    /// A server's instance has just been started.
    pub(crate) fn start_instance(&mut self, server: usize) {
        if self.ways.is_some() {
            let life = (server, self.lives[server]);
            self.schedule(self.now + HEARTBEAT, Happening::Redis(Traffic::Heartbeat(life)));
        }
    }

    /// Sends out what the instance of a server wants done.
    pub(crate) fn send_work(&mut self, server: usize) {
        let life = (server, self.lives[server]);
        let Some(instance) = self.backplanes[server].instance() else { return };
        for (partition, work) in std::mem::take(&mut instance.work) {
            let view = self.backplanes[server].instance().expect("a Redis").views[partition];
            match work {
                Work::Request(id, request) => {
                    let node = view.node;
                    let asked = Asked { life, partition, id, request, node, redirected: 0 };
                    self.ask(asked, view);
                }
                Work::Subscribe(number) => {
                    let failed = Traffic::Subscribed { life, partition, number, node: None };
                    self.schedule(self.now + COMMAND_TIMEOUT, Happening::Redis(failed));
                    let node = view.node;
                    if !self.is_lost(life, partition) {
                        self.travels(Traffic::Subscribe { life, partition, number, node });
                    }
                }
                Work::Unsubscribe => self.forget_subscription(life, partition),
            }
        }
    }

    fn ask(&mut self, mut asked: Asked, view: View) {
        match &asked.request {
            Request::Append(append) if !append.putting_back && view.since > append.takeover => {
                return self.fails(asked, "another master has just taken over");
            }
            Request::Replicate { .. } if !view.has_replica => {
                return self.travels(Traffic::Answer { asked, answer: Ok(Answer::Replicated) });
            }
            Request::Replicate { .. } => {
                asked.node = self.appended_by[asked.life.0][asked.partition]
            }
            _ => {}
        }
        let late = Traffic::Answer { asked: asked.clone(), answer: Err("no answer".to_owned()) };
        self.schedule(self.now + COMMAND_TIMEOUT, Happening::Redis(late));
        if !self.is_lost(asked.life, asked.partition) {
            self.travels(Traffic::Ask(asked));
        }
    }

    fn fails(&mut self, asked: Asked, why: &str) {
        self.travels(Traffic::Answer { asked, answer: Err(why.to_owned()) });
    }

    pub(crate) fn traffic(&mut self, traffic: Traffic) {
        let now = self.now;
        match traffic {
            Traffic::Ask(asked) => self.asked(asked),
            Traffic::Replicating { asked, number, until } => {
                let Asked { partition, node, .. } = asked;
                self.ways().redis.replicate(now, partition);
                if self.ways().redis.is_replicated(partition, node, number) {
                    self.travels(Traffic::Answer { asked, answer: Ok(Answer::Replicated) });
                } else if now >= until {
                    self.travels(Traffic::Refreshed(asked.life));
                    self.fails(asked, "no replica has it in time");
                } else {
                    let again = Traffic::Replicating { asked, number, until };
                    self.schedule(now + Duration::from_millis(20), Happening::Redis(again));
                }
            }
            Traffic::Redirected(mut asked) => {
                if self.is_alive(asked.life) {
                    self.refresh(asked.life);
                    let instance = self.backplanes[asked.life.0].instance().expect("a Redis");
                    asked.node = instance.views[asked.partition].node;
                    asked.redirected += 1;
                    self.travels(Traffic::Ask(asked));
                }
            }
            Traffic::Answer { asked, answer } => self.answered(asked, answer),
            Traffic::Subscribe { life, partition, number, node } => {
                let is_taken = self.ways().redis.takes_subscriptions(partition, node);
                let found = is_taken.then_some(node);
                if is_taken {
                    let subscription =
                        Subscription { life, partition, number, node, pipe: Pipe::default() };
                    self.ways().subscriptions.push(subscription);
                } else {
                    self.travels(Traffic::Refreshed(life));
                }
                let told = Traffic::Subscribed { life, partition, number, node: found };
                match self.subscription(life, partition, number) {
                    // Notices come by the same connection, behind it.
                    Some(index) => {
                        let (ways, rng) = (self.ways.as_mut().expect("a Redis"), &mut self.rng);
                        let at = ways.subscriptions[index].pipe.arrival(now, rng);
                        self.schedule(at, Happening::Redis(told));
                    }
                    None => self.travels(told),
                }
            }
            Traffic::Subscribed { life, partition, number, node } => {
                let there = self.subscription(life, partition, number).is_some();
                if self.is_alive(life) {
                    let instance = self.backplanes[life.0].instance().expect("a Redis");
                    let is_new = instance.subscriptions[partition].is_none_or(|(n, _)| n < number);
                    match node.filter(|_| there) {
                        Some(node) => {
                            instance.subscriptions[partition] = Some((number, node));
                            self.tell(life, partition, |m, now| m.subscribed(now, number));
                        }
                        None if is_new => {
                            self.tell(life, partition, |m, now| m.unsubscribed(now, number));
                        }
                        None => {}
                    }
                }
            }
            Traffic::Notice { life, partition, number, message } => {
                if self.is_alive(life) && self.subscription(life, partition, number).is_some() {
                    let is_blinded = self.is_sabotaged(Sabotage::BlindNotices);
                    let instance = self.backplanes[life.0].instance().expect("a Redis");
                    instance.now = now;
                    let blinded = is_blinded.then(|| instance.blinded(partition, &message));
                    instance.hear(partition, blinded.flatten().as_ref().unwrap_or(&message));
                }
            }
            Traffic::Unsubscribed { life, partition, number } => {
                if self.is_alive(life) {
                    self.tell(life, partition, |m, now| m.unsubscribed(now, number));
                }
            }
            Traffic::Refreshed(life) => self.refresh(life),
            Traffic::Heartbeat(life) => {
                if self.is_alive(life) {
                    self.refresh(life);
                    self.schedule(now + HEARTBEAT, Happening::Redis(Traffic::Heartbeat(life)));
                }
            }
            Traffic::TakeOver(partition) => {
                self.ways().failovers += 1;
                self.ways().redis.take_over(now, partition);
            }
            Traffic::Demoted(partition, node) => {
                self.ways().redis.come_back(partition, node);
                self.break_subscriptions(|s| s.partition == partition && s.node == node);
            }
            Traffic::Back(partition, node) => {
                self.ways().redis.come_back(partition, node);
                self.ways().busy.remove(&partition);
            }
            Traffic::Reached(server, partition) => {
                self.ways().blocked.remove(&(server, partition));
            }
            Traffic::CaughtUp(partition) => self.ways().redis.shards[partition].lags = false,
            Traffic::KeysMoved(partition) => self.ways().redis.move_keys(partition),
            Traffic::SlotMoved(partition, from) => {
                self.ways().moves += 1;
                self.ways().redis.move_slot(partition);
                self.ways().busy.remove(&partition);
                self.break_subscriptions(|s| s.partition == partition && s.node == from);
            }
        }
    }

    fn asked(&mut self, mut asked: Asked) {
        let now = self.now;
        if self.told {
            println!("{now:?} {}", asked.told());
        }
        let (life, partition) = (asked.life, asked.partition);
        let node = self.ways().redis.carries_out(partition, asked.node);
        asked.node = node;
        let arrives = now + delay(&mut self.rng);
        self.ways().redis.replicate(now, partition);
        let reply = self.ways().redis.ask(now, partition, node, &asked.request, life, arrives);
        if self.told
            && let Reply::Answer(Answer::Appended(answer), _) = &reply
        {
            println!("{now:?} answered {answer:?}");
        }
        match reply {
            Reply::Down => {
                self.travels(Traffic::Refreshed(life));
                self.fails(asked, "refused");
            }
            Reply::Moved if asked.redirected < REDIRECTIONS => {
                self.travels(Traffic::Redirected(asked));
            }
            Reply::Moved => self.fails(asked, "redirected in circles"),
            Reply::Split => self.fails(asked, "the keys are on two nodes"),
            Reply::WhenWritten(number) => {
                let until = now + REPLICA_TIMEOUT;
                self.traffic(Traffic::Replicating { asked, number, until });
            }
            Reply::Answer(answer, notice) => {
                if let Some(message) = notice {
                    self.notify(partition, node, &message);
                }
                if !self.is_lost(life, partition) {
                    self.travels(Traffic::Answer { asked, answer: Ok(answer) });
                }
            }
        }
    }

    fn notify(&mut self, partition: usize, node: usize, message: &[u8]) {
        let Self { ways, rng, now, .. } = self;
        let ways = ways.as_mut().expect("a Redis");
        let mut told = Vec::new();
        for subscription in &mut ways.subscriptions {
            if subscription.partition == partition && subscription.node == node {
                let Subscription { life, number, .. } = *subscription;
                let message = message.to_vec();
                let at = subscription.pipe.arrival(*now, rng);
                told.push((at, Traffic::Notice { life, partition, number, message }));
            }
        }
        for (at, notice) in told {
            self.schedule(at, Happening::Redis(notice));
        }
    }

    fn answered(&mut self, asked: Asked, answer: Result<Answer, String>) {
        let Asked { life, partition, id, node, .. } = asked;
        if !self.is_alive(life) {
            return;
        }
        if let Ok(Answer::Appended(AppendAnswer::Done { .. })) = &answer {
            self.appended_by[life.0][partition] = node;
        }
        self.tell(life, partition, |machine, now| machine.answered(now, id, answer));
    }

    fn tell(
        &mut self,
        life: Life,
        partition: usize,
        act: impl FnOnce(
            &mut tidings_core::log::shared::Partition<crate::instance::Token>,
            tidings_core::log::shared::Now,
        ),
    ) {
        let instance = self.backplanes[life.0].instance().expect("a Redis");
        instance.now = self.now;
        instance.with(partition, act);
    }

    fn subscription(&self, life: Life, partition: usize, number: u64) -> Option<usize> {
        let ways = self.ways.as_ref()?;
        ways.subscriptions
            .iter()
            .position(|s| s.life == life && s.partition == partition && s.number == number)
    }

    fn forget_subscription(&mut self, life: Life, partition: usize) {
        self.ways().subscriptions.retain(|s| s.life != life || s.partition != partition);
        if let Some(instance) = self.backplanes[life.0].instance() {
            instance.subscriptions[partition] = None;
        }
    }

    /// An instance hears who is master now.
    fn refresh(&mut self, life: Life) {
        if !self.is_alive(life) {
            return;
        }
        for partition in 0..self.ways().redis.shards.len() {
            if self.is_blocked(life, partition) {
                continue;
            }
            let now = self.now;
            let shard = &self.ways().redis.shards[partition];
            let (owner, takeovers) = (shard.owner, shard.takeovers);
            let has_replica = self.ways().redis.up(partition).1;
            let instance = self.backplanes[life.0].instance().expect("a Redis");
            let view = &mut instance.views[partition];
            if view.takeovers == takeovers && view.has_replica == has_replica {
                continue;
            }
            view.has_replica = has_replica;
            if view.takeovers != takeovers {
                *view = View { node: owner, takeovers, since: Some(now), has_replica };
            }
            let since = view.since;
            let left = instance.subscriptions[partition].filter(|(_, node)| *node != owner);
            if let Some((number, _)) = left {
                self.forget_subscription(life, partition);
                self.tell(life, partition, |m, now| m.unsubscribed(now, number));
            }
            self.tell(life, partition, |machine, now| {
                if let Some(since) = since {
                    machine.taken_over(now, since);
                }
                machine.hurry(now);
            });
        }
    }

    /// Subscriptions break; what is on its way by them is lost.
    pub(crate) fn break_subscriptions(&mut self, which: impl Fn(&Subscription) -> bool) {
        let mut broken = Vec::new();
        self.ways().subscriptions.retain(|s| {
            let breaks = which(s);
            if breaks {
                broken.push((s.life, s.partition, s.number));
            }
            !breaks
        });
        for (life, partition, number) in broken {
            self.travels(Traffic::Unsubscribed { life, partition, number });
        }
    }

    /// The server of a life is gone, and with it its connections.
    pub(crate) fn forget_life(&mut self, server: usize) {
        if let Some(ways) = &mut self.ways {
            ways.subscriptions.retain(|s| s.life.0 != server);
        }
    }
}
