//! One run from the first server to the last balance.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tidings_core::Priority;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

use super::agreement::await_agreement;
use super::connect::connect;
use super::editing::Editing;
use super::fleet::Fleet;
use super::links::Links;
use super::outcome::Outcome;
use super::pacer::Pacer;
use super::sampler::{Sampler, Sums};
use super::snapshot::{Snapshot, processes};
use super::steps::Steps;
use super::{Options, RunError};
use crate::attack::Attacks;
use crate::clock::as_us;
use crate::live::Progress;
use crate::population::Population;
use crate::process::raise_open_files;
use crate::report::{
    Connections, Edits, HarnessLag, LossReport, Mark, MarkKind, Publishes, Recovery,
};
use crate::scenario::{Concern, Redis};
use crate::schedule::Schedule;
use crate::score::{Counters, Score};

/// Between the last subscription and the first event: memory settles, figures are taken.
const CALM: Duration = Duration::from_millis(300);

/// After everything has arrived: whatever comes now is a duplicate.
const AFTERMATH: Duration = Duration::from_millis(500);

/// How often the end is looked for.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(3);

/// Files the harness has open besides connections.
const OTHER_FILES: u64 = 100;

/// Carries out a run. Clients that only publish live on the runtime of `publishers`, all others on
/// the current one.
pub(crate) async fn drive(
    options: &Options,
    publishers: &Handle,
    progress: &Progress,
) -> Result<Outcome, RunError> {
    let scenario = Arc::new(options.scenario.clone());
    let population = Population::of(&scenario)?;
    check_steps(options)?;
    let fleet = if options.targets.is_empty() {
        progress.phase(&format!("starting {}", options.program.as_str()));
        Fleet::start(options.program, &scenario).await?
    } else {
        Fleet::given(&options.targets).await?
    };
    let links = Arc::new(Links::start(&scenario, &fleet).await?);
    let by_link = if links.len() > 0 { 3 } else { 1 };
    let needed = population.clients.len() as u64 * by_link + OTHER_FILES;
    let allowed = raise_open_files();
    if allowed < needed {
        return Err(RunError::Environment(format!(
            "{} connections need {needed} open files and this process may have {allowed}: \
             raise the limit (ulimit -n) or use fewer --connections",
            population.clients.len()
        )));
    }
    Run::new(options, scenario, population, fleet, links, progress).carry_out(publishers).await
}

/// Steps about servers only work on servers that the run has started.
fn check_steps(options: &Options) -> Result<(), RunError> {
    let scenario = &options.scenario;
    for step in scenario.step.iter().filter(|step| step.action.concerns() != Concern::Clients) {
        let action = step.action.as_str();
        if !options.targets.is_empty() {
            return Err(RunError::Environment(format!(
                "step {action} does not work with --target: the harness cannot reach those \
                 processes"
            )));
        }
        if let Some(n) = step.server.filter(|n| *n >= scenario.instances) {
            return Err(RunError::Environment(format!(
                "step {action}: there is no server {n}, they are counted from 0 and there are {}",
                scenario.instances
            )));
        }
    }
    Ok(())
}

struct Run<'a> {
    options: &'a Options,
    scenario: Arc<crate::scenario::Scenario>,
    score: Arc<Score>,
    fleet: Arc<Mutex<Fleet>>,
    links: Arc<Links>,
    progress: &'a Progress,
}

impl<'a> Run<'a> {
    fn new(
        options: &'a Options,
        scenario: Arc<crate::scenario::Scenario>,
        population: Population,
        fleet: Fleet,
        links: Arc<Links>,
        progress: &'a Progress,
    ) -> Self {
        let groups = scenario.group.len();
        let score = Arc::new(Score::new(population, scenario.payload_bytes, groups));
        Self { options, scenario, score, fleet: Arc::new(Mutex::new(fleet)), links, progress }
    }

