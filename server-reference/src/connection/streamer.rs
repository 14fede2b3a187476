//! The side of a connection that is the body of an HTTP response.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tidings_core::Cursor;
use tidings_core::server::Outbox;
use tidings_core::sse::Writer;
use tokio::sync::Notify;

/// How many bytes are handed to HTTP at once; a single larger event goes alone.
const CHUNK: usize = 16 << 10;

/// What only a connection has that is the body of a response.
#[derive(Debug)]
pub(super) struct Streamer {
    writer: Writer,
    /// Whoever waits for more of the body.
    waiting: Option<Waker>,
    /// Whether something was taken since it was last asked.
    took: bool,
    /// Nothing more comes.
    ended: bool,
    /// Nobody takes anything any more.
    gone: bool,
    /// Has the HTTP connection dropped.
    cut: Arc<Notify>,
}

impl Streamer {
    pub(super) fn new(cursor: Cursor, cut: Arc<Notify>) -> Self {
        let writer = Writer::new(cursor);
        Self { writer, waiting: None, took: true, ended: false, gone: false, cut }
    }

    /// Something may wait: whoever waits for it is told.
    pub(super) fn flush(&mut self, outbox: &Outbox) {
        if self.ended || !outbox.is_empty() {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Takes what waits, up to a chunk.
    pub(super) fn poll(&mut self, outbox: &mut Outbox, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK
            && let Some(frames) = outbox.pop()
        {
            self.writer.write(&frames, &mut chunk);
        }
        if !chunk.is_empty() {
            self.took = true;
            return Poll::Ready(Some(chunk.into()));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        self.waiting = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether nothing was taken since the last call although something waits.
    pub(super) fn is_stuck(&mut self, outbox: &Outbox) -> bool {
        !std::mem::take(&mut self.took) && !outbox.is_empty()
    }

    /// The client is gone.
    pub(super) fn abandon(&mut self) {
        self.gone = true;
    }

    pub(super) const fn is_taken(&self) -> bool {
        !self.gone
    }

    /// Nothing more comes. What was not taken in time is given up with its connection.
    pub(super) fn end(&mut self, outbox: &Outbox) {
        self.ended = true;
        self.flush(outbox);
        if !outbox.is_empty() {
            self.cut.notify_one();
        }
    }
}
