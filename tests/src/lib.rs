//! What needs more than one crate: end to end, interoperability and simulation.

pub mod app;
pub mod example;
pub mod foreign_server;
pub mod member;
pub mod node;
pub mod person;
pub mod python;
pub mod server;
