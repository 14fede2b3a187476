//! Who is let in, by every entrance, and what they may do there.

#[path = "../raw/mod.rs"]
mod raw;

mod limits;
mod program;
mod revocation;
mod rights;
mod secrecy;
mod sensitive;
mod table;
mod tokens;
