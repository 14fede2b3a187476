//! A run: servers, clients, the plan carried out, and the balance.

mod agreement;
mod connect;
mod drive;
mod editing;
mod fleet;
mod links;
mod outcome;
mod pacer;
mod redis_links;
mod redis_steps;
mod sampler;
mod snapshot;
mod steps;

pub(crate) use drive::drive;
pub(crate) use fleet::Fleet;
pub(crate) use outcome::{AtRest, Outcome};

use std::time::Duration;

use crate::client::Stack;
use crate::population::PopulationError;
use crate::process::redis_cluster::RedisError;
use crate::process::{Program, StartError};
use crate::scenario::Scenario;

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The scenario, with everything the command line changed in it.
    pub(crate) scenario: Scenario,
    /// The client crate.
    pub(crate) stack: Stack,
    /// Servers that run already; none are started then.
    pub(crate) targets: Vec<String>,
    /// What is started.
    pub(crate) program: Program,
    /// How long all is left alone before the first event, to see what is used at rest.
    pub(crate) rest: Option<Duration>,
}

/// A run could not take place; no SLA was judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The scenario does not work out.
    #[error(transparent)]
    Population(#[from] PopulationError),
    /// A server did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Redis did not start.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A server that was given cannot be used.
    #[error("target {url}: {problem}")]
    Target {
        /// Which one.
        url: String,
        /// Why.
        problem: String,
    },
    /// The machine does not allow it.
    #[error("{0}")]
    Environment(String),
    /// No client could connect.
    #[error("no client could connect: {0}")]
    NobodyConnected(String),
}
