//! What happens during a run besides publishing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::connect::Seated;
use super::fleet::Fleet;
use super::links::Links;
use super::redis_steps;
use crate::client::ClientError;
use crate::population::{Population, Wire};
use crate::process::ServerProcess;
use crate::report::{Mark, MarkKind};
use crate::scenario::{Action, Concern, Scenario, Span, Step};
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

/// Clients on their way to another transport.
type Switching = JoinSet<Result<(), ClientError>>;

/// Whether a step is done or undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Begin,
    End,
}

impl Steps {
    /// Carries out all steps, each at its time, and undoes those that last for a time; returns
    /// after the last.
    pub(super) async fn run(self) {
        let mut wires: Vec<Wire> =
            self.score.population().clients.iter().map(|client| client.wire).collect();
        let mut switching = None;
        for (at, turn, step) in timetable(&self.scenario.step) {
            let at = self.score.clock.instant(self.start_us) + at;
            tokio::time::sleep_until(at.into()).await;
            match turn {
                Turn::Begin => {
                    self.mark(MarkKind::Step, describe(step));
                    if step.action == Action::SwitchTransport {
                        // Clients that are away switch when they are back; other steps go on.
                        self.switched(switching.take()).await;
                        switching = Some(self.switch(step, &mut wires));
                    } else {
                        self.begin(step).await;
                    }
                }
                Turn::End => self.end(step).await,
            }
        }
        self.switched(switching).await;
    }

    async fn begin(&self, step: &Step) {
        match step.action.concerns() {
            Concern::Clients => match step.action {
                Action::DelayClients => self.links.delay(&self.groups(step), delay(step)),
                _ => self.links.cut(&self.groups(step), step.lasts().is_some()),
            },
            Concern::Servers => self.servers(step).await,
            Concern::RedisLinks => self.redis_links(step, Turn::Begin).await,
            Concern::Redis => {
                let mut fleet = self.fleet.lock().await;
                let Some(redis) = fleet.redis() else { return self.no_redis() };
                match redis_steps::begin(&self.scenario, step, redis).await {
                    Ok(Some(text)) => self.mark(MarkKind::Step, text),
                    Ok(None) => {}
                    Err(error) => self.mark(MarkKind::Fault, error.to_string()),
                }
            }
        }
    }

    async fn end(&self, step: &Step) {
        let told = match step.action.concerns() {
            Concern::Clients if step.action == Action::DelayClients => {
                self.links.delay(&self.groups(step), Duration::ZERO);
                "clients are reached without delay again".to_owned()
            }
            Concern::Clients => {
                self.links.reopen(&self.groups(step));
                "connections possible again".to_owned()
            }
            Concern::Servers => {
                self.each_server(step, ServerProcess::resume).await;
                format!("{} again", who(step, "goes on", "go on"))
            }
            Concern::RedisLinks => {
                self.redis_links(step, Turn::End).await;
                format!("{} as before", who(step, "reaches Redis", "reach Redis"))
            }
            Concern::Redis => {
                let mut fleet = self.fleet.lock().await;
                let Some(redis) = fleet.redis() else { return self.no_redis() };
                match redis_steps::end(step, redis).await {
                    Ok(text) => text.to_owned(),
                    Err(error) => return self.mark(MarkKind::Fault, error.to_string()),
                }
            }
        };
        self.mark(MarkKind::Step, told);
    }

    /// Has clients begin to move to their other transport.
    fn switch(&self, step: &Step, wires: &mut [Wire]) -> Switching {
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
        moving
    }

    /// Waits until the clients have moved.
    async fn switched(&self, switching: Option<Switching>) {
        let Some(moving) = switching else { return };
        let moved = moving.join_all().await;
        let failures: Vec<_> = moved.into_iter().filter_map(Result::err).collect();
        let Some(first) = failures.first() else { return };
        let text = format!("{} clients could not switch: {first}", failures.len());
        // Among random faults the new way may well be blocked: they stay with the old one.
        let expected = self.scenario.chaos.is_some();
        self.mark(if expected { MarkKind::Step } else { MarkKind::Fault }, text);
    }

    async fn servers(&self, step: &Step) {
        if step.action == Action::PauseServer {
            return self.each_server(step, ServerProcess::pause).await;
        }
        let mut fleet = self.fleet.lock().await;
        for n in chosen(step, fleet.len()) {
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

    async fn each_server(&self, step: &Step, act: impl Fn(&ServerProcess)) {
        let mut fleet = self.fleet.lock().await;
        for n in chosen(step, fleet.len()) {
            if let Some(server) = fleet.own(n) {
                act(server);
            }
        }
    }

    async fn redis_links(&self, step: &Step, turn: Turn) {
        let fleet = self.fleet.lock().await;
        let Some(links) = fleet.redis_links() else { return self.no_redis() };
        match (step.action, turn) {
            (Action::StallRedis, turn) => links.stall(step.server, turn == Turn::Begin),
            (Action::DelayRedis, Turn::Begin) => links.delay(step.server, delay(step)),
            (Action::DelayRedis, Turn::End) => links.delay(step.server, Duration::ZERO),
            (_, Turn::Begin) => links.cut(step.server, true),
            (_, Turn::End) => links.reopen(step.server),
        }
    }

    fn no_redis(&self) {
        self.mark(MarkKind::Fault, "the run has not started a Redis".to_owned());
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

/// When each step is done, and undone if it lasts.
fn timetable(steps: &[Step]) -> Vec<(Duration, Turn, &Step)> {
    let mut turns = Vec::with_capacity(steps.len() * 2);
    for step in steps {
        let at = step.at.duration();
        turns.push((at, Turn::Begin, step));
        turns.extend(step.lasts().map(|lasts| (at + lasts, Turn::End, step)));
    }
    turns.sort_by_key(|(at, ..)| *at);
    turns
}

fn delay(step: &Step) -> Duration {
    step.by.map(Span::duration).unwrap_or_default()
}

/// One server does something, or all do.
fn who(step: &Step, one: &str, all: &str) -> String {
    match step.server {
        Some(n) => format!("server {n} {one}"),
        None => format!("servers {all}"),
    }
}

/// The servers that a step is about.
fn chosen(step: &Step, servers: usize) -> std::ops::Range<usize> {
    match step.server {
        Some(n) => n..n + 1,
        None => 0..servers,
    }
}

fn describe(step: &Step) -> String {
    let mut text = step.action.as_str().to_owned();
    if let Some(server) = step.server {
        text.push_str(&format!(" {server}"));
    }
    if let Some(group) = &step.group {
        text.push_str(&format!(" of {group}"));
    }
    if let Some(by) = step.by {
        text.push_str(&format!(" by {by}"));
    }
    if let Some(lasting) = step.lasting {
        text.push_str(&format!(" for {lasting}"));
    }
    text
}
