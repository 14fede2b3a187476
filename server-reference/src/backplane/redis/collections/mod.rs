//! Collections in Redis: in the slot of the partition into whose log their changes go, so that a
//! change and its event are one step.

mod calls;
#[cfg(test)]
mod model;

use std::sync::Arc;
use std::time::Duration;

use redis::RedisResult;
use tidings_core::Priority;
use tidings_core::lane::Lane;
use tidings_core::log::shared::{Append, Footing, Note};
use tidings_core::message::{ErrorCode, Refusal};
use tidings_core::state::draft::{Commit, Part, Wanted};
use tidings_core::state::wire;
use tidings_core::state::{Key, Load, Page, Version};
use tokio::time::Instant;

use self::calls::Answer;
use super::cluster::Way;
use super::keys::{self, LaneKeys};
use super::partition::{Partition, failed};
use super::script::Call;
use super::{Inner, RedisBackplane};
use crate::backplane::collection_store::{CollectionStore, Hosting, Step};

/// Changes have this priority.
const PRIORITY: Priority = Priority::Normal;

/// Pause after a failure, before the next attempt: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How much longer than `redis.settle` a load waits that asks for what comes after something the
/// store does not have: who has that may not have noticed yet that it is to be put back.
const LATE: Duration = Duration::from_secs(1);

/// The collections of a backplane.
pub(super) struct RedisCollections {
    inner: Arc<Inner>,
}

/// Where a collection is.
struct At<'a> {
    inner: &'a Inner,
    partition: &'a Partition,
    keys: [String; 6],
    /// What it is called in reports of health.
    title: String,
}

impl RedisBackplane {
    pub(super) fn shared_collections(&self) -> RedisCollections {
        RedisCollections { inner: Arc::clone(&self.inner) }
    }
}

impl RedisCollections {
    fn at(&self, name: &str) -> Result<At<'_>, Refusal> {
        let inner = &*self.inner;
        let number = inner.options.partitioning.of_name(&format!("{}.{name}.x", wire::ROOT));
        let partition = inner.partitions.get(usize::from(number));
        let partition =
            partition.ok_or_else(|| Refusal::new(ErrorCode::INTERNAL, "no such partition"))?;
        let keys = keys::collection(&inner.options.prefix, number, name);
        Ok(At { inner, partition, keys, title: format!("collection {name}") })
    }
}

impl CollectionStore for RedisCollections {
    fn look<'a>(&'a self, hosting: Hosting<'a>, wanted: &'a Wanted) -> Step<'a, Part> {
        Box::pin(async move {
            let at = self.at(hosting.name)?;
            let looked = at.step(|footing| {
                let call = calls::look(at.lane(), &at.keys, footing.known, hosting.rules, wanted);
                (call, |value| calls::looked(value, wanted))
            });
            let (footing, part) = looked.await?;
            // Who tells of it has to know it, should a failover lose it.
            let notes = calls::notes(hosting, &part.verdicts);
            self.inner.with(at.partition, |machine, now| {
                machine.stepped(now, PRIORITY, footing, footing.known, [], notes);
            });
            Ok(part)
        })
    }

    fn commit<'a>(
        &'a self,
        hosting: Hosting<'a>,
        before: Version,
        commit: &'a Commit,
    ) -> Step<'a, Option<Version>> {
        Box::pin(async move {
            let at = self.at(hosting.name)?;
            let retention = &self.inner.options.settings.retention;
            let channel = &at.partition.channel;
            let lane = Lane::new(at.partition.number, PRIORITY);
            let made = at.step(|footing| {
                let append = Append {
                    lane,
                    known: footing.known,
                    given: footing.given,
                    new_epoch: footing.new_epoch,
                    putting_back: false,
                    takeover: footing.takeover,
                    events: Vec::new(),
                };
                let head = calls::commit_head(at.lane(), &at.keys, channel, retention, &append);
                (calls::commit(head, hosting, before, commit), calls::committed)
            });
            let (footing, made) = made.await?;
            let Some((head, first)) = made else { return Ok(None) };
            let events = calls::published(hosting, commit, first);
            let verdicts = commit.verdicts.iter().map(|(id, verdict)| (id, verdict));
            let notes = calls::notes(hosting, verdicts);
            self.inner.with(at.partition, |machine, now| {
                machine.stepped(now, PRIORITY, footing, head, events, notes);
            });
            Ok(Some(first))
        })
    }

    fn load<'a>(
        &'a self,
        hosting: Hosting<'a>,
        load: &'a Load,
        clients: &'a [Arc<str>],
    ) -> Step<'a, (Page, Vec<u64>)> {
        Box::pin(async move {
            let at = self.at(hosting.name)?;
            let patient = Instant::now() + self.inner.options.settings.settle + LATE;
            loop {
                let loaded = at.step(|footing| {
                    let limits = &hosting.rules.limits;
                    let keys = &at.keys;
                    let call = calls::load(at.lane(), keys, footing.known, limits, load, clients);
                    (call, |value| calls::loaded(value, load, clients.len()))
                });
                let (page, judged) = loaded.await?.1;
                // What the client has may be about to be put back.
                let lacks = page.reset && page.version < load.began;
                if !lacks || Instant::now() >= patient {
                    return Ok((page, judged));
                }
                tokio::time::sleep(LONGEST_PAUSE).await;
            }
        })
    }

    fn beat<'a>(
        &'a self,
        hosting: Hosting<'a>,
        present: &'a [Arc<str>],
        timeout: Duration,
    ) -> Step<'a, Vec<(Key, Version)>> {
        Box::pin(async move {
            let at = self.at(hosting.name)?;
            let leases = keys::leases(&at.keys);
            let over = at.step(|footing| {
                let call =
                    calls::beat(at.lane(), &at.keys, &leases, footing.known, present, timeout);
                (call, calls::over)
            });
            Ok(over.await?.1)
        })
    }
}

