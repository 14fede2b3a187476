//! WebSockets by tokio.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tidings_core::io::HttpHeaders;
use tidings_core::message::{Close, CloseCode, Frame};
use tidings_core::websocket::{self, Decoder, Incoming, Opcode, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::{TlsConfig, connect};
use super::handshake::{Address, shake_hands};
use super::stream::Stream;
use crate::net::{OpenedSocket, SocketEvent};

/// How much is read at once, into a buffer that all clients of a thread share: an idle client holds
/// none.
const READ_BUFFER: usize = 64 << 10;
/// How much room for frames to be written is kept for the next ones.
const KEPT: usize = 1 << 10;
/// Room for more messages than this that have arrived is given back after a burst.
const MANY: usize = 16;
/// How many random bytes are asked of the system at once.
const RANDOM_BYTES: usize = 1 << 10;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into_boxed_slice());
    static RANDOM: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

type Opening =
    Pin<Box<dyn Future<Output = Result<(Stream, Option<String>, Vec<u8>), Close>> + Send>>;

/// One WebSocket from the attempt to open it to its end.
pub(crate) struct Socket {
    state: State,
    max_message: usize,
    /// Frames to be written; the first `written` bytes are.
    outgoing: Vec<u8>,
    written: usize,
    /// Whether something may wait in the stream's own buffer.
    unflushed: bool,
    /// Set once this side has closed it: what comes is not of interest any more.
    closing: bool,
}

enum State {
    Opening(Opening),
    Open(Box<Open>),
    /// It cannot go on; to be told by the next [`Socket::poll_event`].
    Failed(Close),
    Over,
}

struct Open {
    stream: Stream,
    decoder: Decoder,
    /// What has arrived and has not been told yet.
    arrived: VecDeque<Incoming>,
    /// What the server did against RFC 6455, after all that has arrived.
    violation: Option<websocket::ProtocolError>,
}

impl Socket {
    /// Begins to open a WebSocket.
    pub(crate) fn open(
        url: String,
        subprotocol: Option<&'static str>,
        headers: HttpHeaders,
        max_message: usize,
        tls: Option<TlsConfig>,
        _: Option<OpenedSocket>,
    ) -> Self {
        Self {
            state: State::Opening(Box::pin(open(url, subprotocol, headers, tls))),
            max_message,
            outgoing: Vec::new(),
            written: 0,
            unflushed: false,
            closing: false,
        }
    }

    /// Puts a frame behind those to be written.
    pub(crate) fn send(&mut self, frame: Frame) {
        match frame {
            Frame::Text(text) => self.queue(Opcode::Text, &text),
            Frame::Binary(bytes) => self.queue(Opcode::Binary, &bytes),
        }
    }

    /// Closes after what waits is written. The last event comes when the server has closed, too.
    pub(crate) fn close(&mut self, close: &Close) {
        self.closing = true;
        match self.state {
            State::Open(_) => self.queue_close(close),
            State::Opening(_) => self.state = State::Failed(close.clone()),
            State::Failed(_) | State::Over => {}
        }
    }

    /// Whether this side has closed it.
    pub(crate) const fn is_closing(&self) -> bool {
        self.closing
    }

