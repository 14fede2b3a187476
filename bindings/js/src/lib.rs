//! The client, as the npm package `@tidings/client` uses it; what people see is in `ts/`.
//!
//! Only numbers and texts cross the border. The page gives everything that it begins (a client, a
//! subscription, a publish, a collection) a number, and is told what becomes of it in one text for
//! all, which it takes when it is woken (`outbox`). Payloads are pieces of that text, so that one
//! `JSON.parse` in the browser reads them all, and there is no JSON library here.
#![cfg(target_family = "wasm")]

pub mod asking;
pub mod client;
#[cfg(feature = "collections")]
pub mod collection;
#[cfg(feature = "collections")]
mod edits;
mod event;
mod failure;
pub mod outbox;
pub mod registry;
#[cfg(feature = "tabs")]
pub mod relay;
mod settings;
#[cfg(feature = "collections")]
mod storage;
