//! One connection as the rest of the server sees it: what waits for it, and how it is written.

mod delay;
mod poller;
mod streamer;

use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_core::engineio::payload::Messages;
use tidings_core::engineio::{Brought, Carrier, PollingError};
use tidings_core::link::{Framed, Wire};
use tidings_core::log::LoggedEvent;
use tidings_core::message::{Close, CloseCode, LinkError, Refusal};
use tidings_core::server::{Feed, FeedConfig, Mark};
use tidings_core::{Cursor, Payload, Priority, Time};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use self::delay::{BatchDelay, Waits};
use self::poller::Poller;
pub(crate) use self::poller::{Alive, Moved, Posted};
use self::streamer::Streamer;
use crate::socketio::{ConnectError, Socket};
use crate::stream::Stream;

/// How many frames one vectored write takes at most.
const FRAMES_PER_WRITE: usize = 64;

/// What others may ask of a connection's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Look again whether the client's token is still good.
    Reconsider,
    /// Send the client a request.
    Request { name: Arc<str>, payload: Payload, answer: oneshot::Sender<Result<Payload, Refusal>> },
    /// Tell the client why, and end the connection.
    Close(Close),
    /// The client broke the rules of what carries its session: end it.
    Fail(LinkError),
    /// The client is gone.
    Lost,
    /// Another connection goes on with the session: end this one when the client has not done so
    /// itself after a while.
    Superseded,
    /// The middlewares of a namespace have judged a client that wants to come in.
    Judged(Socket, Result<(), ConnectError>),
    /// The application has disconnected a socket, and told the client.
    LeftNamespace(Socket),
    /// The application wants the client gone from everywhere.
    DisconnectSockets,
}

/// A connection: its socket, its feed, and a way to wake its task.
///
/// Writing is never waited for. Whoever has queued something calls [`flush`](Self::flush), which
/// writes what the socket takes at once; the connection's own task finishes the rest when the
/// socket is writable again. Where the client lets events wait for others, it writes those in time.
///
/// A session that is carried by HTTP polling has no socket of its own: a flush answers the poll
/// that is open. Such a session may move to a WebSocket; it has a socket from then on, and nobody
/// else notices.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: OnceLock<Stream>,
    outgoing: Mutex<Outgoing>,
    /// `None` once there is nobody to obey them.
    commands: Mutex<Option<Vec<Command>>>,
    wake: Notify,
    bytes_written: AtomicU64,
    /// So many events of the client wait for their handlers that no more are read.
    crowded: AtomicBool,
}

#[derive(Debug)]
struct Outgoing {
    feed: Feed,
    /// What there is instead of a socket.
    poller: Option<Box<Poller>>,
    /// The same, if it is the body of a response.
    streamer: Option<Box<Streamer>>,
    batch_delay: BatchDelay,
    /// The socket took less than there was: its task waits until it is writable.
    blocked: bool,
    /// Writing failed: the connection is gone.
    broken: bool,
    /// The client did not take what the application sent: it gets no more of it.
    overflowed: bool,
}

/// What became of an event that a connection was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It is not for the client, or there is no room for it, or its task writes it when the socket takes
    /// more.
    Unwritten,
    /// It waits for others, and is written with them.
    Waits,
    /// The connection should be flushed.
    ToBeFlushed,
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
    /// What waits is to be written then, not before.
    pub(crate) held_until: Option<Instant>,
}

impl Connection {
    /// A connection that is a WebSocket.
    pub(crate) fn over_websocket(stream: Stream, config: Arc<FeedConfig>) -> Self {
        Self::new(OnceLock::from(stream), None, None, config)
    }

    /// A connection carried by HTTP polling. An answer to a poll is finished once it has
    /// `max_response` bytes.
    pub(crate) fn over_polling(max_response: usize, config: Arc<FeedConfig>) -> Self {
        Self::new(OnceLock::new(), Some(Box::new(Poller::new(max_response))), None, config)
    }

