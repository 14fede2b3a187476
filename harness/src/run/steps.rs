//! What happens during a run besides publishing.

use std::sync::Arc;
use std::time::Duration;

use tidings_core::Partitioning;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::connect::Seated;
use super::fleet::Fleet;
use super::links::Links;
use crate::population::{Population, Wire};
use crate::process::redis_cluster::{RedisCluster, RedisError};
use crate::report::{Mark, MarkKind};
use crate::scenario::{Action, Scenario, Span, Step};
use crate::score::Score;

/// Clients that move to another transport at the same time.
const SWITCHING_AT_ONCE: usize = 64;

/// Carries out the steps of a scenario.
pub(super) struct Steps {
    /// The scenario.
    pub(super) scenario: Arc<Scenario>,
    /// The measurements.
    pub(super) score: Arc<Score>,
    /// The clients by number.
    pub(super) clients: Arc<[Option<Seated>]>,
    /// The servers.
    pub(super) fleet: Arc<Mutex<Fleet>>,
    /// The links that can be cut.
    pub(super) links: Arc<Links>,
    /// When the schedule starts, on the run's clock.
    pub(super) start_us: u64,
    /// Where it is told what happened.
    pub(super) marks: mpsc::UnboundedSender<Mark>,
}

impl Steps {
    /// Carries out all steps, each at its time; returns after the last.
    pub(super) async fn run(self) {
        let mut wires: Vec<Wire> =
            self.score.population().clients.iter().map(|client| client.wire).collect();
        let mut steps = self.scenario.step.clone();
        steps.sort_by_key(|step| step.at);
        for step in steps {
            let at = self.score.clock.instant(self.start_us) + step.at.duration();
            tokio::time::sleep_until(at.into()).await;
            self.mark(MarkKind::Step, describe(&step));
            match step.action {
                Action::CutClients => self.cut(&step).await,
                Action::SwitchTransport => self.switch(&step, &mut wires).await,
                Action::KillServer | Action::StopServer | Action::RestartServer => {
                    self.servers(&step).await;
                }
                Action::KillRedisMaster
                | Action::PauseRedis
                | Action::RestartRedis
                | Action::MoveSlot => self.redis(&step).await,
            }
        }
    }

    async fn cut(&self, step: &Step) {
        let groups = self.groups(step);
        let lasting = step.lasting.map(|span| span.duration()).filter(|span| !span.is_zero());
        self.links.cut(&groups, lasting.is_some());
        if let Some(lasting) = lasting {
            tokio::time::sleep(lasting).await;
            self.links.reopen(&groups);
            self.mark(MarkKind::Step, "connections possible again".to_owned());
        }
    }

    async fn switch(&self, step: &Step, wires: &mut [Wire]) {
        let groups = self.groups(step);
        let population: &Population = self.score.population();
        let mut moves = Vec::new();
        for (number, wire) in wires.iter_mut().enumerate() {
            let chosen = population.clients.get(number).is_some_and(|c| groups.contains(&c.group));
            if let Some(Some(seated)) = self.clients.get(number).filter(|_| chosen) {
                *wire = wire.other();
                moves.push((seated.client.clone(), *wire));
            }
        }
        let places = Arc::new(Semaphore::new(SWITCHING_AT_ONCE));
        let mut moving = JoinSet::new();
        for (client, wire) in moves {
            let places = places.clone();
            moving.spawn(async move {
                let _place = places.acquire_owned().await;
                client.switch(wire).await
            });
        }
        let moved = moving.join_all().await;
        let failures: Vec<_> = moved.into_iter().filter_map(Result::err).collect();
        if let Some(first) = failures.first() {
            let text = format!("{} clients could not switch: {first}", failures.len());
            self.mark(MarkKind::Fault, text);
        }
    }

    async fn servers(&self, step: &Step) {
        let mut fleet = self.fleet.lock().await;
        let chosen = match step.server {
            Some(n) => n..n + 1,
            None => 0..fleet.len(),
        };
        for n in chosen {
            let Some(server) = fleet.own(n) else {
                self.mark(MarkKind::Fault, format!("server {n} is not one this run has started"));
                continue;
            };
            let outcome = match step.action {
                Action::KillServer => {
                    server.kill().await;
                    Ok(())
                }
                Action::RestartServer => server.restart().await,
                _ => {
                    server.stop().await;
                    Ok(())
                }
            };
            if let Err(error) = outcome {
                self.mark(MarkKind::Fault, error.to_string());
            }
        }
    }

