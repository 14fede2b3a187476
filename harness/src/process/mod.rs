//! The processes of a run: the servers it starts, and what each process uses.

mod application;
mod backplane;
pub(crate) mod floor;
mod http;
mod node;
pub mod redis_cluster;
pub(crate) mod serve;
mod server;
mod usage;

pub(crate) use application::NAMESPACE as APPLICATION;
pub use backplane::BackplaneCounts;
pub(crate) use http::check_health;
pub(crate) use server::{Program, ServerProcess, StartError};
pub use usage::ProcessReport;
pub(crate) use usage::Usage;

/// Raises the limit of open files as far as it goes; returns what it then is.
pub(crate) fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}