    /// A connection that is the body of an HTTP response, to a client that has told how far it is.
    /// `cut` is told when the client does not take what it is sent.
    pub(crate) fn over_response(cursor: Cursor, cut: Arc<Notify>, config: Arc<FeedConfig>) -> Self {
        let streamer = Some(Box::new(Streamer::new(cursor, cut)));
        Self::new(OnceLock::new(), None, streamer, config)
    }

    fn new(
        stream: OnceLock<Stream>,
        poller: Option<Box<Poller>>,
        streamer: Option<Box<Streamer>>,
        config: Arc<FeedConfig>,
    ) -> Self {
        // The wire is known for certain once the client has said hello.
        let feed = Feed::new(Wire::WsJson, config);
        Self {
            stream,
            outgoing: Mutex::new(Outgoing {
                feed,
                poller,
                streamer,
                batch_delay: BatchDelay::default(),
                blocked: false,
                broken: false,
                overflowed: false,
            }),
            commands: Mutex::new(Some(Vec::new())),
            wake: Notify::new(),
            bytes_written: AtomicU64::new(0),
            crowded: AtomicBool::new(false),
        }
    }

    /// The socket, unless the session is carried by polling.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream.get()
    }

    /// Waits until there is something to read: bytes in the socket, posted packets, or a socket
    /// where there was none.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        if let Some(stream) = self.stream.get() {
            return stream.readable().await;
        }
        if let Some(arrived) = self.with_poller(|poller| Arc::clone(&poller.arrived)) {
            // Few sessions poll; the others need not make room for this in their tasks.
            Box::pin(arrived.notified()).await;
            return Ok(());
        }
        // Nothing comes from whoever reads a response.
        std::future::pending().await
    }

    /// Waits until more of what waits can be written: the socket is writable, or a poll begins.
    pub(crate) async fn drained(&self) -> io::Result<()> {
        match self.stream.get() {
            Some(stream) => stream.writable().await,
            None => {
                self.woken().await;
                Ok(())
            }
        }
    }

    /// Waits until the socket is writable.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self.stream.get() {
            Some(stream) => stream.writable().await,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    /// The session has ended, and its totals were taken. What is queued stays.
    pub(crate) fn forget_session(&self) {
        let mut outgoing = self.outgoing.lock();
        outgoing.feed.leave();
        outgoing.batch_delay = BatchDelay::default();
        drop(outgoing);
        self.bytes_written.store(0, Ordering::Relaxed);
    }

    /// The client wants events to wait so long for others that are one message with them.
    pub(crate) fn set_batch_delay(&self, delay: Duration) {
        self.outgoing.lock().batch_delay = BatchDelay::new(delay);
    }

    /// Works on the feed. No other lock may be taken inside but those of the log.
    pub(crate) fn with_feed<R>(&self, work: impl FnOnce(&mut Feed) -> R) -> R {
        work(&mut self.outgoing.lock().feed)
    }

    /// Queues a finished frame that must not wait behind events.
    pub(crate) fn push_control(&self, frame: Bytes) {
        self.outgoing.lock().feed.outbox_mut().push_control(frame);
    }

    /// Queues a new event.
    pub(crate) fn offer(&self, logged: &LoggedEvent) -> Offered {
        let mut outgoing = self.outgoing.lock();
        if outgoing.feed.offer(logged) { self.queued(&mut outgoing) } else { Offered::Unwritten }
    }

    /// Queues a volatile event.
    pub(crate) fn offer_volatile(&self, framed: &Framed) -> Offered {
        let mut outgoing = self.outgoing.lock();
        if !outgoing.feed.offer_volatile(framed) {
            return Offered::Unwritten;
        }
        if framed.delivery().event.priority == Priority::Critical && !outgoing.blocked {
            outgoing.batch_delay.end();
            return Offered::ToBeFlushed;
        }
        self.queued(&mut outgoing)
    }

    /// What is to be done about an event that was queued.
    fn queued(&self, outgoing: &mut Outgoing) -> Offered {
        if outgoing.blocked {
            return Offered::Unwritten;
        }
        match outgoing.batch_delay.queued(|| outgoing.feed.may_wait()) {
            Waits::No => return Offered::ToBeFlushed,
            Waits::WithOthers => {}
            // Its task has the timer.
            Waits::First => self.wake.notify_one(),
        }
        Offered::Waits
    }

    /// Queues a packet of the application. A volatile one is left out if anything waits already. A
    /// client that does not take what it is sent is given up when its queue is full.
    pub(crate) fn offer_application(&self, frames: &Bytes, volatile: bool, mark: Option<Mark>) {
        let mut outgoing = self.outgoing.lock();
        if outgoing.overflowed || (volatile && !outgoing.feed.outbox().is_empty()) {
            return;
        }
        outgoing.overflowed = !outgoing.feed.offer_application(frames.clone(), mark);
        if outgoing.overflowed {
            drop(outgoing);
            let reason = "what was sent was not taken, and its queue is full";
            self.command(Command::Fail(LinkError::new(CloseCode::SLOW, reason)));
        }
    }

    /// What the application has sent up to this number is none of the client's business.
    pub(crate) fn begin_application(&self, number: u64) {
        self.with_feed(|feed| {
            let ledger = feed.outbox_mut().ledger_mut();
            ledger.into_iter().for_each(|ledger| ledger.begin_application(number));
        });
    }

    /// Whether no events are read, since others wait for their handlers.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::SeqCst)
    }

    pub(crate) fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Ordering::SeqCst);
    }

    /// Has the connection's task look around.
    pub(crate) fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Asks something of the connection's task.
    pub(crate) fn command(&self, command: Command) {
        if let Some(commands) = &mut *self.commands.lock() {
            commands.push(command);
        }
        self.wake.notify_one();
    }

    /// Takes what was asked.
    pub(crate) fn take_commands(&self) -> Vec<Command> {
        self.commands.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Its task ends: what is asked of it, and whom that would keep, is let go.
    pub(crate) fn end_commands(&self) {
        *self.commands.lock() = None;
    }

    /// Waits until something was asked, or a write could not be finished.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Reads what the socket has; `Ok(0)` when the client has closed. Without a socket there is
    /// nothing to read.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(stream) = self.stream.get() else { return Err(io::ErrorKind::WouldBlock.into()) };
        stream.try_read(buffer)
    }

    /// Whether the socket, or whoever else is to take it, has not taken all that there is.
    pub(crate) fn has_unwritten(&self) -> bool {
        let is_behind = || self.stream.get().is_some_and(Stream::is_behind);
        !self.with_feed(|feed| feed.outbox().is_empty()) || is_behind()
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
        let outgoing = &mut *outgoing;
        if let Some(poller) = &mut outgoing.poller {
            let written = poller.flush(&mut outgoing.feed);
            self.bytes_written.fetch_add(written as u64, Ordering::Relaxed);
        }
        if let Some(streamer) = &mut outgoing.streamer {
            streamer.flush(outgoing.feed.outbox());
        }
        let stream = self.stream.get();
        // What was taken for encryption does not wait.
        let may_wait = || !stream.is_some_and(Stream::is_behind) && outgoing.feed.may_wait();
        let held_until = outgoing.batch_delay.until(may_wait);
        while let Some(stream) = stream
            && held_until.is_none()
            && !outgoing.blocked
            && !outgoing.broken
            && (!outgoing.feed.outbox().is_empty() || stream.is_behind())
        {
            match write_some(stream, &mut outgoing.feed) {
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
            held_until,
        }
    }
}

