//! What happens during a run besides publishing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::connect::Seated;
use super::fleet::Fleet;
use super::links::Links;
use crate::population::{Population, Wire};
use crate::report::{Mark, MarkKind};
use crate::scenario::{Action, Scenario, Step};
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
