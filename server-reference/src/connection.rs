//! One connection as the rest of the server sees it: what waits for it, and how it is written.

use std::io::{self, IoSlice, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use socket2::SockRef;
use tidings_core::link::Wire;
use tidings_core::log::LoggedEvent;
use tidings_core::message::{Close, Refusal};
use tidings_core::server::{Feed, FeedConfig};
use tidings_core::{Event, Payload};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

/// How many frames one vectored write takes at most.
const FRAMES_PER_WRITE: usize = 64;

/// What others may ask of a connection's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send the client a request.
    Request { name: Arc<str>, payload: Payload, answer: oneshot::Sender<Result<Payload, Refusal>> },
    /// Tell the client why, and end the connection.
    Close(Close),
    /// Another connection goes on with the session: end this one when the client has not done so
    /// itself after a while.
    Superseded,
}

/// A connection: its socket, its feed, and a way to wake its task.
///
/// Writing is never waited for. Whoever has queued something calls [`flush`](Self::flush), which
/// writes what the socket takes at once; the connection's own task finishes the rest when the
/// socket is writable again.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    outgoing: Mutex<Outgoing>,
    commands: Mutex<Vec<Command>>,
    wake: Notify,
    bytes_written: AtomicU64,
}

#[derive(Debug)]
struct Outgoing {
    feed: Feed,
    /// The socket took less than there was: its task waits until it is writable.
    blocked: bool,
    /// Writing failed: the connection is gone.
    broken: bool,
}

/// How the connection's task should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriteState {
    /// Wait for the socket to become writable, then flush again.
    pub(crate) blocked: bool,
    /// Give the connection up.
    pub(crate) broken: bool,
    /// The log has something for it that its queues have room for.
    pub(crate) wants_catch_up: bool,
    /// So many answers wait that nothing more should be read.
    pub(crate) choked: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, config: Arc<FeedConfig>) -> Self {
        // The wire is known for certain once the client has said hello.
        let feed = Feed::new(Wire::WsJson, config);
        Self {
            stream,
            outgoing: Mutex::new(Outgoing { feed, blocked: false, broken: false }),
            commands: Mutex::default(),
            wake: Notify::new(),
            bytes_written: AtomicU64::new(0),
        }
    }

    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// Works on the feed. No other lock may be taken inside but those of the log.
    pub(crate) fn with_feed<R>(&self, work: impl FnOnce(&mut Feed) -> R) -> R {
        work(&mut self.outgoing.lock().feed)
    }

    /// Queues a finished frame that must not wait behind events.
    pub(crate) fn push_control(&self, frame: Bytes) {
        self.outgoing.lock().feed.outbox_mut().push_control(frame);
    }

    /// Queues a new event. Returns whether the connection should be flushed.
    pub(crate) fn offer(&self, logged: &LoggedEvent) -> bool {
        let mut outgoing = self.outgoing.lock();
        let queued = outgoing.feed.offer(logged);
        queued && !outgoing.blocked
    }

    /// Queues a volatile event, if the socket is not held up. Returns whether to flush.
    pub(crate) fn offer_volatile(&self, event: &Event, frames: &mut VolatileFrames) -> bool {
        let mut outgoing = self.outgoing.lock();
        let frame = frames.get(outgoing.feed.wire(), event);
        outgoing.feed.offer_volatile(frame);
        !outgoing.blocked
    }

    /// Asks something of the connection's task.
    pub(crate) fn command(&self, command: Command) {
        self.commands.lock().push(command);
        self.wake.notify_one();
    }

    /// Takes what was asked.
    pub(crate) fn take_commands(&self) -> Vec<Command> {
        std::mem::take(&mut self.commands.lock())
    }

    /// Waits until something was asked, or a write could not be finished.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Reads what the socket has; `Ok(0)` when the client has closed.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        let result = self.stream.try_io(Interest::READABLE, || {
            read = (&*SockRef::from(&self.stream)).read(buffer)?;
            // That was all there is: the next wait is for more, without asking in vain first.
            let emptied = 0 < read && read < buffer.len();
            if emptied { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if read > 0 { Ok(read) } else { result.map(|()| 0) }
    }

    /// The socket is writable again.
    pub(crate) fn unblock(&self) {
        self.outgoing.lock().blocked = false;
    }

    /// Writes what the socket takes at once; wakes the connection's task if it has to go on.
    pub(crate) fn flush_from_outside(&self) {
        let state = self.flush();
        if state.blocked || state.broken || state.wants_catch_up {
            self.wake.notify_one();
        }
    }

    /// Writes what the socket takes at once.
    pub(crate) fn flush(&self) -> WriteState {
        let mut outgoing = self.outgoing.lock();
        while !outgoing.blocked && !outgoing.broken && !outgoing.feed.outbox().is_empty() {
            match self.write_some(&outgoing.feed) {
                Ok(written) => {
                    self.bytes_written.fetch_add(written as u64, Ordering::Relaxed);
                    outgoing.feed.outbox_mut().advance(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => outgoing.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => outgoing.broken = true,
            }
        }
        WriteState {
            blocked: outgoing.blocked,
            broken: outgoing.broken,
            wants_catch_up: outgoing.feed.wants_catch_up(),
            choked: outgoing.feed.is_choked(),
        }
    }

    /// One write of as many frames as fit.
    fn write_some(&self, feed: &Feed) -> io::Result<usize> {
        if let Some(frame) = feed.outbox().only() {
            return self.stream.try_write(frame);
        }
        let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
        let filled = feed.outbox().gather(&mut slices);
        self.stream.try_write_vectored(&slices[..filled])
    }
}

/// One volatile event encoded at most once for each wire.
#[derive(Debug, Default)]
pub(crate) struct VolatileFrames([Option<Bytes>; Wire::COUNT]);

impl VolatileFrames {
    fn get(&mut self, wire: Wire, event: &Event) -> &Bytes {
        self.0[wire.index()].get_or_insert_with(|| {
            let delivery = tidings_core::message::Delivery {
                event: event.clone(),
                position: None,
                replay_for: None,
            };
            tidings_core::link::encode_event(wire, &delivery)
        })
    }
}
