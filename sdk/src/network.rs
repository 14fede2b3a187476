//! What machines ask of the network, done: the WebSockets and requests of one client.

use std::task::{Context, Poll};
use std::time::Duration;

use tidings_core::Time;
use tidings_core::io::{Io, IoEvent, IoId};

use crate::net::{Exchange, HttpClient, OpenedSocket, Returns, Socket, SocketEvent, TlsConfig};

/// How long a WebSocket that this side has closed is kept until the server closes it, too.
pub(crate) const CLOSING: Duration = Duration::from_secs(2);

/// The WebSockets and requests that are open.
pub(crate) struct Network {
    lines: Vec<Line>,
    http: HttpClient,
    tls: Option<TlsConfig>,
    /// For the first WebSocket.
    opened: Option<OpenedSocket>,
    max_message: usize,
    /// Once somebody asks.
    returns: Option<Returns>,
    /// Something was begun that has not been polled yet.
    begun: bool,
    /// How many lines this turn has not come to, and which one is next.
    turn: (usize, usize),
}

enum Line {
    WebSocket(WebSocket),
    Request { id: IoId, exchange: Exchange },
}

struct WebSocket {
    id: IoId,
    socket: Socket,
    writable: bool,
    /// Set once this side has closed it.
    drop_at: Option<Time>,
}

impl Line {
    const fn id(&self) -> IoId {
        match self {
            Self::WebSocket(WebSocket { id, .. }) | Self::Request { id, .. } => *id,
        }
    }
}

impl Network {
    /// Nothing is open yet but what is `opened`. Messages and answers of at most `max_message` bytes
    /// are accepted.
    pub(crate) fn new(
        max_message: usize,
        tls: Option<TlsConfig>,
        opened: Option<OpenedSocket>,
    ) -> Self {
        Self {
            lines: Vec::new(),
            http: HttpClient::new(tls.clone(), max_message),
            tls,
            opened,
            max_message,
            returns: None,
            begun: false,
            turn: (0, 0),
        }
    }

    /// Does what a machine says.
    pub(crate) fn run(&mut self, now: Time, io: Io) {
        match io {
            Io::SendWs { id, frame } => {
                if let Some(websocket) = self.websocket(id) {
                    websocket.socket.send(frame);
                }
            }
            Io::OpenWs { id, url, subprotocol, headers } => {
                let (tls, opened) = (self.tls.clone(), self.opened.take());
                let socket = Socket::open(url, subprotocol, headers, self.max_message, tls, opened);
                let websocket = WebSocket { id, socket, writable: true, drop_at: None };
                self.lines.push(Line::WebSocket(websocket));
                self.begun = true;
            }
            Io::CloseWs { id, close } => {
                if let Some(websocket) = self.websocket(id) {
                    websocket.socket.close(&close);
                    websocket.drop_at = Some(now + CLOSING);
                    self.begun = true;
                }
            }
            Io::Request { id, url, headers, body } => {
                let exchange = self.http.request(url, headers, body);
                self.lines.push(Line::Request { id, exchange });
                self.begun = true;
            }
            Io::Abort { id } => self.lines.retain(|line| line.id() != id),
        }
    }

    fn websocket(&mut self, id: IoId) -> Option<&mut WebSocket> {
        self.lines.iter_mut().find_map(|line| match line {
            Line::WebSocket(websocket) if websocket.id == id => Some(websocket),
            _ => None,
        })
    }

    /// Begins a turn, in which [`poll_read`](Self::poll_read) comes to each line, to another one
    /// first than the last time.
    pub(crate) const fn begin_turn(&mut self) {
        self.turn = (self.lines.len(), self.turn.1.wrapping_add(1));
    }

    /// What happens next on any line; `None` when all have been asked. While `paused` nothing is
    /// read from those in use.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, paused: bool) -> Option<IoEvent> {
        while self.turn.0 > 0 && !self.lines.is_empty() {
            let at = self.turn.1 % self.lines.len();
            match self.poll_line(at, cx, paused) {
                Poll::Ready(event) => return Some(event),
                Poll::Pending => self.turn = (self.turn.0 - 1, at + 1),
            }
        }
        None
    }

    fn poll_line(&mut self, at: usize, cx: &mut Context<'_>, paused: bool) -> Poll<IoEvent> {
        let (event, over) = match self.lines.get_mut(at) {
            Some(Line::WebSocket(WebSocket { id, socket, .. })) => {
                if paused && !socket.is_closing() {
                    return Poll::Pending;
                }
                let id = *id;
                match std::task::ready!(socket.poll_event(cx)) {
                    SocketEvent::Frame(frame) => (IoEvent::WsFrame { id, frame }, false),
                    SocketEvent::Opened(subprotocol) => {
                        (IoEvent::WsOpened { id, subprotocol }, false)
                    }
                    SocketEvent::Closed(close) => (IoEvent::WsClosed { id, close }, true),
                }
            }
            Some(Line::Request { id, exchange }) if !paused => {
                let result = std::task::ready!(exchange.as_mut().poll(cx));
                (IoEvent::Http { id: *id, result }, true)
            }
            _ => return Poll::Pending,
        };
        if over {
            self.lines.remove(at);
        }
        Poll::Ready(event)
    }

    /// Writes what can be written; tells of the first WebSocket that takes no more, or does again.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Option<IoEvent> {
        self.lines.iter_mut().find_map(|line| {
            let Line::WebSocket(WebSocket { id, socket, writable, .. }) = line else { return None };
            let can = socket.poll_flush(cx).is_ready();
            let changed = std::mem::replace(writable, can) != can;
            changed.then_some(IoEvent::Writable { id: *id, writable: can })
        })
    }

    /// Whether a network that was gone may be there again, since this was last asked.
    pub(crate) fn poll_returned(&mut self, cx: &mut Context<'_>) -> bool {
        self.returns.get_or_insert_with(Returns::new).poll(cx)
    }

    /// Drops what was closed long enough ago.
    pub(crate) fn expire(&mut self, now: Time) {
        self.lines.retain(|line| match line {
            Line::WebSocket(websocket) => websocket.drop_at.is_none_or(|at| at > now),
            Line::Request { .. } => true,
        });
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let closing = self.lines.iter().filter_map(|line| match line {
            Line::WebSocket(websocket) => websocket.drop_at,
            Line::Request { .. } => None,
        });
        closing.min()
    }

    /// Whether nothing is open.
    pub(crate) const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether something has begun since this was last asked, and must be polled.
    pub(crate) const fn take_begun(&mut self) -> bool {
        std::mem::replace(&mut self.begun, false)
    }
}