/// Being the body of a response.
impl Connection {
    fn with_streamer<R>(&self, work: impl FnOnce(&mut Streamer, &mut Feed) -> R) -> Option<R> {
        let mut outgoing = self.outgoing.lock();
        let Outgoing { feed, streamer, .. } = &mut *outgoing;
        streamer.as_deref_mut().map(|streamer| work(streamer, feed))
    }

    /// The next part of the body; `None` at its end.
    pub(crate) fn poll_body(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let polled = self.with_streamer(|streamer, feed| streamer.poll(feed.outbox_mut(), cx));
        let polled = polled.unwrap_or(Poll::Ready(None));
        if let Poll::Ready(Some(chunk)) = &polled {
            self.bytes_written.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            // Its task goes on with what there was no room for.
            self.wake.notify_one();
        }
        polled
    }

    /// The client has gone before the end of the body.
    pub(crate) fn body_abandoned(&self) {
        self.with_streamer(|streamer, _| streamer.abandon());
        self.command(Command::Lost);
    }

    /// Whether the body is still taken by somebody.
    pub(crate) fn is_body_taken(&self) -> bool {
        self.with_streamer(|streamer, _| streamer.is_taken()) == Some(true)
    }

    /// Whether nothing of the body was taken since the last call although something waits.
    pub(crate) fn is_body_stuck(&self) -> bool {
        self.with_streamer(|streamer, feed| streamer.is_stuck(feed.outbox())) == Some(true)
    }

