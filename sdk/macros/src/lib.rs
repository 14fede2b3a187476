//! `#[derive(Event)]` for Tidings.