    async fn carry_out(self, publishers: &Handle) -> Result<Outcome, RunError> {
        let bare = Snapshot::take(&self.fleet).await;
        let connected = {
            let fleet = self.fleet.lock().await;
            let stack = self.options.stack;
            connect(&self.score, stack, &fleet, &self.links, publishers, self.progress).await?
        };
        let editing = Editing::begin(&self.scenario, &self.score, &connected.clients).await?;
        tokio::time::sleep(CALM).await;
        let mut idle = Snapshot::take(&self.fleet).await;
        let mut at_rest = None;
        if let Some(rest) = self.options.rest {
            self.progress.phase("at rest");
            tokio::time::sleep(rest).await;
            let rested = Snapshot::take(&self.fleet).await;
            at_rest = Some(rested.at_rest_since(&idle));
            idle = rested;
        }
        self.progress.phase("publishing");

        let start_us = self.score.clock.now_us() + as_us(CALM);
        let counted_from_us = start_us + as_us(self.scenario.warmup.duration());
        self.score.count_from(counted_from_us);
        let attacks = Attacks::begin(&self.scenario, self.addresses().await);
        let (mark, mut marked) = mpsc::unbounded_channel();
        let steps = tokio::spawn(
            Steps {
                scenario: self.scenario.clone(),
                score: self.score.clone(),
                clients: connected.clients.clone(),
                fleet: self.fleet.clone(),
                links: self.links.clone(),
                start_us,
                marks: mark.clone(),
            }
            .run(),
        );
        let _steps = AbortOnDrop(steps.abort_handle());
        let stop = Arc::new(AtomicBool::new(false));
        let _stop = SetOnDrop(stop.clone());
        let end_us = as_us(self.scenario.duration.duration());
        let pacer = Pacer {
            score: self.score.clone(),
            clients: connected.clients.clone(),
            schedule: Schedule::new(&self.score.population().sources, end_us),
            start_us,
            end_us,
            runtime: Handle::current(),
            stop,
        };
        let pacer = tokio::task::spawn_blocking(move || pacer.run());

        let window_us = counted_from_us..=start_us + end_us;
        let mut sampler = Sampler::new(self.score.clone(), self.fleet.clone(), start_us, window_us);
        let mut marks = Vec::new();
        let mut crashes = 0;
        let edits = self.edits(editing, start_us, end_us);
        let ending = self.ending(pacer, steps, start_us + end_us);
        let ending = futures_util::future::join(edits, ending);
        tokio::pin!(ending);
        let edits = loop {
            let pause = tokio::time::sleep(sampler.interval());
            let over = tokio::select! {
                (edits, ()) = &mut ending => Some(edits),
                () = pause => None,
            };
            for end in self.unexpected_ends() {
                crashes += 1;
                let us = self.score.clock.now_us().saturating_sub(start_us);
                let crash = Mark { at_ms: us / 1000, kind: MarkKind::Fault, text: end };
                // The receiver lives as long as this function.
                let _ = mark.send(crash);
            }
            let point = sampler.look().await;
            while let Ok(mark) = marked.try_recv() {
                self.progress.mark(&mark);
                marks.push(mark);
            }
            self.progress.point(&point);
            if let Some(edits) = over {
                break edits;
            }
        };
        let busy = Snapshot::take(&self.fleet).await;
        let at_end = Counters::get(&self.score.counters.connected);
        self.progress.phase("closing");
        let urls = self.urls().await;
        let mut outcome = self.balance(sampler.finish(), marks, crashes, urls);
        outcome.processes = processes(&bare, &idle, &busy, connected.established);
        if self.scenario.redis != Redis::None && self.options.targets.is_empty() {
            outcome.backplane = Some(busy.backplane_since(&idle));
            let events = outcome.publishes.due + edits.as_ref().map_or(0, |edits| edits.due);
            outcome.redis = busy.redis_since(&idle, events);
        }
        outcome.edits = edits;
        outcome.attacks = attacks.end().await;
        outcome.at_rest = at_rest;
        outcome.seconds = busy.seconds_since(&idle);
        outcome.connections = self.connections(&connected, at_end);
        let farewells = connected.clients.iter().flatten().map(|seated| seated.client.close());
        let all_gone = futures_util::future::join_all(farewells);
        // Clients that do not make it in time are dropped with the process.
        let _ = tokio::time::timeout(GOODBYE, all_gone).await;
        self.fleet.lock().await.stop().await;
        Ok(outcome)
    }

    /// Waits for the plan to be carried out, then until everything has arrived, or nothing more
    /// can, or the drain time is over.
    async fn ending(
        &self,
        pacer: tokio::task::JoinHandle<()>,
        steps: tokio::task::JoinHandle<()>,
        end_us: u64,
    ) {
        // A task that panicked is over as well; what it left undone shows in the balance.
        let _ = pacer.await;
        let _ = steps.await;
        self.progress.phase("waiting for the last deliveries");
        let end = self.score.clock.instant(end_us) + self.scenario.drain.duration();
        while std::time::Instant::now() < end {
            let c = &self.score.counters;
            let answered = Counters::get(&c.accepted) + Counters::get(&c.failed);
            if answered == Counters::get(&c.published) && self.nothing_missing() {
                break;
            }
            let mut fleet = self.fleet.lock().await;
            if !fleet.any_up() {
                return;
            }
            drop(fleet);
            tokio::time::sleep(DRAIN_INTERVAL).await;
        }
        tokio::time::sleep(AFTERMATH).await;
    }

