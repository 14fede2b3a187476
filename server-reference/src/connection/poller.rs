//! The side of a connection that is carried by HTTP requests.

use std::sync::Arc;

use bytes::Bytes;
use tidings_core::Time;
use tidings_core::engineio::payload::Messages;
use tidings_core::engineio::{Polled, Polling, PollingError};
use tidings_core::server::Feed;
use tidings_core::websocket::{Decoder, Opcode};
use tokio::sync::{Notify, oneshot, watch};

use crate::connections::UpgradedPermit;

/// Packets that a client has posted.
#[derive(Debug)]
pub(crate) struct Posted {
    /// Those that have not been taken in yet.
    pub(crate) messages: Messages,
    /// To be told when all have: whether the session goes on, or was ended as the client wanted.
    pub(crate) answer: oneshot::Sender<bool>,
}

/// What comes with the WebSocket to which a session has moved.
#[derive(Debug)]
pub(crate) struct Moved {
    /// Goes on where the packet that moved the session ended.
    pub(crate) decoder: Decoder,
    /// What was read behind that packet.
    pub(crate) rest: Vec<u8>,
    pub(crate) permit: UpgradedPermit,
}

/// Ends when the session does not poll any more: it has ended, or moved to a WebSocket.
pub(crate) type Alive = watch::Receiver<()>;

/// What only a polling session has besides its feed.
#[derive(Debug)]
pub(super) struct Poller {
    pub(super) polling: Polling,
    /// The open poll.
    waiting: Option<oneshot::Sender<Bytes>>,
    pub(super) posted: Option<Posted>,
    pub(super) moved: Option<Moved>,
    /// Told when `posted` or `moved` is there.
    pub(super) arrived: Arc<Notify>,
    alive: Option<watch::Sender<()>>,
    /// A body is finished once it has as many bytes.
    max_response: usize,
}

impl Poller {
    pub(super) fn new(max_response: usize) -> Self {
        Self {
            polling: Polling::new(),
            waiting: None,
            posted: None,
            moved: None,
            arrived: Arc::default(),
            alive: Some(watch::Sender::new(())),
            max_response,
        }
    }

    pub(super) fn poll(
        &mut self,
        now: Time,
        stamp: Option<&str>,
    ) -> Result<oneshot::Receiver<Bytes>, PollingError> {
        let (sender, receiver) = oneshot::channel();
        match self.polling.poll(now, stamp)? {
            Polled::Waits => self.waiting = Some(sender),
            // Its receiver is below: it is not gone.
            Polled::Again(body) => drop(sender.send(body)),
        }
        Ok(receiver)
    }

    /// Whoever waits for the end of polling; at once if it has ended.
    pub(super) fn alive(&self) -> Alive {
        self.alive.as_ref().map_or_else(|| watch::channel(()).1, watch::Sender::subscribe)
    }

    /// Answers the open poll with what waits in `feed`. Returns how many bytes it gets.
    pub(super) fn flush(&mut self, feed: &mut Feed) -> usize {
        let outbox = feed.outbox_mut();
        let body = self.polling.answer(self.max_response, |begun| {
            let ends = outbox.first().is_some_and(|frame| is_close(frame));
            if begun && ends { None } else { outbox.pop() }
        });
        body.map_or(0, |body| self.give(body))
    }

    /// Ends the open poll, if there is one, although nothing waits.
    pub(super) fn noop(&mut self) {
        if let Some(body) = self.polling.noop() {
            self.give(body);
        }
    }

    fn give(&mut self, body: Bytes) -> usize {
        let len = body.len();
        // If the client is gone meanwhile, its request tells so itself.
        if let Some(Err(_gone)) = self.waiting.take().map(|waiting| waiting.send(body)) {
            return 0;
        }
        len
    }

    pub(super) const fn is_polled(&self) -> bool {
        self.waiting.is_some()
    }

    /// Nothing is sent or taken any more.
    pub(super) fn end(&mut self) {
        self.polling.end();
        self.waiting = None;
        self.posted = None;
        self.alive = None;
        self.arrived.notify_one();
    }

    pub(super) const fn is_alive(&self) -> bool {
        self.alive.is_some()
    }
}

/// Whether this is a WebSocket's close frame.
fn is_close(frame: &[u8]) -> bool {
    let close = Opcode::Close as u8;
    frame.first().is_some_and(|first| first & 0x0f == close)
}