    /// Nothing more comes in the body. What was not taken is given up with its connection.
    pub(crate) fn end_body(&self) {
        self.with_streamer(|streamer, feed| streamer.end(feed.outbox()));
    }
}

/// Polling, and moving from it to a WebSocket.
impl Connection {
    /// Whether it is carried by HTTP polling, or was.
    pub(crate) fn is_polling(&self) -> bool {
        self.with_poller(|_| ()).is_some()
    }

    fn with_poller<R>(&self, work: impl FnOnce(&mut Poller) -> R) -> Option<R> {
        self.outgoing.lock().poller.as_deref_mut().map(work)
    }

    /// What carries the session now; `None` once a polling session has ended.
    pub(crate) fn carrier(&self) -> Option<Carrier> {
        if self.stream.get().is_some() {
            return Some(Carrier::WebSocket);
        }
        let polls = self.with_poller(|poller| poller.is_alive()) == Some(true);
        polls.then_some(Carrier::Polling)
    }

    /// When the client of a polling session is given up unless something comes from it.
    pub(crate) fn set_dead_at(&self, at: Option<Time>) {
        self.with_poller(|poller| poller.polling.set_dead_at(at));
    }

    /// A poll begins. Its answer comes from the receiver; none if the session ends first.
    /// `stamp` tells it from the one before.
    pub(crate) fn poll(
        &self,
        now: Time,
        stamp: Option<&str>,
    ) -> Result<oneshot::Receiver<Bytes>, PollingError> {
        let answer = self.with_poller(|poller| poller.poll(now, stamp));
        // Its task answers, and goes on with what had to wait for a poll.
        self.wake.notify_one();
        answer.unwrap_or(Err(PollingError::Ended))
    }

    /// Whether a poll is open.
    pub(crate) fn is_polled(&self) -> bool {
        self.with_poller(|poller| poller.is_polled()) == Some(true)
    }

    /// The client went away while its poll was open.
    pub(crate) fn poll_abandoned(&self) {
        self.with_poller(|poller| poller.polling.poll_abandoned());
        self.command(Command::Lost);
    }

    /// Ends the open poll, if there is one, although nothing waits.
    pub(crate) fn noop(&self) {
        self.with_poller(Poller::noop);
    }

    /// The client begins to send packets, or sends those once more that have been taken in. `stamp`
    /// tells the request from the one before. What is returned ends with the session.
    pub(crate) fn post(
        &self,
        now: Time,
        stamp: Option<&str>,
    ) -> Result<(Brought, Alive), PollingError> {
        let begin = |poller: &mut Poller| {
            poller.polling.post(now, stamp).map(|posted| (posted, poller.alive()))
        };
        self.with_poller(begin).unwrap_or(Err(PollingError::Ended))
    }

