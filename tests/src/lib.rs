//! What needs more than one crate: end to end, interoperability and simulation.

pub mod node;
pub mod server;
