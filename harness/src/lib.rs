//! Drives thousands of connections against Tidings servers and says whether the SLAs hold.
//!
//! The binary is a thin wrapper: [`cli::main`] reads the command line, [`scenario`] has the
//! files that describe a run, [`report`] what comes out of one, [`compare`] what changed between
//! two.
#![deny(missing_docs)]

mod attack;
pub mod cli;
mod client;
mod clock;
pub mod compare;
mod disturbance;
pub mod growth;
mod latency;
mod ledger;
mod live;
mod machine;
mod population;
mod process;
mod proxy;
pub mod report;
mod run;
pub mod scenario;
mod schedule;
mod score;
mod sla;
mod stamp;
mod verdict;

pub use process::redis_cluster;