    /// Hands posted packets to the connection's task, which tells when it has taken them in.
    pub(crate) fn hand_in(&self, messages: Messages) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        self.put_back(Posted { messages, answer });
        answered
    }

    /// Packets have been posted that were not all taken in yet.
    pub(crate) fn put_back(&self, posted: Posted) {
        self.with_poller(|poller| {
            if poller.is_alive() {
                poller.posted = Some(posted);
                poller.arrived.notify_one();
            }
        });
    }

    /// The packets that have been posted, and are to be taken in.
    pub(crate) fn take_posted(&self) -> Option<Posted> {
        self.with_poller(|poller| poller.posted.take()).flatten()
    }

    /// The request that brought packets is about to be answered; `taken` tells whether they have
    /// been taken in.
    pub(crate) fn posted(&self, taken: bool) {
        self.with_poller(|poller| poller.polling.posted(taken));
    }

    /// The client tries a WebSocket, to move to it. What is returned ends with the session; `None`
    /// if it may not.
    pub(crate) fn begin_probe(&self, now: Time) -> Option<Alive> {
        self.with_poller(|poller| poller.polling.begin_probe(now).then(|| poller.alive())).flatten()
    }

    /// That came to nothing.
    pub(crate) fn end_probe(&self) {
        self.with_poller(|poller| poller.polling.end_probe());
    }

    /// The session moves to a WebSocket: what waits for the client is written there from now on.
    ///
    /// # Errors
    /// Gives the WebSocket back if it cannot any more.
    pub(crate) fn move_to(&self, stream: Stream, moved: Moved) -> Result<(), Stream> {
        let mut outgoing = self.outgoing.lock();
        let Some(poller) = outgoing.poller.as_mut().filter(|poller| poller.polling.may_move())
        else {
            return Err(stream);
        };
        self.stream.set(stream)?;
        // A client that keeps to the protocol has no poll open: one that is has overtaken the
        // packet that moved the session, and is refused like any that comes later.
        poller.end();
        poller.moved = Some(moved);
        Ok(())
    }

    /// What came with the WebSocket to which the session has moved, once.
    pub(crate) fn take_moved(&self) -> Option<Moved> {
        let mut outgoing = self.outgoing.lock();
        let moved = outgoing.poller.as_deref_mut()?.moved.take()?;
        outgoing.poller = None;
        Some(moved)
    }

    /// Nothing is taken from the client of a polling session any more; it may fetch what waits.
    pub(crate) fn close_polling(&self) {
        self.with_poller(|poller| poller.polling.close());
    }

    /// As [`close_polling`](Self::close_polling), but for one poll that may be on its way.
    pub(crate) fn close_but_for_one_poll(&self) {
        self.with_poller(|poller| poller.polling.close_but_for_one_poll());
    }

    /// A polling session ends: what waits goes to the open poll, if there is one, or nowhere.
    pub(crate) fn end_polling(&self) {
        let mut outgoing = self.outgoing.lock();
        let Outgoing { feed, poller, .. } = &mut *outgoing;
        if let Some(poller) = poller {
            poller.flush(feed);
            poller.noop();
            poller.end();
        }
    }
}

/// One write of as many frames as fit.
fn write_some(stream: &Stream, feed: &mut Feed) -> io::Result<usize> {
    if feed.outbox().is_empty() {
        // What was taken for encryption is still to be sent.
        return stream.try_flush().map(|()| 0);
    }
    let joined = feed.outbox_mut().join();
    let outbox = feed.outbox();
    if let Some(frame) = if joined { outbox.first() } else { outbox.only() } {
        return stream.try_write(frame);
    }
    let mut slices = [IoSlice::new(&[]); FRAMES_PER_WRITE];
    let filled = outbox.gather(&mut slices);
    stream.try_write_vectored(&slices[..filled])
}