    /// What happens next.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SocketEvent> {
        loop {
            let close = match &mut self.state {
                State::Opening(opening) => match ready!(opening.as_mut().poll(cx)) {
                    Ok((stream, subprotocol, early)) => {
                        let mut open = Open::new(stream, self.max_message);
                        open.decode(&early);
                        self.state = State::Open(Box::new(open));
                        return Poll::Ready(SocketEvent::Opened(subprotocol));
                    }
                    Err(close) => close,
                },
                State::Open(open) => match open.arrived.pop_front() {
                    Some(Incoming::Message(_)) if self.closing => continue,
                    Some(Incoming::Message(frame)) => {
                        return Poll::Ready(SocketEvent::Frame(frame));
                    }
                    Some(Incoming::Ping(data)) => {
                        self.queue(Opcode::Pong, &data);
                        continue;
                    }
                    Some(Incoming::Pong(_)) => continue,
                    Some(Incoming::Close(said)) => {
                        self.say_goodbye(&Close::new(CloseCode::NORMAL, ""), cx);
                        let nothing =
                            || (CloseCode::ABNORMAL, "closed without a reason".to_owned());
                        let (code, reason) = said.unwrap_or_else(nothing);
                        Close::new(code, reason)
                    }
                    None => match open.violation {
                        Some(error) => {
                            let close = Close::new(error.close_code(), error.to_string());
                            self.say_goodbye(&close, cx);
                            close
                        }
                        None => match ready!(open.poll_read(cx)) {
                            Ok(true) => continue,
                            Ok(false) => Close::new(CloseCode::ABNORMAL, "the connection broke"),
                            Err(error) => Close::new(CloseCode::ABNORMAL, error.to_string()),
                        },
                    },
                },
                State::Failed(close) => close.clone(),
                State::Over => return Poll::Pending,
            };
            self.state = State::Over;
            return Poll::Ready(SocketEvent::Closed(close));
        }
    }

    /// Writes what waits; ready when nothing waits any more.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Open(open) = &mut self.state else { return Poll::Ready(()) };
        let mut stream = Pin::new(&mut open.stream);
        while let Some(rest) = self.outgoing.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.unflushed = true;
            match ready!(stream.as_mut().poll_write(cx, rest)) {
                Ok(written) if written > 0 => self.written += written,
                // Reading says it better: there may be a close frame with a reason.
                Ok(_) | Err(_) => {
                    self.unflushed = false;
                    break;
                }
            }
        }
        self.outgoing.clear();
        self.outgoing.shrink_to(KEPT);
        self.written = 0;
        if self.unflushed {
            // As above.
            let _ = ready!(stream.poll_flush(cx));
            self.unflushed = false;
        }
        Poll::Ready(())
    }

    fn queue(&mut self, opcode: Opcode, payload: &[u8]) {
        match mask() {
            Ok(mask) => websocket::encode(&mut self.outgoing, opcode, payload, Some(mask)),
            Err(error) => {
                let reason = format!("no randomness to mask frames with: {error}");
                self.state = State::Failed(Close::new(CloseCode::ABNORMAL, reason));
            }
        }
    }

    fn queue_close(&mut self, close: &Close) {
        let code = match close.code {
            CloseCode::ABNORMAL => CloseCode::NORMAL,
            code => code,
        };
        self.queue(Opcode::Close, &websocket::close_payload(code, &close.reason));
    }

    /// Has the last word before the connection is dropped, if the socket takes it at once.
    fn say_goodbye(&mut self, close: &Close, cx: &mut Context<'_>) {
        if !self.closing {
            self.queue_close(close);
        }
        let _ = self.poll_flush(cx);
    }
}

impl Open {
    fn new(stream: Stream, max_message: usize) -> Self {
        Self {
            stream,
            decoder: Decoder::new(Role::Client, max_message),
            arrived: VecDeque::new(),
            violation: None,
        }
    }

    /// Reads what the socket has; false at its end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        READ.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
            if self.arrived.capacity() > MANY {
                self.arrived.shrink_to(0);
            }
            self.decode(buffer.filled());
            Poll::Ready(Ok(!buffer.filled().is_empty()))
        })
    }

    fn decode(&mut self, mut bytes: &[u8]) {
        loop {
            match self.decoder.decode(&mut bytes) {
                Ok(Some(incoming)) => self.arrived.push_back(incoming),
                Ok(None) => return,
                Err(error) => {
                    self.violation = Some(error);
                    return;
                }
            }
        }
    }
}

/// A mask that nobody can foresee, from the system's randomness.
fn mask() -> Result<[u8; 4], getrandom::Error> {
    RANDOM.with_borrow_mut(|random| {
        if random.len() < 4 {
            random.resize(RANDOM_BYTES, 0);
            if let Err(error) = getrandom::fill(random) {
                random.clear();
                return Err(error);
            }
        }
        let mut mask = [0; 4];
        for (byte, random) in mask.iter_mut().zip(random.drain(random.len() - 4..)) {
            *byte = random;
        }
        Ok(mask)
    })
}

async fn open(
    url: String,
    subprotocol: Option<&'static str>,
    headers: HttpHeaders,
    tls: Option<TlsConfig>,
) -> Result<(Stream, Option<String>, Vec<u8>), Close> {
    let address = Address::parse(&url)?;
    let mut stream = connect(&address, tls).await?;
    let agreed = shake_hands(&mut stream, &address, subprotocol, &headers).await?;
    Ok((stream, agreed.subprotocol, agreed.early))
}