impl At<'_> {
    fn lane(&self) -> &LaneKeys {
        &self.partition.keys[PRIORITY as usize]
    }

    /// Makes a call until it is answered, as long as a publish may wait.
    async fn step<A, R>(&self, make: impl Fn(Footing) -> (Call, R)) -> Result<(Footing, A), Refusal>
    where
        R: FnOnce(redis::Value) -> RedisResult<Answer<A>>,
    {
        let until = Instant::now() + self.inner.options.settings.publish_timeout;
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.attempt(&make).await {
                Ok(Some(done)) => {
                    self.inner.health.well(&self.title);
                    return Ok(done);
                }
                Ok(None) => "what a failover has lost is being put back".to_owned(),
                Err(error) => {
                    self.inner.health.trouble(&self.title, &error);
                    error.to_string()
                }
            };
            if Instant::now() + pause >= until {
                // No attempt follows that could tell that Redis works again.
                self.inner.health.well(&self.title);
                let message = format!("the collection cannot be reached: {why}");
                return Err(Refusal::new(ErrorCode::UNAVAILABLE, message));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes a call once. `None` if something has to be put back first.
    async fn attempt<A, R>(
        &self,
        make: &impl Fn(Footing) -> (Call, R),
    ) -> RedisResult<Option<(Footing, A)>>
    where
        R: FnOnce(redis::Value) -> RedisResult<Answer<A>>,
    {
        let Self { inner, partition, .. } = self;
        let footing = inner.with(partition, |machine, now| machine.footing(now, PRIORITY));
        let Some(footing) = footing else { return Ok(None) };
        let (owner, _) = inner.cluster.owner(partition.slot).await?;
        if owner.since.map(|since| inner.clock.time(since)) > footing.takeover {
            return Err(failed("another master has just taken over"));
        }
        let (call, read) = make(footing);
        let answer = inner.cluster.call(partition.slot, Way::Commands, &call).await?;
        match read(answer.value)? {
            Answer::Done(done) => Ok(Some((footing, done))),
            Answer::Behind(head) => {
                inner.with(partition, |machine, now| machine.fell_behind(now, PRIORITY, head));
                Ok(None)
            }
        }
    }
}

impl Inner {
    /// The call that puts back events with what they tell of collections; `None` if they tell
    /// nothing of any.
    pub(super) fn restore(&self, partition: u16, keys: &LaneKeys, append: &Append) -> Option<Call> {
        if !append.putting_back {
            return None;
        }
        let channel = keys::channel(&self.options.prefix, partition);
        let of = |name: &str| keys::collection(&self.options.prefix, partition, name);
        calls::restore(keys, of, &channel, &self.options.settings.retention, append)
    }

    /// The call that puts back what was noted of collections.
    pub(super) fn put_back_notes(&self, partition: u16, notes: &[Note]) -> Call {
        calls::put_back_notes(|name| keys::collection(&self.options.prefix, partition, name), notes)
    }
}
