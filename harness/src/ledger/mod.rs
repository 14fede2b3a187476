//! The account of a run: every event that was due, and whether every receiver got it once and
//! in order.
//!
//! A *stream* is one publisher writing to one name with one priority, and therefore lies in one
//! lane: its numbers must reach every receiver without hole, repetition or inversion. What is
//! expected follows from the plan alone (who is subscribed to what), never from what servers say.

mod audit;
mod book;
mod edits;
mod stream;
mod track;

pub(crate) use audit::Audit;
pub(crate) use book::{Book, Entry, Span};
pub(crate) use edits::{Answer, EditAudit, EditLog, Note};
pub(crate) use stream::StreamLog;
pub(crate) use track::Arrival;
