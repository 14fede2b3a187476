//! What applications of Socket.IO can do, seen from clients that write packets by hand.

mod client;
mod engine;
mod handling;
mod namespaces;
mod recovery;
mod rooms;
