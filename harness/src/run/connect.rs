//! Brings the clients up.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::runtime::Handle;

use super::RunError;
use super::fleet::Fleet;
use super::links::Links;
use crate::client::{self, ClientError, Ears, LoadClient, Stack, Target};
use crate::live::Progress;
use crate::score::Score;

/// Clients that connect at the same time.
const CONNECTING_AT_ONCE: usize = 64;

/// A connected client, and the runtime its tasks are on.
#[derive(Clone)]
pub(super) struct Seated {
    pub(super) client: Arc<dyn LoadClient>,
    pub(super) runtime: Handle,
}

/// The clients by number, and why the first of those that are not there could not connect.
pub(super) struct Connected {
    pub(super) clients: Arc<[Option<Seated>]>,
    pub(super) established: u64,
    pub(super) first_error: Option<String>,
}

/// Connects and subscribes every client. Those that receive nothing live on the runtime of
/// `publishers`: the acknowledgement of a broadcast need not wait until a thousand receivers in
/// the same process have had their turn.
pub(super) async fn connect(
    score: &Arc<Score>,
    stack: Stack,
    fleet: &Fleet,
    links: &Links,
    publishers: &Handle,
    progress: &Progress,
) -> Result<Connected, RunError> {
    let population = score.population();
    let mut jobs = Vec::with_capacity(population.clients.len());
    for (number, plan) in population.clients.iter().enumerate() {
        // Pairs stay together, because every other client has another transport.
        let server = (number / 2) % fleet.len().max(1);
        let url = links
            .url(plan, server, fleet)
            .ok_or_else(|| RunError::Environment("there is no server".to_owned()))?;
        let runtime = if plan.expects.is_empty() { publishers.clone() } else { Handle::current() };
        jobs.push((number, runtime, Target { url, wire: plan.wire }));
    }
    let total = jobs.len();
    let mut clients: Vec<Option<Seated>> = vec![None; total];
    let mut first_error = None;
    let mut done = 0;
    let mut arriving = futures_util::stream::iter(jobs)
        .map(|(number, runtime, target)| {
            let job = one(score.clone(), stack, number, target);
            // Each in a task of its own, so that all processors take part.
            async move {
                let result = runtime.spawn(job).await;
                let result = result.unwrap_or_else(|e| Err(ClientError(e.to_string())));
                (number, result.map(|client| Seated { client, runtime }))
            }
        })
        .buffer_unordered(CONNECTING_AT_ONCE);
    while let Some((number, result)) = arriving.next().await {
        done += 1;
        match result {
            Ok(seated) => clients[number] = Some(seated),
            Err(ClientError(error)) => {
                first_error.get_or_insert(error);
            }
        }
        progress.connecting(done, total);
    }
    let established = clients.iter().flatten().count() as u64;
    if established == 0 {
        return Err(RunError::NobodyConnected(first_error.unwrap_or_default()));
    }
    Ok(Connected { clients: clients.into(), established, first_error })
}

async fn one(
    score: Arc<Score>,
    stack: Stack,
    number: usize,
    target: Target,
) -> Result<Arc<dyn LoadClient>, ClientError> {
    let began = score.clock.now_us();
    let client = client::connect(stack, target, Ears::new(score.clone(), number)).await?;
    let patterns = score.population().clients.get(number).map(|plan| plan.patterns.clone());
    for (n, pattern) in (0..).zip(patterns.unwrap_or_default()) {
        client.subscribe(n, pattern).await?;
    }
    score.connecting.record(score.clock.now_us().saturating_sub(began));
    Ok(client)
}
