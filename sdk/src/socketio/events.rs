//! Events as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::event::Event;
use super::listeners::ListenerId;
use super::orders::{Handle, Order};
use crate::buffer::{Buffer, Next};

/// The application took its events too slowly: this many were dropped here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{missed} events were dropped because they were taken too slowly")]
pub struct Lagged {
    /// How many.
    pub missed: u64,
}

impl Lagged {
    /// What to do about it: for events that are gone there is nothing to repeat.
    pub const fn advice(&self) -> crate::Advice {
        crate::Advice::GiveUp
    }
}

/// Events of a socket: a stream of [`Event`], which ends when the manager is closed.
///
/// It begins when it is made and ends when it is dropped. What is not taken waits, up to the number
/// that [`ManagerBuilder::stream_buffer`](super::ManagerBuilder::stream_buffer) says.
#[must_use = "streams do nothing unless polled; no events are kept when this is dropped"]
pub struct Events {
    pub(super) buffer: Arc<Buffer<Event>>,
    pub(super) socket: usize,
    pub(super) id: ListenerId,
    pub(super) handle: Arc<Handle>,
}

impl Stream for Events {
    type Item = Result<Event, Lagged>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (item, resume) = self.buffer.poll(cx);
        if resume {
            self.handle.shared.wake();
        }
        item.map(|next| {
            Some(match next? {
                Next::Item(event) => Ok(event),
                Next::Missed(missed) => Err(Lagged { missed }),
            })
        })
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.buffer.abandon();
        self.handle.shared.give(Order::Unlisten { socket: self.socket, id: self.id });
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("id", &self.id).finish_non_exhaustive()
    }
}