    async fn redis(&self, step: &Step) {
        let mut fleet = self.fleet.lock().await;
        let Some(redis) = fleet.redis() else {
            return self.mark(MarkKind::Fault, "the run has not started a Redis".to_owned());
        };
        match break_redis(&self.scenario, step, redis).await {
            Ok(text) => self.mark(MarkKind::Step, text),
            Err(error) => self.mark(MarkKind::Fault, error.to_string()),
        }
    }

    fn groups(&self, step: &Step) -> Vec<usize> {
        let named = |n: &usize| {
            let name = self.scenario.group.get(*n).map(|group| group.name.as_str());
            step.group.as_deref().is_none_or(|wanted| name == Some(wanted))
        };
        (0..self.scenario.group.len()).filter(named).collect()
    }

    fn mark(&self, kind: MarkKind, text: String) {
        let us = self.score.clock.now_us().saturating_sub(self.start_us);
        // Nobody listens any more only when the run is over.
        let _ = self.marks.send(Mark {
            at_ms: Duration::from_micros(us).as_millis() as u64,
            kind,
            text,
        });
    }
}

/// Does to Redis what the step says; tells what that was.
async fn break_redis(
    scenario: &Scenario,
    step: &Step,
    redis: &mut RedisCluster,
) -> Result<String, RedisError> {
    match step.action {
        Action::PauseRedis => {
            let nodes = 0..redis.len();
            nodes.clone().for_each(|n| redis.pause(n));
            tokio::time::sleep(step.lasting.map(Span::duration).unwrap_or_default()).await;
            nodes.for_each(|n| redis.resume(n));
            Ok("Redis goes on".to_owned())
        }
        Action::RestartRedis => {
            for n in 0..redis.len() {
                if !redis.is_up(n) {
                    redis.restart(n).await?;
                }
            }
            Ok("all nodes of Redis are up".to_owned())
        }
        Action::MoveSlot => {
            let slot = slot(scenario, redis).await?;
            let owner = redis.owner(slot).await?;
            let masters = redis.masters().await?;
            if let Some(other) = masters.into_iter().find(|n| *n != owner) {
                redis.move_slot(slot, other).await?;
            }
            Ok(format!("slot {slot} is elsewhere"))
        }
        _ => {
            let master = redis.owner(slot(scenario, redis).await?).await?;
            redis.kill(master);
            Ok(format!("node {master} of Redis is dead"))
        }
    }
}

/// The hash slot of the first thing that is published.
async fn slot(scenario: &Scenario, redis: &RedisCluster) -> Result<u16, RedisError> {
    let setting =
        |section: &str, key: &str| scenario.server.get(section)?.as_table()?.get(key).cloned();
    let count = setting("partitions", "count").and_then(|count| count.as_integer());
    let count = count.and_then(|count| u16::try_from(count).ok());
    let mut partitioning = Partitioning::new(count.unwrap_or(Partitioning::DEFAULT_COUNT));
    if let Some(toml::Value::Table(depths)) = setting("partitions", "depths") {
        for (root, depth) in depths {
            let depth = depth.as_integer().and_then(|depth| usize::try_from(depth).ok());
            partitioning = partitioning.with_depth(root, depth.unwrap_or(1));
        }
    }
    let name = scenario.publish.first().map(|publish| publish.name.as_str()).unwrap_or_default();
    let name = name.replace("{client}", "0").replace("{room}", "0");
    // The prefix does not count: the braces do.
    let key = format!("{{p{}}}", partitioning.of_name(&name));
    let node = redis.masters().await?.first().copied().unwrap_or(0);
    redis.ask(node, &["CLUSTER", "KEYSLOT", &key]).await
}

fn describe(step: &Step) -> String {
    let mut text = step.action.as_str().to_owned();
    if let Some(server) = step.server {
        text.push_str(&format!(" {server}"));
    }
    if let Some(group) = &step.group {
        text.push_str(&format!(" of {group}"));
    }
    if let Some(lasting) = step.lasting {
        text.push_str(&format!(" for {lasting}"));
    }
    text
}