    /// Makes the edits of the plan, waits until everybody agrees, or the drain time is over, and
    /// says what has become of them.
    async fn edits(
        &self,
        editing: Option<Arc<Editing>>,
        start_us: u64,
        end_us: u64,
    ) -> Option<Edits> {
        let editing = editing?;
        let making = Arc::clone(&editing).run(start_us, end_us);
        let end = self.score.clock.instant(start_us + end_us) + self.scenario.drain.duration();
        // Whoever has no answer by then gets none.
        let _ = tokio::time::timeout_at(end.into(), making).await;
        let urls = self.urls().await;
        Some(await_agreement(&editing, &urls, end).await)
    }

    fn nothing_missing(&self) -> bool {
        let c = &self.score.counters;
        let outstanding = Counters::get(&c.expected).saturating_sub(Counters::get(&c.delivered));
        outstanding == 0 || (Counters::get(&c.gaps) > 0 && self.score.audit().lost == 0)
    }

    fn unexpected_ends(&self) -> Vec<String> {
        // Steps that stop or restart a server hold the fleet meanwhile; look again later.
        self.fleet.try_lock().map(|mut fleet| fleet.unexpected_ends()).unwrap_or_default()
    }

    async fn urls(&self) -> Vec<String> {
        let fleet = self.fleet.lock().await;
        (0..fleet.len()).filter_map(|n| fleet.url(n)).collect()
    }

    async fn addresses(&self) -> Vec<std::net::SocketAddr> {
        let fleet = self.fleet.lock().await;
        (0..fleet.len()).filter_map(|n| fleet.addr(n)).collect()
    }

    fn connections(&self, connected: &super::connect::Connected, at_end: u64) -> Connections {
        let clients = &self.score.population().clients;
        let mut by_transport = std::collections::BTreeMap::new();
        for client in clients {
            *by_transport.entry(client.wire.as_str().to_owned()).or_default() += 1;
        }
        Connections {
            requested: clients.len() as u64,
            established: connected.established,
            first_error: connected.first_error.clone(),
            at_end,
            by_transport,
            connect_us: self.score.connecting.take().summary(),
        }
    }

    fn balance(&self, sums: Sums, marks: Vec<Mark>, crashes: u64, urls: Vec<String>) -> Outcome {
        let faults = marks.iter().filter(|mark| mark.kind == MarkKind::Fault).count() as u64;
        let score = &self.score;
        let population = score.population();
        let c = &score.counters;
        let audit = score.audit();
        let group = |n: usize| population.clients.get(n).map(|client| client.group);
        let stream = |n: u32| population.streams.get(n as usize);
        let losses = audit.losses.iter().filter_map(|loss| {
            let plan = stream(loss.stream)?;
            Some(LossReport {
                receiver: loss.receiver,
                group: self.scenario.group.get(group(loss.receiver)?)?.name.clone(),
                publisher: plan.publisher,
                name: plan.name.to_string(),
                priority: plan.priority.to_string(),
                first: loss.first,
                last: loss.last,
                acknowledged: loss.accepted,
            })
        });
        let due = Counters::get(&c.published);
        let acknowledged = Counters::get(&c.accepted);
        let failed = Counters::get(&c.failed);
        Outcome {
            losses: losses.collect(),
            audit_by_group: (0..self.scenario.group.len())
                .map(|n| score.audit_where(|receiver, _| group(receiver) == Some(n)))
                .collect(),
            audit_by_priority: [0, 1, 2, 3].map(|index| {
                let priority = Priority::from_index(index);
                score.audit_where(|_, s| stream(s).map(|plan| plan.priority) == priority)
            }),
            audit,
            deliveries: sums.deliveries,
            emissions: sums.emissions,
            duplicated: Counters::get(&c.duplicated),
            out_of_order: Counters::get(&c.out_of_order),
            unexpected: Counters::get(&c.unexpected),
            corrupt: Counters::get(&c.corrupt),
            publishes: Publishes {
                due,
                acknowledged,
                failed,
                unanswered: due.saturating_sub(acknowledged + failed),
            },
            edits: None,
            attacks: Vec::new(),
            connections: Connections::default(),
            recovery: Recovery {
                clients: score.interrupted_clients(),
                interrupted: Counters::get(&c.interrupted),
                recovered: Counters::get(&c.recovered),
                gaps: Counters::get(&c.gaps),
                time_us: score.recovery.take().summary(),
                caught_up_us: score.caught_up.take().summary(),
            },
            processes: Vec::new(),
            backplane: None,
            redis: None,
            at_rest: None,
            seconds: 0.0,
            lag: HarnessLag {
                publish: score.publish_lag.take().summary(),
                task: score.task_lag.take().summary(),
            },
            crashes,
            failed_steps: faults.saturating_sub(crashes),
            marks,
            machine: sums.machine,
            timeline: sums.timeline,
            urls,
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
